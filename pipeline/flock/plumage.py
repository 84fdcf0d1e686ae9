"""What lies on the body: wings folded and spread, tail, crest, bill and eye."""

from collections.abc import Callable

from pipeline.flock.geometry import Colour, Disc, Drawing, Point, Shape, Stroke, blend, curve, darker, outline, turned
from pipeline.flock.species import PALETTE, Species

Body = Callable[[float, float], Point]  # forward and up from the middle of the body, to the drawing's coordinates

FLIGHT_FEATHERS = (
    ((-0.02, -0.05), (-0.56, -0.035)),
    ((-0.10, 0.01), (-0.68, 0.002)),
    ((-0.12, 0.075), (-0.62, 0.045)),
    ((-0.06, 0.15), (-0.48, 0.09)),
)  # fmt: skip


def folded_wing(at: Body, depth: float, colour: Colour, bars: Colour | None) -> Drawing:
    """A wing at rest: coverts, flight feathers and, on many species, two bars across."""
    k = depth / 0.6

    def wing(u: float, v: float) -> Point:
        return at(u, v * k)

    edge = outline(wing(0.22, 0.14), wing(0.14, 0.24), wing(-0.08, 0.25), wing(-0.38, 0.17), wing(-0.72, 0.05),
                   wing(-0.72, 0.05), wing(-0.40, 0.0), wing(-0.12, -0.03), wing(0.10, 0.01))  # fmt: skip
    coverts = outline(wing(0.23, 0.14), wing(0.14, 0.25), wing(-0.04, 0.25), wing(-0.17, 0.12), wing(-0.06, -0.02),
                      wing(0.10, 0.01))  # fmt: skip
    line, pale = darker(colour, 0.40), blend(colour, (255, 255, 255), 0.16)
    drawing: Drawing = [Shape(darker(colour, 0.12), polygon=edge, name="wing")]
    for start, end in FLIGHT_FEATHERS:
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 - 0.02)
        rachis = [start, middle, end]
        drawing.append(Stroke(pale, curve([wing(u, v + 0.016) for u, v in rachis]), 0.012, within="wing"))
        drawing.append(Stroke(line, curve([wing(u, v) for u, v in rachis]), 0.016, within="wing"))
    drawing.append(
        Shape(blend(colour, (255, 255, 255), 0.05), polygon=coverts, soft=0.012, within="wing", shaded=False)
    )
    for row in range(4):
        for place in range(5):
            u, v = 0.19 - 0.075 * row, 0.22 - 0.075 * place + 0.037 * (row % 2)
            scallop = curve([wing(u, v + 0.035), wing(u - 0.035, v), wing(u, v - 0.035)])
            drawing.append(Stroke(darker(colour, 0.17), scallop, 0.011, within="wing"))
    for u in (-0.02, -0.19) if bars else ():
        bar = curve([wing(u, 0.23), wing(u - 0.07, 0.06), wing(u + 0.02, -0.12)])
        drawing.append(Stroke(bars or line, bar, 0.055, within="wing"))
    return drawing


def flight_wing(at: Body, colour: Colour, beat: tuple[float, float], *, near: bool, bars: Colour | None) -> Drawing:
    """A raised wing, the near one over the body and the far one, darker, behind it.

    `beat` is how far it is stretched (1: in full) and the degrees that it is swung forward.
    """
    lift, swing = beat
    shift, name = (0.0, "near wing") if near else (0.16, "far wing")
    base = colour if near else darker(colour, 0.22)

    def wing(u: float, v: float) -> Point:
        return turned(at(u + shift + 0.12 * v * (1 - near), v * lift), -swing, about=at(0.1, 0.0))

    tips = ((-0.36, 1.12), (-0.50, 0.96), (-0.58, 0.78), (-0.58, 0.58), (-0.52, 0.38))
    trailing = [point for u, v in tips for point in (wing(u, v), wing(u, v), wing(u + 0.07, v - 0.09))]
    edge = outline(wing(0.26, 0.12), wing(0.30, 0.32), wing(0.26, 0.56), wing(0.02, 0.92), wing(-0.34, 1.20),
                   wing(-0.34, 1.20), *trailing, wing(-0.32, 0.18), wing(-0.08, 0.06), steps=4)  # fmt: skip
    coverts = outline(wing(0.27, 0.12), wing(0.31, 0.32), wing(0.25, 0.55), wing(0.06, 0.82), wing(-0.06, 0.66),
                      wing(-0.16, 0.36), wing(-0.12, 0.12))  # fmt: skip
    line = darker(base, 0.40)
    drawing: Drawing = [Shape(darker(base, 0.08), polygon=edge, name=name)]
    roots = ((0.0, 0.84), (-0.08, 0.72), (-0.12, 0.58), (-0.15, 0.44), (-0.16, 0.28))
    drawing += [
        Stroke(line, (wing(*root), wing(u + 0.05, v - 0.06)), 0.014, within=name)
        for root, (u, v) in zip(roots, tips, strict=True)
    ]
    drawing.append(Shape(blend(base, (255, 255, 255), 0.06), polygon=coverts, soft=0.02, within=name, shaded=False))
    for out in (0.0, 0.14) if bars else ():
        bar = curve([wing(0.02 - out, 0.84), wing(-0.14 - out, 0.55), wing(-0.14 - out, 0.12)])
        drawing.append(Stroke(bars or line, bar, 0.05, within=name))
    return drawing


