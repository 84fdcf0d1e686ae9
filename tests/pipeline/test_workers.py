import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from pipeline.cores import cores
from pipeline.workers import beside, parallel
from stackgan.errors import UserError
from tests.conftest import PROJECT


def process_of(_: int) -> int:
    time.sleep(0.02)
    return os.getpid()


def slow_if_first(job: int) -> int:
    time.sleep(0.3 * (job == 0))
    return job


def fail_at_two(job: int) -> int:
    if job == 2:
        raise UserError("job two is broken")
    return job


def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wait(folder: Path) -> None:
    (folder / f"{os.getpid()}").touch()
    time.sleep(60)


def counter(start: int) -> Callable[[], tuple[int, int]]:
    numbers = itertools.count(start)
    return lambda: (os.getpid(), next(numbers))


def test_results_come_in_the_order_of_the_jobs() -> None:
    assert list(parallel(slow_if_first, range(5), processes=2)) == [0, 1, 2, 3, 4]


def test_one_process_or_one_job_is_done_right_here() -> None:
    assert set(parallel(process_of, range(3), processes=1)) == {os.getpid()}
    assert set(parallel(process_of, [0], processes=2)) == {os.getpid()}
    assert os.getpid() not in set(parallel(process_of, range(8), processes=2))
    assert list(parallel(process_of, [])) == []


def test_a_process_beside_this_one_makes_its_function_once_and_calls_it_there() -> None:
    with beside(partial(counter, 7)) as call:
        (process, first), (same, second) = call(), call()
    assert process == same != os.getpid()
    assert (first, second) == (7, 8)


def test_a_process_beside_this_one_that_dies_is_named() -> None:
    with pytest.raises(UserError, match="a worker process died"), beside(partial(partial, die, 0)) as call:
        call()


def test_there_are_no_more_processes_than_cores_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {5})
    assert set(parallel(process_of, range(3))) == {os.getpid()}


@pytest.mark.parametrize(
    ("quota", "expected"), [("200000 100000", 2), ("150000 100000", 2), ("max 100000", 8), ("", 8)]
)
def test_a_containers_quota_counts(quota: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr("pipeline.cores._QUOTA", tmp_path / "cpu.max")
    if quota:
        (tmp_path / "cpu.max").write_text(quota + "\n")
    assert cores() == expected


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_comes_through(processes: int) -> None:
    with pytest.raises(UserError, match=r"^job two is broken$"):
        list(parallel(fail_at_two, range(6), processes=processes))


def test_a_worker_that_dies_is_an_error() -> None:
    with pytest.raises(UserError, match="a worker process died"):
        list(parallel(die, range(4), processes=2))


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = f"""
from pathlib import Path
from pipeline.workers import parallel
from tests.pipeline.test_workers import wait
list(parallel(wait, [Path({str(tmp_path)!r})] * 2, processes=2))
"""
    parent = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    workers = [int(path.name) for path in tmp_path.iterdir()]
    while any(is_running(pid) for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_fork_server_imports_beforehand_what_is_expected(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(f"""
import os
from pathlib import Path
(Path({str(tmp_path)!r}) / f"{{os.getpid()}}").touch()
def name(job): return os.getpid()
""")
    script = f"""
import os, signal, time
from pathlib import Path
from pipeline import workers as module
from pipeline.workers import expect, parallel
module.cores = lambda: 2  # on a machine with one core nothing is expected
imported = lambda: {{int(path.name) for path in Path({str(tmp_path)!r}).iterdir() if path.name.isdigit()}}
expect("slow")
while not (server := imported()): time.sleep(0.02)
assert os.getpid() not in server
status = dict(line.split(":", 1) for line in Path(f"/proc/{{server.copy().pop()}}/status").read_text().splitlines())
assert int(status["SigBlk"], 16) & 1 << signal.SIGINT - 1, "Ctrl-C is the parent's business"
import slow
workers = set(parallel(slow.name, range(8), processes=2))
assert workers and imported() == server | {{os.getpid()}}, (workers, imported(), server)
"""
    run = [sys.executable, "-c", script]
    subprocess.run(run, env=os.environ | {"PYTHONPATH": f"{tmp_path}:{PROJECT}"}, timeout=60, check=True)


@pytest.mark.parametrize(
    ("number", "send", "code"),
    [(signal.SIGINT, os.killpg, 130), (signal.SIGTERM, os.kill, 143)],  # a terminal's, and a scheduler's
    ids=["SIGINT", "SIGTERM"],
)
def test_a_signal_at_the_very_start_shows_no_traceback_of_a_process(
    number: signal.Signals, send: Callable[[int, int], None], code: int, tmp_path: Path
) -> None:
    (tmp_path / "slow.py").write_text(f"""
import os, time
from pathlib import Path
(Path({str(tmp_path)!r}) / f"{{os.getpid()}}").touch()
time.sleep(1)
def double(job): return 2 * job
""")
    script = """
import signal, sys, slow
from pipeline.workers import parallel
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
try:
    list(parallel(slow.double, range(40), processes=2))
except KeyboardInterrupt:
    sys.exit(130)
"""
    run = subprocess.Popen(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{PROJECT}"},
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while len([path for path in tmp_path.iterdir() if path.name.isdigit()]) < 2:  # the fork server imports it too
        assert time.monotonic() < deadline
        time.sleep(0.02)
    send(run.pid, number)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == code
    assert errors == b""


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie waits for the fork server to collect it, but runs no more.
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")
