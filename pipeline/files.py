"""Files that are either whole or not there: every write goes to a scratch folder beside its target, then is renamed.

A scratch folder is locked as long as its process lives, so that the next write in the same place can tell those that
killed processes left from those of runs at work, and sweeps the former away.
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pipeline import console
from stackgan.errors import UserError, make_anew

_SUFFIX = ".stackgan.tmp"
_ADVICE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EFBIG: "raise the limit of a file's size (ulimit -f)",
    errno.EROFS: "make its file system writable",
}


def atomic_write(path: Path, content: bytes | memoryview | str) -> None:
    """Write `content` (text as UTF-8) to `path`, making its folder; a kill leaves the old file or the new one."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, renamed to it when the block ends without an error."""
    with _writable(path), scratch(path) as folder:
        yield folder / path.name
        (folder / path.name).replace(path)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give an empty temporary folder, which takes the place of `path` when the block ends without an error."""
    with _writable(path), scratch(path) as folder:
        new = folder / path.name
        new.mkdir()
        yield new
        for turn in count():
            with suppress(FileNotFoundError):  # aside, not removed: a kill must not leave a part of it
                path.rename(folder / f"old{turn}")
            try:
                new.rename(path)
                break
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # another run has just put its own there
                    raise


@contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """Give an empty folder beside `path` for what is being made, making the folder around both; it goes at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        with _locked(path.parent, fcntl.LOCK_EX):  # so that no other run sweeps a folder that is not locked yet
            _sweep(path.parent)
            folder = Path(tempfile.mkdtemp(prefix=f".{path.name[:40]}.", suffix=_SUFFIX, dir=path.parent))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            stack.enter_context(_locked(folder, fcntl.LOCK_SH))
        yield folder


def _sweep(parent: Path) -> None:
    for folder in parent.glob(f".*{_SUFFIX}"):
        with suppress(OSError), _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB) as abandoned:
            if abandoned:
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path, operation: int) -> Iterator[bool]:
    """Hold a lock on `folder`; gives False where another process holds it or the file system knows no locks."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        held = False
        with suppress(OSError):
            fcntl.flock(descriptor, operation)
            held = True
        yield held
    finally:
        os.close(descriptor)


@contextmanager
def claim(path: Path, deed: str) -> Iterator[None]:
    """Hold the lock file `path`; while another process holds it, say that another run does `deed`, and wait."""
    with _writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            console.info(f"another run {deed}: waiting for it to end")
            lock.acquire()
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # whoever waits for it notices and makes a new one
        lock.release()


@contextmanager
def _writable(path: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        where = path if not error.filename or _SUFFIX in str(error.filename) else error.filename
        raise UserError(f"{where}: permission denied; check the permissions of the file and its folder") from error
    except shutil.Error as error:  # of copytree: a list of (source, target, what the system said)
        raise UserError(f"{path} cannot be written: {error.args[0][0][2]}") from error
    except OSError as error:
        if error.errno not in _ADVICE:
            raise
        advice = _ADVICE[error.errno]
        raise UserError(f"{path} cannot be written: {error.strerror}; {advice} and run again") from error


def require_writable(folder: Path) -> None:
    """Raise a `UserError` if nothing could be written into `folder`, which need not exist: before long work, not after.

    Tried with a file, since permissions do not tell of read-only file systems, and nothing to the superuser.
    """
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not existing.is_dir():
        raise UserError(f"{existing} is a file where a folder is wanted: choose another --output")
    try:
        tempfile.TemporaryFile(dir=existing).close()
    except OSError as error:
        raise UserError(f"{existing} cannot be written: {error.strerror}; choose another --output") from None


def require_writable_file(path: Path) -> None:
    """Raise a `UserError` if no file could be written at `path`: before long work, not after."""
    if path.is_dir():
        raise UserError(f"{path} is a folder where a file is wanted: choose another --output")
    require_writable(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys, so that equal values make equal bytes. NaN is refused: it is not JSON."""
    atomic_write(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, *, made_by: str) -> Any:
    """Read a JSON file that stage `made_by` writes; a missing or broken one is a `UserError` that names the stage."""
    try:
        return json.loads(require(path, made_by=made_by).read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON ({error}): {make_anew(made_by)}") from error


def require(path: Path, *, made_by: str) -> Path:
    """Give `path` back, or raise a `UserError` that names the stage to run."""
    if not path.exists():
        raise UserError(
            f"{path} is missing: run `dvc repro {made_by}` first, which makes it for the preset that params.yaml names"
        )
    return path


def read_slice(path: Path, offset: int, size: int) -> bytes:
    """`size` bytes from `offset` on; fewer where the file ends before."""
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
