"""Crops: the square around the bird, cut from the archive's pictures in parallel. The same for every stage.

The square has 1.5 times the longer side of the bird's box and its centre, as in StackGAN (Zhang et al. 2017). Where it
leaves the frame, `padded` mirrors the picture at the border, so that no bird is distorted; `clipped` does as the paper:
what the frame leaves of the square is squeezed into a square.
"""

import io
import os
import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from pipeline import console
from pipeline.archives import Member, Tar, open_tar
from pipeline.cub import image_member
from pipeline.data_config import Crop
from pipeline.manifest import Box, Picture
from pipeline.workers import parallel
from stackgan.errors import UserError

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it asks the network at import

import albumentations as A
import cv2

cv2.setNumThreads(1)  # there is a process for every core already

Pixels = NDArray[np.uint8]

_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP")  # whatever the suffix says; none that runs another program
_MOST_PIXELS = 8192  # a side; CUB's have 500. The square around a bird as long as that still fits into memory
_ORIENTATION = 0x0112  # EXIF tag
_CHUNK = 32
_PICTURE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    ArithmeticError,
    TypeError,
    KeyError,
    IndexError,
    struct.error,
    MemoryError,
    Image.DecompressionBombError,
)


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

    All of them are held in memory: 17 KB a crop at 76 pixels, 277 KB at 304. `progress` names them on the terminal. An
    unreadable picture is a `UserError`.
    """
    with open_tar(archive) as images:
        return cut_crops(images, pictures, Cutter(size, mode), progress=progress, processes=processes)


def cut_crops(
    images: Tar, pictures: Sequence[Picture], cutter: "Cutter", *, progress: str, processes: int | None = None
) -> Pixels:
    """Like `load_crops`, from an archive that is open already."""
    crops = np.empty((len(pictures), cutter.size, cutter.size, 3), np.uint8)
    parts = parallel(cutter.cut_all, chunked(sources(images, pictures)), processes=processes)
    cut = (crop for part in parts for crop in part)
    for index, crop in enumerate(console.track(cut, progress, total=len(pictures))):
        crops[index] = crop
    return crops


def load_usable_crops(archive: Path, pictures: Sequence[Picture], size: int) -> tuple[list[Picture], Pixels]:
    """Like `load_crops`, but leaves out pictures that cannot be read or show no bird: those kept, and their crops."""
    kept: list[Picture] = []
    crops = np.empty((len(pictures), size, size, 3), np.uint8)
    with open_tar(archive) as images:
        parts = parallel(Cutter(size, "padded").cut_usable, chunked(sources(images, pictures)))
        tracked = console.track((crop for part in parts for crop in part), "crops", total=len(pictures))
        for picture, crop in zip(pictures, tracked, strict=True):
            if crop is not None:
                crops[len(kept)] = crop
                kept.append(picture)
    if not kept:
        raise UserError(f"{archive}: none of {len(pictures)} pictures can be read: fetch the archive again")
    return kept, crops[: len(kept)]


@dataclass(frozen=True)
class Source:
    """A picture and where its bytes lie; fit for another process."""

    picture: Picture
    member: Member

    def read(self) -> Image.Image:
        """Decode the picture; an unreadable one is a `UserError`."""
        return open_picture(self.member.read(), self.picture.name)


def sources(images: Tar, pictures: Sequence[Picture]) -> list[Source]:
    """Find the pictures in the archive; a missing one is a `UserError`."""
    return [Source(picture, images.member(image_member(picture.name))) for picture in pictures]


def chunked(items: Sequence[Source]) -> list[Sequence[Source]]:
    """Jobs of a size that is worth sending to another process."""
    return [items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK)]


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
        image = to_rgb(source.read())
        height, width = image.shape[:2]
        box = clip_box(source.picture.bbox, width, height)
        if box is None:
            raise UserError(f"{source.picture.name}: the bird's box {source.picture.bbox} lies outside the picture")
        crop: Pixels = self._transform(image=image, bird=box)["image"]
        return crop

    def cut_all(self, sources: Sequence[Source]) -> Pixels:
        """Cut several pictures: uint8 [N, size, size, 3]."""
        return np.stack([self.cut(source) for source in sources])

    def cut_usable(self, sources: Sequence[Source]) -> list[Pixels | None]:
        """The same, with None for those that cannot be cut."""
        return [self._cut_or_none(source) for source in sources]

    def _cut_or_none(self, source: Source) -> Pixels | None:
        try:
            return self.cut(source)
        except UserError:
            return None


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
        # Borders of the whole frame, not of the part inside: mirroring goes on where one reflection ends too early.
        above, before = max(-top, 0), max(-left, 0)
        below, after = max(bottom - height, 0), max(right - width, 0)
        framed: Any = cv2.copyMakeBorder(img, above, below, before, after, cv2.BORDER_REFLECT_101)
        square: Pixels = framed[top + above : bottom + above, left + before : right + before]
        return square


def clip_box(box: Box, width: int, height: int) -> Box | None:
    """The part of `box` inside a frame of width × height pixels; None where less than a pixel is left."""
    x, y, box_width, box_height = box
    left, top = max(x, 0.0), max(y, 0.0)
    right, bottom = min(x + box_width, float(width)), min(y + box_height, float(height))
    return (left, top, right - left, bottom - top) if min(right - left, bottom - top) >= 1 else None


def open_picture(content: bytes, name: str) -> Image.Image:
    """Decode a picture whole; a truncated, foreign or huge one is a `UserError` that starts with `name`.

    Its orientation tag is not applied: CUB's boxes refer to the pixels as they are stored.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library's remarks on what it could read all the same, and on size
            image = Image.open(io.BytesIO(content), formats=_FORMATS)
            if max(image.size) > _MOST_PIXELS:
                raise Image.DecompressionBombError(f"{image.width} × {image.height} pixels are too many")
            image.load()
    except _PICTURE_ERRORS as error:
        reason = "no picture at all" if isinstance(error, UnidentifiedImageError) else error
        raise UserError(f"{name}: unreadable picture ({reason})") from error
    return image


def orientation(image: Image.Image) -> int:
    """How the camera was held, 1 to 8 as EXIF numbers it; 1, upright, where the picture says nothing or nonsense."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = image.getexif().get(_ORIENTATION, 1)
    except _PICTURE_ERRORS:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def to_rgb(image: Image.Image) -> Pixels:
    """Pixels of any kind of picture as RGB: uint8 [H, W, 3]; 16-bit grey keeps its upper byte."""
    if image.mode.startswith("I"):
        grey = np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255).astype(np.uint8)
        image = Image.fromarray(grey)
    if image.mode == "P":  # by way of RGBA, since a palette may be transparent in parts
        image = image.convert("RGBA")
    return np.asarray(image.convert("RGB"))
