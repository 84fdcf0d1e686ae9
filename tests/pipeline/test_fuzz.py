"""Thousands of damaged archives, pickles, tables and pictures: each is read or a `UserError`, never anything else."""

import gzip
import io
import pickle
import random
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pipeline import cub
from pipeline.archives import open_tar, open_zip
from pipeline.crops import open_picture, orientation, to_rgb
from pipeline.pickles import load_pickle
from pipeline.source_config import CAPTIONS_ARCHIVE, IMAGES_ARCHIVE
from stackgan.errors import UserError
from tests.pipeline.hostile import exif, picture, signed, tar_member
from tests.pipeline.tiny import tiny

Reader = Callable[[Path, bytes], object]


def damaged(content: bytes, rng: random.Random) -> bytes:
    """The content with a few bytes changed, cut out, doubled or cut off; often at numbers, which hurt most."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5))):
        place = rng.randrange(len(data) + 1)
        length = rng.choice((1, 1, 2, 4, 8, 100))
        match rng.randrange(5):
            case 0:
                data[place : place + length] = rng.randbytes(length)
            case 1:
                data[place : place + length] = rng.choice((b"\0", b"\xff", b"9", b"\x80")) * length
            case 2:
                del data[place : place + length]
            case 3:
                data[place:place] = data[place : place + length]
            case _:
                del data[max(place, len(data) // 2) :]
    return bytes(data)


def damaged_tar(content: bytes, rng: random.Random) -> bytes:
    """Damage in a header with its checksum made right again, so that it gets past the first look; or anywhere."""
    if rng.random() < 0.3:
        return damaged(content, rng)
    start = rng.choice([at for at in range(0, len(content), 512) if content[at + 257 : at + 262] == b"ustar"])
    telling = 157  # name, mode, owner, size, time, checksum, kind
    header = bytearray(damaged(content[start : start + telling], rng)[:telling].ljust(telling, b"\0"))
    return content[:start] + signed(header + content[start + telling : start + 512]) + content[start + 512 :]


def read_tar(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with open_tar(path) as tar:
        for member in tar.members.values():
            if member is not None:
                assert len(member.read()) == member.size


def read_zip(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with open_zip(path) as file:
        for name in file.members:
            file.read(name)


def read_pickle(_: Path, content: bytes) -> None:
    load_pickle(content, "a.pickle")


def read_picture(_: Path, content: bytes) -> None:
    image = open_picture(content, "a.jpg")
    assert 1 <= orientation(image) <= 8
    assert to_rgb(image).shape == (*image.size[::-1], 3)


def read_tables(path: Path, content: bytes) -> None:
    """The archive of tables is damaged, that of captions is not."""
    path.write_bytes(content)
    with open_tar(path) as images:
        cub.read(images, path.with_name(CAPTIONS_ARCHIVE))


@dataclass(frozen=True)
class Target:
    originals: Callable[[], list[bytes]]
    read: Reader
    damage: Callable[[bytes, random.Random], bytes] = damaged


def tars() -> list[bytes]:
    files: list[bytes] = []
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
            for name, content in (("a/b", b"1"), (f"long/{'x' * 80}/{'é' * 9}", b"2" * 600), ("c", b"")):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        files.append(buffer.getvalue()[:6144])
    return files


def zips() -> list[bytes]:
    files = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as file:
            file.writestr("a/é.txt", "a bird\n" * 20)
            file.writestr("b", bytes(range(200)))
        files.append(buffer.getvalue())
    return files


def pickles() -> list[bytes]:
    values = (["001.A/a", "002.B/b"], [np.int64(7), 3], [np.arange(6, dtype=np.float32).reshape(2, 3)], (1.5, b"x"))
    return [pickle.dumps(value, protocol) for value in values for protocol in (0, 2, 4)]


def pictures() -> list[bytes]:
    kinds = ("RGB JPEG", "CMYK JPEG", "P PNG", "I;16 PNG", "LA PNG", "P GIF", "RGB BMP", "LAB TIFF", "F TIFF")
    return [picture("RGB", "JPEG", exif=exif(3, b"\6\0\0\0")), *(picture(*kind.split()) for kind in kinds)]


def tables() -> list[bytes]:
    members = [(name, content) for name, content in tiny(2).images.items() if name.endswith(".txt")]
    files = [*members, ("CUB_200_2011/images/001.Red_Cardinal/Red_Cardinal_0001_1.jpg", b"")]
    return [b"".join(tar_member(name, content) for name, content in files) + b"\0" * 1024]


def damaged_tables(content: bytes, rng: random.Random) -> bytes:
    """Damage in the lines of the tables, none in the tar's headers."""
    start = rng.choice([at for at in range(0, len(content) - 1024, 512) if content[at + 257 : at + 262] != b"ustar"])
    block = damaged(content[start : start + 512], rng)[:512].ljust(512, b"\n")
    return content[:start] + block + content[start + 512 :]


TARGETS = {
    "tar": Target(tars, read_tar, damaged_tar),
    "tar.gz": Target(lambda: [gzip.compress(content) for content in tars()], read_tar),
    "zip": Target(zips, read_zip),
    "pickle": Target(pickles, read_pickle),
    "picture": Target(pictures, read_picture),
    "tables": Target(tables, read_tables, damaged_tables),
}


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("cases", [2_000, pytest.param(50_000, marks=pytest.mark.soak)])
def test_damage_is_read_or_named(name: str, cases: int, tmp_path: Path) -> None:
    tiny(2).save(tmp_path)
    path, target, rng = tmp_path / IMAGES_ARCHIVE, TARGETS[name], random.Random(f"{name} {cases}")
    originals, errors = target.originals(), 0
    for original in originals:
        target.read(path, original)
    for case in range(cases):
        content = target.damage(rng.choice(originals), rng)
        try:
            target.read(path, content)
        except UserError as error:
            errors += 1
            assert str(error)
        except BaseException as error:
            error.add_note(f"case {case}: {content!r}")
            raise
    assert errors > cases // 20  # else the damage does not reach what it should
