import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from pipeline import files
from stackgan.errors import UserError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a" / "file"
    files.atomic_write(target, "old")
    with pytest.raises(RuntimeError), files.atomic_file(target) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError
    assert target.read_text() == "old"
    assert names(target.parent) == ["file"]


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    with files.atomic_folder(target) as folder:
        (folder / "old").touch()
    with pytest.raises(RuntimeError), files.atomic_folder(target) as folder:
        (folder / "new").touch()
        raise RuntimeError
    assert names(target) == ["old"]
    with files.atomic_folder(target) as folder:
        (folder / "new").touch()
    assert names(target) == ["new"]
    assert names(tmp_path) == ["folder"]


def test_the_old_folder_is_whole_or_gone_but_never_half_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "folder"
    with files.atomic_folder(target) as folder:
        (folder / "old").touch()
    remove, seen = shutil.rmtree, []

    def watched(folder: Path, ignore_errors: bool) -> None:
        seen.append(names(target))
        remove(folder, ignore_errors=ignore_errors)

    monkeypatch.setattr(shutil, "rmtree", watched)
    with files.atomic_folder(target) as folder:
        (folder / "new").touch()
    assert seen == [["new"]]


def test_a_kill_at_any_moment_leaves_the_old_the_new_or_nothing(tmp_path: Path) -> None:
    target = tmp_path / "folder"

    def replace() -> None:
        with files.atomic_folder(target) as folder:
            for name in ("a", "b"):
                (folder / name).write_text("new")

    found = []
    for number in count(1):
        with files.atomic_folder(target) as folder:
            for name in ("a", "b", "c"):
                (folder / name).write_text("old")
        if not is_killed_at(number, replace):
            break
        found.append(sorted(path.name for path in target.iterdir()) if target.exists() else [])
        files.atomic_write(tmp_path / "file", "swept by this")
        assert set(names(tmp_path)) <= {"file", "folder"}
    assert {"".join(each) for each in found} == {"abc", "", "ab"}


def is_killed_at(number: int, function: Callable[[], None]) -> bool:
    """Whether a process that runs `function` comes to its operation on files of that number, where it is killed."""
    seen = 0

    def kill(event: str, _: object) -> None:
        nonlocal seen
        if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.scandir"):
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)

    process = os.fork()
    if process == 0:
        try:
            sys.addaudithook(kill)
            function()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(process, 0)[1])


def test_two_writers_of_one_folder_do_not_meet(tmp_path: Path) -> None:
    def write(number: int) -> None:
        with files.atomic_folder(tmp_path / "folder") as folder:
            for name in ("a", "b"):
                (folder / name).write_text(str(number))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(100)))
    contents = [(tmp_path / "folder" / name).read_text() for name in ("a", "b")]
    assert contents[0] == contents[1]
    assert names(tmp_path) == ["folder"]


def test_what_killed_runs_left_is_swept_away_and_what_others_are_writing_is_not(tmp_path: Path) -> None:
    kill = "import os, sys; from pathlib import Path; from pipeline.files import atomic_folder\n"
    kill += "with atomic_folder(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", kill, tmp_path / "models"]).returncode == -9
    assert len(names(tmp_path)) == 1
    with files.atomic_folder(tmp_path / "other") as other:
        assert len(names(tmp_path)) == 1
        files.atomic_write(tmp_path / "file", "")
        (other / "file").touch()
    assert names(tmp_path) == ["file", "other"]


def test_json_is_the_same_bytes_for_equal_values_and_refuses_nan(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"b": 1, "a": "×"})
    files.write_json(tmp_path / "b.json", {"a": "×", "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "c.json", {"a": float("nan")})
    assert not (tmp_path / "c.json").exists()


def test_missing_and_broken_inputs_name_the_stage_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run `dvc repro prepare` first"):
        files.read_json(tmp_path / "a.json", made_by="prepare")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(UserError, match=r"not valid JSON.*dvc repro --force --single-item prepare"):
        files.read_json(tmp_path / "a.json", made_by="prepare")


def test_a_read_only_disk_is_not_called_full(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Read-only file system; make"), files.atomic_file(tmp_path / "x"):
        raise OSError(errno.EROFS, "Read-only file system")


def test_a_copied_folder_that_does_not_fit_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a").touch()
    full = OSError(errno.ENOSPC, "No space left on device")
    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(UserError, match=r"copy cannot be written: \[Errno 28\] No space left on device$"),
        files.atomic_folder(tmp_path / "copy") as folder,
    ):
        patch.setattr(shutil, "copystat", raising(full))
        shutil.copytree(tmp_path / "source", folder / "a")
    assert names(tmp_path) == ["source"]


def raising(error: OSError) -> Callable[..., None]:
    def function(*_: object, **__: object) -> None:
        raise error

    return function


def test_a_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match="cannot be written: No space left on device"),
        files.atomic_file(tmp_path / "x"),
    ):
        raise OSError(28, "No space left on device")
    assert names(tmp_path) == []
