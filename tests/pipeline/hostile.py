"""Broken and hostile files, made by hand where the libraries refuse to write such things."""

import io
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

END = b"\0" * 1024  # of a tar
RECONSTRUCT = np.zeros(1).__reduce__()[0]  # what NumPy's pickles call


def tar_member(name: str, content: bytes = b"", *, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    """Header and content of one member."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(content)
    return info.tobuf(tarfile.GNU_FORMAT) + content + b"\0" * (-len(content) % 512)


def sized_member(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A header that claims `size`, in base 256, with a right checksum."""
    header = bytearray(tar_member(name, kind=kind))
    header[124:136] = (b"\xff" if size < 0 else b"\x80") + size.to_bytes(11, "big", signed=True)
    return signed(header)


def signed(header: bytearray) -> bytes:
    """The header with its checksum made right."""
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    return bytes(header)


def zip_of(**members: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        for name, value in members.items():
            file.writestr(name, value)
    return content.getvalue()


def rewrite_zip(path: Path, change: Callable[[zipfile.ZipFile], object]) -> None:
    """Add to a zip archive; a name may come twice."""
    with zipfile.ZipFile(path, "a") as file:
        change(file)


def png(width: int, height: int) -> bytes:
    """A PNG that claims this size and holds next to nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 100)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def picture(mode: str, kind: str, **options: bytes) -> bytes:
    """A grey picture of 90 × 70 pixels; `options` are Pillow's on saving."""
    grey = Image.new("L", (90, 70), 128)
    if mode == "I;16":
        image = Image.fromarray(np.full((70, 90), 128 * 257, np.uint16))
    else:
        image = Image.new("LAB", grey.size) if mode == "LAB" else grey.convert(mode)
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def exif(kind: int, value: bytes) -> bytes:
    """EXIF with an orientation tag of TIFF type `kind` (3 is right, a 16-bit number) and four bytes of value."""
    return b"Exif\0\0II*\0\x08\0\0\0\1\0" + struct.pack("<HHI4s", 0x0112, kind, 1, value) + b"\0\0\0\0"


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


class State(Call):
    """Pickles as a call whose result is then given `state`."""

    def __init__(self, state: tuple[object, ...], function: object, *arguments: object) -> None:
        super().__init__(function, *arguments)
        self.state = state

    def __reduce__(self) -> tuple[object, ...]:  # type: ignore[override]
        return (*self.call, self.state)


def array_pickle(shape: tuple[int, ...], kind: object, content: object) -> bytes:
    """An array with this state, as honest pickles have it, whether or not the parts fit."""
    state = (1, shape, kind, False, content)
    return pickle.dumps(State(state, RECONSTRUCT, np.ndarray, (0,), b"b"), 4)
