from pathlib import Path

import numpy as np
from PIL import Image

from pipeline import pictures

RED = np.full((64, 64, 3), (255, 0, 0), np.uint8)
BLUE = np.full((64, 64, 3), (0, 0, 255), np.uint8)


def colours(image: Image.Image) -> set[tuple[int, ...]]:
    return {colour for _, colour in image.getcolors(1 << 20) or []}  # type: ignore[misc]


def test_every_tile_is_on_the_sheet_in_its_place() -> None:
    sheet = pictures.sheet([[RED, BLUE], [BLUE]], tile=32)
    red, blue = (np.argwhere((np.asarray(sheet) == colour).all(-1)) for colour in (RED[0, 0], BLUE[0, 0]))
    assert len(red) == 32 * 32
    assert len(blue) == 2 * 32 * 32
    assert red.max(0)[1] < sheet.width / 2  # the red one is at the left


def test_a_long_caption_stays_beside_its_row() -> None:
    short = pictures.sheet([[RED], [RED]], row_titles=["a bird", "a bird"])
    long = pictures.sheet([[RED], [RED]], row_titles=["a bird with a very long tail " * 30, "a bird"])
    assert short.size == long.size
    second_row = (0, short.height // 2, short.width, short.height)
    assert np.array_equal(np.asarray(short.crop(second_row)), np.asarray(long.crop(second_row)))


def test_png_and_curves_are_the_same_bytes_twice(tmp_path: Path) -> None:
    for name in ("a", "b"):
        pictures.save_png(pictures.sheet([[RED]], title="Birds"), tmp_path / f"{name}.png")
        pictures.curves(tmp_path / f"{name}-curve.png", [1, 2], {"Loss": {"loss_g": [2.0, 1.0]}}, "Stage I")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a-curve.png").read_bytes() == (tmp_path / "b-curve.png").read_bytes()
    assert colours(Image.open(tmp_path / "a.png")) >= {(255, 0, 0)}


def test_curves_of_a_single_epoch_show_it(tmp_path: Path) -> None:
    for name, loss in (("high", 4.0), ("low", 1.0)):
        lines = {"loss_g": [loss], "loss_d": [1.0]}
        pictures.curves(tmp_path / f"{name}.png", [1], {"Loss": lines}, "Stage II")
    blue = {
        name: np.argwhere(np.all(np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB")) == (31, 119, 180), 2))
        for name in ("high", "low")
    }
    assert len(blue["high"]) > len(blue["low"]) > 0  # the second marker hides the first where they meet
