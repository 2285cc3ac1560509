"""What copper is: pads, tracks and vias, how far they are from each other, and what is wrong with a set of them."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CLEARANCE_MM = 0.2
EDGE_MM = 0.5  # copper to the board's edge
VIA_MM, VIA_DRILL_MM = 0.6, 0.3
TOP, BOTTOM = 0, 1
_BIN_MM = 4.0
Field = NDArray[np.float64]


@dataclass(frozen=True)
class Pad:
    """A box with round corners; a circle is one whose corners are all there is."""

    name: str  # designator and pin, for messages
    net: str  # "": nothing joins it
    x: float
    y: float
    width: float
    height: float
    round: float  # radius of its corners
    layers: tuple[int, ...]

    def distance(self, x: float, y: float) -> float:
        """From its edge to a point, mm; below 0 inside."""
        return float(box_distance(x - self.x, y - self.y, self.width / 2, self.height / 2, self.round))

    def field(self, x: Field, y: Field) -> Field:
        """The same for many points at once."""
        away: Field = box_distance(x - self.x, y - self.y, self.width / 2, self.height / 2, self.round)
        return away


@dataclass(frozen=True)
class Track:
    net: str
    layer: int
    start: tuple[float, float]
    end: tuple[float, float]
    width: float


@dataclass(frozen=True)
class Via:
    net: str
    x: float
    y: float


def box_distance(dx, dy, half_width, half_height, radius):  # type: ignore[no-untyped-def]
    """From a round-cornered box's edge to (dx, dy) from its middle: numbers or arrays."""
    across, along = abs(dx) - half_width + radius, abs(dy) - half_height + radius
    outside = ((across * (across > 0)) ** 2 + (along * (along > 0)) ** 2) ** 0.5
    nearer = (across + along + abs(across - along)) / 2  # the larger of the two
    return outside + nearer * (nearer < 0) - radius


def segment_distance(a: tuple[float, float], b: tuple[float, float], point: tuple[float, float]) -> float:
    dx, dy = b[0] - a[0], b[1] - a[1]
    length = dx * dx + dy * dy
    along = ((point[0] - a[0]) * dx + (point[1] - a[1]) * dy) / length if length else 0.0
    along = min(max(along, 0.0), 1.0)
    return math.hypot(point[0] - a[0] - along * dx, point[1] - a[1] - along * dy)


def _cross(a: Track, b: Track) -> bool:
    def side(p: tuple[float, float], q: tuple[float, float], r: tuple[float, float]) -> float:
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    return (side(a.start, a.end, b.start) * side(a.start, a.end, b.end) < 0
            and side(b.start, b.end, a.start) * side(b.start, b.end, a.end) < 0)


Thing = Pad | Track | Via


def distance(a: Thing, b: Thing) -> float:
    """Between two edges, mm; infinite where they share no layer. Pads are met by points 0.02 mm apart on a track."""
    if not set(_layers(a)) & set(_layers(b)):
        return math.inf
    if isinstance(a, Pad) and isinstance(b, Pad):  # generous: corners count as square
        dx = abs(a.x - b.x) - (a.width + b.width) / 2
        dy = abs(a.y - b.y) - (a.height + b.height) / 2
        return math.hypot(max(dx, 0), max(dy, 0)) if max(dx, dy) > 0 else max(dx, dy)
    if isinstance(b, Pad):
        return distance(b, a)
    (start, end), radius = _line(b)
    if isinstance(a, Pad):
        steps = max(1, round(math.dist(start, end) / 0.02))
        points = ((start[0] + (end[0] - start[0]) * n / steps, start[1] + (end[1] - start[1]) * n / steps)
                  for n in range(steps + 1))
        return min(a.distance(*point) for point in points) - radius
    (first, last), other = _line(a)
    if isinstance(a, Track) and isinstance(b, Track) and _cross(a, b):
        return -radius - other
    return min(segment_distance(first, last, start), segment_distance(first, last, end),
               segment_distance(start, end, first), segment_distance(start, end, last)) - radius - other


def _layers(thing: Thing) -> tuple[int, ...]:
    return thing.layers if isinstance(thing, Pad) else (thing.layer,) if isinstance(thing, Track) else (TOP, BOTTOM)


def _line(thing: Track | Via) -> tuple[tuple[tuple[float, float], tuple[float, float]], float]:
    if isinstance(thing, Via):
        return ((thing.x, thing.y), (thing.x, thing.y)), VIA_MM / 2
    return (thing.start, thing.end), thing.width / 2


def _bins(thing: Thing) -> Iterable[tuple[int, int]]:
    if isinstance(thing, Pad):
        box = (thing.x - thing.width / 2, thing.y - thing.height / 2, thing.x + thing.width / 2,
               thing.y + thing.height / 2)
    else:
        (start, end), radius = _line(thing)
        box = (min(start[0], end[0]) - radius, min(start[1], end[1]) - radius, max(start[0], end[0]) + radius,
               max(start[1], end[1]) + radius)
    columns, rows = ((math.floor((box[n] - CLEARANCE_MM) / _BIN_MM), math.floor((box[n + 2] + CLEARANCE_MM) / _BIN_MM))
                     for n in range(2))
    return ((x, y) for x in range(columns[0], columns[1] + 1) for y in range(rows[0], rows[1] + 1))


def faults(pads: Sequence[Pad], tracks: Sequence[Track], vias: Sequence[Via], clearance: float = CLEARANCE_MM,
           poured: str = "") -> list[str]:
    """What is too near to what, and which nets are in pieces; those of `poured` are joined by a pour."""
    things: list[Thing] = [*pads, *tracks, *vias]
    bins: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, thing in enumerate(things):
        for place in _bins(thing):
            bins[place].append(index)
    leader = list(range(len(things)))

    def find(index: int) -> int:
        while leader[index] != index:
            leader[index] = index = leader[leader[index]]
        return index

    lines = []
    pairs = {(a, b) for found in bins.values() for n, a in enumerate(found) for b in found[n + 1:]}
    for a, b in sorted(pairs):
        one, other = things[a], things[b]
        if one.net and one.net == other.net:
            if distance(one, other) <= 0:
                leader[find(a)] = find(b)
        elif not (isinstance(one, Pad) and isinstance(other, Pad)) and distance(one, other) < clearance - 1e-6:
            lines.append(f"{_said(one)} and {_said(other)} are {distance(one, other):.3f} mm apart")
    pieces = defaultdict(set)
    for index, thing in enumerate(things):
        if thing.net and thing.net != poured:
            pieces[thing.net].add(find(index))
    return lines + [f"{net} is in {len(found)} pieces" for net, found in sorted(pieces.items()) if len(found) > 1]


def _said(thing: Thing) -> str:
    if isinstance(thing, Pad):
        return thing.name
    where = (thing.x, thing.y) if isinstance(thing, Via) else thing.start
    return f"{thing.net}'s {type(thing).__name__.lower()} at ({where[0]:g}, {where[1]:g})"
