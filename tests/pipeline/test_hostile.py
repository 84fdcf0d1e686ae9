"""What may come from the internet, through the command line: one clear line, exit code 1, nothing left behind."""

import json
import sys
import tempfile
import warnings
from pathlib import Path

import pytest

from pipeline import cli, console, manifest, prepare
from pipeline.paths import Paths
from tests.messages import agrees
from tests.pipeline.conftest import PRESET, Project
from tests.pipeline.hostile import exif, picture
from tests.pipeline.hostile_archives import ARCHIVES, ROOT
from tests.pipeline.hostile_members import PICKLES, PICTURES, TABLES
from tests.pipeline.tiny import tiny

MEMBERS = PICKLES | TABLES | PICTURES


@pytest.fixture(autouse=True)
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process, temporary files where they can be counted, and no trace of `main` in this process."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr("pipeline.workers.cores", lambda: 1)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)


def tree(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if "__pycache__" not in path.parts}


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["stackgan", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert isinstance(end.value.code, int)
    return end.value.code


@pytest.mark.parametrize("name", ARCHIVES | MEMBERS)
def test_data(
    name: str, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tiny(2)
    change, message = (ARCHIVES | MEMBERS)[name]
    if name in MEMBERS:
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
    content = [long.encode(), b"a \x1b[31mred\x1b[0m\x07 bird\x00", b"caf\xe9 bird", "a 🐦 bird, \u202edrow".encode()]
    data.captions["birds/text_c10/001.Red_Cardinal/Red_Cardinal_0001_1.txt"] = b"\n".join(content)
    prepare.run(project(data))
    assert len(long) == 9999
    captions = manifest.read(Paths(PRESET).manifest)[0].captions
    assert captions == (long, "a [31mred [0m bird", "caf bird", "a 🐦 bird, drow")


def test_what_is_shown_of_the_data_set_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console.info("a \x1b[2J bird \u202e \x9b \udcff [bold]")
    assert capsys.readouterr().err == "a \\x1b[2J bird \\u202e \\x9b \\udcff [bold]\n"
