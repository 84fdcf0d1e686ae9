"""Two runs at once in one checkout: neither sees what the other has half-written."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.paths import Paths
from tests.conftest import PROJECT
from tests.pipeline.tiny_training import make_project, overrides

PATHS = Paths("sample")


class Training:
    """`python -m pipeline stage1` at work in `project`; what it says goes to a file there."""

    def __init__(self, project: Path, name: str, *more: str) -> None:
        self.log = project / f"{name}.log"
        options = [part for override in overrides(*more) for part in ("-S", override)]
        command = [sys.executable, "-m", "pipeline", "stage1", *options]
        environment = os.environ | {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
        with self.log.open("w") as file:
            self.process = subprocess.Popen(command, cwd=project, stderr=file, env=environment)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.01)

    @contextmanager
    def paused(self) -> Iterator[None]:
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def finish(self) -> None:
        assert self.process.wait() == 0, self.log.read_text()


@contextmanager
def one_waits_for_another(project: Path) -> Iterator[tuple[Training, Training]]:
    """Two runs with the same parameters; within, the first is paused and the second waits for it to end."""
    first = Training(project, "first", "runtime.checkpoint_seconds=0")
    first.wait_until(lambda: any((project / "checkpoints" / "stage1").glob("*/[0-9]*.pt")))
    with first.paused():
        second = Training(project, "second")
        second.wait_until(lambda: "waiting for it to end" in second.log.read_text())
        yield first, second


def test_runs_with_the_same_parameters_take_turns(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    with one_waits_for_another(project) as (first, second):
        pass
    first.finish()
    second.finish()
    assert outs(project) == outs_of_one(tmp_path / "alone")
    assert leftovers(project) == []


def test_one_that_waits_goes_on_where_a_killed_one_was(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    with one_waits_for_another(project) as (first, second):
        first.process.kill()
    first.process.wait()
    second.finish()
    assert "goes on after step" in second.log.read_text()
    assert leftovers(project) == []


def test_of_runs_with_other_parameters_the_outs_are_whole(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    rates = ("lr_g=0.001", "lr_g=0.002")
    both = [Training(project, rate, rate, "runtime.checkpoint_seconds=0") for rate in rates]
    for each in both:
        each.finish()
    model = {name: content for name, content in outs(project).items() if name.startswith("models")}
    assert any(model.items() <= outs_of_one(tmp_path / rate, rate).items() for rate in rates)
    assert leftovers(project) == []


def outs_of_one(project: Path, *more: str) -> dict[str, bytes]:
    """What a run leaves that has the checkout to itself."""
    make_project(project)
    Training(project, "alone", *more).finish()
    return outs(project)


def outs(project: Path) -> dict[str, bytes]:
    places = [PATHS.stage(1), PATHS.stage_report(1), PATHS.stage_metrics(1).parent]
    files = [path for place in places for path in (project / place).rglob("*") if path.is_file()]
    return {str(path.relative_to(project)): path.read_bytes() for path in files}


def leftovers(project: Path) -> list[Path]:
    return [*project.rglob("*.stackgan.tmp"), *(project / "checkpoints").rglob("*.*")]
