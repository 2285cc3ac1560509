"""Joins the pads of each net by tracks on two layers: A* on a grid, ripping up what is in the way until nothing is.

A net may cross others at a price while it looks for its way; those that it crosses are taken up and routed again, and
the places they quarrelled about get dearer each time (negotiated congestion, McMurchie and Ebeling 1995). Pads of
other nets, edges and holes are never crossed. Nothing is drawn by chance: the same board gets the same tracks.
"""

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from enclosure.board.copper import BOTTOM, CLEARANCE_MM, EDGE_MM, TOP, VIA_MM, Pad, Track, Via, box_distance

PITCH_MM = 0.25  # of the grid; a TSSOP's pad of 0.4 mm always holds a line of it
FINE_MM = PITCH_MM / 2  # pads are looked at twice as finely, so that a diagonal step cannot cut their corners
_MARGIN_MM = -1e-6  # what stands at just the clearance is far enough; floats must not say otherwise
_HALFWAY_MM = 0.045  # more room there: a pad's corner can be nearest between a diagonal step's middle and its ends
_VIA_COST = 14.0  # in steps of the grid
_CROSS_COST = 12.0
_BEND_COST = 0.6
_AGAINST_COST = 0.25  # for going along the layer's worse direction: on top x, at the bottom y is the better one
_RIM_MM, _RIM_COST = 4.0, 0.5  # tracks keep from the edge, where connectors stand, so that ground can run around
_ROUNDS = 60


class RoutingError(Exception):
    """Some nets stay open."""


@dataclass(frozen=True)
class Problem:
    """A board to route. A net that is poured needs only a way from each pad of one layer to a via."""

    width: float
    height: float
    pads: Sequence[Pad]
    widths: dict[str, float] = field(default_factory=dict)  # of nets that are not 0.25 mm wide
    necks: Sequence[tuple[float, float, float, float]] = ()  # boxes in which those are 0.25 mm too
    holes: Sequence[tuple[float, float, float]] = ()  # x, y, radius that no copper enters
    poured: str = ""
    tied: frozenset[str] = frozenset()  # names of its pads that the pour does not reach: a track leads to another one
    islands: Sequence[tuple[tuple[float, float, float, float], frozenset[str]]] = ()  # boxes of some nets alone


SIGNAL_MM = 0.25
Cell = int  # layer * cells + row * columns + column, of the fine grid; tracks use the even ones


@dataclass
class _Net:
    name: str
    groups: list[list[Cell]]  # the cells of each pad
    centres: list[tuple[float, float]]
    tracks: list[Track] = field(default_factory=list)
    vias: list[Via] = field(default_factory=list)
    marks: list[tuple[int, NDArray[np.int64]]] = field(default_factory=list)  # class and cells that it takes


def route(problem: Problem) -> tuple[list[Track], list[Via]]:
    """Raises RoutingError where a pad cannot be reached, or nets never agree."""
    return _Router(problem).run()


