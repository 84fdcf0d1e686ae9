"""Plane geometry of a drawn bird: smooth outlines, tapering tubes, and the shapes that a canvas paints.

Coordinates are in body lengths, x to where the bird faces, y down, the origin at the middle of the body.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Point = tuple[float, float]
Disc = tuple[float, float, float]  # x, y, radius
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Shape:
    """A filled outline (`polygon`) or a union of discs, shaded as if round.

    `soft` is the width of its edge (0: crisp), `within` the name of an earlier shape that it is clipped to.
    """

    colour: Colour
    polygon: tuple[Point, ...] = ()
    discs: tuple[Disc, ...] = ()
    soft: float = 0.0
    within: str | None = None
    name: str | None = None
    shaded: bool = True


@dataclass(frozen=True)
class Stroke:
    """A line of constant width; `within` as in `Shape`."""

    colour: Colour
    points: tuple[Point, ...]
    width: float
    within: str | None = None


Drawing = list[Shape | Stroke]


def blend(colour: Colour, other: Colour, share: float) -> Colour:
    """`colour` with `share` (0–1) of `other` mixed in."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(colour, other, strict=True))
    return red, green, blue


def darker(colour: Colour, share: float) -> Colour:
    """Towards black; black itself goes a little lighter instead, so that lines on it are seen."""
    return blend(colour, (96, 98, 108) if sum(colour) < 150 else (12, 10, 16), share)


def turned(point: Point, degrees: float, about: Point = (0.0, 0.0)) -> Point:
    """`point` turned about `about`; positive lifts what lies in front of it."""
    angle = math.radians(-degrees)
    x, y = point[0] - about[0], point[1] - about[1]
    return (
        about[0] + x * math.cos(angle) - y * math.sin(angle),
        about[1] + x * math.sin(angle) + y * math.cos(angle),
    )


def outline(*points: Point, steps: int = 6) -> tuple[Point, ...]:
    """A closed smooth curve through the points; a point given twice in a row is a corner."""
    count = len(points)
    ring = [points[(i + shift) % count] for i in range(count) for shift in (-1, 0, 1, 2)]
    return tuple(
        (x, y)
        for i in range(count)
        if points[i] != points[(i + 1) % count]
        for x, y in _segment(ring[4 * i : 4 * i + 4], steps)
    )


def curve(points: Sequence[Point], steps: int = 6) -> tuple[Point, ...]:
    """An open smooth curve through the points."""
    padded = [points[0], *points, points[-1]]
    inner = [(x, y) for i in range(len(points) - 1) for x, y in _segment(padded[i : i + 4], steps)]
    return (*inner, points[-1])


def tube(discs: Sequence[Disc], steps: int = 10) -> tuple[Disc, ...]:
    """A row of overlapping discs that runs smoothly through the given ones."""
    padded = [discs[0], *discs, discs[-1]]
    inner = [(x, y, r) for i in range(len(discs) - 1) for x, y, r in _segment(padded[i : i + 4], steps)]
    return (*inner, discs[-1])


def _segment(around: Sequence[tuple[float, ...]], steps: int) -> Iterable[tuple[float, ...]]:
    """Points of the Catmull-Rom segment from the second to the third of four points, its end left out."""
    for step in range(steps):
        t = step / steps
        weights = (
            (-t + 2 * t * t - t**3) / 2,
            (2 - 5 * t * t + 3 * t**3) / 2,
            (t + 4 * t * t - 3 * t**3) / 2,
            (-t * t + t**3) / 2,
        )
        yield tuple(sum(w * c for w, c in zip(weights, column, strict=True)) for column in zip(*around, strict=True))


def bounds(drawing: Drawing) -> tuple[float, float, float, float]:
    """The smallest box (left, top, right, bottom) around the drawing."""
    xs: list[float] = []
    ys: list[float] = []
    for item in drawing:
        if isinstance(item, Shape):
            for x, y, r in item.discs:
                xs += (x - r, x + r)
                ys += (y - r, y + r)
        for x, y in item.polygon if isinstance(item, Shape) else item.points:
            xs.append(x)
            ys.append(y)
    return min(xs), min(ys), max(xs), max(ys)
