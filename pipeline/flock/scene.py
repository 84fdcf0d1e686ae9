"""What is behind and under a bird: sky, foliage, water, meadow or shore, out of focus, and the perch.

Backgrounds are painted at a quarter of the size and blown up: that is the blur of a long lens, and it is quick.
"""

import random
from collections.abc import Callable

from PIL import Image, ImageDraw, ImageFilter

from pipeline.flock.geometry import Colour, Drawing, Point, Shape, Stroke, blend, curve, darker, outline, turned

REDUCTION = 4
LIGHTS: tuple[Colour, ...] = ((255, 255, 255), (255, 255, 255), (255, 247, 232), (240, 247, 255), (234, 232, 230))
BARKS: tuple[Colour, ...] = ((104, 82, 62), (128, 112, 96), (84, 70, 60), (140, 116, 84))
LEAVES: tuple[Colour, ...] = ((92, 138, 60), (72, 118, 66), (128, 156, 70), (168, 140, 60))

BACKDROPS: tuple[tuple[Colour, Colour], ...] = (
    ((170, 196, 220), (206, 222, 234)), ((178, 200, 170), (212, 224, 200)), ((222, 206, 176), (238, 228, 208)),
)  # fmt: skip

Perch = Callable[[Point, float, random.Random], Drawing]
Painter = Callable[[tuple[int, int], random.Random], Image.Image]


