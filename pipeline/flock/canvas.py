"""Paint a drawing over a background at twice its resolution, with soft light from above."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

from pipeline.flock.geometry import Colour, Drawing, Shape, Stroke, blend

OVERSAMPLING = 2
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Placement:
    """Where the drawing's origin lies in the picture and how many pixels a body length is; `flip` faces it left."""

    x: float
    y: float
    scale: float
    flip: bool

    def __call__(self, x: float, y: float) -> tuple[float, float]:
        return self.x + (-x if self.flip else x) * self.scale, self.y + y * self.scale


@dataclass
class Canvas:
    """A part of a picture (`box` in its pixels) under work; `coverage` is where something was painted."""

    picture: Image.Image
    box: Box
    placement: Placement
    tint: Colour = (255, 255, 255)
    patch: Image.Image = field(init=False)
    coverage: Image.Image = field(init=False)
    _masks: dict[str, Image.Image] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        left, top, right, bottom = self.box
        size = (OVERSAMPLING * (right - left), OVERSAMPLING * (bottom - top))
        self.patch = self.picture.crop(self.box).resize(size, Image.Resampling.BILINEAR)
        self.coverage = Image.new("L", size)

    def paint(self, drawing: Drawing) -> None:
        for item in drawing:
            if isinstance(item, Shape):
                self._fill(item)
            else:
                self._line(item)

    def texture(self) -> None:
        """Lay a fine feathery grain over what was painted so far."""
        grain = _grain().crop((0, 0, *self.patch.size))
        self.patch.paste(ImageChops.add(self.patch, grain, offset=-128), mask=self.coverage)

    def finish(self, waterline: float | None = None) -> Image.Image:
        """Put the patch into the picture, nothing of it below `waterline` (pixels); return its coverage at 1×."""
        if waterline is not None:
            top = max(0, round((waterline - self.box[1]) * OVERSAMPLING))
            self.coverage.paste(0, (0, top, *self.coverage.size))
        coverage = self.coverage.reduce(OVERSAMPLING)
        self.picture.paste(self.patch.reduce(OVERSAMPLING), self.box[:2], coverage.point(lambda v: 255 if v else 0))
        return coverage

    def _pixels(self, points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
        placed = (self.placement(x, y) for x, y in points)
        return [((x - self.box[0]) * OVERSAMPLING, (y - self.box[1]) * OVERSAMPLING) for x, y in placed]

    def _length(self, units: float) -> float:
        return units * self.placement.scale * OVERSAMPLING

    def _fill(self, shape: Shape) -> None:
        mask = Image.new("L", self.patch.size)
        draw = ImageDraw.Draw(mask)
        if shape.polygon:
            draw.polygon(self._pixels(shape.polygon), fill=255)
        for (x, y), (_, _, radius) in zip(self._pixels((x, y) for x, y, _ in shape.discs), shape.discs, strict=True):
            draw.circle((x, y), self._length(radius), fill=255)
        box = mask.getbbox()
        if box is None:
            return
        margin = round(self._length(0.06)) + 2
        box = (max(0, box[0] - margin), max(0, box[1] - margin), box[2] + margin, box[3] + margin)
        box = (*box[:2], min(mask.width, box[2]), min(mask.height, box[3]))
        tile = mask.crop(box)
        if shape.soft:
            tile = _blurred(tile, self._length(shape.soft))
        if shape.within:
            tile = ImageChops.multiply(tile, self._masks[shape.within].crop(box))
        colour = self._lit(shape.colour)
        self.patch.paste(_shaded(tile, colour, self._length(0.07)) if shape.shaded else colour, box, tile)
        self.coverage.paste(255, box, tile)
        if shape.name:
            self._masks[shape.name] = mask

    def _line(self, stroke: Stroke) -> None:
        points = self._pixels(stroke.points)
        width = max(1, round(self._length(stroke.width)))
        if stroke.within is None:
            ImageDraw.Draw(self.patch).line(points, self._lit(stroke.colour), width, joint="curve")
            ImageDraw.Draw(self.coverage).line(points, 255, width, joint="curve")
            return
        left, top = (max(0, int(min(column)) - width) for column in zip(*points, strict=True))
        right, bottom = (int(max(column)) + width + 1 for column in zip(*points, strict=True))
        tile = Image.new("L", (max(1, right - left), max(1, bottom - top)))
        ImageDraw.Draw(tile).line([(x - left, y - top) for x, y in points], 255, width, joint="curve")
        tile = ImageChops.multiply(
            tile, self._masks[stroke.within].crop((left, top, left + tile.width, top + tile.height))
        )
        self.patch.paste(self._lit(stroke.colour), (left, top), tile)

    def _lit(self, colour: Colour) -> Colour:
        red, green, blue = (value * tint // 255 for value, tint in zip(colour, self.tint, strict=True))
        return red, green, blue


def _shaded(mask: Image.Image, colour: Colour, depth: float) -> Image.Image:
    """A tile of `colour` that looks round under `mask`: darker within `depth` pixels of the lower edge, lit above."""
    step = max(1, round(depth / 3))
    small = mask.reduce(step).filter(ImageFilter.GaussianBlur(depth / step))
    lowered = Image.new("L", small.size)
    lowered.paste(small, (0, -round(depth * 0.9 / step)))
    shade = lowered.resize(mask.size, Image.Resampling.BILINEAR)
    dark = blend(colour, (18, 14, 30), 0.5)
    light = blend(colour, (255, 255, 250), 0.16 if sum(colour) > 150 else 0.07)
    return ImageOps.colorize(shade, dark, light, mid=colour, blackpoint=20, midpoint=170, whitepoint=255)


def _blurred(tile: Image.Image, radius: float) -> Image.Image:
    """A Gaussian blur, done at a fraction of the size where it is wide."""
    step = max(1, int(radius / 3))
    small = tile.reduce(step).filter(ImageFilter.GaussianBlur(radius / step))
    return small.resize(tile.size, Image.Resampling.BILINEAR)


@cache
def _grain() -> Image.Image:
    """Short soft streaks around mid-grey, as large as any patch."""
    rng = random.Random("grain")
    small = Image.frombytes("L", (400, 400), rng.randbytes(400 * 400)).filter(ImageFilter.BoxBlur((3, 0.4)))
    streaks = small.resize((1400, 1400), Image.Resampling.BICUBIC).rotate(25, Image.Resampling.BILINEAR)
    middle = streaks.crop((190, 190, 1210, 1210))
    return Image.merge("RGB", [middle.point(lambda v: 128 + (v - 128) // 5)] * 3)
