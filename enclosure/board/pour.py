"""Ground on both sides: what of each layer is left when everything else keeps its distance, and vias that join the two.

The distance to the nearest foreign copper is a field on a grid of 0.125 mm; the pour's edge is a contour line of it, so
that it follows pads and tracks more finely than the grid is. KiCad fills the zone anew where someone edits the board;
what it then finds lies within the same rules.
"""

import math
from collections.abc import Sequence

import numpy as np

from enclosure.board.copper import (
    BOTTOM,
    EDGE_MM,
    TOP,
    VIA_MM,
    Field,
    Pad,
    Track,
    Via,
    box_distance,
    distance,
    segment_distance,
)

STEP_MM = 0.125
CLEARANCE_MM = 0.22  # a little over the rule's 0.2, for what simplifying the contour takes
THERMAL_GAP_MM, SPOKE_MM = 0.3, 0.5  # about pads with a hole, so that they can be soldered by hand
THINNEST_MM = 0.25
_SIMPLE_MM = 0.008
_FAR_MM = 1.5
_STITCH_MM = 5.0  # from via to via, where there is room
_VIA_ROOM_MM = VIA_MM / 2 + 0.25

Ring = list[tuple[float, float]]


class UnreachedError(Exception):
    """Tracks keep the ground away from pads that belong to it."""

    def __init__(self, pads: Sequence[str]) -> None:
        super().__init__(f"the ground does not reach {', '.join(pads)}")
        self.pads = frozenset(pads)


