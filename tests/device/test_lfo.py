"""The low-frequency oscillator against shapes written down in numpy."""

import ctypes

import numpy as np
import pytest
from native import library

RATE, PERIOD = 48_000, 64
STEP_S = PERIOD / RATE
SINE, TRIANGLE, SQUARE, RANDOM = range(4)
EDGE_S = 0.005


class Settings(ctypes.Structure):
    _fields_ = [("shape", ctypes.c_int), ("rate_hz", ctypes.c_float), ("delay_s", ctypes.c_float)]


class Lfo:
    def __init__(self, seed: int = 1, period: int = PERIOD):
        native = library("lfo.c")
        native.lfo_init.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_float, ctypes.c_uint32]
        native.lfo_start.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
        native.lfo_next.argtypes, native.lfo_next.restype = [ctypes.c_void_p, ctypes.c_void_p], ctypes.c_float
        self.native, self.state = native, (ctypes.c_double * 64)()
        native.lfo_init(self.state, period, RATE, seed)

    def start(self, shape: int, rate_hz: float, delay_s: float = 0, clock: "Lfo | None" = None) -> "Lfo":
        self.native.lfo_start(self.state, ctypes.byref(Settings(shape, rate_hz, delay_s)), clock and clock.state)
        return self

    def values(self, steps: int, shape: int, rate_hz: float, delay_s: float = 0) -> np.ndarray:
        settings = ctypes.byref(Settings(shape, rate_hz, delay_s))
        return np.array([self.native.lfo_next(self.state, settings) for _ in range(steps)])

    @property
    def value(self) -> float:
        return ctypes.cast(self.state, ctypes.POINTER(ctypes.c_float))[0]


def cycles(steps: int, rate_hz: float) -> np.ndarray:
    return np.arange(1, steps + 1) * STEP_S * float(np.float32(rate_hz))


def smoothed(held: np.ndarray) -> np.ndarray:
    """Steps, each as half a cosine of 5 ms from the period on that sees it first."""
    out, since, before = np.empty(len(held)), EDGE_S, 0.0
    for i, value in enumerate(held):
        since += STEP_S
        if i and value != held[i - 1]:
            before, since = out[i - 1], 0.0
        part = min(since / EDGE_S, 1)
        out[i] = value + (before - value) * (0.5 + 0.5 * np.cos(np.pi * part))
    return out


@pytest.mark.parametrize("rate_hz", [0.01, 0.7, 5, 50])
def test_sine_and_triangle_have_their_shapes(rate_hz):
    turns = cycles(5_000, rate_hz)
    sine = Lfo().start(SINE, rate_hz).values(5_000, SINE, rate_hz)
    triangle = Lfo().start(TRIANGLE, rate_hz).values(5_000, TRIANGLE, rate_hz)
    np.testing.assert_allclose(sine, np.sin(2 * np.pi * turns), atol=2e-6)
    np.testing.assert_allclose(triangle, 2 / np.pi * np.arcsin(np.sin(2 * np.pi * turns)), atol=2e-6)


@pytest.mark.parametrize("rate_hz", [0.7, 5.03, 43])
def test_square_has_soft_edges(rate_hz):
    turns = cycles(5_000, rate_hz)
    square = Lfo().start(SQUARE, rate_hz).values(5_000, SQUARE, rate_hz)
    np.testing.assert_allclose(square, smoothed(np.where(turns % 1 < 0.5, 1.0, -1.0)), atol=1e-5)
    assert np.abs(np.diff(square)).max() < 0.9


