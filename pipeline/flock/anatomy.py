"""A bird as a drawing: the body forms, and how a species' parts and colours lie on them in a pose."""

import random
from dataclasses import dataclass

from pipeline.flock.geometry import Colour, Disc, Drawing, Point, Shape, Stroke, darker, tube, turned
from pipeline.flock.plumage import Body, crest, face, flight_wing, folded_wing, tail
from pipeline.flock.species import PALETTE, Species


@dataclass(frozen=True)
class Form:
    """Proportions in body lengths: `depth` of the body, `head` radius, head from shoulder (`neck`: forwards, up),
    `tail` and `legs` lengths; `pitch` (degrees, least and most) is how steeply it perches."""

    depth: float
    head: float
    neck: Point
    tail: float
    legs: float
    pitch: tuple[float, float]
    poses: dict[str, int]


FORMS = {
    "robin": Form(0.80, 0.29, (0.10, 0.20), 0.34, 0.26, (18, 38), {"perched": 5, "standing": 3, "flying": 2}),
    "finch": Form(0.64, 0.25, (0.12, 0.19), 0.46, 0.22, (22, 44), {"perched": 6, "standing": 2, "flying": 2}),
    "jay": Form(0.60, 0.24, (0.13, 0.20), 0.54, 0.26, (20, 46), {"perched": 6, "standing": 2, "flying": 2}),
    "kingfisher": Form(0.66, 0.29, (0.12, 0.19), 0.24, 0.12, (30, 50), {"perched": 8, "flying": 2}),
    "raptor": Form(0.68, 0.23, (0.08, 0.20), 0.46, 0.20, (46, 64), {"perched": 7, "flying": 3}),
    "duck": Form(0.58, 0.22, (0.12, 0.38), 0.24, 0.22, (2, 10), {"swimming": 6, "standing": 3, "flying": 1}),
    "gull": Form(0.54, 0.22, (0.15, 0.22), 0.34, 0.30, (6, 16), {"standing": 4, "flying": 4, "swimming": 2}),
    "heron": Form(0.58, 0.20, (0.19, 0.52), 0.26, 0.54, (14, 28), {"standing": 8, "flying": 2}),
}  # fmt: skip


@dataclass(frozen=True)
class Bird:
    """A drawing (in body lengths, facing right), and where it touches: `feet` the lowest point of its legs,
    `waterline` how deep it lies when it swims."""

    drawing: Drawing
    feet: Point
    waterline: float


def draw_bird(species: Species, pose: str, rng: random.Random, *, pitch: float | None = None) -> Bird:
    """One individual of a species in a pose of its form, with small differences of its own; `pitch` (degrees) as given,
    or by chance."""
    form = FORMS[species.form]
    colours = {part: _individual(PALETTE[word], rng) for part, word in species.colours.items()}
    pitch = _pitch(form, pose, rng) if pitch is None else pitch
    depth = form.depth * rng.uniform(0.94, 1.06)

    def at(u: float, v: float) -> Point:
        """Body coordinates (forward, up, in body lengths) to the drawing's."""
        return turned((u, -v), pitch)

    neck, nape = _neck(form, pose, at(0.27, 0.08), depth, rng)
    head = neck[-1]
    wing = colours["wing"]
    bars = PALETTE[species.wing_bars] if species.wing_bars else None
    beat = (rng.uniform(0.7, 1.05), rng.uniform(-14, 16))
    flying = pose == "flying"
    legs, feet = _legs(form, pose, at, depth, colours["legs"])
    drawing = [
        *(flight_wing(at, wing, beat, near=False, bars=None) if flying else ()),
        *legs,
        *tail(at, form.tail * (1.4 if species.long_tail else 1.0), colours["tail"], spread=flying),
        *(crest(head, colours["head"]) if species.crest else ()),
        *_body(at, depth, neck, colours),
        Shape(colours["head"], discs=tuple((x, y, r + 0.02) for x, y, r in neck[nape:]), soft=0.012, within="torso"),
        *face(head, species, colours),
        *(flight_wing(at, wing, beat, near=True, bars=bars) if flying else folded_wing(at, depth, wing, bars)),
    ]
    return Bird(drawing, feet, at(0, -0.2)[1] + 0.12 * depth)


