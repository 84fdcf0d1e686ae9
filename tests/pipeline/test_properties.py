"""What must hold for all values, not for examples alone: captions, manifest, boxes, species, splits, parameters."""

import copy
import io
from collections import Counter
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from pipeline import console, cub, manifest, params
from pipeline.archives import open_zip
from pipeline.crops import BirdSquare, clip_box
from pipeline.data_config import Crop
from pipeline.manifest import Picture
from pipeline.params import Params
from pipeline.selection import SpeciesChoice, choose_species, split_pictures
from stackgan.errors import UserError
from tests.conftest import PROJECT
from tests.pipeline.hostile import zip_of

finite = st.floats(allow_nan=False, allow_infinity=False)
pictures = st.builds(
    Picture,
    id=st.integers(0, 10**9),
    name=st.text(),
    species_id=st.integers(0, 10**9),
    species=st.text(),
    split=st.sampled_from(["train", "test"]),
    bbox=st.tuples(finite, finite, finite, finite),
    captions=st.lists(st.text()).map(tuple),
    truth=st.dictionaries(st.text(), st.text()),
)


@given(st.lists(pictures, max_size=4, unique_by=lambda picture: picture.name))
def test_the_manifest_gives_back_what_it_was_given(tmp_path: Path, written: list[Picture]) -> None:
    manifest.write(tmp_path / "manifest.jsonl", written)
    assert manifest.read(tmp_path / "manifest.jsonl") == sorted(written, key=lambda picture: picture.name)


@given(st.binary() | st.text().map(str.encode) | st.recursive(st.none() | finite, st.lists).map(repr).map(str.encode))
def test_any_other_line_is_an_error(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "manifest.jsonl").write_bytes(line + b"\n")
    with pytest.raises(UserError, match=r"manifest\.jsonl:\d+ is not a manifest line"):
        manifest.read(tmp_path / "manifest.jsonl")


@given(st.binary() | st.text().map(str.encode))
def test_captions_are_one_visible_line_each(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(zip_of(**{"birds/text_c10/a/b.txt": content}))
    with open_zip(tmp_path / "a.zip") as texts:
        captions = cub._captions(texts, "a/b.jpg")
    for caption in captions:
        assert caption == " ".join(caption.split()) != ""
        assert caption.isprintable()


@given(st.text(max_size=3000))
def test_nothing_steers_the_terminal(text: str) -> None:
    shown = console.visible(text)
    assert shown.isprintable()
    assert text[:1999].isprintable() == (shown[: len(text[:1999])] == text[:1999])


side = st.integers(1, 60)
length = st.floats(-100, 100)


@given(side, side, st.tuples(length, length, length, length), st.sampled_from(["padded", "clipped"]))
def test_a_box_is_clipped_into_the_frame_and_its_crop_is_not_empty(
    height: int, width: int, box: tuple[float, float, float, float], mode: Crop
) -> None:
    import numpy as np

    clipped = clip_box(box, width, height)
    if clipped is None:
        return
    x, y, w, h = clipped
    assert 0 <= x < width and 0 <= y < height and w >= 1 and h >= 1
    assert x + w <= width + 1e-9 and y + h <= height + 1e-9
    cut = BirdSquare(mode)(image=np.zeros((height, width, 3), np.uint8), bird=clipped)["image"]
    assert min(cut.shape[:2]) >= 1
    assert mode == "clipped" or cut.shape[0] == cut.shape[1]


known_species = st.dictionaries(st.integers(1, 300), st.text(min_size=1, max_size=12), min_size=1, max_size=8)
choices = (
    st.integers(1, 10)
    | st.just("all")
    | st.lists(st.integers(-1, 300) | st.text(max_size=6) | st.just("*"), max_size=4)
)


@given(known_species, choices)
def test_a_choice_of_species_is_some_of_them_or_an_error(known: dict[int, str], choice: SpeciesChoice) -> None:
    try:
        chosen = choose_species(choice, known)
    except UserError:
        return
    assert chosen
    assert chosen == sorted(set(chosen))
    assert set(chosen) <= known.keys()


@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.integers(0, 2**32 - 1), st.randoms())
def test_by_image_divides_each_species_by_itself(counts: list[int], seed: int, rng: object) -> None:
    given_pictures = [
        Picture(100 * species + number, f"{species}/{number}", species, f"{species}", "train", (0, 0, 1, 1), ())
        for species, count in enumerate(counts)
        for number in range(count)
    ]
    shuffled = list(given_pictures)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    try:
        divided = split_pictures(shuffled, "all", "by-image", seed)
    except UserError:
        assert max(counts) == 1
        return
    assert [picture.id for picture in divided] == [picture.id for picture in shuffled]
    test = Counter(picture.species_id for picture in divided if picture.split == "test")
    assert [test[species] for species in range(len(counts))] == [max(n // 4, 1) if n > 1 else 0 for n in counts]
    if counts[0] > 1:
        alone = split_pictures(given_pictures[: counts[0]], 1, "by-image", seed)
        assert {p.name: p.split for p in alone}.items() <= {p.name: p.split for p in divided}.items()


FILES = {
    path: YAML(typ="safe", pure=True).load((PROJECT / path).read_text())
    for path in (params.PARAMS, params.PRESETS / "sample.yaml")
}


def load(*overrides: str) -> Params:
    """Like `params.load`, without parsing the project's own files anew each time."""
    with patch.object(params, "_read", lambda path: copy.deepcopy(FILES[path])):
        return params.load(overrides=overrides)


@pytest.fixture(autouse=True)
def project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)


@given(st.floats(0, 0.1, exclude_min=True))
def test_a_rate_is_read_as_dvc_writes_it(rate: float) -> None:
    written = io.StringIO()
    YAML().dump({"lr_g": rate}, written)
    assert load(f"lr_g={written.getvalue().partition(':')[2].strip()}").lr_g == rate
    assert load(f"lr_g={rate!r}").lr_g == rate


@settings(max_examples=200)
@given(st.text(max_size=20), st.sampled_from(["lr_g", "seed", "species", "stage1", "stage1.epochs", "diffaugment"]))
def test_any_override_is_taken_or_an_error(text: str, key: str) -> None:
    for override in (text, f"{key}={text}", f"{key}{text}=1", f"{text}=1"):
        try:
            load(override)
        except UserError as error:
            assert str(error)
