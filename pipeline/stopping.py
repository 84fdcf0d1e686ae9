"""Ctrl-C and SIGTERM: finish the step, save, then go."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class StopRequest:
    """`signal` is the number of the signal that asked to stop, or None."""

    signal: int | None = None


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Within the block the first SIGINT or SIGTERM only sets the request; a second one kills as usual."""
    request = StopRequest()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def take(number: int, _frame: FrameType | None) -> None:
        request.signal = number
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, take)
    try:
        yield request
    finally:
        restore()
