"""Trainings of two processes, started in every way that docs/scaling.md names."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from lightning_fabric.plugins.environments.lightning import find_free_network_port

from pipeline.paths import Paths
from tests.conftest import PROJECT
from tests.pipeline.tiny_training import make_project, overrides

PATHS = Paths("sample")
MODEL = PATHS.stage(1) / "generator.safetensors"
TORCHRUN = ("torchrun", "--standalone", "--nproc_per_node=2", "-m", "pipeline")
PYTHON = (sys.executable, "-m", "pipeline")
SECONDS = 500
RUNS: list[subprocess.Popen[str]] = []


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The generator that two processes make which the first of them started."""
    project = make_project(tmp_path_factory.mktemp("expected") / "project")
    said = finish(start(project, PYTHON, "stage1", "runtime.devices=2"))
    assert "deprecated" not in said  # remarks of libraries to one another
    return (project / MODEL).read_bytes()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project")


@pytest.fixture(scope="module", autouse=True)
def nothing_stays_behind() -> Iterator[None]:
    yield
    while RUNS:
        with suppress(ProcessLookupError):
            os.killpg(RUNS.pop().pid, signal.SIGKILL)


def start(
    project: Path, launcher: tuple[str, ...], stage: str, *more: str, **environment: str
) -> subprocess.Popen[str]:
    options = [part for override in overrides("stage1.epochs=2", *more) for part in ("-S", override)]
    run = subprocess.Popen(
        [*launcher, stage, *options],
        cwd=project,
        env=os.environ
        | {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
        | environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    RUNS.append(run)
    return run


def finish(*runs: subprocess.Popen[str], code: int = 0) -> str:
    """What they wrote to stderr, when all have ended with `code`."""
    said = "".join(run.communicate(timeout=SECONDS)[1] for run in runs)
    assert {run.returncode for run in runs} == {code}, said[:3000] + said[-3000:]
    return said


def test_torchrun_trains_both_stages(project: Path, expected: bytes, tmp_path: Path) -> None:
    finish(start(project, TORCHRUN, "stage1"))
    assert (project / MODEL).read_bytes() == expected
    shards = make_project(tmp_path / "stage2", sizes=(256,), train=4) / PATHS.shards(256)
    shards.rename(project / PATHS.shards(256))
    finish(start(project, TORCHRUN, "stage2"))
    for out in (PATHS.stage(2) / "generator.safetensors", PATHS.stage_metrics(2), PATHS.stage_report(2) / "grid.png"):
        assert (project / out).is_file()
    assert not list((project / "checkpoints").rglob("*.pt"))


def test_srun_trains_with_the_tasks_that_it_started(project: Path, expected: bytes) -> None:
    """SLURM itself is not here; its tasks know their place by these variables alone."""
    job = {"SLURM_JOB_ID": "4711", "SLURM_NODELIST": "127.0.0.1", "MASTER_PORT": str(find_free_network_port())}
    job |= {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "1", "SLURM_NODEID": "0"}
    job |= {"SLURM_STEP_ID": "0"}
    tasks = [start(project, PYTHON, "stage1", **job, SLURM_PROCID=rank, SLURM_LOCALID=rank) for rank in "01"]
    finish(*tasks)
    assert (project / MODEL).read_bytes() == expected


@pytest.mark.parametrize("tasks", ["1", "4"])
def test_in_the_script_of_a_slurm_job_the_first_process_starts_the_others(
    project: Path, expected: bytes, tasks: str
) -> None:
    job = {"SLURM_JOB_ID": "4711", "SLURM_NTASKS": tasks, "SLURM_NTASKS_PER_NODE": tasks, "SLURM_NNODES": "1"}
    job |= {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
    finish(start(project, PYTHON, "stage1", "runtime.devices=2", **job))
    assert (project / MODEL).read_bytes() == expected


def test_nodes_can_be_started_by_hand(project: Path, expected: bytes) -> None:
    job = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(find_free_network_port())}
    finish(*(start(project, PYTHON, "stage1", "runtime.nodes=2", **job, NODE_RANK=rank) for rank in "01"))
    assert (project / MODEL).read_bytes() == expected


def test_a_stop_of_torchrun_is_resumed_as_if_it_had_not_been(project: Path, expected: bytes) -> None:
    run = start(project, TORCHRUN, "stage1", "runtime.checkpoint_seconds=0")
    wait_for(lambda: any((project / "checkpoints").glob("*/*/*.pt")), run)
    os.killpg(run.pid, signal.SIGINT)  # as the terminal does: to torchrun, which passes it on, and to its processes
    said = run.communicate(timeout=SECONDS)[1]
    assert run.returncode != 0
    assert "run again to go on" in said
    said = finish(start(project, TORCHRUN, "stage1"))
    assert "goes on after step" in said
    assert (project / MODEL).read_bytes() == expected


def wait_for(condition: Callable[[], bool], run: subprocess.Popen[str]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert run.poll() is None, "the run ended before it could be stopped"
        assert time.monotonic() < end
        time.sleep(0.01)
