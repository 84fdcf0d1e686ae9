"""Archives that are broken or hostile as files: how to make each of them, and what is said of it."""

import gzip
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable

from pipeline.paths import Paths
from tests.pipeline.conftest import PRESET
from tests.pipeline.hostile import END, rewrite_zip, sized_member, tar_member, zip_of
from tests.pipeline.tiny import Tiny

RAW = Paths(PRESET).raw
IMAGES, CAPTIONS = RAW / "CUB_200_2011.tgz", RAW / "birds.zip"
ROOT = "CUB_200_2011"
STEMS, NUMBERS = "birds/train/filenames.pickle", "birds/train/class_info.pickle"
AGAIN = "run `dvc repro --force --single-item download` to fetch it again"
DISTRUST = "do not trust this archive"
ZEROS = b"\0" * (80 << 20)
HTML = b"<!DOCTYPE html><title>Quota exceeded</title>"

Change = Callable[[Tiny], object]


def images(content: Callable[[], bytes]) -> Change:
    """Replace the images archive."""
    return lambda _: IMAGES.write_bytes(content())


def more_images(*members: bytes) -> Change:
    """Put members before the others of the images archive."""
    return lambda _: IMAGES.write_bytes(b"".join(members) + gzip.decompress(IMAGES.read_bytes()))


def captions(content: Callable[[], bytes]) -> Change:
    return lambda _: CAPTIONS.write_bytes(content())


def more_captions(change: Callable[[zipfile.ZipFile], object]) -> Change:
    return lambda _: rewrite_zip(CAPTIONS, change)


def linked(_: Tiny) -> None:
    """Captions whose list of names is a link."""
    info = zipfile.ZipInfo(STEMS)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    CAPTIONS.unlink()
    rewrite_zip(CAPTIONS, lambda file: file.writestr(info, "/etc/passwd"))


def damaged_member(method: int) -> Change:
    """Captions compressed by `method`, with damage inside."""

    def change(_: Tiny) -> None:
        with zipfile.ZipFile(CAPTIONS, "w", method) as file:
            file.writestr(STEMS, os.urandom(300))
        content = bytearray(CAPTIONS.read_bytes())
        start = 30 + len(STEMS) + 10
        content[start : start + 40] = b"\xff" * 40
        CAPTIONS.write_bytes(content)

    return change


