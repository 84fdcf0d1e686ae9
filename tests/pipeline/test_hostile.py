"""What may come from the internet, through the command line: one clear line, exit code 1, nothing left behind."""

import gzip
import json
import os
import pickle
import stat
import sys
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline import cli, console, manifest, prepare, workers
from pipeline.paths import Paths
from tests.messages import agrees
from tests.pipeline.conftest import PRESET, Project
from tests.pipeline.hostile import (
    END,
    Call,
    State,
    array_pickle,
    exif,
    picture,
    png,
    rewrite_zip,
    sized_member,
    tar_member,
    zip_of,
)
from tests.pipeline.tiny import Tiny, tiny

RAW = Paths(PRESET).raw
IMAGES, CAPTIONS = RAW / "CUB_200_2011.tgz", RAW / "birds.zip"
ROOT = "CUB_200_2011"
STEMS, NUMBERS = "birds/train/filenames.pickle", "birds/train/class_info.pickle"
AGAIN = "run `dvc repro --force download` to fetch it again"
DISTRUST = "do not trust this archive"
ZEROS = b"\0" * (70 << 20)
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


def stems(content: bytes) -> Change:
    return lambda data: data.captions.update({STEMS: content})


def unreadable(reason: str) -> str:
    return f"{CAPTIONS}: {STEMS}: not a readable pickle ({reason}); {AGAIN}"


def forbidden(function: str) -> str:
    return f"{CAPTIONS}: {STEMS}: this pickle asks for {function}, not for data: do not trust it"


def bad_entry(kind: str, file: str = STEMS, place: int = 1) -> str:
    return f"{CAPTIONS}: {file}, entry {place} is no picture's, but a bad value of type {kind}"


