"""Archives that are sound as files and hold what is broken or hostile: how to make each of them, and what is said."""

import pickle

import numpy as np

from tests.pipeline.hostile import Call, State, array_pickle, picture, png
from tests.pipeline.hostile_archives import AGAIN, CAPTIONS, HTML, IMAGES, NUMBERS, ROOT, STEMS, Change
from tests.pipeline.tiny import Tiny


def stems(content: bytes) -> Change:
    return lambda data: data.captions.update({STEMS: content})


def unreadable(reason: str) -> str:
    return f"{CAPTIONS}: {STEMS}: not a readable pickle ({reason}); {AGAIN}"


def forbidden(function: str) -> str:
    return f"{CAPTIONS}: {STEMS}: this pickle asks for {function}, not for data: do not trust it"


def bad_entry(kind: str, file: str = STEMS, place: int = 1) -> str:
    return f"{CAPTIONS}: {file}, entry {place} is no picture's, but a wrong value of type {kind}"


PICKLES: dict[str, tuple[Change, str]] = {
    "pickle: a command": (stems(b"cos\nsystem\n(S'touch owned'\ntR."), forbidden("os.system")),
    "pickle: eval": (stems(pickle.dumps(Call(eval, "1"), 2)), forbidden("__builtin__.eval")),
    "pickle: an attribute of an attribute": (
        stems(b"\x80\x04\x8c\x05numpy\x8c\x0ddtype.__mro__\x93."),
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
        unreadable("EOFError: "),
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
        bad_entry("array", NUMBERS),
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


def two_boxes_outside(data: Tiny) -> None:
    boxes("900 12 5 5")(data)
    data.edit("bounding_boxes.txt", "\n2 10.0", "\n2 -90.0")


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
    "picture: truncated": (pictures(picture("RGB", "JPEG")[:400]), unusable("unreadable picture (…)")),
    "box: outside": (
        two_boxes_outside,
        unusable("box (900.0, 12.0, 5.0, 5.0) lies outside the frame of (97, 75)"),
    ),
    "captions: empty": (texts(b""), unusable("no captions")),
    "captions: nothing to see": (texts(b"\x1b\x00\x07\n \xe2\x80\x8b\n\xff\n"), unusable("no captions")),
}