def tail(at: Body, length: float, colour: Colour, *, spread: bool) -> Drawing:
    half = 0.15 if spread else 0.075
    end = -0.42 - length
    upper, lower = at(end, 0.02 + half), at(end, 0.02 - half)
    edge = outline(at(-0.34, 0.13), upper, upper, at(end - 0.03, 0.02), lower, lower, at(-0.34, -0.05))
    drawing: Drawing = [Shape(colour, polygon=edge, name="tail")]
    for share in (-0.5, 0.0, 0.5):
        tip = at(end + 0.02, 0.02 + share * half)
        drawing.append(Stroke(darker(colour, 0.38), (at(-0.4, 0.04), tip), 0.014, within="tail"))
    return drawing


def crest(head: Disc, colour: Colour) -> Drawing:
    """A tuft of two points, swept back, to be painted before the head."""
    on = _on(head)
    edge = outline(on(0.45, 0.80), on(0.10, 1.25), on(-0.75, 1.80), on(-0.75, 1.80), on(-0.62, 1.30), on(-1.20, 1.32),
                   on(-1.20, 1.32), on(-0.88, 0.85), on(-0.30, 0.20))  # fmt: skip
    return [Shape(colour, polygon=edge)]


def face(head: Disc, species: Species, colours: dict[str, Colour]) -> Drawing:
    """Bill and eye."""
    on = _on(head)
    return [
        *_bill(species.bill, on, colours["bill"], head[2]),
        *_eye(on(0.32, 0.18), head[2], species, colours["head"]),
    ]


def _on(head: Disc) -> Body:
    """Head coordinates (forward, up, in radii from its centre) to the drawing's."""
    x, y, r = head
    return lambda u, v: (x + u * r, y - v * r)


def _bill(kind: str, on: Callable[[float, float], Point], colour: Colour, r: float) -> Drawing:
    """Two mandibles of the kind, rooted in the face; larger than life, so that a bill has a colour at 64 pixels too."""
    outlines = {
        "pointed": ((0.74, 0.49), (1.50, 0.27), (2.17, -0.11), (1.50, -0.38), (0.74, -0.54)),
        "cone": ((0.69, 0.68), (1.42, 0.51), (1.98, -0.14), (1.42, -0.51), (0.69, -0.73)),
        "dagger": ((0.71, 0.51), (1.77, 0.30), (2.91, -0.14), (1.77, -0.38), (0.71, -0.54)),
        "hooked": ((0.74, 0.49), (1.47, 0.46), (1.93, -0.46), (1.42, -0.22), (0.74, -0.46)),
        "flat": ((0.79, 0.35), (1.50, -0.03), (2.41, 0.03), (2.33, -0.35), (0.79, -0.49)),
        "curved": ((0.71, 0.51), (1.85, 0.38), (2.58, -0.84), (1.69, -0.35), (0.71, -0.54)),
    }
    top, upper, tip, lower, bottom = (on(u, v) for u, v in outlines[kind])
    ends = (tip,) if kind == "flat" else (tip, tip)
    drawing: Drawing = [Shape(colour, polygon=outline(top, top, upper, *ends, lower, bottom, bottom), name="bill")]
    gape = curve([on(0.85, -0.06), ((upper[0] + lower[0]) / 2, (upper[1] + lower[1]) / 2), tip])
    drawing.append(Stroke(darker(colour, 0.5), gape, 0.07 * r, within="bill"))
    return drawing


def _eye(centre: Point, r: float, species: Species, head: Colour) -> Drawing:
    x, y = centre
    around = PALETTE[species.eye_ring] if species.eye_ring else darker(head, 0.35)
    width = 0.33 if species.eye_ring else 0.23
    return [
        Shape(around, discs=((x, y, width * r),), shaded=False),
        Shape((18, 14, 18), discs=((x, y, 0.18 * r),), shaded=False),
        Shape((250, 250, 250), discs=((x + 0.05 * r, y - 0.08 * r, 0.065 * r),), shaded=False),
    ]