PICKLES: dict[str, tuple[Change, str]] = {
    "pickle: a command": (stems(b"cos\nsystem\n(S'touch owned'\ntR."), forbidden("os.system")),
    "pickle: eval": (stems(pickle.dumps(Call(eval, "1"), 2)), forbidden("__builtin__.eval")),
    "pickle: an attribute of an attribute": (
        stems(b"\x80\x04\x8c\x05numpy\x8c\x0bdtype.__mro__\x93."),
        forbidden("numpy.dtype.__mro__"),
    ),
    "pickle: an array called": (
        stems(pickle.dumps(Call(np.ndarray, (10**10,)), 2)),
        unreadable("TypeError: object() takes no arguments"),
    ),
    # NumPy itself crashes on these two.
    "pickle: an array of objects without its objects": (
        stems(array_pickle((10**6,), np.dtype("O"), [])),
        unreadable("ValueError: an array of 'O8'"),
    ),
    "pickle: a type that hides objects": (
        stems(
            array_pickle(
                (1,), State((3, "|", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 1, 0), np.dtype, "V8"), b"AAAAAAAA"
            )
        ),
        unreadable("ValueError: an array of 'V8'"),
    ),
    "pickle: an array larger than its bytes": (
        stems(array_pickle((10**10,), np.dtype("f8"), b"12345678")),
        unreadable("ValueError: 8 bytes for shape (10000000000,)"),
    ),
    "pickle: an endless array of nothing": (
        stems(array_pickle((10**12, 0), np.dtype("f8"), b"")),
        unreadable("ValueError: 0 bytes for shape (1000000000000, 0)"),
    ),
    "pickle: a memo of gigabytes": (
        stems(b"\x80\x02]r" + (2**32 - 1).to_bytes(4, "little") + b"."),
        f"{CAPTIONS}: {STEMS} has 0 entries, {NUMBERS} 6",
    ),
    "pickle: a text of terabytes": (
        stems(b"\x80\x04\x8d" + (10**13).to_bytes(8, "little") + b"x."),
        unreadable("UnpicklingError: pickle exhausted before end of frame"),
    ),
    "pickle: a mapping": (stems(pickle.dumps({"a": 1})), unreadable("ValueError: it holds a mapping or a set")),
    "pickle: truncated": (stems(pickle.dumps(["a" * 50], 2)[:20]), unreadable("EOFError: ")),
    "pickle: empty": (stems(b""), unreadable("EOFError: ")),
    "pickle: a web page": (stems(HTML), unreadable("KeyError: 60")),
    "pickle: no list": (stems(pickle.dumps("abc")), f"{CAPTIONS}: {STEMS} holds a str, not a list"),
    "pickle: lists in lists in lists": (
        stems(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."),
        bad_entry("list"),
    ),
    "pickle: names that are numbers": (stems(pickle.dumps([1, 2])), bad_entry("int")),
    "pickle: too few": (stems(pickle.dumps(["a"])), f"{CAPTIONS}: {STEMS} has 1 entries, {NUMBERS} 6"),
    "pickle: a species that is an array": (
        lambda data: data.captions.update({NUMBERS: pickle.dumps([np.arange(3)] * 6)}),
        bad_entry("_Array", NUMBERS),
    ),
    "pickle: a species beyond all numbers": (
        lambda data: data.captions.update({NUMBERS: pickle.dumps([1, 10**6000])}),
        bad_entry("int", NUMBERS, 2),
    ),
}


def table(name: str, content: bytes) -> Change:
    return lambda data: data.images.update({f"{ROOT}/{name}": content})


def boxes(values: str) -> Change:
    return lambda data: data.edit("bounding_boxes.txt", "1 9.0 12.0 50.0 31.0", f"1 {values}")


BOXES = f"{IMAGES}: bounding_boxes.txt, picture 1:"

TABLES: dict[str, tuple[Change, str]] = {
    "table: no species": (table("classes.txt", b"\n"), f"{IMAGES}: classes.txt lists no species"),
    "table: no pictures at all": (
        lambda data: [data.images.pop(name) for name in list(data.images) if name.endswith(".jpg")],
        f"{IMAGES}: it holds none of the 8 pictures that images.txt lists",
    ),
    "table: a number of 5,000 digits": (
        table("classes.txt", b"9" * 5000 + b" x\n"),
        f"{IMAGES}: classes.txt, line 1: '{'9' * 1900}…",
    ),
    "table: a species of 5,000 digits": (
        lambda data: data.edit("image_class_labels.txt", "1 1", "1 1" + "0" * 4999),
        f"{IMAGES}: image_class_labels.txt gives picture 1 species 1000…",
    ),
    "table: no text": (
        table("images.txt", b"1 \xff\xfe\n"),
        f"{IMAGES}: images.txt is not text ('utf-8' codec can't decode byte 0xff in position 2: invalid start byte)",
    ),
    "table: terminal escapes": (
        table("classes.txt", b"1 \x1b]0;owned\x07\n"),
        f"{IMAGES}: image_class_labels.txt gives picture 1 species 1, but its folder is 001.Red_Cardinal",
    ),
    "table: terminal escapes in a name": (
        lambda data: data.edit("images.txt", "1 001.Red_Cardinal/", "1 \x1b[2J\x9b31m"),
        f"{IMAGES}: images.txt gives picture 1 the name '\\x1b[2J\\x9b31mRed_Cardinal_0001_1.jpg', not …",
    ),
    "table: a missing line": (
        lambda data: data.edit("bounding_boxes.txt", "1 9.0 12.0 50.0 31.0\n", ""),
        f"{IMAGES}: bounding_boxes.txt has no line for picture 1 (1 such)",
    ),
    "table: an id twice": (
        lambda data: data.edit("bounding_boxes.txt", "1 9.0", "2 9.0"),
        f"{IMAGES}: bounding_boxes.txt, line 2: number 2 is there twice",
    ),
    "table: truth nested without end": (
        table("truth.jsonl", b"[" * 100_000),
        f"{IMAGES}: truth.jsonl, line 1 is not a picture's truth (maximum recursion depth exceeded …)",
    ),
    "table: truth that is no text": (
        table("truth.jsonl", b'{"name": "x", "head": ["red"]}'),
        f"{IMAGES}: truth.jsonl, line 1 is not a picture's truth (not every value is a text)",
    ),
    "box: NaN": (boxes("nan 1 2 3"), f"{BOXES} a box of 2.0 × 3.0 pixels at nan, 1.0 is impossible"),
    "box: infinite": (boxes("1 1 inf 3"), f"{BOXES} a box of inf × 3.0 pixels at 1.0, 1.0 is impossible"),
    "box: zero area": (boxes("1 1 0 3"), f"{BOXES} a box of 0.0 × 3.0 pixels at 1.0, 1.0 is impossible"),
    "box: negative size": (boxes("1 1 2 -3"), f"{BOXES} a box of 2.0 × -3.0 pixels at 1.0, 1.0 is impossible"),
    "box: words": (boxes("a b c d"), f"{BOXES} 'a b c d' are not four numbers"),
}


def pictures(content: bytes) -> Change:
    """Spoil two pictures: one might be left out."""
    names = [f"{ROOT}/images/001.Red_Cardinal/Red_Cardinal_000{number}_{number}.jpg" for number in (1, 2)]
    return lambda data: data.images.update(dict.fromkeys(names, content))


def unusable(reason: str) -> str:
    first = "001.Red_Cardinal/Red_Cardinal_0001_1.jpg"
    return f"{IMAGES}: 2 of 8 pictures are unusable, the first is {first} ({reason}): fetch the archives again"


def texts(content: bytes) -> Change:
    names = [f"birds/text_c10/001.Red_Cardinal/Red_Cardinal_000{number}_{number}.txt" for number in (1, 2)]
    return lambda data: data.captions.update(dict.fromkeys(names, content))


PICTURES: dict[str, tuple[Change, str]] = {
    "picture: empty": (pictures(b""), unusable("unreadable picture (no picture at all)")),
    "picture: a web page": (pictures(HTML), unusable("unreadable picture (no picture at all)")),
    "picture: PostScript": (pictures(b"%!PS-Adobe-3.0 EPSF-3.0\n"), unusable("unreadable picture (no picture at all)")),
    "picture: 0 × 0": (pictures(png(0, 0)), unusable("unreadable picture (no picture at all)")),
    "picture: 50,000 × 50,000": (pictures(png(50_000, 50_000)), unusable("unreadable picture (Image size …)")),
    "picture: 9,000,000 × 1": (
        pictures(png(9_000_000, 1)),
        unusable("unreadable picture (9000000 × 1 pixels are too many)"),
    ),
    "picture: truncated": (pictures(picture("RGB", "JPEG")[:400]), unusable("unreadable picture (…truncated…)")),
    "box: outside": (
        lambda data: (boxes("900 12 5 5")(data), data.edit("bounding_boxes.txt", "2 10.0", "2 -90.0")),
        unusable("box (900.0, 12.0, 5.0, 5.0) lies outside the frame of (97, 75)"),
    ),
    "captions: empty": (texts(b""), unusable("no captions")),
    "captions: nothing to see": (texts(b"\x1b\x00\x07\n \xe2\x80\x8b\n\xff\n"), unusable("no captions")),
}

BEFORE_SAVING = PICKLES | TABLES | PICTURES


@pytest.fixture(autouse=True)
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process, temporary files where they can be counted, and no trace of `main` in this process."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(workers.os, "cpu_count", lambda: 1)
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)


