"""The pad of the preset that plays: which of its sounds are there, which stand in for others, and what is needed next.

A sound is a cell of (pitch, layer, row, column). What is not decoded yet is played from the nearest cell, of the
nearest pitch; when it comes, the engine goes over to it without a click (Engine.add_table, swap_cell). First come the
notes that are held, then pitches round the knobs, then the rest; every fourth semitone before those between. Where the
knobs rest between cells, the very blend is decoded for the notes that are held, and stands in the four cells round it
until the knobs move.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from device._engine import Engine
from device.bake import GRID, PitchShape
from device.bank import Pad as WholePad
from device.box.decoder_process import Sounds, Work
from device.preset import Preset, corner_weights, grid_weights, nearest

CELLS_AT_ONCE = 4  # they fill the decoder's tensors, and what is more urgent waits a fraction of a second at most
REST_S = 0.25  # that the knobs stand still, until their very blend is worth decoding
MOST_EXACT = 6  # pitches of notes that are held, the latest ones
STILL = 0.002  # of the square's width: what moves less, stands still
ON_A_CELL = 0.01  # of the way to the next one
MIDDLE, COARSE = 60, (12, 4)  # first of the pitches that nobody has played yet: from middle C every so many semitones

Cell = tuple[int, int]  # row, column
Place = tuple[int, int, int]  # layer, row, column
Point = tuple[float, float]  # x, y


@dataclass(frozen=True, eq=False)
class Sound:
    """One cell's, int16 [samples], and the RMS of each of its columns, float32 [columns]."""

    sound: np.ndarray
    levels: np.ndarray


@dataclass(frozen=True)
class Job:
    """Cells of a pitch and layer to be decoded; or the blend at a point."""

    pitch: int
    layer: int
    cells: tuple[Cell, ...]
    point: Point | None = None

    def work(self, grid: int) -> Work:
        """What the decoder is to be asked for it."""
        if self.point is not None:
            return Work(self.pitch, self.layer, corner_weights(*self.point)[None])
        if self.cells == corner_cells(grid):
            return Work(self.pitch, self.layer)
        return Work(self.pitch, self.layer, np.stack([grid_weights(grid)[cell] for cell in self.cells]))


def corner_cells(grid: int) -> tuple[Cell, ...]:
    """In the corners' order."""
    last = grid - 1
    return (0, 0), (0, last), (last, 0), (last, last)


def cells_round(point: Point, grid: int) -> tuple[Cell, ...]:
    """The four that the engine blends at a point, the nearest first."""
    across, down = (coordinate * (grid - 1) for coordinate in point)
    column, row = min(int(across), grid - 2), min(int(down), grid - 2)
    cells = [(row + below, column + beside) for below in (0, 1) for beside in (0, 1)]
    return tuple(sorted(cells, key=lambda cell: math.dist(cell, (down, across))))


def is_on_a_cell(point: Point, grid: int) -> bool:
    return all(abs(place - round(place)) < ON_A_CELL for place in (coordinate * (grid - 1) for coordinate in point))


def rank(pitch: int) -> int:
    """Of which of the steps of COARSE a pitch is; the last are of none."""
    return next((n for n, step in enumerate(COARSE) if (pitch - MIDDLE) % step == 0), len(COARSE))


class _Table:
    """A pitch: what is decoded of it, and what the engine has in each place."""

    def __init__(self, shape: PitchShape, layers: int, grid: int) -> None:
        self.shape = shape
        self.grid = grid
        self.sounds: dict[Place, Sound] = {}
        self.missing = np.ones((layers, grid, grid), bool)  # neither decoded nor under way
        self.exact: dict[int, Sound] = {}  # by layer, of the point where the knobs rest
        self.given: tuple[np.ndarray, np.ndarray] | None = None  # all cells and levels, where they came at once
        self.shown: dict[Place, Sound] = {}  # empty: the engine does not have it
        self.changed = False

    def put(self, place: Place, sound: Sound) -> None:
        self.sounds[place] = sound
        self.missing[place] = False
        self.changed = True

    @property
    def is_whole(self) -> bool:
        return len(self.sounds) == self.missing.size

    def wanted(self, round_knobs: Collection[Cell]) -> dict[Place, Sound]:
        """What the engine is to have in each place: its own sound or the nearest, of another layer where its own has
        none; or the very blend round the knobs."""
        have = np.zeros(self.missing.shape, bool)
        have[tuple(np.array(list(self.sounds)).T)] = True
        layers = np.flatnonzero(have.any(axis=(1, 2)))
        wanted = {}
        for layer, row, column in np.ndindex(*self.missing.shape):
            of = int(layers[np.argmin(np.abs(layers - layer))])
            if (row, column) in round_knobs and layer in self.exact:
                wanted[layer, row, column] = self.exact[layer]
            elif (own := (of, row, column)) in self.sounds:
                wanted[layer, row, column] = self.sounds[own]
            else:
                cells = np.argwhere(have[of])
                near = cells[np.argmin(((cells - (row, column)) ** 2).sum(axis=1))]
                wanted[layer, row, column] = self.sounds[of, int(near[0]), int(near[1])]
        return wanted


