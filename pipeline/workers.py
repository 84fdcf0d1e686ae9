"""Work spread over processes: results in the order of the jobs, the same for any number of processes."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.forkserver import ensure_running
from typing import Any, TypeVar

from pipeline.cores import cores
from stackgan.errors import UserError

Job = TypeVar("Job")
Result = TypeVar("Result")

# Not fork: threads (torch, the progress bar) may hold locks. The fork server pays the slow imports once for all.
_CONTEXT = multiprocessing.get_context("forkserver")

_made: Callable[[], Any]  # in a process of `beside`


def expect(module: str) -> None:
    """Have the fork server import `module`, since its functions will be called in parallel, and do not wait: imports of
    the caller's own then take place at the same time."""
    if cores() > 1:
        _CONTEXT.set_forkserver_preload([module])
        with _starting():
            ensure_running()


def parallel(
    function: Callable[[Job], Result], jobs: Sequence[Job], *, processes: int | None = None
) -> Iterator[Result]:
    """Yield `function(job)` for every job, in order; a process for every core where `processes` is None.

    `function` and the jobs must be picklable. One process, or one job, is done right here. An error in a process is
    raised here; the jobs that have not begun are then dropped.
    """
    processes = min(processes or cores(), len(jobs))
    if processes <= 1:
        yield from map(function, jobs)
        return
    _CONTEXT.set_forkserver_preload([function.__module__])
    with _pool(processes) as pool:
        with _starting():
            results = pool.map(function, jobs)
        yield from results


@contextmanager
def beside(make: Callable[[], Callable[[], Result]]) -> Iterator[Callable[[], Result]]:
    """A process beside this one, for as long as the block lasts.

    It calls `make`, which must be picklable, once. What is yielded calls there what that returned, and waits for it.
    """
    with _pool(1) as pool:
        with _starting():
            made = pool.submit(_make, make)
        made.result()
        yield lambda: pool.submit(_call_made).result()


@contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(processes, mp_context=_CONTEXT, initializer=_follow_parent) as pool:
        try:
            yield pool
        except BrokenProcessPool as error:
            raise UserError("a worker process died, most likely for lack of memory: free some and run again") from error
        finally:
            pool.shutdown(cancel_futures=True)


def _make(make: Callable[[], Callable[[], object]]) -> None:
    global _made
    _made = make()


def _call_made() -> Any:
    return _made()


@contextmanager
def _starting() -> Iterator[None]:
    """Processes started here leave Ctrl-C to the parent, from their first moment on: a terminal sends it to all, and
    one that still imports would show a traceback. The parent hears it, and SIGTERM, when they are there, since one that
    is half started when it ends would show another."""
    heard: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: heard.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    resource_tracker.ensure_running()  # which ends with every signal let in again: not later, in the block
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # children inherit it, unlike a handler
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)
        if heard:
            signal.raise_signal(heard[0])


def _follow_parent() -> None:
    """End when the parent ends: a worker of a killed parent would wait for jobs for ever."""
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
