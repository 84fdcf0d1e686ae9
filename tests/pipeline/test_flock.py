"""The flock: the same bytes for a seed, true captions and boxes, test species that combine what training saw apart."""

import io
import json
import pickle
import re
import tarfile
import zipfile
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops

from pipeline.flock import archive, scene
from pipeline.flock.captions import CAPTIONS, NAMING_ALL
from pipeline.flock.picture import FlockPicture, draw_picture
from pipeline.flock.species import MAIN_PARTS, PALETTE, PERCHING_FORMS, Species, is_test, roster
from pipeline.source_config import FlockSource

SMALL = FlockSource(kind="flock", species=8, pictures=3, scenes="wild", seed=5)
MAGENTA = (255, 0, 255)
COLOUR = "|".join(PALETTE)
NOUNS = {
    "head": "head|crown|headed",
    "wing": "wings|wing feathers",
    "belly": "belly|breast|chest|underbelly|bellied",
    "bill": "bill|beak",
    "tail": "tail",
    "legs": "legs",
    "wing_bars": "wing ?bars",
    "eye_ring": "eye ?rings?",
}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return _pack(tmp_path_factory.mktemp("flock"), SMALL, processes=2)


@pytest.fixture(scope="module")
def pictures() -> list[FlockPicture]:
    return [draw_picture(species, index, seed=1, scenes="wild") for species in roster(24, seed=1) for index in (1, 2)]


def _pack(folder: Path, source: FlockSource, processes: int) -> tuple[Path, Path]:
    images, captions = folder / "images.tgz", folder / "captions.zip"
    archive.pack(source, archive.draw(source, archive.entries(source), processes), images, captions)
    return images, captions


@pytest.fixture
def magenta_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backgrounds of a colour that no bird has: whatever else is seen in the picture of a flying bird is the bird."""
    monkeypatch.setattr(scene, "background", lambda kind, size, rng: Image.new("RGB", size, MAGENTA))
    monkeypatch.setattr(scene, "LIGHTS", ((255, 255, 255),))


def _in_flight(species: Species, seed: int) -> FlockPicture:
    drawn = (draw_picture(species, index, seed, "wild") for index in range(99))
    return next(picture for picture in drawn if picture.truth["pose"] == "flying")


def test_bytes_follow_from_the_seed_whatever_the_number_of_processes(packed: tuple[Path, Path], tmp_path: Path) -> None:
    again = _pack(tmp_path, SMALL, processes=1)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in packed]


def test_in_the_studio_all_birds_perch_before_a_plain_backdrop() -> None:
    source = SMALL.model_copy(update={"scenes": "studio"})
    drawn = list(archive.draw(source, archive.entries(source), 1))
    assert {picture.truth["pose"] for picture in drawn} == {"perched"}
    assert {picture.truth["shape"] for picture in drawn} == set(PERCHING_FORMS)
    for picture in drawn:
        above = np.asarray(Image.open(io.BytesIO(picture.jpeg)), float)[: picture.box[1] // 2]
        assert above.std(axis=1).max() < 3, "every row is of one colour"


def test_another_seed_is_another_flock() -> None:
    assert roster(8, seed=0) != roster(8, seed=1)
    first, other = (draw_picture(roster(1, seed=0)[0], 1, seed, "wild") for seed in (0, 1))
    assert first.jpeg != other.jpeg


def test_a_longer_roster_begins_with_the_shorter_one() -> None:
    assert roster(60, seed=0)[:20] == roster(20, seed=0)


@pytest.mark.parametrize("seed", range(5))
def test_test_species_combine_colours_that_training_saw_apart(seed: int) -> None:
    most = roster(500, seed)
    assert len({tuple(one.colours[part] for part in MAIN_PARTS) for one in most}) == 500
    species = most[:300]
    assert sum(is_test(one.number) for one in species) == 75
    for parts in (1, 2):
        for chosen in combinations(MAIN_PARTS, parts):
            seen = Counter(tuple(one.colours[part] for part in chosen) for one in species if not is_test(one.number))
            assert len(seen) == 8**parts
            assert max(seen.values()) - min(seen.values()) <= 2


def test_the_first_eight_species_hold_both_kinds() -> None:
    kinds = [is_test(number) for number in range(1, 9)]
    assert 0 < sum(kinds) < len(kinds) / 2


def _claims(caption: str) -> set[tuple[str, str]]:
    """Every (part, colour) that a caption names, however it puts it."""
    return {
        (part, colour)
        for part, nouns in NOUNS.items()
        for pattern in (
            rf"\b({COLOUR}) (?:{nouns})\b",
            rf"\b(?:{nouns}) (?:that )?(?:are|is) ({COLOUR})\b",
            rf"\b({COLOUR}) on its (?:{nouns})\b",
        )
        for colour in re.findall(pattern, caption)
    }


def test_captions_name_truly_what_is_drawn(pictures: list[FlockPicture]) -> None:
    for picture in pictures:
        assert len(picture.captions) == CAPTIONS
        naming_all = 0
        for caption in picture.captions:
            claims = _claims(caption)
            assert all(picture.truth.get(part) == colour for part, colour in claims), caption
            naming_all += {part for part, _ in claims} >= set(MAIN_PARTS)
        assert naming_all >= NAMING_ALL, picture.captions


def test_captions_tell_posture_and_crest_truly(pictures: list[FlockPicture]) -> None:
    verbs = {"perch": "perched", "sitting": "perched", "standing": "standing", "swimming": "swimming",
             "floating": "swimming", "flying": "flying", "flight": "flying"}  # fmt: skip
    for picture in pictures:
        for caption in picture.captions:
            assert all(picture.truth["pose"] == pose for word, pose in verbs.items() if word in caption)
            assert "crest" not in caption or picture.truth.get("crest") == "yes"


def test_captions_are_plain_sentences(pictures: list[FlockPicture]) -> None:
    captions = [caption for picture in pictures for caption in picture.captions]
    for caption in captions:
        assert caption == caption.lower() == caption.strip()
        assert "{" not in caption and "  " not in caption
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", caption), caption
    assert len(set(captions)) > 0.9 * len(captions)


def test_boxes_lie_in_the_frame_and_hold_the_bird(pictures: list[FlockPicture]) -> None:
    for picture in pictures:
        frame = Image.open(io.BytesIO(picture.jpeg))
        x, y, width, height = picture.box
        assert x >= 0 and y >= 0 and x + width <= frame.width and y + height <= frame.height
        assert max(width, height) > 0.25 * min(frame.size)


def test_the_box_is_tight_around_the_bird(magenta_world: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.flock.picture.JPEG_QUALITY", 100)  # the usual quality blurs the bill's tip away
    blunt = [species for species in roster(24, seed=3) if species.bill != "dagger"]  # JPEG blurs the needle's tip away
    for species in blunt:
        picture = _in_flight(species, seed=3)
        frame = Image.open(io.BytesIO(picture.jpeg))
        distance = ImageChops.difference(frame, Image.new("RGB", frame.size, MAGENTA)).convert("L")
        left, top, right, bottom = distance.point(lambda value: 255 if value > 40 else 0).getbbox() or (0, 0, 0, 0)
        x, y, width, height = picture.box
        assert max(abs(left - x), abs(top - y), abs(right - x - width), abs(bottom - y - height)) <= 2


def test_the_picture_shows_the_colours_that_are_told(magenta_world: None) -> None:
    """Counted by nearest colour, at 64×64, each main part's colour covers a part that can be seen."""
    words = [*PALETTE, "background"]
    palette = Image.new("P", (1, 1))
    palette.putpalette([value for colour in [*PALETTE.values(), MAGENTA] for value in colour])
    for species in roster(24, seed=2):
        picture = _in_flight(species, seed=2)
        x, y, width, height = picture.box
        crop = Image.open(io.BytesIO(picture.jpeg)).crop((x, y, x + width, y + height)).resize((64, 64))
        nearest = Counter(words[index] for index in crop.quantize(palette=palette, dither=Image.Dither.NONE).tobytes())
        for part in MAIN_PARTS:
            assert nearest[species.colours[part]] > 0.03 * 64**2, (species.name, part, nearest)


