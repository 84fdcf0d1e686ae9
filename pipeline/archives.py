"""Archives as they came, read and never unpacked: no loose files, and nothing that a member's name could overwrite.

Members are named without a leading `./`. A name that leads out of the archive makes the whole archive suspect and is an
error; links, devices and sparse files are an error once something reads them.
"""

import gzip
import io
import pickle
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from pipeline.files import require, scratch
from stackgan.errors import UserError

_GZIP = b"\x1f\x8b"
_AGAIN = "run `dvc repro --force download` to fetch it again"


@dataclass(frozen=True)
class Member:
    """Where a tar's member lies: all that another process needs to read it."""

    archive: Path
    offset: int
    size: int

    def read(self) -> bytes:
        with self.archive.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


@dataclass(frozen=True)
class Tar:
    """An uncompressed tar with random access; `members` are None where they are no regular files."""

    path: Path  # the archive as the user knows it
    members: Mapping[str, Member | None]

    def __contains__(self, name: str) -> bool:
        return name in self.members

    def member(self, name: str) -> Member:
        """Find a regular file; a missing one, a link or a device is a `UserError`."""
        if name not in self.members:
            raise UserError(f"{self.path}: {name} is missing; {_AGAIN}")
        member = self.members[name]
        if member is None:
            raise UserError(
                f"{self.path}: {name} is a link or a device where a file should be: do not trust this archive"
            )
        return member

    def read(self, name: str) -> bytes:
        return self.member(name).read()


@contextmanager
def open_tar(path: Path) -> Iterator[Tar]:
    """Open a tar, gzipped or plain, for random access from any process.

    A gzipped one is decompressed once, to a temporary file that goes when the block ends (1.2 GB for CUB-200-2011, in
    `TMPDIR`). Of members with the same name the last counts, as for `tar`. A broken or unsafe one is a `UserError`.
    """
    require(path, made_by="download")
    with scratch(Path(tempfile.gettempdir()) / "archive") as folder:
        plain = _plain(path, folder)
        try:
            with tarfile.open(plain, "r:") as tar:
                members = {_safe_name(info.name, path): _member(info, plain) for info in tar}
        except (tarfile.TarError, EOFError, UnicodeError) as error:
            raise UserError(f"{path} is no tar archive, or a damaged one ({error}); {_AGAIN}") from error
        yield Tar(path, members)


def _plain(path: Path, folder: Path) -> Path:
    with path.open("rb") as file:
        if file.read(2) != _GZIP:
            return path
    plain = folder / "archive.tar"
    try:
        with gzip.open(path) as packed, plain.open("wb") as target:
            shutil.copyfileobj(packed, target, 1 << 20)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path} is truncated or damaged ({error}); {_AGAIN}") from error
    except OSError as error:
        raise UserError(
            f"{path} cannot be decompressed to {folder} ({error.strerror}): set TMPDIR to a larger one"
        ) from error
    return plain


def _member(info: tarfile.TarInfo, plain: Path) -> Member | None:
    return Member(plain, info.offset_data, info.size) if info.isreg() and not info.issparse() else None


@dataclass(frozen=True)
class Zip:
    """A zip archive with safe names; `members` are None where they are no regular files."""

    path: Path
    file: zipfile.ZipFile
    members: Mapping[str, zipfile.ZipInfo | None]

    def __contains__(self, name: str) -> bool:
        return name in self.members

    def read(self, name: str) -> bytes:
        """The bytes of a member; a missing, encrypted or damaged one is a `UserError`."""
        if name not in self.members:
            raise UserError(f"{self.path}: {name} is missing; {_AGAIN}")
        member = self.members[name]
        if member is None:
            raise UserError(f"{self.path}: {name} is a link where a file should be: do not trust this archive")
        try:
            return self.file.read(member)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
            raise UserError(f"{self.path}: {name} cannot be read ({error}); {_AGAIN}") from error


@contextmanager
def open_zip(path: Path) -> Iterator[Zip]:
    """Open a zip archive; a broken or unsafe one is a `UserError`."""
    require(path, made_by="download")
    try:
        file = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, EOFError, UnicodeError) as error:
        raise UserError(f"{path} is no zip archive, or a damaged one ({error}); {_AGAIN}") from error
    with file:
        members = {
            _safe_name(info.filename, path): None if stat.S_ISLNK(info.external_attr >> 16) else info
            for info in file.infolist()
        }
        yield Zip(path, file, members)


def _safe_name(name: str, archive: Path) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise UserError(f"{archive}: member {name!r} points outside the archive: do not trust it")
    return str(path)


def load_pickle(content: bytes, name: str) -> Any:
    """Unpickle what Python 2 or 3 wrote, if it holds nothing but plain containers, numbers, strings and NumPy arrays.

    Byte strings become latin-1 text. Anything else, above all a call of any function, is a `UserError` that starts with
    `name`; so is a pickle whose line endings were converted, as a text-mode transfer does.
    """
    if (lines := content.count(b"\n")) and lines == content.count(b"\r\n"):
        raise UserError(f"{name}: its line endings were converted to CRLF: fetch the archive again, as binary")
    try:
        return _PlainUnpickler(io.BytesIO(content), encoding="latin1").load()
    except _ForbiddenError as error:
        raise UserError(f"{name}: this pickle asks for {error}, not for data: do not trust it") from error
    except Exception as error:  # a damaged pickle can raise anything that NumPy and the unpickler can
        raise UserError(f"{name}: not a readable pickle ({type(error).__name__}: {error}); {_AGAIN}") from error


class _ForbiddenError(Exception):
    pass


def _encode(text: str, _codec: str = "latin1") -> bytes:
    """Python 3 writes bytes in old protocols as `_codecs.encode(text, "latin1")`; no other codec is let in."""
    return text.encode("latin1")


# NumPy's own constructors, asked of NumPy itself. Their module is numpy.core in what NumPy 1 wrote, else numpy._core.
_ARRAY = np.zeros(1).__reduce__()[0]
_BUFFER = np.zeros(1).__reduce_ex__(5)[0]
_SCALAR = np.float64(0).__reduce__()[0]
_ALLOWED: Mapping[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _ARRAY for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _SCALAR for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _BUFFER for core in ("core", "_core")},
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise _ForbiddenError(f"{module}.{name}") from None
