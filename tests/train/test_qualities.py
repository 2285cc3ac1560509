import numpy as np
import pytest

from device.preset import NOTE_SAMPLES, SAMPLE_RATE_HZ
from device.synth import pitch_to_hz
from train.notes import QUALITIES
from train.qualities import MEASURED, measured

TIME_S = np.arange(NOTE_SAMPLES) / SAMPLE_RATE_HZ


def harmonics(amplitudes: list[float], envelope: np.ndarray, pitch: int = 57) -> np.ndarray:
    tone = sum(a * np.sin(2 * np.pi * k * pitch_to_hz(pitch) * TIME_S) for k, a in enumerate(amplitudes, 1))
    return (0.1 * tone * envelope).astype(np.float32)


HELD = (TIME_S < 3.05).astype(float)
FADING = np.exp(-2 * TIME_S)
RINGING = np.ones(NOTE_SAMPLES)


@pytest.mark.parametrize(("audio", "expected"), [
    (harmonics([1, 0.5, 0.3, 0.2], HELD), set()),
    (harmonics([1, 0.5, 0.5, 0.8, 0.5, 0.4], HELD), {"bright"}),
    (harmonics([1, 0.3], HELD), {"dark"}),
    (harmonics([1, 0.5, 0.3, 0.2], FADING), {"fast_decay"}),
    (harmonics([1, 0.5, 0.3, 0.2], RINGING), {"long_release"}),
    (harmonics([1, 0.1], FADING), {"dark", "fast_decay"}),
])
def test_each_quality_is_heard_where_it_is(audio: np.ndarray, expected: set[str]) -> None:
    found = {name for name, there in zip(QUALITIES, measured(audio, 57), strict=True) if there}
    assert found == expected


def test_a_high_sine_is_not_dark() -> None:
    assert not measured(harmonics([1], HELD, pitch=100), 100)[QUALITIES.index("dark")]


def test_what_cannot_be_measured_stays_zero() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, NOTE_SAMPLES).astype(np.float32)
    found = measured(noise, 60)
    assert len(found) == len(QUALITIES)
    assert all(found[i] == 0 for i, name in enumerate(QUALITIES) if name not in MEASURED)
    assert found[QUALITIES.index("bright")]
