import io
import json
from pathlib import Path

import pytest
from PIL import Image

from pipeline import manifest, prepare
from pipeline.paths import Paths
from stackgan.errors import UserError
from tests.pipeline.conftest import PRESET, Project
from tests.pipeline.tiny import tiny

PATHS = Paths(PRESET)
FOLDER = "CUB_200_2011/images/001.Red_Cardinal"


def outputs() -> list[Path]:
    return [path for path in (PATHS.manifest, PATHS.dataset_report, PATHS.contact_sheet) if path.exists()]


def test_manifest_report_and_sheet_say_what_the_data_set_is(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare.run(project(tiny()))
    said = capsys.readouterr().err
    assert "`evaluate` wants 8 pictures of each split" in said
    assert "15 training pictures fill no batch of 64" in said
    pictures = manifest.read(PATHS.manifest)
    assert len(pictures) == 20
    report = json.loads(PATHS.dataset_report.read_text())
    figures = {name: value for name, value in report.items() if not isinstance(value, dict | list)}
    assert figures == {
        "pictures": 20,
        "train": 15,
        "test": 5,
        "species": 4,
        "train_species": 3,
        "test_species": 1,
        "captions": 60,
        "words": 9,
        "words_per_caption": 6.0,
        "dropped": 0,
        "boxes_clipped": 0,
        "converted_to_rgb": 0,
    }
    assert report["captions_per_picture"] == {"3": 20}
    assert report["picture_width"] == {"min": 90, "median": 100.5, "max": 111}
    assert report["species_counts"][1] == {"species": "002.Blue_Jay", "train": 0, "test": 5}
    assert report["frequent_words"][0] == {"word": "a", "count": 60}
    with Image.open(PATHS.contact_sheet) as sheet:
        assert sheet.height > 4 * 128
        assert sheet.width > 5 * 128


def test_equal_runs_write_equal_bytes(project: Project) -> None:
    params = project(tiny(), "split=by-image")
    prepare.run(params)
    first = [path.read_bytes() for path in outputs()]
    prepare.run(params)
    assert [path.read_bytes() for path in outputs()] == first


def test_what_is_wrong_with_a_picture_is_recorded(project: Project) -> None:
    data = tiny(60)  # 240: two dropped pictures are less than 1%
    data.images[f"{FOLDER}/Red_Cardinal_0001_1.jpg"] = data.images[f"{FOLDER}/Red_Cardinal_0001_1.jpg"][:600]
    del data.captions["birds/text_c10/001.Red_Cardinal/Red_Cardinal_0002_2.txt"]
    data.edit("bounding_boxes.txt", "\n3 11.0 12.0 50.0", "\n3 11.0 12.0 500.0")
    data.images[f"{FOLDER}/Red_Cardinal_0004_4.jpg"] = tagged_grey_picture()
    prepare.run(project(data))
    report = json.loads(PATHS.dataset_report.read_text())
    assert (report["pictures"], report["dropped"], report["boxes_clipped"], report["converted_to_rgb"]) == (
        238,
        2,
        1,
        1,
    )
    problems = {(problem["picture"][-10:-4], problem["action"]): problem["problem"] for problem in report["problems"]}
    assert set(problems) == {
        ("0001_1", "dropped"),
        ("0002_2", "dropped"),
        ("0003_3", "clipped"),
        ("0004_4", "converted"),
        ("0004_4", "ignored"),
    }
    assert problems["0001_1", "dropped"].startswith("unreadable picture (")
    assert problems["0002_2", "dropped"] == "no captions"
    pictures = {picture.id: picture for picture in manifest.read(PATHS.manifest)}
    assert {1, 2}.isdisjoint(pictures)
    assert pictures[3].bbox == (11.0, 12.0, 111 - 11.0, 33.0)


def tagged_grey_picture() -> bytes:
    image, buffer = Image.new("L", (90, 80), 128), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def test_too_many_broken_pictures_are_an_error_and_write_nothing(project: Project) -> None:
    data = tiny()
    data.images[f"{FOLDER}/Red_Cardinal_0001_1.jpg"] = b"no picture"
    data.edit("bounding_boxes.txt", "\n2 10.0", "\n2 900.0")
    with pytest.raises(UserError, match=r"2 of 20 pictures are unusable, the first is .*0001_1\.jpg"):
        prepare.run(project(data))
    assert outputs() == []


def test_a_broken_picture_moves_no_other_to_the_other_side(project: Project) -> None:
    data = tiny()
    prepare.run(project(data, "split=by-image"))
    before = {picture.name: picture.split for picture in manifest.read(PATHS.manifest)}
    data.images[f"{FOLDER}/Red_Cardinal_0001_1.jpg"] = b"no picture"
    prepare.run(project(data, "split=by-image"))
    after = {picture.name: picture.split for picture in manifest.read(PATHS.manifest)}
    assert after == {name: split for name, split in before.items() if not name.endswith("Red_Cardinal_0001_1.jpg")}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("species=1", "`dvc exp run -S species=1 -S split=by-image`"),
        ('species=["Blue Jay"]', "no train pictures"),
        ('species=["Blue Jey"]', "did you mean Blue_Jay"),
        ("species=5", "the archives know 4 species"),
    ],
)
def test_a_choice_that_cannot_be_met_writes_nothing(project: Project, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        prepare.run(project(tiny(), override))
    assert outputs() == []
