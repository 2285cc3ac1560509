"""The state-variable filter against the analog filter's equations, brought to the sample rate by SciPy."""

import ctypes

import numpy as np
import pytest
from native import library
from scipy import signal

LANES = 8
RATE = 48_000
MODES = LOW, BAND, HIGH = range(3)


class Filter:
    """Two filters run side by side; this is the second, beside another that is busy, too."""

    def __init__(self):
        self.native = library("filter.c", "kernels.c")
        self.state, self.other = (ctypes.c_double * 512)(), (ctypes.c_double * 512)()
        start = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int, *[ctypes.c_float] * 3]
        self.native.filter_start.argtypes, self.native.filter_aim.argtypes = start, [*start, ctypes.c_int]
        self.native.filter_render.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
        for state in (self.state, self.other):
            self.native.filter_init(state)
        self.native.filter_aim(self.other, 0, LOW, 300, 0.9, RATE, 1_000)

    def start(self, lane: int, mode: int, cutoff_hz: float, resonance: float, rate: float = RATE) -> None:
        self.native.filter_start(self.state, lane, mode, cutoff_hz, resonance, rate)

    def aim(self, lane: int, mode: int, cutoff_hz: float, resonance: float, frames: int = 64) -> None:
        self.native.filter_aim(self.state, lane, mode, cutoff_hz, resonance, RATE, frames)

    def render(self, x: np.ndarray, cuts=()) -> np.ndarray:
        """x: [frames, LANES]; cuts: lengths of blocks, then all that is left."""
        out, done, cuts = np.ascontiguousarray(x, np.float32).copy(), 0, iter(cuts)
        while done < len(out):
            frames = min(next(cuts, len(out)), len(out) - done)
            beside = np.ones((frames, LANES), np.float32)
            filters = (ctypes.c_void_p * 2)(*map(ctypes.addressof, (self.other, self.state)))
            sounds = (ctypes.c_void_p * 2)(beside.ctypes.data, out[done:].ctypes.data)
            self.native.filter_render(filters, sounds, frames)
            done += frames
        return out


def quality(resonance: float) -> float:
    return 0.5 * 40**resonance