ARCHIVES: dict[str, tuple[Change, str]] = {
    "tar: empty": (images(lambda: b""), f"{IMAGES} is no tar archive, or a damaged one (empty file); {AGAIN}"),
    "tar: a web page": (
        images(lambda: HTML),
        f"{IMAGES} is no tar archive, or a damaged one (truncated header); {AGAIN}",
    ),
    "tar: a zip": (
        images(lambda: zip_of(x=os.urandom(600))),
        f"{IMAGES} is no tar archive, or a damaged one (invalid header); {AGAIN}",
    ),
    "tar: half": (
        lambda _: IMAGES.write_bytes(IMAGES.read_bytes()[:3000]),
        f"{IMAGES} is truncated or damaged (Compressed file ended before …); {AGAIN}",
    ),
    "tar: half, not gzipped": (
        lambda _: IMAGES.write_bytes(gzip.decompress(IMAGES.read_bytes())[:3000]),
        f"{IMAGES} is no tar archive, or a damaged one (unexpected end of data); {AGAIN}",
    ),
    "tar: a bomb": (
        images(lambda: gzip.compress(ZEROS, 1)),
        f"{IMAGES} unpacks to more than 20 times its size: {DISTRUST}",
    ),
    "tar: traversal": (
        more_images(tar_member("../../etc/cron.d/x", b"x")),
        f"{IMAGES}: member '../../etc/cron.d/x' points outside the archive: {DISTRUST}",
    ),
    "tar: absolute": (
        more_images(tar_member("/etc/passwd", b"x")),
        f"{IMAGES}: member '/etc/passwd' points outside the archive: {DISTRUST}",
    ),
    "tar: terminal escapes in a name": (
        more_images(tar_member("../\x1b[2J", b"x")),
        f"{IMAGES}: member '../\\x1b[2J' points outside the archive: {DISTRUST}",
    ),
    **{
        f"tar: {word}": (
            images(lambda kind=kind: tar_member(f"{ROOT}/classes.txt", kind=kind, link="/etc/passwd") + END),  # type: ignore[misc]
            f"{IMAGES}: {ROOT}/classes.txt is a link or a device where a file should be: {DISTRUST}",
        )
        for word, kind in {
            "symlink": tarfile.SYMTYPE,
            "hard link": tarfile.LNKTYPE,
            "device": tarfile.BLKTYPE,
            "fifo": tarfile.FIFOTYPE,
        }.items()
    },
    "tar: a member twice": (
        images(
            lambda: tar_member(f"{ROOT}/classes.txt", b"1 a\n") + tar_member(f"./{ROOT}/classes.txt", b"one\n") + END
        ),
        f"{IMAGES}: classes.txt, line 1: 'one' is not a number and 1 value",
    ),
    "tar: oversized": (
        images(lambda: sized_member("x", 10**13) + END),
        f"{IMAGES} is no tar archive, or a damaged one (unexpected end of data); {AGAIN}",
    ),
    "tar: oversized beyond numbers": (
        images(lambda: sized_member("x", 2**80) + END),
        f"{IMAGES} is no tar archive, or a damaged one (cannot fit 'int' into an offset-sized integer); {AGAIN}",
    ),
    "tar: negative size": (
        images(lambda: tar_member("a") + tar_member("b") + sized_member("c", -1024) + END),
        f"{IMAGES} is no tar archive, or a damaged one (negative size); {AGAIN}",
    ),
    "tar: a name of terabytes": (
        images(lambda: sized_member("x", 1 << 62, tarfile.GNUTYPE_LONGNAME) + END),
        f"{IMAGES} is no tar archive, or a damaged one (MemoryError); {AGAIN}",
    ),
    "zip: empty": (
        captions(lambda: b""),
        f"{CAPTIONS} is no zip archive, or a damaged one (File is not a zip file); {AGAIN}",
    ),
    "zip: a web page": (
        captions(lambda: HTML),
        f"{CAPTIONS} is no zip archive, or a damaged one (File is not a zip file); {AGAIN}",
    ),
    "zip: a tar": (
        captions(lambda: tar_member("x") + END),
        f"{CAPTIONS} is no zip archive, or a damaged one (File is not a zip file); {AGAIN}",
    ),
    "zip: half": (
        lambda _: CAPTIONS.write_bytes(CAPTIONS.read_bytes()[:3000]),
        f"{CAPTIONS} is no zip archive, or a damaged one (File is not a zip file); {AGAIN}",
    ),
    "zip: a bomb": (
        captions(lambda: zip_of(x=ZEROS)),
        f"{CAPTIONS} unpacks to more than 20 times its size: {DISTRUST}",
    ),
    "zip: traversal": (
        more_captions(lambda file: file.writestr("birds/../../x", "")),
        f"{CAPTIONS}: member 'birds/../../x' points outside the archive: {DISTRUST}",
    ),
    "zip: absolute": (
        more_captions(lambda file: file.writestr("/etc/passwd", "")),
        f"{CAPTIONS}: member '/etc/passwd' points outside the archive: {DISTRUST}",
    ),
    "zip: symlink": (
        linked,
        f"{CAPTIONS}: {STEMS} is a link where a file should be: {DISTRUST}",
    ),
    "zip: damaged bzip2": (
        damaged_member(zipfile.ZIP_BZIP2),
        f"{CAPTIONS}: {STEMS} cannot be read (Invalid data stream); {AGAIN}",
    ),
    "zip: damaged lzma": (
        damaged_member(zipfile.ZIP_LZMA),
        f"{CAPTIONS}: {STEMS} cannot be read (Corrupt input data); {AGAIN}",
    ),
}
