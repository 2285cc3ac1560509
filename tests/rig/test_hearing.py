"""What the rig's ears make of sounds that are known."""

import wave
from pathlib import Path

import hearing
import numpy as np
import pytest

RATE_HZ = 48_000


def note(key: float, seconds: float = 0.5, partials: int = 1) -> np.ndarray:
    """Of falling partials; a short attack and release keep it from clicking."""
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    hz = 440 * 2 ** ((key - 69) / 12)
    wave = sum(np.sin(2 * np.pi * n * hz * time_s) / n for n in range(1, partials + 1))
    return 0.3 * wave * np.minimum(1, np.minimum(time_s, time_s[::-1]) / 0.01)


@pytest.mark.parametrize("partials", [1, 12])
def test_a_scale_is_heard(partials: int) -> None:
    keys = [36, 60, 60.5, 61, 67.25, 84]
    gap = np.zeros(RATE_HZ // 4)
    audio = np.concatenate([part for key in keys for part in (gap, note(key, partials=partials))])
    assert hearing.keys_heard(audio, RATE_HZ) == pytest.approx(keys, abs=0.02)


def test_a_weak_fundamental_is_the_pitch_still() -> None:
    audio = note(48) * 0.2 + note(60) + note(67.02)  # partials 1 to 3
    assert hearing.keys_heard(audio, RATE_HZ) == pytest.approx([48], abs=0.1)


def test_silence_and_noise_are_no_notes() -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, RATE_HZ)
    assert len(hearing.keys_heard(noise, RATE_HZ)) < 3
    quiet = np.concatenate([note(60), 0.001 * note(72)])
    assert hearing.keys_heard(quiet, RATE_HZ) == pytest.approx([60], abs=0.02)


def test_breaks_in_a_note_make_no_more_notes_of_it() -> None:
    """As an emulated sound card has them on a busy machine; the edge of one may look like another pitch."""
    audio = np.concatenate([note(60, 0.8), np.zeros(20_000), note(64, 0.4), note(50, 0.22), note(64, 0.5)])
    assert hearing.keys_heard(audio, RATE_HZ) == pytest.approx([60, 64], abs=0.05)


@pytest.mark.parametrize("bytes_each", [2, 4])
def test_wav_files_of_either_width_are_read(tmp_path: Path, bytes_each: int) -> None:
    samples = np.array([[0.5, -1.0], [-0.25, 0.0]])
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((2, bytes_each, RATE_HZ, 0, "NONE", ""))
        file.writeframes((samples * 2.0 ** (8 * bytes_each - 1)).astype(f"<i{bytes_each}").tobytes())
    audio, rate_hz = hearing.read(tmp_path / "a.wav")
    assert (audio.tolist(), rate_hz) == ([0.5, -0.25], RATE_HZ)