def textbook(mode: int, cutoff_hz: float, q: float, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """The second-order section of the analog filter, its cutoff bent so that the bilinear transform puts it right."""
    w = 2 * rate * np.tan(np.pi * cutoff_hz / rate)
    numerator = {LOW: [w * w], BAND: [w / q, 0], HIGH: [1, 0, 0]}[mode]
    return signal.bilinear(numerator, [1, w / q, w * w], rate)


def noise(frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (frames, LANES)).astype(np.float32)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("resonance", [0, 0.1, 0.6, 1])
@pytest.mark.parametrize("rate", [44_100, 96_000])
def test_magnitude_and_phase_are_the_analog_filters(mode, resonance, rate):
    """Within 0.01 dB and 0.001 radians down to -50 dB, and off by -94 dB of its peak anywhere, for eight cutoffs."""
    cutoffs = [30, 60, 200, 700, 2_000, 6_000, 0.3 * rate, 0.45 * rate]
    lanes, frames = Filter(), 1 << 18
    for lane, cutoff in enumerate(cutoffs):
        lanes.start(lane, mode, cutoff, resonance, rate)
    x = np.zeros((frames, LANES))
    x[0] = 1
    found = np.fft.rfft(lanes.render(x).astype(float), axis=0)[1:-1]
    at = np.arange(1, frames // 2) * rate / frames
    for lane, cutoff in enumerate(cutoffs):
        wanted = signal.freqz(*textbook(mode, cutoff, quality(resonance), rate), at, fs=rate)[1]
        heard = np.abs(wanted) > 10 ** (-50 / 20)
        ratio = found[heard, lane] / wanted[heard]
        assert np.abs(20 * np.log10(np.abs(ratio))).max() < 0.01
        assert np.abs(np.angle(ratio)).max() < 0.001
        assert np.abs(found[:, lane] - wanted).max() < 2e-5 * max(1, np.abs(wanted).max())


@pytest.mark.parametrize("cutoff", [10, 1_000, 21_600])
def test_what_passes_is_as_loud_and_the_peak_is_q(cutoff):
    for mode, frequency in ((LOW, 0), (HIGH, RATE / 2), (BAND, cutoff)):
        gain = signal.freqz(*textbook(mode, cutoff, 5, RATE), [frequency], fs=RATE)[1]
        assert abs(gain[0]) == pytest.approx(1, abs=1e-6)
    lanes, frames = Filter(), 1 << 18
    for lane in range(LANES):
        lanes.start(lane, LOW, cutoff, lane / 7)
    tone = np.sin(2 * np.pi * cutoff / RATE * np.arange(frames))
    out = lanes.render(np.repeat(tone[:, None], LANES, 1))[-(frames // 4) :]
    loudness = np.sqrt(2 * (out.astype(float) ** 2).mean(axis=0))
    np.testing.assert_allclose(loudness, [quality(lane / 7) for lane in range(LANES)], rtol=0.01)


def test_a_lane_hears_no_other():
    x, alone = noise(3_000), np.zeros((3_000, LANES), np.float32)
    alone[:, 3] = x[:, 3]
    outs = []
    for sound in (x, alone):
        lanes = Filter()
        for lane in range(LANES):
            lanes.start(lane, lane % 3, 100 * 2**lane, 0.9)
        outs.append(lanes.render(sound)[:, 3])
    np.testing.assert_array_equal(*outs)


def test_a_lane_that_starts_forgets_its_past():
    lanes = Filter()
    lanes.start(2, LOW, 50, 1)
    kept = lanes.render(noise(1_000))
    lanes.start(2, LOW, 50, 1)
    after = lanes.render(np.zeros((1_000, LANES)))
    assert kept[:, 2].any()
    assert not after[:, 2].any()


def test_open_until_it_is_told():
    np.testing.assert_allclose(Filter().render(noise(500)), noise(500), atol=1e-7)


def followed(aims, frames: int, x: np.ndarray) -> np.ndarray:
    """The equations of filter.c in double, each coefficient on straight lines between the aims: one lane."""
    def coefficients(mode, cutoff, resonance):
        g, k = np.tan(np.pi * cutoff / RATE), 1 / quality(resonance)
        a1 = 1 / (1 + g * (g + k))
        a2, a3 = g * a1, g * g * a1
        weights = {LOW: (a3, a2, 1), BAND: (k * a2, k * a1, 0), HIGH: (1 - k * a2 - a3, -k * a1 - a2, 0)}[mode]
        return np.array([a1, a2, a3, *weights])

    s1 = s2 = 0.0
    now, out = coefficients(*aims[0]), []
    for aim in aims[1:]:
        step = (coefficients(*aim) - now) / frames
        for _ in range(frames):
            a1, a2, a3, driven, first, second = now
            v = x[len(out)] - s2
            out.append(driven * v + first * s1 + second * s2)
            band, low = a1 * s1 + a2 * v, s2 + a2 * s1 + a3 * v
            s1, s2, now = 2 * band - s1, 2 * low - s2, now + step
        now = coefficients(*aim)
    return np.array(out)


def test_coefficients_move_in_straight_lines_from_any_mode_to_any():
    rng = np.random.default_rng(5)
    aims = [(int(rng.integers(3)), float(20 * 1_000 ** rng.uniform()), float(rng.uniform())) for _ in range(40)]
    lanes, x, out = Filter(), noise(39 * 64), []
    lanes.start(5, *aims[0])
    for i, aim in enumerate(aims[1:]):
        lanes.aim(5, *aim)
        out.append(lanes.render(x[64 * i : 64 * i + 64])[:, 5])
    np.testing.assert_allclose(np.concatenate(out), followed(aims, 64, x[:, 5].astype(float)), atol=2e-4)


@pytest.mark.parametrize("frames", [0, 1, 7, 64])
def test_no_modulation_makes_it_grow(frames):
    """Silent after a stroke, aims jumping all the time: s1^2 + s2^2 never grows (see filter.c), nor what is heard."""
    rng = np.random.default_rng(frames)
    lanes = Filter()
    state = np.frombuffer(lanes.state, np.float32)[: 2 * LANES].reshape(2, LANES)
    energy = []
    for period in range(1_500):
        for lane in range(LANES):
            lanes.aim(lane, int(rng.integers(3)), *(float(rng.choice(ends)) for ends in ((10, 21_600), (0, 1))), frames)
        out = lanes.render(noise(8) if period < 20 else np.zeros((8, LANES)))
        assert np.abs(out).max() < 60
        energy.append((state.astype(float) ** 2).sum(axis=0))
    assert (np.diff(energy[20:], axis=0) <= 1e-6 * np.array(energy[20:-1])).all()


def test_noise_under_any_modulation_stays_bounded():
    rng, lanes, loudest = np.random.default_rng(2), Filter(), 0.0
    for period in range(4_000):
        for lane in range(LANES):
            lanes.aim(lane, int(rng.integers(3)), 10 * 2_160 ** float(rng.uniform()), float(rng.integers(2)), 32)
        loudest = max(loudest, np.abs(lanes.render(noise(32, period))).max())
    assert loudest < 40


def test_a_sweep_makes_no_click():
    """A tone under a cutoff that jumps by six octaves: what lies an octave above it stays 80 dB below."""
    lanes, frames = Filter(), 8_192
    lanes.start(0, LOW, 200, 0.1)
    tone = np.sin(2 * np.pi * 1_000 / RATE * np.arange(3 * frames))[:, None].repeat(LANES, 1)
    out = [lanes.render(tone[:frames])]
    for i in range(64): # as an engine leads it: a step of its knob each period
        part = min(i / 20, 1)
        lanes.aim(0, LOW, 200 * 64 ** (part * part * (3 - 2 * part)), 0.1)
        out.append(lanes.render(tone[frames + 64 * i : frames + 64 * i + 64]))
    sound = np.concatenate([*out, lanes.render(tone[frames + 64 * 64 :])])[frames - 1_024 : frames + 7_168, 0]
    power = np.abs(np.fft.rfft(sound * signal.windows.blackmanharris(8_192))) ** 2
    assert 10 * np.log10(power[np.fft.rfftfreq(8_192, 1 / RATE) > 2_500].sum() / power.sum()) < -80


def test_any_cut_into_blocks_gives_the_same_samples():
    rng, takes = np.random.default_rng(3), []
    for cuts in ((), [1] * 5_000, rng.integers(1, 65, 1_000)):
        lanes, out = Filter(), []
        for lane in range(LANES):
            lanes.start(lane, lane % 3, 300 + 500 * lane, 0.8)
        for i in range(30):
            lanes.aim(i % LANES, i % 3, 10 * 2 ** (i % 11), (i % 5) / 4, 20 + 17 * i)
            out.append(lanes.render(noise(101, i), cuts))
        out.append(lanes.render(np.zeros((5_000, LANES)), cuts))
        takes.append(np.concatenate(out))
    np.testing.assert_array_equal(takes[0], takes[1])
    np.testing.assert_array_equal(takes[0], takes[2])


def test_silence_ends_in_zeros_without_denormals():
    lanes = Filter()
    for lane in range(LANES):
        lanes.start(lane, lane % 3, 40 * 2**lane, lane / 10)
    lanes.render(noise(1_000))
    tail = lanes.render(np.zeros((3 * RATE, LANES)))
    state = np.frombuffer(lanes.state, np.float32)[: 2 * LANES]
    assert not tail[-1_000:].any()
    assert not state.any()
    tiny = (tail != 0) & (np.abs(tail) < np.finfo(np.float32).tiny)
    assert tiny.sum() < 64 * LANES # a fast lane passes through them between two looks, once


def test_bad_numbers_are_taken_as_the_nearest_or_ignored():
    x = noise(1_000)

    def rendered(cutoff: float, resonance: float) -> np.ndarray:
        lanes = Filter()
        lanes.start(0, LOW, 1_000, 0.5)
        lanes.aim(0, LOW, cutoff, resonance)
        return lanes.render(x)[:, 0]

    np.testing.assert_array_equal(rendered(np.inf, 2), rendered(0.45 * RATE, 1))
    np.testing.assert_array_equal(rendered(-3, -np.inf), rendered(10, 0))
    np.testing.assert_array_equal(rendered(np.nan, 0.2), rendered(1_000, 0.5))
    np.testing.assert_array_equal(rendered(300, np.nan), rendered(1_000, 0.5))
    lanes = Filter()
    lanes.start(0, LOW, 1_000, 0.5)
    wild = x.copy()
    wild[10], wild[500] = np.nan, np.inf
    lanes.render(wild)
    assert np.isfinite(lanes.render(x)).all()
