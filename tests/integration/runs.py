"""Runs that are watched and stopped in their midst.

A moment to stop at is told by processor time, by steps trained or by a file, never by the clock: it is the same on a
busy machine.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Self

import psutil

from tests.integration.conftest import Clone

Moment = Callable[["Run"], bool]


class Run:
    """A command at work in a clone, in a session of its own; `python -m pipeline` is it or a child of it."""

    def __init__(self, clone: Clone, *command: str) -> None:
        self._output = Path(clone.environment["TMPDIR"]) / "output"
        with self._output.open("w") as file:
            self.process = subprocess.Popen(
                command,
                cwd=clone.folder,
                env=clone.environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # A shell that started the tests in the background has them, and so their children, ignore Ctrl-C.
                preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
            )
        self._cpu = 0.0

    @property
    def output(self) -> str:
        return self._output.read_text()

    def reaches(self, moment: Moment, pause: float = 0) -> bool:
        """Wait for the moment and `pause` seconds more; False if the run ends before."""
        while self.process.poll() is None:
            if moment(self):
                time.sleep(pause)
                return self.process.poll() is None
            time.sleep(0.01)
        return False

    def stop(self, number: signal.Signals, *, whole: bool) -> int:
        """Send a signal to the whole session, as a terminal does, or to the stage alone; the exit code of the command.

        The session is gone when this returns.
        """
        family = self._family()
        stage = self._stage(family)
        if whole or stage is None:
            os.killpg(self.process.pid, number)
        else:
            stage.send_signal(number)
        code = self.process.wait(600)
        _, alive = psutil.wait_procs(family[1:], timeout=60)
        assert all(process.status() == psutil.STATUS_ZOMBIE for process in alive if process.is_running()), alive
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop(signal.SIGKILL, whole=True)

    def finish(self) -> int:
        """Let it end undisturbed; its exit code."""
        assert not self.reaches(lambda run: run.cpu() < 0)
        return self.process.wait()

    def cpu(self) -> float:
        """Seconds of processor time that the stage has used up to now, in all its processes."""
        if stage := self._stage(self._family()):
            with suppress(psutil.Error):  # one has just ended
                each = [process.cpu_times() for process in (stage, *stage.children(recursive=True))]
                self._cpu = max(self._cpu, sum(sum(times[:4]) for times in each))
        return self._cpu

    def _family(self) -> list[psutil.Process]:
        try:
            command = psutil.Process(self.process.pid)
            return [command, *command.children(recursive=True)]
        except psutil.Error:
            return []

    @staticmethod
    def _stage(family: list[psutil.Process]) -> psutil.Process | None:
        for process in family:
            try:
                if process.cmdline()[1:3] == ["-m", "pipeline"]:
                    return process
            except psutil.Error:
                continue
        return None


def after_cpu(seconds: float) -> Moment:
    return lambda run: run.cpu() >= seconds


def after_steps(checkpoints: Path, steps: int) -> Moment:
    """When so many more steps are trained than the newest checkpoint of now knows; every step is saved."""
    wanted = newest(checkpoints) + steps
    return lambda _: newest(checkpoints) >= wanted


def when_there(path: Path) -> Moment:
    """When `path`, which the run first removes if it is there, has come to be."""
    gone = not path.exists()

    def moment(_: Run) -> bool:
        nonlocal gone
        gone = gone or not path.exists()
        return gone and path.exists()

    return moment


def newest(checkpoints: Path) -> int:
    """The step of the newest checkpoint, 0 where there is none."""
    return max((int(path.stem) for path in checkpoints.glob("*/[0-9]*.pt")), default=0)


def leftovers(clone: Clone) -> list[str]:
    """Scratch folders and checkpoints that nothing has removed."""
    places = [clone.folder / name for name in ("data", "models", "reports", "metrics", ".cache", "checkpoints")]
    places.append(Path(clone.environment["TMPDIR"]))
    found = [path for place in places for path in place.rglob("*.stackgan.tmp")]
    return [str(path) for path in (*found, *(clone.folder / "checkpoints").rglob("*.pt"))]


@contextmanager
def small_disk(folder: Path) -> Iterator[Callable[[str], None]]:
    """Mount a file system at `folder`; what it gives mounts it again with other options, a size for one."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m", "soak", folder], check=True)

    def remount(options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)

    try:
        yield remount
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