class Pour:
    """The ground of one board. `rings` are its pieces by layer, each without holes; `vias` the ones it adds."""

    def __init__(self, width: float, height: float, corner: float, net: str, pads: Sequence[Pad],
                 tracks: Sequence[Track], vias: Sequence[Via], holes: Sequence[tuple[float, float, float]],
                 bare: Sequence[tuple[float, float, float, float]] = ()) -> None:
        self.size, self.corner, self.net, self.holes = (width, height), corner, net, holes
        self.bare = bare
        self.pads, self.tracks, self.given = pads, tracks, vias
        self.x, self.y = np.meshgrid(np.arange(round(width / STEP_MM) + 1) * STEP_MM,
                                     np.arange(round(height / STEP_MM) + 1) * STEP_MM)
        self.free = [self._free(layer) for layer in (TOP, BOTTOM)]
        contours = [_contours(_opened(free) - CLEARANCE_MM) for free in self.free]
        self.vias = self._stitches(contours)
        self.rings = self._joined(contours)

    def _window(self, box: tuple[float, float, float, float], reach: float) -> tuple[slice, slice]:
        low = [max(0, math.floor((box[n] - reach) / STEP_MM)) for n in range(2)]
        high = [math.ceil((box[n + 2] + reach) / STEP_MM) + 1 for n in range(2)]
        return slice(low[1], high[1]), slice(low[0], high[0])

    def _free(self, layer: int) -> Field:
        """At each point of the grid the distance to the nearest thing that the ground must not touch."""
        width, height = self.size
        edge = -box_distance(self.x - width / 2, self.y - height / 2, width / 2, height / 2, self.corner)
        free: Field = np.minimum(edge - EDGE_MM + CLEARANCE_MM, _FAR_MM)
        for x, y, keep in self.holes:
            free = np.minimum(free, np.hypot(self.x - x, self.y - y) - keep + CLEARANCE_MM)
        for left, top, right, bottom in self.bare:
            away = box_distance(self.x - (left + right) / 2, self.y - (top + bottom) / 2, (right - left) / 2,
                                (bottom - top) / 2, 0.0)
            free = np.minimum(free, away - _SIMPLE_MM + CLEARANCE_MM - STEP_MM)
        for pad in self.pads:
            if layer not in pad.layers:
                continue
            thermal = pad.net == self.net
            if thermal and len(pad.layers) == 1:
                continue
            half = (pad.width / 2, pad.height / 2)
            window = self._window((pad.x - half[0], pad.y - half[1], pad.x + half[0], pad.y + half[1]), _FAR_MM)
            x, y = self.x[window], self.y[window]
            away = pad.field(x, y)
            if thermal:
                spokes = SPOKE_MM / 2 - np.minimum(abs(x - pad.x), abs(y - pad.y))
                away = np.maximum(away - THERMAL_GAP_MM, spokes) + CLEARANCE_MM
            free[window] = np.minimum(free[window], away)
        for track in self.tracks:
            if track.layer == layer and track.net != self.net:
                self._line(free, track.start, track.end, track.width / 2)
        for via in self.given:
            if via.net != self.net:
                self._line(free, (via.x, via.y), (via.x, via.y), VIA_MM / 2)
        return free

    def _line(self, free: Field, start: tuple[float, float], end: tuple[float, float], radius: float) -> None:
        box = (min(start[0], end[0]), min(start[1], end[1]), max(start[0], end[0]), max(start[1], end[1]))
        window = self._window(box, _FAR_MM + radius)
        x, y = self.x[window] - start[0], self.y[window] - start[1]
        dx, dy = end[0] - start[0], end[1] - start[1]
        length = dx * dx + dy * dy
        along = np.clip((x * dx + y * dy) / length, 0, 1) if length else np.zeros_like(x)
        free[window] = np.minimum(free[window], np.hypot(x - along * dx, y - along * dy) - radius)

    def _room(self) -> Field:
        """How far a via's middle would be from everything that it must not touch, its own net's pads too."""
        room: Field = np.minimum(self.free[TOP], self.free[BOTTOM])
        for pad in self.pads:
            window = self._window((pad.x, pad.y, pad.x, pad.y), _FAR_MM + max(pad.width, pad.height))
            room[window] = np.minimum(room[window], pad.field(self.x[window], self.y[window]))
        for track in self.tracks:
            self._line(room, track.start, track.end, track.width / 2)
        for via in self.given:
            self._line(room, (via.x, via.y), (via.x, via.y), VIA_MM / 2)
        return room

    def _stitches(self, contours: list[list[list[Ring]]]) -> list[Via]:
        """A lattice of vias; then one for each piece of ground that none has reached."""
        room = self._room()
        found: list[Via] = []
        lattice = round(_STITCH_MM / STEP_MM)
        rows, columns = room.shape
        spots = [(row, column) for row in range(lattice // 2, rows, lattice)
                 for column in range(lattice // 2, columns, lattice)]
        for row, column in spots:
            near = (slice(max(0, row - 8), row + 9), slice(max(0, column - 8), column + 9))
            best = np.unravel_index(int(np.argmax(room[near])), room[near].shape)
            self._stitch(room, near[0].start + int(best[0]), near[1].start + int(best[1]), found)
        main = [_largest(layer) for layer in contours]
        for layer, other in ((TOP, BOTTOM), (BOTTOM, TOP)):
            for piece in contours[layer]:
                inside = [via for via in [*self.given, *found]
                          if via.net == self.net and _within(piece, via.x, via.y)]
                if piece is main[layer] or inside:
                    continue
                xs, ys = zip(*piece[0], strict=True)
                window = self._window((min(xs), min(ys), max(xs), max(ys)), 0)
                for row, column in np.argwhere(room[window] >= _VIA_ROOM_MM).tolist():
                    row, column = row + window[0].start, column + window[1].start
                    x, y = column * STEP_MM, row * STEP_MM
                    if _within(piece, x, y) and _within(main[other], x, y):
                        self._stitch(room, row, column, found)
                        break
        return found

    def _stitch(self, room: Field, row: int, column: int, found: list[Via]) -> None:
        if room[row, column] >= _VIA_ROOM_MM:
            via = Via(self.net, column * STEP_MM, row * STEP_MM)
            found.append(via)
            self._line(room, (via.x, via.y), (via.x, via.y), VIA_MM / 2)

    def _joined(self, contours: list[list[list[Ring]]]) -> list[list[Ring]]:
        """The pieces that hang together with the most of the ground; UnreachedError where a pad of it is left out."""
        pieces = [(layer, piece) for layer in (TOP, BOTTOM) for piece in contours[layer]]
        links: list[set[int]] = []
        for via in [*self.given, *self.vias]:
            if via.net == self.net:
                links.append({n for n, (_, piece) in enumerate(pieces) if _within(piece, via.x, via.y)})
        pads = [pad for pad in self.pads if pad.net == self.net]
        held = [self._holds(pad, pieces) for pad in pads]
        links += held
        best = max(range(len(pieces)), key=lambda n: abs(_area(pieces[n][1][0])))
        main, grown = {best}, True
        while grown:
            more = set().union(*(link for link in links if link & main)) | main
            grown, main = more != main, more
        lost = [pad.name for pad, link in zip(pads, held, strict=True) if not link & main]
        if lost:
            raise UnreachedError(lost)
        self.vias = [via for via in self.vias if all(
            any(side == layer and n in main and _within(piece, via.x, via.y) for n, (side, piece) in enumerate(pieces))
            for layer in (TOP, BOTTOM))]  # one that stands in a piece which is left out would join nothing
        return [[_slit(piece) for n, (side, piece) in enumerate(pieces) if n in main and side == layer]
                for layer in (TOP, BOTTOM)]

    def _holds(self, pad: Pad, pieces: list[tuple[int, list[Ring]]]) -> set[int]:
        """The pieces that a pad is part of: two spokes and more where it has a hole."""
        if len(pad.layers) == 1:
            vias = [(via.x, via.y) for via in self._reached(pad)]
            return {n for n, (layer, piece) in enumerate(pieces)
                    if (layer in pad.layers and _within(piece, pad.x, pad.y))
                    or any(_within(piece, *via) for via in vias)}
        across, along = (side / 2 + THERMAL_GAP_MM + 0.02 for side in (pad.width, pad.height))
        ends = ((across, 0), (-across, 0), (0, along), (0, -along))
        return {n for n, (_, piece) in enumerate(pieces)
                if sum(_within(piece, pad.x + dx, pad.y + dy) for dx, dy in ends) >= 2}


    def _reached(self, pad: Pad) -> list[Via]:
        """The vias to which tracks lead from a pad."""
        rest: list[Track | Via] = [track for track in self.tracks if track.net == self.net]
        rest += [via for via in self.given if via.net == self.net]
        found: list[Pad | Track | Via] = [pad]
        for thing in found:
            near = [other for other in rest if distance(thing, other) <= 0]
            found += near
            rest = [other for other in rest if other not in near]
        return [thing for thing in found if isinstance(thing, Via)]


def _opened(free: Field) -> Field:
    """Without what is thinner than THINNEST_MM: a point stays if a disc of that width about or beside it is free."""
    padded = np.pad(free, 1, constant_values=-_FAR_MM)
    rows, columns = free.shape
    best = np.full_like(free, -_FAR_MM)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            if dx or dy:
                there = padded[1 + dy:1 + dy + rows, 1 + dx:1 + dx + columns]
                best = np.maximum(best, there - math.hypot(dx, dy) * STEP_MM)
    return np.minimum(best, free)


def _contours(field: Field) -> list[list[Ring]]:
    """Where a field is above zero, by marching squares: pieces, each an outer ring and then its holes."""
    field = field.copy()
    field[[0, -1], :] = field[:, [0, -1]] = -1
    field[field == 0] = -1e-9
    above = field > 0
    corners = above[:-1, :-1] * 1 + above[:-1, 1:] * 2 + above[1:, 1:] * 4 + above[1:, :-1] * 8
    follow: dict[tuple[int, int, int], tuple[int, int, int]] = {}
    for row, column in np.argwhere((corners > 0) & (corners < 15)).tolist():
        case = int(corners[row, column])
        sides = {"t": (0, row, column), "r": (1, row, column + 1), "b": (0, row + 1, column), "l": (1, row, column)}
        if case in (5, 10) and field[row:row + 2, column:column + 2].mean() > 0:
            case += 16
        for start, end in map(tuple, _TURNS[case]):
            follow[sides[start]] = sides[end]
    rings = []
    while follow:
        first, edge = next(iter(follow.items()))
        del follow[first]
        ring = [_crossing(field, first)]
        while edge != first:
            ring.append(_crossing(field, edge))
            edge = follow.pop(edge)
        ring = _simple(ring)
        if len(ring) > 3:
            rings.append(ring)
    outer = [[ring] for ring in rings if _area(ring) > 0]
    for ring in rings:
        if _area(ring) < 0:
            around = [piece for piece in outer if _inside(piece[0], *ring[0])]
            if around:
                min(around, key=lambda piece: _area(piece[0])).append(ring)
    return [piece for piece in outer if _area(piece[0]) > 1.0]  # mm²: less would only be crumbs


# By which corners of a square lie inside (1 upper left, then clockwise 2, 4, 8; 16 more where a saddle's middle does):
# from which side to which the contour runs, with the inside at its right as one looks at the board.
_TURNS = {
    1: ("tl",), 2: ("rt",), 3: ("rl",), 4: ("br",), 6: ("bt",), 7: ("bl",), 8: ("lb",), 9: ("tb",), 11: ("rb",),
    12: ("lr",), 13: ("tr",), 14: ("lt",), 5: ("tl", "br"), 10: ("rt", "lb"), 21: ("bl", "tr"), 26: ("lt", "rb"),
}


def _crossing(field: Field, edge: tuple[int, int, int]) -> tuple[float, float]:
    down, row, column = edge
    one, other = field[row, column], field[row + down, column + 1 - down]
    part = float(one / (one - other))
    return ((column + part * (1 - down)) * STEP_MM, (row + part * down) * STEP_MM)


def _area(ring: Ring) -> float:
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(ring, [*ring[1:], ring[0]], strict=True)) / 2


def _simple(ring: Ring) -> Ring:
    """Without points that the line between others passes anyway (Douglas and Peucker 1973)."""
    far = max(range(len(ring)), key=lambda n: math.dist(ring[0], ring[n]))
    keep = {0, far}
    ring = [*ring, ring[0]]
    stack = [(0, far), (far, len(ring) - 1)]
    while stack:
        first, last = stack.pop()
        if last - first < 2:
            continue
        off, worst = max((segment_distance(ring[first], ring[last], ring[n]), n) for n in range(first + 1, last))
        if off > _SIMPLE_MM:
            keep.add(worst)
            stack += [(first, worst), (worst, last)]
    return [ring[n] for n in sorted(keep)]


def _inside(ring: Ring, x: float, y: float) -> bool:
    inside = False
    before = ring[-1]
    for point in ring:
        if (point[1] > y) != (before[1] > y) and x < point[0] + (y - point[1]) / (before[1] - point[1]) * (
                before[0] - point[0]):
            inside = not inside
        before = point
    return inside


def _within(piece: list[Ring], x: float, y: float) -> bool:
    return _inside(piece[0], x, y) and not any(_inside(hole, x, y) for hole in piece[1:])


def _largest(pieces: list[list[Ring]]) -> list[Ring]:
    return max(pieces, key=lambda piece: _area(piece[0]))


def _slit(piece: list[Ring]) -> Ring:
    """One ring for a piece with holes, as KiCad keeps it: a slit without width leads to each from the left."""
    ring = list(piece[0])
    for hole in sorted(piece[1:], key=min):
        start = hole.index(min(hole))
        x, y = hole[start]
        best, at = -math.inf, -1
        for n, point in enumerate(ring):
            after = ring[(n + 1) % len(ring)]
            if (point[1] > y) != (after[1] > y):
                crossing = point[0] + (y - point[1]) / (after[1] - point[1]) * (after[0] - point[0])
                if best < crossing <= x:
                    best, at = crossing, n
        ring[at + 1:at + 1] = [(best, y), *hole[start:], *hole[:start], (x, y), (best, y)]
    return ring
