"""Ctrl-C and SIGTERM: finish the step, save, then go."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

REPEATED = 1.0  # seconds in which a launcher like torchrun passes on a signal that the terminal has sent already


@dataclass
class StopRequest:
    """`signal` is the number of the signal that asked to stop, or None."""

    signal: int | None = None


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Within the block the first SIGINT or SIGTERM only sets the request; another one, later, kills as usual."""
    request = StopRequest()
    since = 0.0
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def take(number: int, _frame: FrameType | None) -> None:
        nonlocal since
        if request.signal is None:
            request.signal, since = number, time.monotonic()
        elif time.monotonic() - since > REPEATED:
            restore()
            signal.raise_signal(number)

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, take)
    try:
        yield request
    finally:
        restore()
