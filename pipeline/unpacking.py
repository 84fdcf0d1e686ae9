"""How far an archive may grow when it is unpacked, and what the unpacking of a damaged one can raise.

Pictures hardly shrink in an archive and captions shrink to a third, so what grows beyond `MOST_TIMES` is a bomb.
"""

import gzip
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

ALWAYS_ALLOWED = 64 << 20  # bytes: small archives of zeros and repetitions are harmless
MOST_TIMES = 20
BLOCK = 1 << 20

GZIP_ERRORS = (EOFError, zlib.error, gzip.BadGzipFile)
TAR_ERRORS = (tarfile.TarError, EOFError, OSError, ValueError, OverflowError, MemoryError, RecursionError)
# RuntimeError: encrypted; OSError: bzip2's own.
ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    MemoryError,
    RuntimeError,
    NotImplementedError,
)


class BombError(Exception):
    """The message ends a sentence that begins with the archive."""


def gunzip(path: Path) -> Iterator[bytes]:
    """The content of a gzip file in blocks of at most 1 MiB; one of `GZIP_ERRORS`, or a `BombError`, if it is bad."""
    left = _most(path)
    with gzip.open(path) as stream:
        while block := stream.read(BLOCK):
            left -= len(block)
            _require(left >= 0)
            yield block


def check_sizes(path: Path, file: zipfile.ZipFile) -> None:
    """Raise a `BombError` if a zip's members would be too large together; `ZipFile.read` gives no more than it says."""
    _require(sum(info.file_size for info in file.infolist()) <= _most(path))


def _most(path: Path) -> int:
    return ALWAYS_ALLOWED + MOST_TIMES * path.stat().st_size


def _require(fits: bool) -> None:
    if not fits:
        raise BombError(f"unpacks to more than {MOST_TIMES} times its size")
