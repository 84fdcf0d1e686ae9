"""The live view of a training: one line that moves on a terminal, a plain line now and then elsewhere."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from pipeline.console import console, info
from stackgan.monitor import Figures

_SHOWN = {
    "loss_d": "D {:.2f}",
    "loss_g": "G {:.2f}",
    "redraw_l1": "L1 {:.3f}",
    "d_real": "D(real) {:.2f}",
    "d_generated": "D(fake) {:.2f}",
    "d_mismatched": "D(mismatched) {:.2f}",
    "diversity": "diversity {:.2f}",
}
_LIVE_SECONDS, _PLAIN_SECONDS = 1.0, 20.0


class Display:
    """Shows steps done, losses, D's verdicts, images a second and the time left. `steps` is the number of all steps."""

    def __init__(self, title: str, epochs: int, steps: int, done: int, batch_size: int, *, quiet: bool = False) -> None:
        self.title, self.epochs, self.batch_size, self.quiet = title, epochs, batch_size, quiet
        self.first = self.done = done
        self._start = self._shown = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=12),
            TimeRemainingColumn(),
            TextColumn("{task.fields[rate]}", table_column=Column(no_wrap=True)),
            # The one column that a narrow terminal may cut.
            TextColumn("{task.fields[figures]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            expand=True,
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self._task = self._bar.add_task(title, total=steps, completed=done, figures="", rate="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def step(self, epoch: int, read: Callable[[], Figures]) -> None:
        """One more step is done, in `epoch` counted from 0. `read` waits for the device, so it is called seldom."""
        self.done += 1
        if self._bar.disable or time.monotonic() - self._shown < _LIVE_SECONDS:
            return
        figures = read()
        self._shown = time.monotonic()
        title = f"{self.title} epoch {epoch + 1}/{self.epochs}"
        self._bar.update(self._task, completed=self.done, description=title, figures=_line(figures), rate=self._rate())

    def epoch(self, figures: Figures) -> None:
        """An epoch has ended."""
        last = figures["epoch"] == self.epochs
        if self.quiet or not (last or (self._bar.disable and time.monotonic() - self._shown >= _PLAIN_SECONDS)):
            return
        self._shown = time.monotonic()
        info(f"{self.title} epoch {figures['epoch']}/{self.epochs}  {_line(figures)}  {self._rate()}")

    def _rate(self) -> str:
        seconds = max(time.monotonic() - self._start, 1e-9)
        return f"{(self.done - self.first) * self.batch_size / seconds:.0f} images/s"


def _line(figures: Figures) -> str:
    return "  ".join(form.format(value) for name, form in _SHOWN.items() if (value := figures.get(name)) is not None)
