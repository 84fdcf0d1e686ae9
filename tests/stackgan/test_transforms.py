import random

import numpy as np
import pytest

from stackgan.transforms import NAMES, Pixels, Transform

# Smooth, as a photo: a transform that only moves pixels keeps its colours.
ROWS, COLUMNS = np.mgrid[:76, :76]
CROP: Pixels = np.stack([2 * ROWS + 50, 2 * COLUMNS + 50, np.full_like(ROWS, 120)], axis=2).astype(np.uint8)


def apply(name: str, seed: int) -> Pixels:
    return Transform(name, 64)(CROP, random.Random(seed))


@pytest.mark.parametrize("name", NAMES)
def test_every_transform_gives_the_size_and_depends_on_the_seed_alone(name: str) -> None:
    first = apply(name, 1)
    assert first.shape == (64, 64, 3)
    assert first.dtype == np.uint8
    transform = Transform(name, 64)
    for seed in (3, 1):  # the state that an earlier picture leaves does not count
        again = transform(CROP, random.Random(seed))
    np.testing.assert_array_equal(first, again)
    assert (name == "none") == all(np.array_equal(first, apply(name, seed)) for seed in range(2, 6))


def test_none_is_the_middle() -> None:
    np.testing.assert_array_equal(apply("none", 0), CROP[6:70, 6:70])


def test_crop_flip_shows_every_place_and_both_sides() -> None:
    seen = set()
    for seed in range(400):
        image = apply("crop-flip", seed)
        flipped = image[0, 0, 1] > image[0, -1, 1]
        straight = image[:, ::-1] if flipped else image
        top, left = (int(straight[0, 0, channel]) - 50 for channel in (0, 1))
        np.testing.assert_array_equal(straight, CROP[top // 2 : top // 2 + 64, left // 2 : left // 2 + 64])
        seen.add((top // 2, left // 2, bool(flipped)))
    for place, values in zip(zip(*seen, strict=True), (range(13), range(13), (False, True)), strict=True):
        assert set(place) == set(values)
    assert 0.4 < sum(flipped for *_, flipped in seen) / len(seen) < 0.6
    assert len({(top, flipped) for top, _, flipped in seen}) == 26  # place and side are independent


def test_mild_keeps_colours_that_strong_loses() -> None:
    def blue_shift(name: str) -> float:
        return float(np.mean([np.abs(apply(name, seed)[..., 2].astype(int) - 120).mean() for seed in range(60)]))

    assert blue_shift("crop-flip") == 0
    assert 1 < blue_shift("mild") < 12
    assert blue_shift("strong") > 2 * blue_shift("mild")
