"""Chorus, delay and reverb against textbook formulas and recomputed signals."""

import ctypes

import numpy as np
import pytest
from native import library
from scipy import signal, special

RATE = 48_000
MAX_FRAMES = 64
EFFECTS = ("chorus", "delay", "reverb")


class ChorusSettings(ctypes.Structure):
    _fields_ = [(name, ctypes.c_float) for name in ("mix", "rate_hz", "depth_ms")]


class DelaySettings(ctypes.Structure):
    _fields_ = [*((name, ctypes.c_float) for name in ("mix", "time_ms", "feedback", "tone_hz")),
                ("ping_pong", ctypes.c_bool)]


class ReverbSettings(ctypes.Structure):
    _fields_ = [(name, ctypes.c_float) for name in ("mix", "decay_s", "damping_hz", "predelay_ms")]


SETTINGS = {"chorus": ChorusSettings, "delay": DelaySettings, "reverb": ReverbSettings}
SOME = {"chorus": {"rate_hz": 1.3, "depth_ms": 4}, "delay": {"time_ms": 30, "feedback": 0.4, "tone_hz": 6_000},
        "reverb": {"decay_s": 0.5, "damping_hz": 5_000, "predelay_ms": 5}}
# Where each parameter jumps from and to, the rest as in SOME.
JUMPS = [("chorus", "mix", 0.2, 1), ("chorus", "mix", 0.5, 0), ("chorus", "rate_hz", 0.2, 8),
         ("chorus", "depth_ms", 0, 10), ("delay", "mix", 0.2, 1), ("delay", "mix", 0.5, 0),
         ("delay", "time_ms", 30, 50.3), ("delay", "time_ms", 30.25, 1.7),
         ("delay", "time_ms", 1.3, 30), ("delay", "feedback", 0, 0.95),
         ("delay", "tone_hz", 300, 20_000), ("delay", "ping_pong", 0, 1), ("reverb", "mix", 0.2, 1),
         ("reverb", "mix", 0.5, 0), ("reverb", "decay_s", 0.2, 20), ("reverb", "decay_s", 20, 0.2),
         ("reverb", "damping_hz", 20_000, 200), ("reverb", "predelay_ms", 0, 70.3)]


