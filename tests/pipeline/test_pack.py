import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from pipeline import cub, download, pack, params, prepare
from pipeline.archives import open_tar
from pipeline.crops import Cutter, Pixels, cut_crops
from pipeline.manifest import Picture, read
from pipeline.paths import Paths
from stackgan.errors import UserError
from tests.conftest import PROJECT
from tests.pipeline.fruits import COLOURS, draw_fruits

PATHS = Paths("fruits")
OWN = ("species=all", "split=by-image")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The fruits, beside a project that is the current folder."""
    (tmp_path / "project").mkdir()
    shutil.copy(PROJECT / "params.yaml", tmp_path / "project")
    shutil.copytree(PROJECT / "presets", tmp_path / "project" / "presets")
    monkeypatch.chdir(tmp_path / "project")
    return draw_fruits(tmp_path / "Fruits", 4)


def pictures() -> list[Picture]:
    chosen = params.load("fruits", OWN)
    download.run(chosen)
    return cub.read_dataset(PATHS.raw, chosen.source)


def test_what_was_packed_is_what_later_stages_read(folder: Path) -> None:
    pack.run(folder)
    found = pictures()
    assert {picture.species for picture in found} == {"001.apple", "002.banana", "003.lime", "004.ripe_plum"}
    assert len(found) == 16
    assert {picture.name for picture in found} >= {"001.apple/no_0.jpg", "004.ripe_plum/no_3.jpg"}
    assert found[-1].captions[1] == "this fruit is purple"
    assert {picture.species for picture in found if picture.split == "test"} == {"004.ripe_plum"}
    prepare.run(params.load("fruits", OWN))
    checked = read(PATHS.manifest)
    assert [sum(p.split == split for p in checked) for split in ("train", "test")] == [12, 4]


def test_without_boxes_the_whole_picture_is_seen_and_with_them_what_is_inside(folder: Path) -> None:
    image = Image.new("RGB", (90, 60), "white")
    image.paste("blue", (60, 0, 90, 30))
    image.save(folder / "apple" / "no 0.png")
    pack.run(folder)
    whole = crop("001.apple/no_0.jpg")
    assert (whole[:, :, 2] > whole[:, :, 0]).mean() == pytest.approx(1 / 6 + 1 / 12, abs=0.1)  # partly mirrored
    (folder / "boxes.csv").write_text("name,x,y,width,height\napple/no 0.png,65,5,20,20\n")
    pack.run(folder)
    assert (crop("001.apple/no_0.jpg")[16:48, 16:48] == (0, 0, 255)).all()


def crop(name: str) -> Pixels:
    [picture] = [picture for picture in pictures() if picture.name == name]
    with open_tar(PATHS.raw / "fruits-pictures.tgz") as images:
        crops = cut_crops(images, [picture], Cutter(64, "padded"), progress="crop", processes=1)
    first: Pixels = crops[0]
    return first


def test_a_photograph_lying_on_its_side_is_turned(folder: Path) -> None:
    image = Image.new("RGB", (60, 40), "white")
    image.paste("blue", (0, 0, 20, 40))
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by a quarter to the right: blue comes to lie on top
    image.save(folder / "apple" / "no 1.jpg", exif=exif, quality=95)
    pack.run(folder)
    pixels = crop("001.apple/no_1.jpg")
    assert (pixels[5, 20:44, 0] < 60).all()
    assert (pixels[60, 20:44, 0] > 200).all()


def test_flat_colours_without_compression_are_no_bomb(folder: Path) -> None:
    for number in range(8):
        Image.new("RGB", (2000, 2000), (10 * number, 200, 40)).save(folder / "apple" / f"flat {number}.bmp")
        (folder / "apple" / f"flat {number}.txt").write_text("this fruit is flat\n")
    pack.run(folder)
    assert crop("001.apple/flat_3.jpg")[32, 32].tolist() == [30, 200, 40]


def test_an_orientation_that_is_no_number_is_none(folder: Path) -> None:
    text_tag = b"\x12\x01" + b"\x02\0" + b"\x03\0\0\0" + b"up\0\0"
    exif = b"Exif\0\0" + b"II*\0\x08\0\0\0" + b"\x01\0" + text_tag + b"\0\0\0\0"
    Image.new("RGB", (90, 60), "blue").save(folder / "apple" / "no 0.png", exif=exif)
    pack.run(folder)
    assert (crop("001.apple/no_0.jpg")[32, 32] == (0, 0, 255)).all()


def test_packing_again_changes_checksums_only_with_the_content(folder: Path) -> None:
    pack.run(folder)
    preset = Path("presets/fruits.yaml")
    preset.write_text(re.sub(r"gf_dim: \d+", "gf_dim: 48", preset.read_text()))
    before = preset.read_text()
    pack.run(folder)
    assert preset.read_text() == before
    (folder / "apple" / "no 1.txt").write_text("another caption\n")
    pack.run(folder)
    after = preset.read_text()
    changed = [line for line in after.splitlines() if line not in before.splitlines()]
    assert [line.split(":")[0].strip() for line in changed] == ["sha256"]
    assert params.load("fruits").gf_dim == 48


def test_kinds_for_test_can_be_named(folder: Path) -> None:
    (folder / "test.txt").write_text("lime\nbanana\n")
    pack.run(folder)
    assert {p.species for p in pictures() if p.split == "test"} == {"002.banana", "003.lime"}


def a_pipe_instead(folder: Path) -> None:
    (folder / "lime" / "no 2.jpg").unlink()
    os.mkfifo(folder / "lime" / "no 2.jpg")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda folder: (folder / "lime" / "no 2.txt").unlink(),
            r"lime/no 2.jpg has no captions \(1 such\)",
        ),
        (lambda folder: (folder / "lime" / "no 2.txt").write_text("\n"), r"lime/no 2.jpg has no captions"),
        (lambda folder: (folder / "lime" / "no 2.txt").write_bytes(b"caf\xe9"), "no 2.txt is no UTF-8 text"),
        (lambda folder: (folder / "lime" / "no 2.jpg").write_bytes(b"GIF89a"), "lime/no 2.jpg: unreadable picture"),
        (lambda folder: (folder / "lime" / "no 2.jpg").unlink(), "lime/no 2.txt is neither a picture .* nor the capt"),
        (lambda folder: (folder / "lime" / "no 2.heic").touch(), "lime/no 2.heic is neither a picture"),
        (lambda folder: shutil.copy(folder / "lime" / "no 2.jpg", folder / "lime" / "no 2.png"), "the same name"),
        (lambda folder: (folder / "kiwi.jpg").touch(), "kiwi.jpg lies in no folder of its kind: move it to"),
        (
            lambda folder: (folder / "boxes.csv").write_text("lime/no 2.jpg,1,2,3,4\n" * 2),
            "its first line must be name,x,y,width,height",
        ),
        (
            lambda folder: (folder / "boxes.csv").write_text("name;x;y;width;height\nlime/no 2.jpg;1;2;3;4\n"),
            "its first line must be name,x,y,width,height",
        ),
        (
            lambda folder: (folder / "boxes.csv").write_text("name,x,y,width,height\nlime/no 2.jpg,1,2,3\n"),
            "line 2: x, y, width and height must be numbers",
        ),
        (
            lambda folder: (folder / "boxes.csv").write_text("name,x,y,width,height\nlime/no 2.jpg,900,2,3,4\n"),
            r"the box \(900.0, 2.0, 3.0, 4.0\) of lime/no 2.jpg holds nothing",
        ),
        (lambda folder: (folder / "boxes.csv").write_text("name,x,y,width,height\nkiwi,1,2,3,4"), "no picture 'kiwi'"),
        (
            lambda folder: (folder / "boxes.csv").write_text("name,x,y,width,height\nlime/no 2.jpg,1,2,-3,nan\n"),
            "boxes.csv, line 2: 1, 2, -3, nan is no box",
        ),
        (
            lambda folder: (folder / "boxes.csv").write_text("name,x,y,width,height\nlime/no 2.jpg,0,0,inf,inf\n"),
            "boxes.csv, line 2: 0, 0, inf, inf is no box",
        ),
        (
            lambda folder: (folder / "boxes.csv").write_text(
                "name,x,y,width,height\nlime/no 2.jpg,1,2,3,4\nlime/no 2.jpg,1,2,3,5\n"
            ),
            r"boxes.csv, line 3: lime/no 2\.jpg has a box already",
        ),
        (
            lambda folder: Image.new("RGB", (1, 1)).save(folder / "lime" / "no 2.jpg"),
            r"no 2\.jpg has 1×1 pixels, too few",
        ),
        (a_pipe_instead, r"no 2\.jpg is no file, or a link to none"),
        (
            lambda folder: (folder / "boxes.csv").write_bytes(b"name,x,y,width,height\ncaf\xe9,1"),
            "boxes.csv is no UTF-8",
        ),
        (
            lambda folder: (folder / "boxes.csv").write_text('name,x,y,width,height\n"' + "x" * 200_000),
            "line .: field larger .*: look for a quote that is not closed",
        ),
        (
            lambda folder: (
                (folder / "lime" / "no 2.jpg").rename(folder / "lime" / "caf\udce9.jpg")
                and (folder / "lime" / "no 2.txt").rename(folder / "lime" / "caf\udce9.txt")
            ),
            r"the name 'lime/caf\\udce9.jpg' is no UTF-8: rename it",
        ),
        (lambda folder: (folder / "test.txt").write_text("kiwi\n"), "test.txt: there is no kind 'kiwi'"),
        (
            lambda folder: list(map(shutil.rmtree, (folder / kind for kind in COLOURS))),
            "holds no pictures: lay them out as",
        ),
        (lambda folder: shutil.rmtree(folder), "is no folder"),
    ],
)
def test_a_folder_that_is_not_in_order_is_one_clear_line(
    folder: Path, spoil: Callable[[Path], object], message: str
) -> None:
    spoil(folder)
    with pytest.raises(UserError, match=message) as error:
        pack.run(folder)
    assert "\n" not in str(error.value)
    assert not Path("presets/fruits.yaml").exists()
    assert not [path for path in Path().rglob("archives/*") if path.is_file()]


def test_too_few_pictures_are_told_before_a_training_whose_end_has_no_figures(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(folder)
    draw_fruits(folder, 8)
    pack.run(folder)
    assert "`evaluate` wants 8" not in capsys.readouterr().err
    shutil.rmtree(folder / "lime")
    pack.run(folder)
    assert "about 6 of the 24 pictures will be for test; `evaluate` wants 8" in capsys.readouterr().err


def test_outside_the_project_it_says_where_to_go(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(UserError, match="run this in the project's root folder"):
        pack.run(folder)


def test_other_presets_are_never_written_over(folder: Path) -> None:
    with pytest.raises(UserError, match=r"presets/cub\.yaml is there and was not made by pack"):
        pack.run(folder, "cub")
    with pytest.raises(UserError, match="'Früchte' is no name for a preset"):
        pack.run(folder, "Früchte")


@pytest.mark.parametrize("name", ["2024", "1e3", "null", "true", "nan"])
def test_a_name_that_an_experiment_would_read_as_something_else_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(UserError, match=f"'{name}' is no name for a preset"):
        pack.run(folder, name)


def test_an_archive_that_has_gone_or_changed_is_named(folder: Path) -> None:
    pack.run(folder)
    archive = Path("archives/fruits-captions.zip")
    archive.write_bytes(archive.read_bytes() + b"x")
    with pytest.raises(UserError, match=r"fruits-captions\.zip has the SHA-256 .*: run `stackgan pack` again"):
        pictures()
    archive.unlink()
    with pytest.raises(UserError, match=r"fruits-captions\.zip is missing: run `stackgan pack` again"):
        pictures()


def test_webp_is_a_picture_like_any_other(folder: Path) -> None:
    for path in (folder / "apple").glob("*.png"):
        Image.open(path).save(path.with_suffix(".webp"), lossless=True)
        path.unlink()
    assert list((folder / "apple").glob("*.webp"))
    pack.run(folder)
    assert crop("001.apple/no_0.jpg").shape == (64, 64, 3)
