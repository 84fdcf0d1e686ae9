"""Files that are either whole or not there: every write goes to a temporary name beside its target, then is renamed."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stackgan.errors import UserError


def atomic_write(path: Path, content: bytes | str) -> None:
    """Write `content` (text as UTF-8) to `path`, making its folder; a crash leaves the old file or none."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, renamed to it when the block ends without an error."""
    with _writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give an empty temporary folder, which takes the place of `path` when the block ends without an error."""
    with _writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
        try:
            temporary.chmod(0o755)
            yield temporary
            if path.exists():
                shutil.rmtree(path)
            temporary.replace(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _writable(path: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise UserError(f"{error.filename or path} cannot be written: check the permissions of its folder") from error
    except OSError as error:
        if error.errno not in (28, 30, 122):  # no space, read-only file system, quota exceeded
            raise
        raise UserError(f"{path} cannot be written: {error.strerror}; free some space and run again") from error


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys, so that equal values make equal bytes. NaN is refused: it is not JSON."""
    atomic_write(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, *, made_by: str) -> Any:
    """Read a JSON file that stage `made_by` writes; a missing or broken one is a `UserError` that names the stage."""
    try:
        return json.loads(require(path, made_by=made_by).read_text())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON ({error}): run `dvc repro --force {made_by}`") from error


def require(path: Path, *, made_by: str) -> Path:
    """Give `path` back, or raise a `UserError` that names the stage to run."""
    if not path.exists():
        raise UserError(f"{path} is missing: run `dvc repro {made_by}` first")
    return path


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