class Effect:
    def __init__(self, name: str, rate: int = RATE, **settings):
        self.name, self.rate = name, rate
        native = library(f"{name}.c", "ramp.c")
        self._set, self._render = getattr(native, f"{name}_set"), getattr(native, f"{name}_render")
        self._render.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
        self._set.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        floats = getattr(native, f"{name}_memory")
        floats.restype, floats.argtypes = ctypes.c_size_t, [ctypes.c_float]
        self.memory = np.full(floats(rate) + 16, np.nan, np.float32)
        self._state = (ctypes.c_double * 4_096)()
        init = getattr(native, f"{name}_init")
        init.restype, init.argtypes = None, [ctypes.c_void_p, ctypes.c_float, ctypes.c_void_p]
        init(self._state, rate, self.memory.ctypes.data)
        self.settings = dict(SOME[name])
        if settings:
            self.set(**settings)

    def set(self, **settings) -> None:
        self.settings |= settings
        self._set(self._state, ctypes.byref(SETTINGS[self.name](**self.settings)))

    def render(self, stereo, cuts=None) -> np.ndarray:
        """stereo: [frames, 2]; cuts: lengths of blocks, MAX_FRAMES each where there are none."""
        out = np.ascontiguousarray(stereo, np.float32).copy()
        done = 0
        cuts = iter(cuts or ())
        while done < len(out):
            frames = min(next(cuts, MAX_FRAMES), len(out) - done)
            self._render(self._state, out[done:].ctypes.data, frames)
            done += frames
        assert np.isnan(self.memory[-16:]).all() # nothing was written behind what it asked for
        return out

    def settle(self) -> "Effect":
        self.render(np.zeros((self.rate // 4, 2)))
        return self


def noise(frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (frames, 2)).astype(np.float32)


def impulse(seconds: float, rate: int = RATE, channels=(0, 1)) -> np.ndarray:
    out = np.zeros((int(seconds * rate), 2), np.float32)
    out[0, list(channels)] = 1
    return out


def tone(frequency_hz: float, frames: int, rate: int = RATE) -> np.ndarray:
    return np.repeat(0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(frames) / rate)[:, None], 2, 1)


def db(power) -> np.ndarray:
    return 10 * np.log10(np.maximum(power, 1e-30))


@pytest.mark.parametrize("name", EFFECTS)
def test_off_is_the_sound_itself(name):
    effect, sound = Effect(name), noise(5_000)
    np.testing.assert_array_equal(effect.render(sound), sound)
    effect.set(mix=0)
    np.testing.assert_array_equal(effect.render(sound), sound)
    effect.set(mix=0.7)
    assert not np.array_equal(effect.render(sound), sound)
    effect.set(mix=0)
    fading = effect.render(noise(RATE // 4))
    apart = np.abs(fading - noise(RATE // 4)).max(axis=1)
    assert np.flatnonzero(apart)[-1] < 0.06 * RATE
    assert apart[int(0.03 * RATE) :].max() < 1e-3
    np.testing.assert_array_equal(effect.render(sound), sound)


@pytest.mark.parametrize("name", EFFECTS)
def test_what_sounded_before_it_was_off_is_forgotten(name):
    effect = Effect(name, mix=1)
    effect.render(noise(RATE // 2))
    effect.set(mix=0)
    effect.render(noise(RATE // 4))
    effect.set(mix=1)
    assert not effect.render(np.zeros((RATE // 2, 2))).any()


@pytest.mark.parametrize("name", EFFECTS)
@pytest.mark.parametrize("rate", [16_000, 44_100, 192_000])
def test_any_cut_into_blocks_gives_the_same_samples(name, rate):
    rng = np.random.default_rng(rate)
    cuts = [list(rng.integers(1, MAX_FRAMES + 1, 1_000)), [1] * 20_000, None]
    changes = [{"mix": 0.5}, *({parameter: to} for effect, parameter, _, to in JUMPS if effect == name), {"mix": 0},
               {}, {"mix": 0.8}]
    takes = []
    for cut in cuts:
        effect = Effect(name, rate)
        takes.append(np.concatenate([[effect.set(**change), effect.render(noise(1_500, i), cut)][1]
                                     for i, change in enumerate(changes)]))
    np.testing.assert_array_equal(takes[0], takes[1])
    np.testing.assert_array_equal(takes[0], takes[2])


@pytest.mark.parametrize("name", EFFECTS)
def test_silence_ends_in_zeros_without_denormals(name):
    effect = Effect(name, 16_000, mix=0.8)
    effect.set(**({"decay_s": 0.3} if name == "reverb" else {}))
    effect.render(noise(4_000))
    tail = effect.render(np.zeros((48_000, 2)))
    held = effect.memory[np.isfinite(effect.memory)]
    for samples in (tail, held):
        assert not ((samples != 0) & (np.abs(samples) < np.finfo(np.float32).tiny)).any()
    assert not tail[-1_000:].any()


@pytest.mark.parametrize(("name", "parameter", "start", "end"), JUMPS)
def test_a_parameter_that_jumps_makes_no_click(name, parameter, start, end):
    """What lies an octave and more above a tone, after the jump, is 80 dB below it; a bare jump leaves -40 dB."""
    effect = Effect(name, **({"mix": 0.6} | {parameter: start}))
    frames = RATE // 2
    sound = tone(1_000, 2 * frames)
    sound[: frames // 2] *= np.hanning(frames)[: frames // 2, None]
    before = effect.render(sound[:frames])
    effect.set(**{parameter: end})
    out = np.concatenate([before, effect.render(sound[frames:])])
    window = slice(frames - 1_024, frames + 7_168)
    for channel in (0, 1):
        spectrum = np.abs(np.fft.rfft(out[window, channel] * signal.windows.blackmanharris(8_192))) ** 2
        beyond = np.fft.rfftfreq(8_192, 1 / RATE) > 2_500
        assert db(spectrum[beyond].sum() / spectrum.sum()) < -80


@pytest.mark.parametrize("name", EFFECTS)
def test_parameters_that_jump_all_the_time_keep_it_bounded(name):
    rng = np.random.default_rng(1)
    effect, loudest = Effect(name, mix=1), 0.0
    ranges = {parameter: sorted(ends) for other, parameter, *ends in JUMPS if other == name}
    ranges |= {"mix": (0, 1), "decay_s": (0.2, 20), "feedback": (0, 0.95)}
    for _ in range(1_500):
        effect.set(**{p: bool(rng.integers(2)) if p == "ping_pong" else ranges[p][rng.integers(2)]
                      for p in ranges if p in dict(SETTINGS[name]._fields_)})
        loudest = max(loudest, np.abs(effect.render(rng.uniform(-1, 1, (64, 2)))).max())
    assert loudest < 25


@pytest.mark.parametrize("name", EFFECTS)
def test_bad_numbers_are_taken_as_the_nearest_or_ignored(name):
    sound = noise(12_000)
    reals = [field for field, kind in SETTINGS[name]._fields_ if kind is ctypes.c_float]
    spoilt = Effect(name, mix=0.5)
    spoilt.set(**dict.fromkeys(reals, np.nan))
    np.testing.assert_array_equal(spoilt.render(sound), Effect(name, mix=0.5).render(sound))
    for far in (-np.inf, -1e30, 1e30, np.inf):
        assert np.abs(Effect(name, **dict.fromkeys(reals, far)).render(sound)).max() < 10


@pytest.mark.parametrize("name", EFFECTS)
def test_wild_samples_leave_no_trace(name):
    effect = Effect(name, mix=0.5)
    finite = effect.render(np.where(noise(2_000) > 0, np.float32(3.4e38), np.float32(-3.4e38)))
    assert np.isfinite(finite).all()
    wild = noise(200)
    wild[::7] = np.nan
    wild[3::7] = np.inf
    effect.render(wild)
    after = effect.render(noise(20_000))
    assert np.isfinite(after).all()
    assert np.abs(after).max() < 5


def swing(seconds: np.ndarray, voice: int, rate_hz: float) -> np.ndarray:
    """0..1 of the way from a voice's shortest delay: a sine wave, highest where the cycle begins."""
    return 0.5 + 0.5 * np.cos(2 * np.pi * (rate_hz * seconds + voice / 4))


@pytest.mark.parametrize(("rate", "frequency_hz"), [(48_000, 440), (48_000, 7_000), (44_100, 13_000)])
def test_chorus_reads_a_tone_where_its_voices_swing(rate, frequency_hz):
    """Against the tone itself at the swinging times."""
    rate_hz = rate / 2**14 # some 3 Hz, whole in the chorus's steps
    effect = Effect("chorus", rate, mix=1, rate_hz=rate_hz, depth_ms=6)
    out = effect.render(tone(frequency_hz, rate, rate))
    seconds = np.arange(rate) / rate
    for channel in (0, 1):
        wanted = np.zeros(rate)
        for voice, shortest_ms in enumerate((5, 8.5)):
            late = 0.001 * (shortest_ms + 6 * swing(seconds, 2 * channel + voice, rate_hz))
            wanted += np.sqrt(0.5) * 0.5 * np.sin(2 * np.pi * frequency_hz * (seconds - late))
        error = (out[:, channel] - wanted)[rate // 4 :]
        assert db(np.mean(error**2) / np.mean(wanted**2)) < (-70 if frequency_hz < 0.15 * rate else -36)


def test_chorus_keeps_high_tones():
    """Its kernel at rest, between samples: 5 and 8.5 ms at 44.1 kHz are 220.5 and 374.85 frames."""
    response = Effect("chorus", 44_100, mix=1, depth_ms=0).settle().render(impulse(0.1, 44_100))[:, 0]
    shares = np.fft.rfftfreq(len(response))
    for first, last, delay in ((0, 300, 220.5), (300, 600, 374.85)):
        voice = np.where((np.arange(len(response)) >= first) & (np.arange(len(response)) < last), response, 0)
        ratio = np.fft.rfft(voice) / (np.sqrt(0.5) * np.exp(-2j * np.pi * shares * delay))
        assert np.abs(20 * np.log10(np.abs(ratio[shares <= 0.3]))).max() < 0.2
        assert np.abs(ratio[shares <= 0.15] - 1).max() < 10 ** (-70 / 20)
        assert 20 * np.log10(np.abs(ratio[np.argmin(np.abs(shares - 1 / 3))])) > -0.5


def test_a_jump_of_the_depth_bends_the_pitch_by_less_than_two_semitones():
    """A sound that rises steadily tells how late it is read."""
    effect = Effect("chorus", mix=1, rate_hz=0.05, depth_ms=0)
    rise = 1e-4 * np.arange(-RATE // 2, RATE // 2)[:, None].repeat(2, 1)
    effect.render(rise[: RATE // 2])
    effect.set(depth_ms=10)
    heard = effect.render(rise[RATE // 2 :])[:, 0] / np.sqrt(2)
    lateness = (rise[RATE // 2 :, 0] - heard) / 1e-4 # of the mean of both voices
    assert lateness[0] == pytest.approx(0.00675 * RATE, rel=0.01)
    assert lateness[-1] > 0.0125 * RATE
    assert np.diff(lateness[::100]).max() / 100 < 2 ** (2 / 12) - 1


def test_chorus_is_wide_and_level():
    sound = np.repeat(noise(2 * RATE)[:, :1], 2, 1)
    out = Effect("chorus", mix=1, depth_ms=5).settle().render(sound)[RATE // 2 :]
    assert abs(np.corrcoef(out.T)[0, 1]) < 0.2
    assert np.abs(db(np.mean(out**2, axis=0) / np.mean(sound**2))).max() < 0.5


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000, 192_000])
@pytest.mark.parametrize("time_ms", [1, 7.77, 250, 2_000])
def test_delay_comes_exactly_when_it_should(rate, time_ms):
    effect = Effect("delay", rate, mix=1, time_ms=time_ms, feedback=0.5, tone_hz=20_000).settle()
    frames = round(time_ms * rate / 1_000)
    out = effect.render(np.eye(2 * frames + 2, 1).repeat(2, 1))
    wanted = np.zeros_like(out)
    wanted[frames], wanted[2 * frames] = 1, 0.5
    np.testing.assert_allclose(out, wanted, atol=1e-6)


@pytest.mark.parametrize("ping_pong", [False, True])
def test_echoes_decay_and_darken_as_told(ping_pong):
    effect = Effect("delay", mix=1, time_ms=20, feedback=0.7, tone_hz=2_000, ping_pong=ping_pong).settle()
    out = effect.render(impulse(0.3, channels=[0]))
    pole = np.exp(-2 * np.pi * 2_000 / RATE)
    echo, wanted = impulse(0.3)[:, 0].astype(float), np.zeros(out.shape)
    echo *= 0.5 if ping_pong else 1
    for k in range(1, 15):
        echo = np.roll(signal.lfilter([1 - pole], [1, -pole], echo), 960) * (0.7 if k > 1 else 1)
        if k * 960 < len(out):
            wanted[:, (k - 1) % 2 if ping_pong else 0] += np.where(np.arange(len(out)) >= k * 960, echo, 0)
    np.testing.assert_allclose(out, wanted, atol=3e-6)


def test_a_change_of_time_is_a_crossfade():
    """A steady level stays so, and echoes come late by the new time once 25 ms are over."""
    effect = Effect("delay", mix=1, time_ms=30, feedback=0).settle()
    effect.render(np.full((RATE, 2), 0.5))
    effect.set(time_ms=444)
    np.testing.assert_allclose(effect.render(np.full((RATE // 10, 2), 0.5)), 0.5, atol=1e-6)
    effect.render(np.zeros((RATE, 2)))
    assert np.argmax(effect.render(impulse(1))[:, 0]) == round(0.444 * RATE)


def reverb_response(rate: int = RATE, seconds: float = 3, channels=(0, 1), **settings) -> np.ndarray:
    settings = {"decay_s": 2, "damping_hz": 0.45 * rate, "predelay_ms": 0} | settings
    return Effect("reverb", rate, mix=1, **settings).settle().render(impulse(seconds, rate, channels))


def decay_s(response: np.ndarray, rate: int, low_hz: float, high_hz: float) -> float:
    """RT60 of a band: Schroeder's backward integral, a line from -5 to -35 dB (ISO 3382)."""
    band = signal.sosfilt(signal.butter(4, [low_hz, high_hz], "band", fs=rate, output="sos"), response, axis=0)
    left = db(np.cumsum((band**2).sum(axis=1)[::-1])[::-1])
    part = np.flatnonzero((left <= left[0] - 5) & (left >= left[0] - 35))
    return -60 / np.polyfit(part / rate, left[part], 1)[0]


@pytest.mark.parametrize(("rate", "decay"), [(16_000, 0.5), (48_000, 0.5), (48_000, 2), (96_000, 1), (16_000, 10),
                                             (44_100, 20)])
def test_reverb_decays_in_the_time_it_is_told(rate, decay):
    response = reverb_response(rate, min(0.8 * decay + 0.3, 13), decay_s=decay, damping_hz=4_000)
    assert decay_s(response, rate, 150, 500) == pytest.approx(decay, rel=0.1)
    if decay >= 1: # what is shorter hears the all-passes' own decay
        assert decay_s(response, rate, 3_700, 4_300) == pytest.approx(decay / 2, rel=0.1)


def test_the_shortest_reverb_is_short():
    assert decay_s(reverb_response(seconds=1, decay_s=0.2), RATE, 150, 2_000) == pytest.approx(0.2, rel=0.25)


def density(response: np.ndarray, window: int) -> np.ndarray:
    """Share of samples beyond the standard deviation, of what noise has (J. S. Abel and P. Huang, AES 2006)."""
    rows = response[: len(response) // window * window].reshape(-1, window)
    return (np.abs(rows) > rows.std(axis=1, keepdims=True)).mean(axis=1) / special.erfc(np.sqrt(0.5))


def test_reverb_is_dense_within_100_ms_and_stays_so():
    response = reverb_response()
    for channel in (0, 1):
        onset = np.flatnonzero(np.abs(response[:, channel]) > 1e-3)[0]
        assert 25 < 1_000 * onset / RATE < 35
        dense = density(response[onset:, channel], RATE // 50)
        assert dense[5:8].mean() > 0.85
        assert 0.9 < dense[8:100].mean() < 1.1
        assert dense[8:100].min() > 0.75


def test_reverb_has_no_flutter():
    """The tail's loudness, its decay taken out, comes back after no time: no echo is heard to repeat."""
    tail = reverb_response()[RATE // 4 : 2 * RATE, 0].astype(float)
    tail *= 10 ** (3 * np.arange(len(tail)) / (2 * RATE))
    level = (tail**2)[: len(tail) // 48 * 48].reshape(-1, 48).mean(axis=1) # each ms
    window = signal.windows.gaussian(201, 40)
    level /= np.convolve(level, window / window.sum(), "same")
    level -= level.mean()
    again = np.correlate(level, level, "full")[len(level) - 1 :]
    assert (again[10:400] / again[0]).max() < 0.15


def test_reverb_rings_on_no_tone():
    """Flatness of the tail's spectrum, of which noise has exp(-0.577) = 0.56, a sum of 0.43 modes a Hz less."""
    response = reverb_response(decay_s=3, seconds=3)
    flat = []
    for start in (RATE // 2, RATE, 3 * RATE // 2):
        for channel in (0, 1):
            tail = response[start : start + 32_768, channel] * 10 ** (np.arange(32_768) / RATE) * np.hanning(32_768)
            power = (np.abs(np.fft.rfft(tail)) ** 2)[68:6_800] # 100 Hz to 10 kHz
            power = (power / np.convolve(power, np.ones(401), "same"))[200:-200]
            assert db(power.max() / power.mean()) < 15
            flat.append(np.exp(np.log(power).mean()) / power.mean())
    assert np.mean(flat) > 0.33


def test_no_mode_of_the_reverb_stands_still():
    """Two strokes 2.8 s apart: alike as they begin, and less and less so."""
    effect, responses = Effect("reverb", mix=1, decay_s=1, damping_hz=5_000).settle(), []
    for _ in range(2):
        responses.append(effect.render(impulse(1.3))[:, 0])
        effect.render(np.zeros((3 * RATE // 2, 2)))
    alike = [np.corrcoef(*(response[start : start + RATE // 20] for response in responses))[0, 1]
             for start in (RATE // 50, RATE // 2, RATE)]
    assert alike[0] > 0.9
    assert alike[1] < 0.6
    assert alike[2] < 0.4


def test_reverb_comes_from_all_sides_whichever_side_it_enters():
    for channels in ([0], [1], [0, 1]):
        response = reverb_response(channels=channels)
        assert abs(np.corrcoef(response.T)[0, 1]) < 0.1
        left, right = (response**2).sum(axis=0)
        assert abs(db(left / right)) < 1.5


@pytest.mark.parametrize("decay", [0.3, 1, 4])
def test_reverb_is_as_loud_as_the_sound_for_any_decay(decay):
    effect = Effect("reverb", mix=1, decay_s=decay, damping_hz=20_000)
    low = signal.sosfilt(signal.butter(4, 2_000, fs=RATE, output="sos"), noise(6 * RATE)[:, :1], axis=0)
    out = effect.render(np.repeat(low, 2, 1))[3 * RATE :]
    assert np.abs(db(np.mean(out**2, axis=0) / np.mean(low**2))).max() < 1.5


def test_predelay_moves_the_whole_room():
    near, far = (reverb_response(seconds=0.3, predelay_ms=ms) for ms in (0, 61.3))
    onset = [np.flatnonzero(response[:, 0])[0] for response in (near, far)]
    assert onset[1] - onset[0] == round(61.3 * RATE / 1_000)


def test_a_room_that_changes_while_it_sounds_becomes_the_new_one():
    effect = Effect("reverb", mix=1, decay_s=0.5, damping_hz=3_000, predelay_ms=0)
    effect.render(noise(RATE // 4))
    effect.set(decay_s=2, damping_hz=20_000, predelay_ms=50)
    effect.settle()
    effect.render(np.zeros((8 * RATE, 2)))
    response = effect.render(impulse(3))
    onset = np.flatnonzero(np.abs(response[:, 0]) > 1e-3)[0]
    assert onset == pytest.approx((0.0293 + 0.05) * RATE, abs=20)
    assert decay_s(response, RATE, 150, 500) == pytest.approx(2, rel=0.1)
    assert decay_s(response, RATE, 3_700, 4_300) == pytest.approx(2, rel=0.1)
