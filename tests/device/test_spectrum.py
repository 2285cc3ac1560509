import numpy as np

from device import spectrum


def test_a_tone_stands_out_in_its_bin_and_only_where_it_sounds() -> None:
    audio = np.zeros(6400, np.float32)
    audio[3200:] = np.sin(2 * np.pi * 1000 * np.arange(3200) / 16000)
    frames = spectrum.log_spectrum(audio)
    assert frames.shape == (50, spectrum.BINS)
    assert frames[40].argmax() == 64
    silence = (np.log(spectrum.FLOOR) + 5.0) / 2.5
    assert np.allclose(frames[10], silence, atol=1e-3)
    assert abs(frames[40].max() - 2.0) < 0.05  # log of amplitude 1


def test_a_batch_gives_what_its_members_give() -> None:
    audio = np.random.default_rng(0).normal(size=(2, 2048)).astype("f")
    np.testing.assert_array_equal(spectrum.log_spectrum(audio)[1], spectrum.log_spectrum(audio[1]))