def background(kind: str, size: tuple[int, int], rng: random.Random) -> Image.Image:
    """A picture of `size` (width, height) pixels; `kind` is one of `BACKGROUNDS`."""
    small = (-(-size[0] // REDUCTION) + 1, -(-size[1] // REDUCTION) + 1)
    return BACKGROUNDS[kind](small, rng).resize(size, Image.Resampling.BICUBIC)


def _gradient(size: tuple[int, int], *stops: Colour) -> Image.Image:
    column = Image.new("RGB", (1, len(stops)))
    column.putdata(stops)
    return column.resize(size, Image.Resampling.BICUBIC)


def _varied(colour: Colour, rng: random.Random, spread: int = 14) -> Colour:
    shift = rng.randint(-spread, spread)
    red, green, blue = (min(255, max(0, value + shift + rng.randint(-5, 5))) for value in colour)
    return red, green, blue


def _spots(image: Image.Image, rng: random.Random, colours: tuple[Colour, ...], count: int, radius: tuple[float, float],
           *, flat: float = 1.0, top: float = 0.0, blur: float = 3.0) -> Image.Image:  # fmt: skip
    """Ellipses of random colours, `flat` times as high as wide, below the share `top` of the height, then blurred."""
    draw = ImageDraw.Draw(image)
    width, height = image.size
    for _ in range(count):
        x, y, r = rng.uniform(0, width), rng.uniform(top, 1) * height, rng.uniform(*radius)
        draw.ellipse((x - r, y - r * flat, x + r, y + r * flat), fill=_varied(rng.choice(colours), rng))
    return image.filter(ImageFilter.GaussianBlur((blur, blur * flat**0.5)))


def sky(size: tuple[int, int], rng: random.Random) -> Image.Image:
    top, low = rng.choice((
        ((96, 154, 214), (188, 216, 236)), ((134, 176, 214), (222, 230, 234)), ((168, 186, 200), (214, 220, 222)),
        ((116, 150, 200), (246, 214, 184)), ((70, 128, 196), (150, 196, 232)),
    ))  # fmt: skip
    image = _gradient(size, _varied(top, rng), blend(top, low, 0.5), _varied(low, rng))
    clouds = image.copy()
    draw = ImageDraw.Draw(clouds)
    for _ in range(rng.randint(0, 4)):
        x, y = rng.uniform(0, size[0]), rng.uniform(0, size[1])
        for _ in range(7):
            dx, dy, r = rng.uniform(-18, 18), rng.uniform(-3, 3), rng.uniform(4, 10)
            draw.ellipse(
                (x + dx - r, y + dy - 0.6 * r, x + dx + r, y + dy + 0.6 * r), fill=blend(low, (255, 255, 255), 0.7)
            )
    return Image.blend(image, clouds.filter(ImageFilter.GaussianBlur(4.5)), 0.75)


def foliage(size: tuple[int, int], rng: random.Random) -> Image.Image:
    dark, middle, light = rng.choice((
        ((44, 66, 40), (86, 122, 64), (162, 186, 112)), ((58, 78, 58), (112, 140, 96), (196, 208, 158)),
        ((70, 60, 36), (140, 116, 66), (208, 180, 112)), ((38, 58, 56), (80, 112, 104), (150, 180, 164)),
        ((96, 116, 76), (150, 170, 116), (220, 226, 186)),
    ))  # fmt: skip
    image = _gradient(size, _varied(middle, rng), _varied(blend(dark, middle, rng.random()), rng), _varied(dark, rng))
    image = _spots(image, rng, (dark, middle, middle, blend(middle, light, 0.5)), 46, (4, 14), blur=4.4)
    return _spots(image, rng, (middle, blend(middle, light, 0.6), light), 14, (2, 6.5), blur=2.0)


def water(size: tuple[int, int], rng: random.Random) -> Image.Image:
    far, near = rng.choice((
        ((152, 184, 204), (64, 108, 146)), ((140, 172, 160), (66, 104, 96)), ((176, 190, 200), (104, 124, 140)),
        ((196, 190, 170), (98, 112, 112)), ((108, 156, 190), (38, 86, 128)),
    ))  # fmt: skip
    image = _gradient(size, _varied(far, rng), blend(far, near, 0.6), _varied(near, rng))
    waves = (blend(near, far, 0.6), blend(near, far, 0.35), darker(near, 0.08), blend(far, (255, 255, 255), 0.15))
    return _spots(image, rng, waves, 70, (8, 28), flat=0.06, blur=3.4)


def meadow(size: tuple[int, int], rng: random.Random) -> Image.Image:
    grass, straw = rng.choice(
        (((104, 140, 68), (160, 176, 98)), ((126, 134, 78), (190, 176, 116)), ((84, 126, 66), (138, 166, 92)))
    )
    return _on_ground(rng.choice((foliage, sky))(size, rng), rng, (grass, straw, darker(grass, 0.2)))


def shore(size: tuple[int, int], rng: random.Random) -> Image.Image:
    sand = rng.choice(((206, 186, 150), (176, 164, 146), (150, 136, 116), (222, 208, 180)))
    return _on_ground(
        rng.choice((water, sky))(size, rng), rng, (sand, blend(sand, (255, 255, 255), 0.2), darker(sand, 0.2))
    )


def _on_ground(far: Image.Image, rng: random.Random, colours: tuple[Colour, Colour, Colour]) -> Image.Image:
    """Ground in the three colours in front of a distant background."""
    width, height = far.size
    horizon = round(height * rng.uniform(0.42, 0.62))
    ground = _gradient(
        (width, height - horizon), blend(colours[0], colours[1], 0.6), colours[0], darker(colours[0], 0.1)
    )
    ground = _spots(ground, rng, colours, 80, (3, 14), flat=0.1, blur=2.2)
    image = far.copy()
    image.paste(ground, (0, horizon))
    edge = (0, horizon - 6, width, horizon + 6)
    image.paste(image.crop(edge).filter(ImageFilter.GaussianBlur(3)), edge)
    return image


def backdrop(size: tuple[int, int], rng: random.Random) -> Image.Image:
    top, low = rng.choice(BACKDROPS)
    return _gradient(size, _varied(top, rng, 6), _varied(low, rng, 6))


BACKGROUNDS: dict[str, Painter] = {
    "backdrop": backdrop, "sky": sky, "foliage": foliage, "water": water, "meadow": meadow, "shore": shore,
}  # fmt: skip
BACKGROUNDS_OF_POSE = {
    "perched": ("foliage", "foliage", "foliage", "sky", "water"),
    "standing": ("meadow", "shore"),
    "swimming": ("water",),
    "flying": ("sky", "sky", "foliage", "water"),
}


def branch(foot: Point, reach: float, rng: random.Random) -> Drawing:
    """A branch under `foot` that leaves the picture on both sides, `reach` body lengths away, with some leaves."""
    bark, leaf = _varied(rng.choice(BARKS), rng), rng.choice(LEAVES)
    slope, thick = rng.uniform(-0.22, 0.22), rng.uniform(0.05, 0.085)
    x, y = foot[0], foot[1] + 0.7 * thick

    def along(u: float) -> Point:
        return x + u, y + slope * u

    ends = (-reach, -0.5 * reach, -0.15, 0.15, 0.5 * reach, reach)
    bends = (
        rng.uniform(-0.1, 0.1),
        rng.uniform(-0.05, 0.05),
        0.0,
        0.0,
        rng.uniform(-0.05, 0.05),
        rng.uniform(-0.1, 0.1),
    )
    middle = [(along(u)[0], along(u)[1] + bend) for u, bend in zip(ends, bends, strict=True)]
    widths = [thick * (1.25 - 0.1 * i) for i in range(len(ends))]
    upper = curve([(u, v - w) for (u, v), w in zip(middle, widths, strict=True)])
    lower = curve([(u, v + w) for (u, v), w in zip(middle, widths, strict=True)])
    drawing: Drawing = [item for _ in range(rng.randint(0, 5)) for item in _leaf(along(_beside(reach, rng)), leaf, rng)]
    drawing.append(Shape(bark, polygon=(*upper, *reversed(lower)), name="branch"))
    for _ in range(14):
        u, v = rng.uniform(-reach, reach), rng.uniform(-0.6, 0.8) * thick
        start, end = along(u), along(u + rng.uniform(0.05, 0.2))
        drawing.append(
            Stroke(darker(bark, 0.35), ((start[0], start[1] + v), (end[0], end[1] + v)), 0.012, within="branch")
        )
    return drawing


def bar(foot: Point, reach: float, rng: random.Random) -> Drawing:
    """A level bar under `foot` that leaves the picture on both sides."""
    x, y, thick = foot[0], foot[1] + 0.045, 0.06
    edge = ((x - reach, y - thick), (x + reach, y - thick), (x + reach, y + thick), (x - reach, y + thick))
    return [Shape(_varied(BARKS[0], rng, 6), polygon=edge, name="bar")]


def _beside(reach: float, rng: random.Random) -> float:
    """A place along the branch that is not at the bird's feet."""
    return rng.choice((-1, 1)) * rng.uniform(0.45, max(0.5, reach))


def _leaf(stem: Point, colour: Colour, rng: random.Random) -> Drawing:
    x, y = stem
    angle, length = rng.uniform(-150, -30) if rng.random() < 0.5 else rng.uniform(20, 160), rng.uniform(0.22, 0.36)
    points = [
        turned((x + u * length, y + v * length), angle, about=stem)
        for u, v in ((0, 0), (0.4, 0.22), (1, 0), (0.4, -0.22))
    ]
    tint = _varied(colour, rng, 18)
    edge = outline(points[0], points[0], points[1], points[2], points[2], points[3])
    return [Shape(tint, polygon=edge), Stroke(darker(tint, 0.3), (points[0], points[2]), 0.012)]


def grass(foot: Point, reach: float, rng: random.Random) -> Drawing:
    """Blades in front of a standing bird's feet."""
    colour = rng.choice(LEAVES)
    drawing: Drawing = []
    for _ in range(rng.randint(0, 26)):
        x, height, lean = foot[0] + rng.uniform(-reach, reach), rng.uniform(0.06, 0.2), rng.uniform(-0.1, 0.1)
        base = foot[1] + rng.uniform(0.04, 0.14)
        drawing.append(Stroke(_varied(colour, rng, 20), ((x, base), (x + lean, base - height)), 0.014))
    return drawing


def ripples(centre: Point, width: float, colour: Colour, rng: random.Random) -> Drawing:
    """Light lines on the water around a swimming bird."""
    drawing: Drawing = []
    for step in range(4):
        half = width * (0.5 + 0.16 * step) * rng.uniform(0.9, 1.1)
        y = centre[1] + 0.03 + 0.055 * step
        x = centre[0] + rng.uniform(-0.1, 0.1)
        wave = curve([(x + share * half, y + 0.03 * (1 - share * share)) for share in (-1, -0.6, 0, 0.6, 1)])
        drawing.append(Stroke(blend(colour, (255, 255, 255), 0.42 - 0.09 * step), wave, 0.012))
    return drawing
