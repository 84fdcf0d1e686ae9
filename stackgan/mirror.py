"""Shards that lie at a URL, mirrored in a local folder that fills shard by shard as they are read.

fsspec does the reading: http(s), s3, gs and its other protocols. A mirror's folder is named by the checksum of its
index.json, so that shards made anew never mix with older ones, and every shard must have the checksum that the index
gives it. Any number of processes may share a mirror.
"""

import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock

from stackgan.errors import UserError

TRIES = 5
PAUSE = 1.0  # seconds before the second try; doubled before each further one
_ORIGIN = "origin.json"


def mirror(url: str, cache: Path, room: int) -> Path:
    """Begin, or go on with, a mirror of the shards folder at `url`: give its folder, which holds index.json.

    All mirrors in the folder `cache` together keep to `room` bytes; what was read longest ago makes room for the rest.
    """
    index = _download(f"{url}/index.json")
    folder = cache / hashlib.sha256(index).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / _ORIGIN, json.dumps({"url": url, "room": room}).encode())
    _write(folder / "index.json", index)
    return folder


@dataclass(frozen=True)
class Origin:
    """Where the shards of a mirror come from, and how many bytes all mirrors beside it may take."""

    folder: Path
    url: str
    room: int

    @staticmethod
    def of(folder: Path) -> "Origin | None":
        """None for a folder that is no mirror but holds its shards itself."""
        path = folder / _ORIGIN
        return Origin(folder, **json.loads(path.read_text())) if path.exists() else None

    def open(self, path: Path, sha256: str) -> BinaryIO:
        """Open a shard of the mirror, fetched if it is not here; one that cannot be had is a `UserError`."""
        while True:
            try:
                stream = path.open("rb")
            except FileNotFoundError:  # not fetched yet, or gone for lack of room
                self._fetch(path, sha256)
            else:
                os.utime(stream.fileno())
                return stream

    def _fetch(self, path: Path, sha256: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)  # a shard's name may begin with a folder
        cache = self.folder.parent
        with _alone(path.with_name(f".{path.name}.lock")):
            if not path.exists():
                content = _download(f"{self.url}/{path.relative_to(self.folder)}", sha256)
                with _alone(cache / ".room.lock"):  # one after the other, or together they take more than the room
                    _make_room(cache, self.room - len(content))
                    _write(path, content)


def _download(url: str, sha256: str | None = None) -> bytes:
    from fsspec.core import url_to_fs

    problem = ""
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        try:
            files, path = url_to_fs(url)
            content: bytes = files.cat_file(path)
        except FileNotFoundError:
            advice = "copy the shards anew" if sha256 else "name the URL of the folder that holds 64/ and 256/"
            raise UserError(f"{url} is missing: {advice}") from None
        except (ImportError, ValueError) as error:
            raise UserError(f"{url} cannot be read ({error}): install the extra s3 or gs for these") from error
        except Exception as error:  # every protocol has errors of its own
            problem = f"{type(error).__name__}: {error}"
        else:
            if sha256 in (None, hashlib.sha256(content).hexdigest()):
                return content
            problem = "what came has another checksum than index.json says"
    raise UserError(f"{url} could not be had in {TRIES} tries ({problem}): run again to go on")


def _make_room(cache: Path, room: int) -> None:
    """Delete the shards read longest ago until all of them take `room` bytes at most, and what killed processes left.
    Whoever calls holds the lock under which alone shards are written."""
    for path in cache.rglob(".*.tar.*.tmp"):
        path.unlink(missing_ok=True)
    kept = []
    for path in cache.rglob("*.tar"):
        try:
            kept.append((path.stat(), path))
        except FileNotFoundError:  # removed by hand
            continue
    kept.sort(key=lambda each: each[0].st_mtime_ns)
    excess = sum(status.st_size for status, _ in kept) - room
    for status, path in kept:
        if excess <= 0:
            break
        path.unlink(missing_ok=True)  # whoever reads it still can
        excess -= status.st_size


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Within the block no other process of this machine holds the lock file."""
    with FileLock(lock):
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)  # whoever waits for it notices and makes a new one


def _write(path: Path, content: bytes) -> None:
    # Not by the process's number: containers that share the disk have equal ones.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
