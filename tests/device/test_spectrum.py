import numpy as np
import pytest

from device import spectrum
from device.spectrum import BINS, LONG_BANDS, SHORT_BANDS, SHORTS, STEP_SAMPLES

SAMPLE_RATE_HZ = 16_000


def tone(hz: float, samples: int) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(samples) / SAMPLE_RATE_HZ).astype(np.float32)


def shorts(frames: np.ndarray) -> np.ndarray:
    """The short windows' bands in order of time."""
    return frames[:, LONG_BANDS:].reshape(-1, SHORT_BANDS)


def test_a_tone_stands_out_in_its_band_and_only_where_it_sounds() -> None:
    audio = np.zeros(6400, np.float32)
    audio[3200:] = tone(1000, 3200)
    frames = spectrum.log_spectrum(audio)
    assert frames.shape == (25, BINS)
    assert frames.dtype == np.float32
    steady = frames[18]
    assert abs(steady.max() - 2.0) < 0.15  # log of amplitude 1; between two bands it is divided
    long, short = np.split(steady, [LONG_BANDS])
    # 1000 Hz are 15 mel of the 45.2 up to 8 kHz
    assert long.argmax() + 1 == pytest.approx(15 / 45.245 * (LONG_BANDS + 1), abs=1)
    assert short[:SHORT_BANDS].argmax() + 1 == pytest.approx(15 / 45.245 * (SHORT_BANDS + 1), abs=1)
    assert np.sort(long)[-6] < steady.max() - 2  # 5 nepers: narrow
    assert np.allclose(frames[8], spectrum.SILENCE, atol=1e-3)


def test_an_attack_is_told_to_half_a_step() -> None:
    for onset in (2560, 2560 + STEP_SAMPLES // SHORTS):
        audio = np.zeros(6400, np.float32)
        audio[onset:] = tone(2000, 6400 - onset)
        loud = shorts(spectrum.log_spectrum(audio)).max(axis=1) > 1.5
        assert np.flatnonzero(loud)[0] == onset // (STEP_SAMPLES // SHORTS)
    # While the long windows have known of it for some time
    assert (spectrum.log_spectrum(audio)[:, :LONG_BANDS].max(axis=1) > 0)[onset // STEP_SAMPLES - 1]


def test_a_steps_windows_are_centred_on_it() -> None:
    """A click in the middle of a step is as loud in the step before as in the one after."""
    audio = np.zeros(6400, np.float32)
    audio[12 * STEP_SAMPLES + STEP_SAMPLES // 2] = 1
    frames = spectrum.log_spectrum(audio)
    assert frames.shape == (25, 224)
    np.testing.assert_allclose(frames[11, :LONG_BANDS], frames[13, :LONG_BANDS], atol=0.02)
    assert (frames[12, :LONG_BANDS] > frames[11, :LONG_BANDS] + 0.1).all()
    np.testing.assert_allclose(shorts(frames)[24], shorts(frames)[25], atol=0.1)  # the halves of step 12
    np.testing.assert_allclose(shorts(frames)[23], shorts(frames)[26], atol=0.1)


@pytest.mark.parametrize("hz", [65.4, 220.0, 1000.0, 4100.0])
def test_two_tones_a_tone_apart_are_different(hz: float) -> None:
    first, second = (spectrum.log_spectrum(tone(of, 6400))[12, :LONG_BANDS] for of in (hz, hz * 2 ** (2 / 12)))
    assert np.abs(first - second).max() > 0.5


def test_no_frequency_is_unheard() -> None:
    for hz in np.arange(50, 7900, 157):
        frames = spectrum.log_spectrum(tone(hz, 4096))
        long, short = np.split(frames[8], [LONG_BANDS])
        assert min(long.max(), short.max()) > 1.5


def test_levels_are_logarithms() -> None:
    audio = tone(1000, 4096)
    loud, soft = (spectrum.log_spectrum(gain * audio)[8].max() for gain in (1.0, 0.1))
    assert loud - soft == pytest.approx(np.log(10) / 2.5, abs=0.01)


def test_silence_is_the_lowest() -> None:
    frames = spectrum.log_spectrum(np.zeros(2048, np.float32))
    np.testing.assert_allclose(frames, spectrum.SILENCE, atol=1e-6)
    assert spectrum.log_spectrum(np.random.default_rng(0).normal(size=2048).astype("f")).min() > spectrum.SILENCE


def test_a_batch_gives_what_its_members_give() -> None:
    audio = np.random.default_rng(0).normal(size=(2, 2048)).astype("f")
    np.testing.assert_allclose(spectrum.log_spectrum(audio)[1], spectrum.log_spectrum(audio[1]), atol=1e-6)


def test_a_step_does_not_depend_on_what_is_far_from_it() -> None:
    audio = np.random.default_rng(0).normal(size=6400).astype("f")
    cut = audio.copy()
    at, reach = 12, spectrum.EDGE_SAMPLES
    cut[: at * STEP_SAMPLES - reach] = cut[(at + 1) * STEP_SAMPLES + reach :] = 0
    np.testing.assert_array_equal(spectrum.log_spectrum(cut)[at], spectrum.log_spectrum(audio)[at])