def tree(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if "__pycache__" not in path.parts}


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["stackgan", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert isinstance(end.value.code, int)
    return end.value.code


@pytest.mark.parametrize("name", ARCHIVES | BEFORE_SAVING)
def test_data(
    name: str, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tiny(2)
    change, message = (ARCHIVES | BEFORE_SAVING)[name]
    if name in BEFORE_SAVING:
        change(data)
    project(data)
    if name in ARCHIVES:
        change(data)
    before = tree(tmp_path)
    assert run(monkeypatch, "prepare", "--preset", PRESET, "-S", "species=all") == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 or said[0].startswith("check pictures: ")
    assert agrees(said[-1].removeprefix("error: "), message), said[-1]
    assert tree(tmp_path) == before


def member(number: int) -> str:
    return f"{ROOT}/images/001.Red_Cardinal/Red_Cardinal_{number:04d}_{number}.jpg"


def test_strange_but_sound_pictures_are_read(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    data = tiny(8)
    strange = [
        picture("CMYK", "JPEG"),
        picture("I;16", "PNG"),
        picture("P", "PNG", transparency=b"\0\x80\xff"),
        picture("LAB", "TIFF"),
        picture("RGB", "JPEG", exif=exif(3, b"\6\0\0\0")),  # turned by a quarter
        picture("RGB", "JPEG", exif=exif(2, b"up\0\0")),
        picture("RGB", "JPEG", exif=exif(3, b"\xff\xff\0\0")),
        picture("RGB", "JPEG", exif=b"Exif\0\0nonsense"),
    ]
    for number, content in enumerate(strange, start=1):
        data.images[member(number)] = content
    data.edit("bounding_boxes.txt", "\n2 10.0 12.0", "\n2 -10.0 -5.0")
    prepare.run(project(data))
    report = json.loads(Paths(PRESET).dataset_report.read_text())
    assert [(row["picture"][-5], row["problem"], row["action"]) for row in report["problems"]] == [
        ("1", "CMYK instead of RGB", "converted"),
        ("2", "box (-10.0, -5.0, 50.0, 32.0) leaves the frame of (90, 70)", "clipped"),
        ("2", "I;16 instead of RGB", "converted"),
        ("3", "P instead of RGB", "converted"),
        ("4", "LAB instead of RGB", "converted"),
        ("5", "EXIF orientation 6; boxes know none", "ignored"),
    ]
    assert "Warning" not in capfd.readouterr().err


def test_strange_but_sound_captions_are_read(project: Project) -> None:
    data = tiny(2)
    long = " ".join(["bird"] * 2000)
    content = [long.encode(), b"a \x1b[31mred\x1b[0m\x07 bird\x00", b"caf\xe9 bird", "a 🐦 bird, ‮drow".encode()]
    data.captions["birds/text_c10/001.Red_Cardinal/Red_Cardinal_0001_1.txt"] = b"\n".join(content)
    prepare.run(project(data))
    assert len(long) == 9999
    captions = manifest.read(Paths(PRESET).manifest)[0].captions
    assert captions == (long, "a [31mred [0m bird", "caf bird", "a 🐦 bird, drow")


def test_what_is_shown_of_the_data_set_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console.info("a \x1b[2J bird \u202e \x9b \udcff [bold]")
    assert capsys.readouterr().err == "a \\x1b[2J bird \\u202e \\x9b \\udcff [bold]\n"
