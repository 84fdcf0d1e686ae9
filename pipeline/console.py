"""What the terminal shows: messages, and progress that is live on a terminal and one line elsewhere."""

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

T = TypeVar("T")

_LONGEST = 2000


class _Terminal(Console):
    """One that has gone, as behind `2>&1 | head`, hears no more; the work goes on."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


console = _Terminal(stderr=True, highlight=False, soft_wrap=True)


def info(message: str) -> None:
    console.print(visible(message), markup=False)


def warn(message: str) -> None:
    console.print(f"warning: {visible(message)}", style="yellow", markup=False)


def error(message: str) -> None:
    console.print(f"error: {visible(message)}", style="bold red", markup=False)


def visible(text: str) -> str:
    """The text with what could steer a terminal as escapes, `\\x1b` and the like; cut where it is endless."""
    shown = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in shown
    )


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield `items` under a progress bar; where the output is no terminal, print one line at the end."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    start, done = time.monotonic(), 0
    with progress_bar() as bar:
        task = bar.add_task(description, total=total)
        for item in items:
            yield item
            done += 1
            bar.advance(task)
    info(f"{description}: {done} in {time.monotonic() - start:.1f} s")


def progress_bar() -> Progress:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