class Pad:
    """A preset's, at ascending pitches. It belongs to one thread."""

    def __init__(self, preset: Preset, pitches: Sequence[int], grid: int = GRID) -> None:
        self.preset, self.pitches, self.grid = preset, tuple(pitches), grid
        self._knobs_count = True
        self.elsewhere: set[int] = set()  # pitches that come whole, from a disk
        self._tables = {pitch: _Table(PitchShape.of(preset, pitch), preset.layers, grid) for pitch in pitches}
        self._point: Point = (0.5, 0.5)
        self._moved_s = -math.inf
        self._asked: set[tuple[int, int]] = set()  # (pitch, layer) whose blend at the point was asked for
        self._loaded = False

    # --- What happens.

    def move(self, x: float, y: float, now_s: float) -> None:
        """The knobs are there."""
        if max(abs(x - self._point[0]), abs(y - self._point[1])) < STILL:
            return
        self._point, self._moved_s = (x, y), now_s
        self._forget_exact()

    def count_knobs(self, count: bool) -> None:
        """They do not where something else moves the blend (an LFO), or notes keep the one that they began with."""
        if not count and self._knobs_count:
            self._forget_exact()
        self._knobs_count = count

    def _forget_exact(self) -> None:
        self._asked.clear()
        for table in self._tables.values():
            if table.exact:
                table.exact = {}
                table.changed = True

    def take(self, job: Job, sounds: Sounds) -> None:
        """What was decoded of a job."""
        table = self._tables[job.pitch]
        found = [Sound(sound, levels) for sound, levels in zip(sounds.sounds, sounds.levels, strict=True)]
        if job.point is None:
            for cell, sound in zip(job.cells, found, strict=True):
                table.put((job.layer, *cell), sound)
        elif job.point == self._point and self._knobs_count:
            table.exact[job.layer] = found[0]
            table.changed = True

    def take_whole(self, pitch: int, cells: np.ndarray, levels: np.ndarray) -> None:
        """A pitch from elsewhere: int16 [layers, grid, grid, samples], float32 [layers, grid, grid, columns]."""
        table = self._tables[pitch]
        table.given = cells, levels
        for place in np.ndindex(*table.missing.shape):
            table.put((place[0], place[1], place[2]), Sound(cells[place], levels[place]))
        self.elsewhere.discard(pitch)

    def give_back(self, job: Job) -> None:
        """It was not decoded, and is needed still."""
        self._asked.discard((job.pitch, job.layer))
        for cell in job.cells:
            self._tables[job.pitch].missing[(job.layer, *cell)] = True

    def is_whole(self, pitch: int) -> bool:
        """Nothing of a pitch is missing; from then on it stays as it is."""
        return self._tables[pitch].is_whole

    def whole(self, pitch: int) -> WholePad:
        """All of a pitch that is whole, to be kept. It copies some MB: for a thread that may take its time."""
        table = self._tables[pitch]
        places = sorted(table.sounds)
        cells, levels = (np.stack([getattr(table.sounds[place], of) for place in places]).reshape(
            *table.missing.shape, -1) for of in ("sound", "levels"))
        return WholePad(cells, levels, table.shape.loop_start, table.shape.loop_samples, table.shape.motion)

    # --- What is needed.

    def next_job(self, held: Iterable[int], recent: Iterable[int], now_s: float) -> Job | None:
        """What is to be decoded next, for keys that are held and keys that were played, the latest first. It counts as
        under way until `take` or `give_back`. None: there is nothing to do now."""
        job = next(self._jobs(self.pitches_of(held), self.order(recent), now_s), None)
        if job and job.point is not None:
            self._asked.add((job.pitch, job.layer))
        elif job:
            for cell in job.cells:
                self._tables[job.pitch].missing[(job.layer, *cell)] = False
        return job

    def pitches_of(self, keys: Iterable[int]) -> list[int]:
        """The pitches that keys are played from, each once."""
        return list(dict.fromkeys(self.pitches[nearest(self.pitches, key)] for key in keys))

    def order(self, recent: Iterable[int]) -> list[int]:
        """All pitches: those that were played, then coarse steps over the keyboard, then what is between."""
        played = self.pitches_of(recent)
        middle = played[0] if played else MIDDLE

        return played + sorted(set(self.pitches).difference(played),
                               key=lambda pitch: (rank(pitch), abs(pitch - middle), pitch))

    def progress(self) -> tuple[int, int]:
        """Sounds that are there, and all there are to be."""
        return (sum(len(table.sounds) for table in self._tables.values()),
                sum(table.missing.size for table in self._tables.values()))

    def decoded(self, pitch: int) -> np.ndarray:
        """Which cells of a pitch are there, bool [grid (y), grid (x)]."""
        there = np.zeros((self.grid, self.grid), bool)
        for _, row, column in self._tables[pitch].sounds:
            there[row, column] = True
        return there

    def _jobs(self, held: Sequence[int], order: Sequence[int], now_s: float) -> Iterator[Job]:
        for pitch in held:
            yield from self._near(pitch)
        if self._knobs_count and now_s - self._moved_s >= REST_S and not is_on_a_cell(self._point, self.grid):
            for pitch in held[:MOST_EXACT]:
                yield from self._exact(pitch)
        coarse = [pitch for pitch in order if rank(pitch) < len(COARSE) or pitch in held]
        for pitches in coarse, order:
            for pitch in pitches:
                yield from self._near(pitch)
            for pitch in dict.fromkeys([*held, *pitches]):
                yield from self._rest(pitch)

    def _layers(self, pitch: int) -> Iterator[tuple[int, np.ndarray]]:
        """Layers, with what of them is neither there nor under way."""
        if pitch not in self.elsewhere and self._tables[pitch].missing.any():
            yield from enumerate(self._tables[pitch].missing)

    def _near(self, pitch: int) -> Iterator[Job]:
        """The corners, to which all others are held, and the cells round the knobs."""
        for layer, missing in self._layers(pitch):
            if all(missing[cell] for cell in corner_cells(self.grid)):
                yield Job(pitch, layer, corner_cells(self.grid))
            cells = tuple(cell for cell in cells_round(self._point, self.grid) if missing[cell])
            if cells:
                yield Job(pitch, layer, cells)

    def _exact(self, pitch: int) -> Iterator[Job]:
        for layer in range(self.preset.layers):
            there = (layer, *corner_cells(self.grid)[0]) in self._tables[pitch].sounds
            if there and (pitch, layer) not in self._asked:
                yield Job(pitch, layer, (), self._point)

    def _rest(self, pitch: int) -> Iterator[Job]:
        x, y = (coordinate * (self.grid - 1) for coordinate in self._point)
        for layer, missing in self._layers(pitch):
            cells = sorted(((int(row), int(column)) for row, column in np.argwhere(missing)),
                           key=lambda cell: math.dist(cell, (y, x)))
            if cells:
                yield Job(pitch, layer, tuple(cells[:CELLS_AT_ONCE]))

    # --- What the engine has.

    @property
    def can_sound(self) -> bool:
        return any(table.sounds for table in self._tables.values())

    def show(self, engine: Engine) -> None:
        """Hands the engine what has changed, as far as it has room; to be called again and again. It has this pad's
        bank from when the first sound is there."""
        for pitch in [pitch for pitch, table in self._tables.items() if table.changed]:
            table = self._tables[pitch]
            if not table.shown and not self._hand_over(engine, pitch, table):
                return
            wanted = table.wanted(cells_round(self._point, self.grid))
            for place, sound in wanted.items():
                if sound is table.shown[place]:
                    continue
                if not engine.swap_cell(pitch, *place, sound.sound, sound.levels):
                    return
                table.shown[place] = sound
            table.changed = False

    def _hand_over(self, engine: Engine, pitch: int, table: _Table) -> bool:
        """A table that the engine does not have yet: whole, or one sound a layer for all places."""
        wanted, shape = table.wanted(()), table.shape
        if table.given:
            cells, levels = table.given
        else:
            alike = [wanted[layer, 0, 0] for layer in range(self.preset.layers)]
            cells = np.stack([sound.sound for sound in alike])[:, None, None]
            levels = np.stack([sound.levels for sound in alike])[:, None, None]
            wanted = {place: alike[place[0]] for place in wanted}
        given = pitch, cells, shape.loop_start, shape.loop_samples, levels, shape.motion
        if self._loaded and not engine.add_table(given):
            return False
        if not self._loaded:
            engine.set_bank(self.preset.velocities, [given], self.grid)
        self._loaded = True
        table.shown = dict(wanted)
        return True

    def heard(self, recent: Iterable[int]) -> Sound | None:
        """Of the pitch that was played last, what is there of its loudest layer, the nearest to the knobs."""
        for pitch in self.order(recent):
            if table := self._tables[pitch] if self._tables[pitch].sounds else None:
                y, x = (coordinate * (self.grid - 1) for coordinate in reversed(self._point))
                loudest = max(layer for layer, _, _ in table.sounds)
                return min(((math.dist((row, column), (y, x)), sound) for (layer, row, column), sound
                            in table.sounds.items() if layer == loudest), key=lambda found: found[0])[1]
        return None
