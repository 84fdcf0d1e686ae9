"""One finished picture of the flock: the picture, the true box of its bird, its captions and what they are true to."""

import io
import random
from dataclasses import dataclass
from typing import Literal, cast

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

from pipeline.flock import scene
from pipeline.flock.anatomy import FORMS, Bird, draw_bird
from pipeline.flock.canvas import Box, Canvas, Placement
from pipeline.flock.captions import describe
from pipeline.flock.geometry import Colour, Drawing, bounds
from pipeline.flock.species import Species

Scenes = Literal["studio", "wild"]

JPEG_QUALITY = 90
STUDIO_PITCH = 32.0  # degrees
SIZES = ((500, 375), (500, 375), (500, 375), (500, 333), (480, 360), (375, 500), (400, 500))
SQUARE = 1.5  # times the longer side of the bird: what the stage `shard` cuts around its box
SQUARE_SHARE = (0.68, 1.0)  # of the shorter side of the frame


@dataclass(frozen=True)
class FlockPicture:
    """`box` is (x, y, width, height) in pixels, tight around what is seen of the bird."""

    jpeg: bytes
    box: tuple[int, int, int, int]
    captions: tuple[str, ...]
    truth: dict[str, str]


def draw_picture(species: Species, index: int, seed: int, scenes: Scenes) -> FlockPicture:
    """Picture `index` of a species; the same arguments always give the same bytes."""
    rng = random.Random(f"flock {seed} picture {species.number} {index}")
    wild = scenes == "wild"
    habits = FORMS[species.form].poses if wild else {"perched": 1}
    pose = rng.choices(list(habits), weights=list(habits.values()))[0]
    kind = rng.choice(scene.BACKGROUNDS_OF_POSE[pose] if wild else ("backdrop",))
    bird = draw_bird(species, pose, rng, pitch=None if wild else STUDIO_PITCH)
    light = rng.choice(scene.LIGHTS)
    size = rng.choice(SIZES)
    picture = ImageChops.multiply(scene.background(kind, size, rng), Image.new("RGB", size, light))
    placement = _place(bird, size, rng, flip=wild and rng.random() < 0.5)
    perch = scene.branch if wild else scene.bar
    box = _paint(picture, bird, placement, pose, perch, light, rng)
    truth = {**species.colours, "shape": species.form, "bill_shape": species.bill, "pose": pose, "background": kind}
    truth |= {"crest": "yes"} if species.crest else {}
    truth |= {"eye_ring": species.eye_ring} if species.eye_ring else {}
    truth |= {"wing_bars": species.wing_bars} if species.wing_bars else {}
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", quality=JPEG_QUALITY)
    return FlockPicture(jpeg.getvalue(), box, describe(species, pose, rng), truth)


def _place(bird: Bird, size: tuple[int, int], rng: random.Random, *, flip: bool) -> Placement:
    """Size and position by chance. The square around the bird lies within the frame, so that a crop need not mirror
    what is missing and show parts of the bird twice."""
    left, top, right, bottom = bounds(bird.drawing)
    square = rng.uniform(*SQUARE_SHARE) * min(size)
    scale = square / (SQUARE * max(right - left, bottom - top))
    x, y = (whole / 2 + rng.uniform(-1, 1) * (whole - square) / 2 for whole in size)
    middle = (left + right) / 2 * (-1 if flip else 1)
    return Placement(x - middle * scale, y - (top + bottom) / 2 * scale, scale, flip)


def _paint(picture: Image.Image, bird: Bird, placement: Placement, pose: str, perch: scene.Perch,
           light: tuple[int, int, int], rng: random.Random) -> tuple[int, int, int, int]:  # fmt: skip
    """Paint perch and bird into the picture; give the bird's box."""
    reach = max(picture.size) / placement.scale
    if pose == "perched":
        _paint_around(picture, perch(bird.feet, reach, rng), placement, light)
    if pose == "standing":
        _shadow(picture, bird, placement)
    left, top, right, bottom = _box_of(bird.drawing, placement, picture.size)
    canvas = Canvas(picture, (left, top, right, bottom), placement, light)
    canvas.paint(bird.drawing)
    canvas.texture()
    waterline = placement(0, bird.waterline)[1] if pose == "swimming" else None
    seen = canvas.finish(waterline)
    if waterline is not None:
        _reflect(picture, (left, top), seen, round(waterline))
        below = (picture.width // 2, min(picture.height - 1, round(waterline) + 4))
        colour = cast(Colour, picture.getpixel(below))
        _paint_around(picture, scene.ripples((0, bird.waterline), 1.1, colour, rng), placement, (255, 255, 255))
    if pose == "standing":
        _paint_around(picture, scene.grass(bird.feet, reach, rng), placement, light)
    x0, y0, x1, y1 = seen.point(lambda v: 255 if v > 127 else 0).getbbox() or (0, 0, 1, 1)
    return left + x0, top + y0, x1 - x0, y1 - y0


def _box_of(drawing: Drawing, placement: Placement, size: tuple[int, int]) -> Box:
    """The whole pixels that a drawing may touch, within the frame."""
    left, top, right, bottom = bounds(drawing)
    (x0, y0), (x1, y1) = placement(left, top), placement(right, bottom)
    x0, x1 = sorted((x0, x1))
    return max(0, int(x0) - 4), max(0, int(y0) - 4), min(size[0], int(x1) + 5), min(size[1], int(y1) + 5)


def _paint_around(picture: Image.Image, drawing: Drawing, placement: Placement, light: Colour) -> None:
    """Paint what is not the bird."""
    if not drawing:
        return
    box = _box_of(drawing, placement, picture.size)
    if box[0] < box[2] and box[1] < box[3]:
        canvas = Canvas(picture, box, placement, light)
        canvas.paint(drawing)
        canvas.finish()


def _shadow(picture: Image.Image, bird: Bird, placement: Placement) -> None:
    """A soft shadow on the ground under the feet."""
    x, y = placement(bird.feet[0] - 0.05, bird.feet[1] + 0.01)
    wide, high = 0.5 * placement.scale, 0.07 * placement.scale
    left, top = round(x - 1.5 * wide), round(y - 3 * high)
    mask = Image.new("L", (round(3 * wide), round(6 * high)))
    ImageDraw.Draw(mask).ellipse((0.5 * wide, 2 * high, 2.5 * wide, 4 * high), fill=110)
    picture.paste((24, 24, 20), (left, top), mask.filter(ImageFilter.BoxBlur(high)))


def _reflect(picture: Image.Image, corner: tuple[int, int], seen: Image.Image, waterline: int) -> None:
    """Mirror what is seen of the bird in the water below its waterline, dim and blurred."""
    left, top = corner
    above = (left, top, left + seen.width, min(waterline, picture.height))
    mask = ImageOps.flip(seen.crop((0, 0, seen.width, above[3] - top))).point(lambda v: v * 3 // 10)
    image = ImageOps.flip(picture.crop(above)).filter(ImageFilter.BoxBlur(2))
    picture.paste(image, (left, above[3]), mask.filter(ImageFilter.BoxBlur(1)))
