"""Crops: the square around the bird, cut from the archive's pictures in parallel. The same for every stage.

The square has 1.5 times the longer side of the bird's box and its centre, as in StackGAN (Zhang et al. 2017). Where it
leaves the frame, `padded` mirrors the picture at the border, so that no bird is distorted; `clipped` does as the paper:
what the frame leaves of the square is squeezed into a square.
"""

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from pipeline import console
from pipeline.archives import Member, open_tar
from pipeline.cub import image_member
from pipeline.data_config import Crop
from pipeline.manifest import Box, Picture
from pipeline.workers import parallel
from stackgan.errors import UserError

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it asks the network at import

import albumentations as A
import cv2

Pixels = NDArray[np.uint8]

_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF")  # whatever the suffix says; none that runs another program
_CHUNK = 32


def load_crops(
    archive: Path,
    pictures: Sequence[Picture],
    size: int,
    mode: Crop = "padded",
    *,
    progress: str = "crops",
    processes: int | None = None,
) -> Pixels:
    """Cut the crops of `pictures` from the images archive, in their order: uint8 [N, size, size, 3], RGB.

    All of them are held in memory: 17 KB a crop at 76 pixels, 270 KB at 304. `progress` names them on the terminal. An
    unreadable picture is a `UserError`.
    """
    crops = np.empty((len(pictures), size, size, 3), np.uint8)
    cutter = Cutter(size, mode)
    with open_tar(archive) as images:
        sources = [Source(picture, images.member(image_member(picture.name))) for picture in pictures]
        chunks = [sources[start : start + _CHUNK] for start in range(0, len(sources), _CHUNK)]
        parts = parallel(cutter.cut_all, chunks, processes=processes)
        done = 0
        for part in console.track(parts, progress, total=len(chunks)):
            crops[done : done + len(part)] = part
            done += len(part)
    return crops


@dataclass(frozen=True)
class Source:
    """A picture and where its bytes lie; fit for another process."""

    picture: Picture
    member: Member


@dataclass(frozen=True)
class Cutter:
    """Cuts crops of `size` × `size` pixels."""

    size: int
    mode: Crop

    @cached_property
    def _transform(self) -> A.Compose:
        # Cubic where a small bird is enlarged, the mean over areas where a large one shrinks: no aliasing.
        resize = A.Resize(self.size, self.size, interpolation=cv2.INTER_CUBIC, area_for_downscale="image")
        return A.Compose([BirdSquare(self.mode), resize])

    def cut(self, source: Source) -> Pixels:
        """Read, decode and cut one picture: uint8 [size, size, 3]."""
        image = to_rgb(open_picture(source.member.read(), source.picture.name))
        height, width = image.shape[:2]
        box = clip_box(source.picture.bbox, width, height)
        if box is None:
            raise UserError(f"{source.picture.name}: the bird's box {source.picture.bbox} lies outside the picture")
        crop: Pixels = self._transform(image=image, bird=box)["image"]
        return crop

    def cut_all(self, sources: Sequence[Source]) -> Pixels:
        """Cut several pictures: uint8 [N, size, size, 3]."""
        return np.stack([self.cut(source) for source in sources])


class BirdSquare(A.ImageOnlyTransform):
    """The square around the box that is passed as `bird` (x, y, width, height, inside the frame)."""

    def __init__(self, mode: Crop) -> None:
        super().__init__(p=1)
        self.mode = mode

    @property
    def targets_as_params(self) -> list[str]:
        return ["bird"]

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        x, y, width, height = data["bird"]
        centre_x, centre_y, radius = int(x + width / 2), int(y + height / 2), max(1, int(0.75 * max(width, height)))
        return {"corners": (centre_x - radius, centre_y - radius, centre_x + radius, centre_y + radius)}

    def apply(self, img: Pixels, corners: tuple[int, int, int, int], **_: Any) -> Pixels:
        left, top, right, bottom = corners
        height, width = img.shape[:2]
        inside = img[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
        if self.mode == "clipped" or inside.shape[:2] == (bottom - top, right - left):
            return np.ascontiguousarray(inside)
        # The mirror of the whole frame, which goes on mirroring where a single reflection does not reach far enough.
        rows = _mirrored(np.arange(top, bottom), height)
        columns = _mirrored(np.arange(left, right), width)
        mirrored: Pixels = img[rows[:, None], columns]
        return mirrored


def _mirrored(index: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Fold any index into 0 … length - 1, back and forth, without repeating the border pixel."""
    period = max(2 * (length - 1), 1)
    index = index % period
    return np.minimum(index, period - index) if length > 1 else np.zeros_like(index)


def clip_box(box: Box, width: int, height: int) -> Box | None:
    """The part of `box` inside a frame of width × height pixels; None where less than a pixel is left."""
    x, y, box_width, box_height = box
    left, top = max(x, 0.0), max(y, 0.0)
    right, bottom = min(x + box_width, float(width)), min(y + box_height, float(height))
    return (left, top, right - left, bottom - top) if min(right - left, bottom - top) >= 1 else None


def open_picture(content: bytes, name: str) -> Image.Image:
    """Decode a picture whole; a truncated or foreign one is a `UserError` that starts with `name`.

    Its orientation tag is not applied: CUB's boxes refer to the pixels as they are stored.
    """
    try:
        image = Image.open(io.BytesIO(content), formats=_FORMATS)
        image.load()
    except (OSError, SyntaxError, ValueError, ArithmeticError, Image.DecompressionBombError) as error:
        reason = "no picture at all" if isinstance(error, UnidentifiedImageError) else error
        raise UserError(f"{name}: unreadable picture ({reason})") from error
    return image


def to_rgb(image: Image.Image) -> Pixels:
    """Pixels of any kind of picture as RGB: uint8 [H, W, 3]; 16-bit grey keeps its upper byte."""
    if image.mode.startswith("I"):
        grey = np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255).astype(np.uint8)
        image = Image.fromarray(grey)
    return np.asarray(image.convert("RGB"))
