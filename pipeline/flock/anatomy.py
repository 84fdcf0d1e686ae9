"""A bird as a drawing: the body forms, and how a species' parts and colours lie on them in a pose."""

import random
from dataclasses import dataclass

from pipeline.flock.geometry import Colour, Disc, Drawing, Point, Shape, Stroke, darker, tube, turned
from pipeline.flock.plumage import crest, face, flight_wing, folded_wing, tail
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
    "jay": Form(0.56, 0.23, (0.13, 0.20), 0.66, 0.26, (20, 46), {"perched": 6, "standing": 2, "flying": 2}),
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


def draw_bird(species: Species, pose: str, rng: random.Random) -> Bird:
    """One individual of a species in a pose of its form, with small differences of its own."""
    form = FORMS[species.form]
    colours = {part: _individual(PALETTE[word], rng) for part, word in species.colours.items()}
    pitch = _pitch(form, pose, rng)
    depth = form.depth * rng.uniform(0.94, 1.06)

    def at(u: float, v: float) -> Point:
        """Body coordinates (forward, up, in body lengths) to the drawing's."""
        return turned((u, -v), pitch)

    torso = tube([(*at(-0.46, 0.05), 0.08), (*at(-0.22, 0.02), 0.36 * depth), (*at(0.06, -0.02), 0.5 * depth),
                  (*at(0.27, 0.03), 0.40 * depth)])  # fmt: skip
    neck = _neck(form, pose, at(0.27, 0.08), depth, rng)
    head = neck[-1]
    up = at(0, 1)
    back = [(x + up[0] * 0.46 * r, y + up[1] * 0.46 * r, 0.66 * r) for x, y, r in torso]
    cut = len(neck) * (2 if len(neck) < 30 else 1) // (5 if len(neck) < 30 else 4)

    legs, feet = _legs(form, pose, at, depth, colours["legs"])
    drawing: Drawing = []
    if pose == "flying":
        beat = (rng.uniform(0.7, 1.05), rng.uniform(-24, 14))
        drawing += flight_wing(at, colours["wing"], beat, near=False, bars=None)
    drawing += legs
    drawing += tail(at, form.tail * (1.6 if species.long_tail else 1.0), colours["tail"], spread=pose == "flying")
    drawing += [
        *(crest(head, colours["head"]) if species.crest else ()),
        Shape(colours["belly"], discs=(*torso, *neck), name="torso"),
        Shape(colours["wing"], discs=tuple(back), soft=0.03, within="torso", shaded=False),
        Shape(colours["head"], discs=tuple((x, y, r + 0.02) for x, y, r in neck[cut:]), soft=0.012, within="torso"),
        *face(head, species, colours),
    ]
    bars = PALETTE[species.wing_bars] if species.wing_bars else None
    if pose == "flying":
        drawing += flight_wing(at, colours["wing"], beat, near=True, bars=bars)
    else:
        drawing += folded_wing(at, depth, colours["wing"], bars, droop=rng.uniform(-4, 6))
    return Bird(drawing, feet, at(0, -0.2)[1] + 0.12 * depth)


def _individual(colour: Colour, rng: random.Random) -> Colour:
    """The same colour word, a little lighter or darker and a little warmer or cooler."""
    light, warm = rng.uniform(-0.07, 0.07), rng.uniform(-7, 7)
    red, green, blue = (min(255, max(0, round(value * (1 + light)))) for value in colour)
    return min(255, max(0, round(red + warm))), green, min(255, max(0, round(blue - warm)))


def _pitch(form: Form, pose: str, rng: random.Random) -> float:
    if pose == "flying":
        return rng.uniform(0, 16)
    if pose == "swimming":
        return rng.uniform(0, 6)
    return rng.uniform(*form.pitch) * (0.6 if pose == "standing" else 1.0)


def _neck(form: Form, pose: str, shoulder: Point, depth: float, rng: random.Random) -> tuple[Disc, ...]:
    """Discs from the shoulder to the head, which is the last of them."""
    forward, up = form.neck
    up *= rng.uniform(0.9, 1.1)
    if pose == "flying":
        forward, up = forward + 0.55 * up, 0.55 * up
    x, y = shoulder
    head = (x + forward, y - up, form.head)
    if up < 0.3 and forward < 0.3:
        return tube([(x, y, 0.36 * depth), head])
    thin = 0.5 * form.head
    return tube([
        (x, y, 0.34 * depth),
        (x + 0.55 * forward + 0.10, y - 0.30 * up, 1.15 * thin),
        (x + 0.35 * forward, y - 0.68 * up, thin),
        head,
    ])  # fmt: skip


def _legs(form: Form, pose: str, at, depth: float, colour: Colour) -> tuple[Drawing, Point]:  # type: ignore[no-untyped-def]
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
