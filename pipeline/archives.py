"""Archives as they came, read and never unpacked: no loose files, and nothing that a member's name could overwrite.

Members are named without a leading `./`; of several with the same name the last counts. A name that leads out of the
archive makes the whole archive suspect and is an error, and so is a size that no such archive grows to; links,
devices and sparse files are an error once something reads them.
"""

import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.files import read_slice, require, scratch
from pipeline.unpacking import GZIP_ERRORS, TAR_ERRORS, ZIP_ERRORS, BombError, check_sizes, gunzip
from stackgan.errors import UserError, make_anew

_GZIP = b"\x1f\x8b"
_DISTRUST = "do not trust this archive"
AGAIN = f"{make_anew('download')} to fetch it again"


@dataclass(frozen=True)
class Member:
    """Where a tar's member lies: all that another process needs to read it."""

    archive: Path
    offset: int
    size: int

    def read(self) -> bytes:
        return read_slice(self.archive, self.offset, self.size)


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
            raise UserError(f"{self.path}: {name} is missing; {AGAIN}")
        member = self.members[name]
        if member is None:
            raise UserError(f"{self.path}: {name} is a link or a device where a file should be: {_DISTRUST}")
        return member

    def read(self, name: str) -> bytes:
        return self.member(name).read()


@contextmanager
def open_tar(path: Path) -> Iterator[Tar]:
    """Open a tar, gzipped or plain, for random access from any process.

    A gzipped one is decompressed once, to a temporary file that goes when the block ends (1.2 GB for CUB-200-2011, in
    `TMPDIR`). A broken or unsafe one is a `UserError`.
    """
    require(path, made_by="download")
    with scratch(Path(tempfile.gettempdir()) / "archive") as folder:
        plain = _plain(path, folder)
        try:
            with tarfile.open(plain, "r:") as tar:
                members = {_safe_name(info.name, path): _member(info, plain) for info in tar}
        except TAR_ERRORS as error:
            raise UserError(f"{path} is no tar archive, or a damaged one ({_reason(error)}); {AGAIN}") from error
        yield Tar(path, members)


def _plain(path: Path, folder: Path) -> Path:
    with path.open("rb") as file:
        if file.read(2) != _GZIP:
            return path
    plain = folder / "archive.tar"
    try:
        with plain.open("wb") as target:
            target.writelines(gunzip(path))
    except GZIP_ERRORS as error:
        raise UserError(f"{path} is truncated or damaged ({error}); {AGAIN}") from error
    except BombError as error:
        raise UserError(f"{path} {error}: {_DISTRUST}") from error
    except OSError as error:
        raise UserError(
            f"{path} cannot be decompressed to {folder} ({error.strerror}): set TMPDIR to a larger one"
        ) from error
    return plain


def _member(info: tarfile.TarInfo, plain: Path) -> Member | None:
    if info.size < 0:  # would lead back to a member that was there already, for ever
        raise tarfile.ReadError("negative size")
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
            raise UserError(f"{self.path}: {name} is missing; {AGAIN}")
        member = self.members[name]
        if member is None:
            raise UserError(f"{self.path}: {name} is a link where a file should be: {_DISTRUST}")
        try:
            return self.file.read(member)
        except ZIP_ERRORS as error:
            raise UserError(f"{self.path}: {name} cannot be read ({_reason(error)}); {AGAIN}") from error


@contextmanager
def open_zip(path: Path) -> Iterator[Zip]:
    """Open a zip archive; a broken or unsafe one is a `UserError`."""
    require(path, made_by="download")
    try:
        file = zipfile.ZipFile(path)
        check_sizes(path, file)
    except ZIP_ERRORS as error:
        raise UserError(f"{path} is no zip archive, or a damaged one ({_reason(error)}); {AGAIN}") from error
    except BombError as error:
        raise UserError(f"{path} {error}: {_DISTRUST}") from error
    with file:
        members = {
            _safe_name(info.filename, path): None if stat.S_ISLNK(info.external_attr >> 16) else info
            for info in file.infolist()
        }
        yield Zip(path, file, members)


def _safe_name(name: str, archive: Path) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise UserError(f"{archive}: member {name!r} points outside the archive: {_DISTRUST}")
    return str(path)


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
