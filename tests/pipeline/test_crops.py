import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.crops import BirdSquare, Pixels, clip_box, load_crops, open_picture, to_rgb
from pipeline.cub import read_dataset
from pipeline.data_config import Crop
from pipeline.manifest import Box
from stackgan.errors import UserError
from tests.pipeline.tiny import SOURCE, jpeg, tiny


def numbered(height: int, width: int) -> Pixels:
    """A picture whose pixels tell their own row and column."""
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    return np.stack([rows, columns, np.zeros_like(rows)], axis=2)


def square(image: Pixels, box: Box, mode: Crop) -> Pixels:
    cut: Pixels = BirdSquare(mode)(image=image, bird=box)["image"]
    return cut


def test_the_square_has_one_and_a_half_times_the_longer_side_around_the_centre() -> None:
    cut = square(numbered(100, 120), (40, 30, 20, 12), "padded")
    np.testing.assert_array_equal(cut, numbered(100, 120)[21:51, 35:65])


@pytest.mark.parametrize(
    ("height", "width", "box"), [(40, 60, (0, 0, 30, 20)), (8, 90, (0, 0, 90, 8)), (1, 50, (0, 0, 50, 1))]
)
def test_a_padded_square_is_the_mirror_of_the_frame_however_far_it_reaches(height: int, width: int, box: Box) -> None:
    cut = square(numbered(height, width), box, "padded")
    centre_x, centre_y, radius = int(box[0] + box[2] / 2), int(box[1] + box[3] / 2), int(0.75 * max(box[2:]))

    def mirrored(index: int, length: int) -> int:
        while not 0 <= index < length:
            index = -index if index < 0 else 2 * (length - 1) - index
        return index if length > 1 else 0

    rows = [mirrored(row, height) if height > 1 else 0 for row in range(centre_y - radius, centre_y + radius)]
    columns = [mirrored(column, width) for column in range(centre_x - radius, centre_x + radius)]
    assert cut.shape == (2 * radius, 2 * radius, 3)
    assert cut[:, 0, 0].tolist() == rows
    assert cut[0, :, 1].tolist() == columns


def test_a_clipped_square_ends_at_the_frame() -> None:
    cut = square(numbered(40, 60), (0, 0, 30, 20), "clipped")
    np.testing.assert_array_equal(cut, numbered(40, 60)[:32, :37])


@pytest.mark.parametrize(
    ("box", "clipped"),
    [
        ((1.0, 2.0, 3.0, 4.0), (1.0, 2.0, 3.0, 4.0)),
        ((-3.0, 5.0, 10.0, 90.0), (0.0, 5.0, 7.0, 45.0)),
        ((100.0, 0.0, 5.0, 5.0), None),
        ((0.0, 49.5, 5.0, 9.0), None),
    ],
)
def test_boxes_are_clipped_to_the_frame(box: Box, clipped: Box | None) -> None:
    assert clip_box(box, 100, 50) == clipped


def test_crops_come_in_order_from_any_number_of_processes(tmp_path: Path) -> None:
    folder = tiny(20).save(tmp_path)  # more than two chunks
    pictures = read_dataset(folder, SOURCE)[::-1]
    one = load_crops(folder / SOURCE.images.name, pictures, 24, processes=1)
    two = load_crops(folder / SOURCE.images.name, pictures, 24, processes=2)
    assert one.shape == (80, 24, 24, 3)
    assert one.dtype == np.uint8
    np.testing.assert_array_equal(one, two)
    middles = one[:, 12, 12].astype(int)
    for picture, middle in zip(pictures, middles, strict=True):
        brightest = {
            1: middle[0] - middle[2] > 60,
            2: middle[2] - middle[0] > 60,
            3: middle.max() < 90,
            4: middle.min() > 190,
        }
        assert brightest[picture.species_id], picture.name


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "P", "RGBA", "I;16", "LA"])
def test_every_kind_of_picture_becomes_rgb(mode: str) -> None:
    grey = Image.new("L", (6, 4), 200)
    image = Image.fromarray(np.full((4, 6), 200 * 257, np.uint16)) if mode == "I;16" else grey.convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, "TIFF" if mode == "CMYK" else "PNG")
    pixels = to_rgb(open_picture(buffer.getvalue(), "x"))
    assert pixels.shape == (4, 6, 3)
    assert pixels.dtype == np.uint8
    np.testing.assert_allclose(pixels, 200, atol=2)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(jpeg(Image.new("RGB", (64, 64), "red"))[:400], id="truncated"),
        pytest.param(b"<html>not found</html>", id="HTML"),
        pytest.param(b"", id="empty"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", id="PostScript, which would run a program"),
    ],
)
def test_an_unreadable_picture_is_an_error_that_names_it(content: bytes) -> None:
    with pytest.raises(UserError, match=r"^a/b\.jpg: unreadable picture") as error:
        open_picture(content, "a/b.jpg")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("processes", [1, 2])
def test_an_unreadable_picture_stops_the_cutting(tmp_path: Path, processes: int) -> None:
    data = tiny(20)
    name = "CUB_200_2011/images/004.White_Tern/White_Tern_0020_20.jpg"
    data.images[name] = data.images[name][:500]
    folder = data.save(tmp_path)
    with pytest.raises(UserError, match=r"White_Tern_0020_20\.jpg: unreadable"):
        load_crops(folder / SOURCE.images.name, read_dataset(folder, SOURCE), 16, processes=processes)