def test_archives_have_the_layout_of_cub(packed: tuple[Path, Path]) -> None:
    with tarfile.open(packed[0]) as tar:
        members = {member.name: member for member in tar}
        text = {
            name: tar.extractfile(f"CUB_200_2011/{name}").read().decode().splitlines()  # type: ignore[union-attr]
            for name in ("images.txt", "classes.txt", "image_class_labels.txt", "bounding_boxes.txt",
                         "train_test_split.txt", "truth.jsonl")
        }  # fmt: skip
    assert all(member.mtime == 0 and member.uid == 0 and member.mode == 0o644 for member in members.values())
    names = [line.split(" ")[1] for line in text["images.txt"]]
    assert names == sorted(names) and len(names) == 24
    assert {f"CUB_200_2011/images/{name}" for name in names} <= members.keys()
    assert [line.split(" ")[1] for line in text["classes.txt"]] == sorted({name.split("/")[0] for name in names})
    for name in ("image_class_labels.txt", "bounding_boxes.txt", "train_test_split.txt"):
        assert [line.split(" ")[0] for line in text[name]] == [str(number) for number in range(1, 25)]
    assert [json.loads(line)["name"] for line in text["truth.jsonl"]] == names

    with zipfile.ZipFile(packed[1]) as captions:
        for name in names:
            lines = captions.read(f"birds/text_c10/{name.removesuffix('.jpg')}.txt").decode().splitlines()
            assert len(lines) == CAPTIONS
        lists = {split: pickle.loads(captions.read(f"birds/{split}/filenames.pickle")) for split in ("train", "test")}
        numbers = {
            split: pickle.loads(captions.read(f"birds/{split}/class_info.pickle")) for split in ("train", "test")
        }
    assert sorted(lists["train"] + lists["test"]) == [name.removesuffix(".jpg") for name in names]
    assert set(numbers["test"]) == {4, 8} and set(numbers["train"]) == {1, 2, 3, 5, 6, 7}
    assert [int(name[:3]) for name in lists["test"]] == numbers["test"]