def test_random_holds_values_spread_evenly_over_the_cycles():
    drawn = Lfo(7).start(RANDOM, 5.03).values(60_000, RANDOM, 5.03)
    cycle = np.floor(cycles(60_000, 5.03)).astype(int)
    held = np.array([drawn[np.flatnonzero(cycle == c)[-1]] for c in range(cycle[-1])])
    np.testing.assert_allclose(drawn[cycle < cycle[-1]], smoothed(held[cycle[cycle < cycle[-1]]]), atol=1e-5)
    assert abs(held.mean()) < 0.1
    assert held.var() == pytest.approx(1 / 3, rel=0.15)
    assert abs(np.corrcoef(held[1:], held[:-1])[0, 1]) < 0.12
    assert np.histogram(held, 8, (-1, 1))[0].min() > 0.6 * len(held) / 8


def test_random_follows_its_seed():
    first, again, other = (Lfo(seed).start(RANDOM, 20).values(500, RANDOM, 20) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).mean() > 0.3


def test_a_note_restarts_it_or_joins_a_clock():
    clock = Lfo(9).start(RANDOM, 3)
    clock.values(1_010, RANDOM, 3) # between two edges
    note = Lfo(1)
    note.values(77, RANDOM, 3)
    joined = note.start(RANDOM, 3, clock=clock).values(900, RANDOM, 3)
    np.testing.assert_allclose(joined, clock.values(900, RANDOM, 3), atol=1e-6)
    restarted = note.start(SINE, 3).values(900, SINE, 3)
    np.testing.assert_array_equal(restarted, Lfo().start(SINE, 3).values(900, SINE, 3))


@pytest.mark.parametrize(("shape", "begins"), [(SINE, 0), (TRIANGLE, 0), (SQUARE, 1)])
def test_it_knows_where_it_begins(shape, begins):
    assert Lfo().start(shape, 3).value == begins
    assert Lfo().start(shape, 3, delay_s=1).value == 0


def test_it_sets_in_after_the_delay():
    level = Lfo().start(SQUARE, 0.01, 0.4).values(1_000, SQUARE, 0.01, 0.4)
    seconds = STEP_S * np.arange(1, 1_001)
    part = np.clip(seconds / 0.4 - 0.5, 0, 1)
    np.testing.assert_allclose(level, 0.5 - 0.5 * np.cos(np.pi * part), atol=1e-5)


def test_its_phase_does_not_drift():
    """300,000 periods, 400 s."""
    lfo, settings = Lfo(), ctypes.byref(Settings(SINE, 0.3, 0))
    lfo.start(SINE, 0.3)
    for _ in range(300_000):
        lfo.native.lfo_next(lfo.state, settings)
    assert lfo.value == pytest.approx(np.sin(2 * np.pi * cycles(300_000, 0.3)[-1]), abs=2e-6)


def test_settings_that_jump_move_it_without_an_edge():
    rng = np.random.default_rng(1)
    lfo, taken = Lfo().start(SINE, 5), []
    for _ in range(2_000):
        taken.append(lfo.values(4, int(rng.integers(4)), float(rng.choice([0.01, 0.5, 5, 50]))))
    taken = np.concatenate(taken)
    assert np.abs(taken).max() <= 1
    assert np.abs(np.diff(taken)).max() < 1.2 # the edge's steepest period 0.83, and 50 Hz of the shape


@pytest.mark.parametrize("shape", range(4))
def test_bad_numbers_are_taken_as_the_nearest_or_ignored(shape):
    fastest = Lfo().start(shape, 50).values(100, shape, 50)
    np.testing.assert_array_equal(Lfo().start(shape, 50).values(100, shape, np.inf), fastest)
    slowest = Lfo().start(shape, 0.01).values(100, shape, 0.01)
    np.testing.assert_array_equal(Lfo().start(shape, 0.01).values(100, shape, -5), slowest)
    still = Lfo().start(shape, 5)
    still.values(10, shape, 5)
    end = still.values(10, shape, np.nan, np.nan)[-1]
    assert np.isfinite(end)
    assert (still.values(50, shape, np.nan, np.nan) == end).all()
    assert np.isfinite(Lfo().start(shape, 5, np.inf).values(50, shape, 5, np.inf)).all()