def _body(at: Body, depth: float, neck: tuple[Disc, ...], colours: dict[str, Colour]) -> Drawing:
    """The torso with the neck, in the belly's colour, and the back over it in the wing's."""
    spine = ((-0.46, 0.05, 0.08), (-0.22, 0.02, 0.36 * depth), (0.04, -0.04, 0.54 * depth), (0.27, 0.01, 0.43 * depth))
    torso = tube([(*at(u, v), r) for u, v, r in spine])
    up = at(0, 1)
    back = tuple((x + up[0] * 0.75 * r, y + up[1] * 0.75 * r, 0.5 * r) for x, y, r in torso)
    return [
        Shape(colours["belly"], discs=(*torso, *neck), name="torso"),
        Shape(colours["wing"], discs=back, soft=0.03, within="torso", shaded=False),
    ]


def _individual(colour: Colour, rng: random.Random) -> Colour:
    """The same colour word, a little lighter or darker and a little warmer or cooler."""
    light, warm = 1 + rng.uniform(-0.07, 0.07), rng.uniform(-0.04, 0.04)
    red, green, blue = (
        min(255, round(value * light * (1 + shift))) for value, shift in zip(colour, (warm, 0, -warm), strict=True)
    )
    return red, green, blue


def _pitch(form: Form, pose: str, rng: random.Random) -> float:
    if pose == "flying":
        return rng.uniform(0, 16)
    if pose == "swimming":
        return rng.uniform(0, 6)
    return rng.uniform(*form.pitch) * (0.6 if pose == "standing" else 1.0)


def _neck(form: Form, pose: str, shoulder: Point, depth: float, rng: random.Random) -> tuple[tuple[Disc, ...], int]:
    """Discs from the shoulder to the head, which is the last of them, and the first that has the head's colour."""
    forward, up = form.neck
    up *= rng.uniform(0.9, 1.1)
    if pose == "flying":
        forward, up = forward + 0.55 * up, 0.55 * up
    x, y = shoulder
    head = (x + forward, y - up, form.head)
    if up < 0.3 and forward < 0.3:
        return tube([(x, y, 0.36 * depth), head]), 4
    thin = 0.5 * form.head
    low, high = (x + 0.55 * forward + 0.10, y - 0.30 * up), (x + 0.35 * forward, y - 0.68 * up)
    return tube([(x, y, 0.34 * depth), (*low, 1.15 * thin), (*high, thin), head]), 7


def _legs(form: Form, pose: str, at: Body, depth: float, colour: Colour) -> tuple[Drawing, Point]:
    """Both legs, the farther one darker, and the point where they stand."""
    hip = at(-0.04, -0.42 * depth)
    if pose == "swimming":
        return [], hip
    if pose == "flying":
        hip = at(-0.22, -0.26 * depth)
        trailing = at(-0.3 - 0.75 * form.legs, -0.26 * depth + 0.05)
        return [Stroke(darker(colour, 0.2), (hip, trailing), 0.035)], hip
    width = 0.034 if form.legs > 0.5 else 0.045
    drawing: Drawing = []
    foot = (hip[0] + 0.04, hip[1] + form.legs + 0.06)
    for shift, shade in ((0.09, 0.35), (-0.03, 0.0)):
        top = (hip[0] + shift, hip[1] - 0.12)
        knee = (hip[0] + shift - 0.05, hip[1] + 0.45 * form.legs)
        end = (foot[0] + shift, foot[1])
        tint = darker(colour, shade)
        drawing.append(Stroke(tint, (top, knee, end), width))
        toes = ((0.11, 0.0), (0.075, 0.03), (-0.07, 0.01))
        drawing += [Stroke(tint, (end, (end[0] + dx, end[1] + dy)), 0.8 * width) for dx, dy in toes]
    return drawing, foot
