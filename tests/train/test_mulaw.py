import numpy as np

from train import mulaw


def test_a_round_trip_errs_by_at_most_half_a_step() -> None:
    audio = np.linspace(-1, 1, 10_001, dtype=np.float32)
    codes = mulaw.encode(audio)
    assert codes.min() == -128
    assert codes.max() == 127
    # The steps of mu-law grow with the level: by (1 + mu |x|) ln(1 + mu) / (128 mu), Smith 1957.
    step = (1 + mulaw.MU * np.abs(audio)) * np.log(1 + mulaw.MU) / (128 * mulaw.MU)
    assert np.all(np.abs(mulaw.decode(codes) - audio) <= 0.55 * step + 2e-4)


def test_every_code_survives_a_round_trip() -> None:
    codes = np.arange(-128, 128)
    assert np.array_equal(mulaw.encode(mulaw.decode(codes)), codes)


def test_silence_stays_silent() -> None:
    assert np.all(mulaw.decode(mulaw.encode(np.zeros(8))) == 0)