class _Router:
    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.columns = round(problem.width / FINE_MM) + 1
        self.rows = round(problem.height / FINE_MM) + 1
        self.cells = self.columns * self.rows
        self.wide = max([SIGNAL_MM, *problem.widths.values()])
        self.radii = (SIGNAL_MM / 2, self.wide / 2, VIA_MM / 2)  # of the three classes
        self.x, self.y = np.meshgrid(np.arange(self.columns) * FINE_MM, np.arange(self.rows) * FINE_MM)
        # By class (narrow, wide, via) and cell: how many pads forbid it, how many tracks are in the way, what it costs.
        self.hard = np.zeros((3, 2 * self.cells), np.int16)
        self.soft = np.zeros((3, 2 * self.cells), np.int16)
        self.history = np.zeros(2 * self.cells, np.float32)
        self.neck = np.zeros(self.cells, bool)
        for left, top, right, bottom in problem.necks:
            self.neck |= ((self.x >= left) & (self.x <= right) & (self.y >= top) & (self.y <= bottom)).ravel()
        # Where diagonal steps have their middle.
        self.between = ((np.arange(self.rows) % 2 == 1)[:, None] & (np.arange(self.columns) % 2 == 1)[None, :]).ravel()
        self._edges()
        self.pad_marks = [self._pad(pad) for pad in problem.pads]
        self.nets = self._nets()

    def _edges(self) -> None:
        problem = self.problem
        inside = -box_distance(self.x - problem.width / 2, self.y - problem.height / 2, problem.width / 2,
                               problem.height / 2, 3.0)
        self.history += np.tile((inside < _RIM_MM).ravel(), 2) * np.float32(_RIM_COST)
        for kind, radius in enumerate(self.radii):
            shut = inside < EDGE_MM + radius + _MARGIN_MM
            for x, y, keep in problem.holes:
                shut |= np.hypot(self.x - x, self.y - y) < keep + radius
            self.hard[kind] += np.tile(shut.ravel(), 2)

    def _pad(self, pad: Pad) -> list[tuple[int, NDArray[np.int64]]]:
        """What it forbids to others, by class."""
        away = pad.field(self.x, self.y).ravel()
        marks = []
        margin = np.where(self.between, _HALFWAY_MM, _MARGIN_MM)
        for kind, radius in enumerate(self.radii):
            cells = np.flatnonzero(away < CLEARANCE_MM + radius + margin)
            layers = (TOP, BOTTOM) if kind == 2 else pad.layers
            cells = np.concatenate([cells + layer * self.cells for layer in layers])
            self.hard[kind][cells] += 1
            marks.append((kind, cells))
        return marks

    def _nets(self) -> list[_Net]:
        found: dict[str, _Net] = {}
        for pad in self.problem.pads:
            poured, tied = pad.net == self.problem.poured, pad.name in self.problem.tied
            if not pad.net or (poured and len(pad.layers) == 2 and not tied):
                continue
            name = f"{pad.net} {pad.name}" if poured else pad.net
            net = found.setdefault(name, _Net(pad.net, [], []))
            self._group(net, pad)
            if tied:
                self._group(net, self._nearest(pad))
        nets = [net for net in found.values() if len(net.groups) > 1 or net.name == self.problem.poured]
        return sorted(nets, key=lambda net: (net.name != self.problem.poured, self._span(net), net.name))

    def _nearest(self, pad: Pad) -> Pad:
        """The next pad of the same net through which both sides of the pour can be reached."""
        return min((other for other in self.problem.pads if other.net == pad.net and len(other.layers) == 2
                    and other.name not in self.problem.tied),
                   key=lambda other: math.dist((other.x, other.y), (pad.x, pad.y)))

    def _group(self, net: _Net, pad: Pad) -> None:
        """Adds a pad to those that a net joins."""
        near = pad.field(self.x, self.y)
        # A track ends where its whole width lies in the pad, or as near to that as a thin pad allows.
        depth = min(SIGNAL_MM / 2, min(pad.width, pad.height) / 2 - FINE_MM)
        even = (np.arange(self.rows) % 2 == 0)[:, None] & (np.arange(self.columns) % 2 == 0)[None, :]
        cells = np.flatnonzero((near <= -depth + 1e-9).ravel() & even.ravel())
        if not len(cells):
            raise RoutingError(f"no line of the grid meets {pad.name}")
        net.groups.append([int(cell) + layer * self.cells for layer in pad.layers for cell in cells])
        net.centres.append((pad.x, pad.y))

    @staticmethod
    def _span(net: _Net) -> float:
        """Short ones first: they have the least choice."""
        xs, ys = zip(*net.centres, strict=True)
        return max(xs) - min(xs) + max(ys) - min(ys)

    def run(self) -> tuple[list[Track], list[Via]]:
        queue = list(self.nets)
        tries: Counter[int] = Counter()
        while queue:
            net = queue.pop(0)
            tries[id(net)] += 1
            if tries[id(net)] > _ROUNDS:
                raise RoutingError(f"{net.name} finds no way that others leave it")
            path = self._route(net)
            rivals = self._rivals(net, path)
            for rival in rivals:
                self._mark(rival, -1)
                rival.marks, rival.tracks, rival.vias = [], [], []
                queue.append(rival)
            self._mark(net, 1)
        return ([track for net in self.nets for track in net.tracks], [via for net in self.nets for via in net.vias])

    def _rivals(self, net: _Net, path: Counter[tuple[int, Cell]]) -> list[_Net]:
        """The nets whose room a new one took."""
        quarrels = [(kind, cell) for kind, cell in path if self.soft[kind][cell] > 0]
        for _, cell in quarrels:
            self.history[cell] += 1.5
        places = [np.array([cell for other, cell in quarrels if other == kind], np.int64) for kind in range(3)]
        return [other for other in self.nets if other is not net
                and any(np.isin(places[kind], cells).any() for kind, cells in other.marks if len(places[kind]))]

    def _mark(self, net: _Net, by: int) -> None:
        if by > 0:
            net.marks = self._marks(net)
        for kind, cells in net.marks:
            self.soft[kind][cells] += by

    def _marks(self, net: _Net) -> list[tuple[int, NDArray[np.int64]]]:
        """The cells that a net's tracks and vias forbid to the centres of others', by class."""
        shut = np.zeros((3, 2, self.rows, self.columns), bool)
        lines: list[tuple[tuple[float, float], tuple[float, float], float, tuple[int, ...]]] = [
            (track.start, track.end, track.width / 2, (track.layer,)) for track in net.tracks]
        lines += [((via.x, via.y), (via.x, via.y), VIA_MM / 2, (TOP, BOTTOM)) for via in net.vias]
        for start, end, own, layers in lines:
            reach = own + CLEARANCE_MM + self.radii[2] + PITCH_MM
            low = [max(0, int((min(start[n], end[n]) - reach) / FINE_MM)) for n in range(2)]
            high = [int((max(start[n], end[n]) + reach) / FINE_MM) + 2 for n in range(2)]
            window = (slice(low[1], high[1]), slice(low[0], high[0]))
            away = _segment_field(self.x[window], self.y[window], start, end)
            for kind, radius in enumerate(self.radii):
                near = away < own + CLEARANCE_MM + radius + _MARGIN_MM
                for layer in (TOP, BOTTOM) if kind == 2 else layers:
                    shut[kind, layer][window] |= near
        return [(kind, np.flatnonzero(shut[kind])) for kind in range(3)]

    def _route(self, net: _Net) -> Counter[tuple[int, Cell]]:
        """Joins its pads, nearest first; gives the cells used, by class."""
        allowed = self.hard.copy()
        for pad, marks in zip(self.problem.pads, self.pad_marks, strict=True):
            if pad.net == net.name:
                for kind, cells in marks:
                    if kind < 2:  # a via never touches a pad, nor its own
                        allowed[kind][cells] -= 1
        for (left, top, right, bottom), nets in self.problem.islands:
            if net.name not in nets:
                inside = (self.x >= left) & (self.x <= right) & (self.y >= top) & (self.y <= bottom)
                allowed[:, np.tile(inside.ravel(), 2)] += 1
        narrow_here = np.tile(self.neck, 2) if self.problem.widths.get(net.name, SIGNAL_MM) > SIGNAL_MM else True
        step_shut = np.where(narrow_here, allowed[0], allowed[1]) > 0
        step_soft = np.where(narrow_here, self.soft[0], self.soft[1])
        kinds = bytes(np.where(narrow_here, 0, 1).astype(np.uint8) + np.zeros(2 * self.cells, np.uint8))
        via_soft = self.soft[2][:self.cells] + self.soft[2][self.cells:]
        via_shut = (allowed[2][:self.cells] + allowed[2][self.cells:]) > 0
        price = (step_soft * _CROSS_COST + self.history * (1 + step_soft)).tolist()
        via_price = (_VIA_COST + via_soft * _CROSS_COST).tolist()
        shut, via_shut_bytes = bytes(step_shut), bytes(via_shut)

        used: Counter[tuple[int, Cell]] = Counter()
        net.tracks, net.vias = [], []
        order = [0]
        tree = list(net.groups[0])
        rest = set(range(1, len(net.groups)))
        only_via = len(net.groups) == 1
        while rest or only_via:
            targets: set[Cell] = set()
            box = (0, 0, self.columns, self.rows)
            nearest = -1
            if not only_via:
                nearest = min(rest, key=lambda n: (min(math.dist(net.centres[n], net.centres[m]) for m in order), n))
                targets = set(net.groups[nearest])
                places = [self._place(cell) for cell in targets]
                box = (min(p[1] for p in places), min(p[2] for p in places), max(p[1] for p in places),
                       max(p[2] for p in places))
            path = self._search(tree, targets, box, shut, price, via_shut_bytes, via_price)
            if path is None:
                raise RoutingError(f"{net.name}: no way between its pads at all")
            self._draw(net, path, kinds, used)
            tree += path
            if only_via:
                break
            order.append(nearest)
            tree += net.groups[nearest]
            rest.remove(nearest)
        self._stubs(net)
        return used

    def _place(self, cell: Cell) -> tuple[int, int, int]:
        layer, cell = divmod(cell, self.cells)
        row, column = divmod(cell, self.columns)
        return layer, column, row

    def _search(self, tree: Iterable[Cell], targets: set[Cell], box: tuple[int, int, int, int], shut: bytes,
                price: list[float], via_shut: bytes, via_price: list[float]) -> list[Cell] | None:
        """The cheapest way from any cell of the tree to a target, or, without targets, to any via."""
        columns, cells = self.columns, self.cells
        left, top, right, bottom = box
        steps = [(2 * dx + 2 * dy * columns, dx + dy * columns,
                  math.hypot(dx, dy) + (_AGAINST_COST * abs(dy), _AGAINST_COST * abs(dx))[layer] * (not (dx and dy)))
                 for layer in (TOP, BOTTOM) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dx or dy]
        by_layer = (steps[:8], steps[8:])

        def guess(cell: Cell) -> float:
            row, column = divmod(cell % cells, columns)
            dx = left - column if column < left else column - right if column > right else 0
            dy = top - row if row < top else row - bottom if row > bottom else 0
            return (dx + dy - 0.5857864 * min(dx, dy)) / 2

        cost: dict[Cell, float] = {}
        parent: dict[Cell, Cell] = {}
        heap: list[tuple[float, Cell]] = []
        for cell in tree:
            if cell not in cost:
                cost[cell] = 0.0
                heap.append((guess(cell) if targets else 0.0, cell))
        heapq.heapify(heap)
        done: set[Cell] = set()
        while heap:
            _, cell = heapq.heappop(heap)
            if cell in done:
                continue
            done.add(cell)
            before = parent.get(cell, -1)
            if cell in targets or (not targets and before >= 0 and abs(cell - before) == cells):
                path = [cell]
                while cell in parent:
                    cell = parent[cell]
                    path.append(cell)
                return path[::-1]
            here = cost[cell]
            came = cell - before if before >= 0 else 0
            layer = cell >= cells
            for step, half, length in by_layer[layer]:
                new = cell + step
                if shut[new] or shut[cell + half] or new in done:
                    continue
                total = here + length + price[new]
                if came and step != came and abs(came) != cells:
                    total += _BEND_COST
                if total < cost.get(new, math.inf):
                    cost[new] = total
                    parent[new] = cell
                    heapq.heappush(heap, (total + guess(new) if targets else total, new))
            flat = cell - cells if layer else cell
            new = flat if layer else cell + cells
            if not via_shut[flat] and not shut[new] and new not in done:
                total = here + via_price[flat] + price[new]
                if total < cost.get(new, math.inf):
                    cost[new] = total
                    parent[new] = cell
                    heapq.heappush(heap, (total + guess(new) if targets else total, new))
        return None

    def _draw(self, net: _Net, path: list[Cell], kinds: bytes, used: Counter[tuple[int, Cell]]) -> None:
        """Straight runs of one width become one track each."""
        points = [(*self._place(cell), kinds[cell]) for cell in path]
        for cell in path:
            used[kinds[cell], cell] += 1
        start = 0
        for n in range(1, len(points)):
            if points[n][0] != points[n - 1][0]:
                for layer in (TOP, BOTTOM):
                    used[2, path[n] % self.cells + layer * self.cells] += 1
                net.vias.append(Via(net.name, points[n][1] * FINE_MM, points[n][2] * FINE_MM))
                start = n
                continue
            last = n + 1 == len(points) or points[n + 1][0] != points[n][0]
            turns = last or (points[n + 1][1] - points[n][1], points[n + 1][2] - points[n][2]) != (
                points[n][1] - points[n - 1][1], points[n][2] - points[n - 1][2])
            wide = min(points[n][3], points[n - 1][3])
            if turns or min(points[n + 1][3], points[n][3]) != wide:
                net.tracks.append(Track(net.name, points[n][0],
                                        (points[start][1] * FINE_MM, points[start][2] * FINE_MM),
                                        (points[n][1] * FINE_MM, points[n][2] * FINE_MM),
                                        self.problem.widths[net.name] if wide else SIGNAL_MM))
                start = n

    def _stubs(self, net: _Net) -> None:
        """From where a track enters a pad off the grid to the pad's middle, so that it visibly ends there."""
        ends = Counter((track.layer, end) for track in net.tracks for end in (track.start, track.end))
        via_at = {(via.x, via.y) for via in net.vias}
        for pad in self.problem.pads:
            if pad.net != net.name:
                continue
            for (layer, end), _count in sorted(ends.items()):
                inside = layer in pad.layers and pad.distance(*end) < -SIGNAL_MM / 4 and end not in via_at
                if inside and math.dist(end, (pad.x, pad.y)) > 0.01:
                    width = next(track.width for track in net.tracks if track.layer == layer
                                 and end in (track.start, track.end))
                    net.tracks.append(Track(net.name, layer, end, (pad.x, pad.y), width))


def _segment_field(x: NDArray[np.float64], y: NDArray[np.float64], start: tuple[float, float],
                   end: tuple[float, float]) -> NDArray[np.float64]:
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = dx * dx + dy * dy
    along = np.clip(((x - start[0]) * dx + (y - start[1]) * dy) / length, 0, 1) if length else np.zeros_like(x)
    return np.hypot(x - start[0] - along * dx, y - start[1] - along * dy)
