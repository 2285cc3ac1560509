from pathlib import Path

import numpy as np
import pytest

from device.errors import TetradError
from device.pitch import pitch_from_name, pitch_from_sound, pitch_of
from device.synth import pitch_to_hz

RATE_HZ = 16_000


def tone(pitch: float, harmonics: int, decay: float = 0.0, noise: float = 0.0, seconds: float = 2.0) -> np.ndarray:
    rng = np.random.default_rng(int(pitch))
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    sound = noise * rng.normal(size=len(time_s))
    for number in range(1, harmonics + 1):
        if number * pitch_to_hz(pitch) < 7_900:
            sound += np.sin(2 * np.pi * number * pitch_to_hz(pitch) * time_s + rng.uniform(0, 6)) / number
    sound *= np.exp(-decay * time_s)
    return sound.astype(np.float32)


@pytest.mark.parametrize(("name", "pitch"), [
    ("flute_60", 60), ("flute_C4", 60), ("flute_c4", 60), ("flute_F#3", 54), ("flute_F♯3", 54), ("horn_Bb3", 58),
    ("Bb3", 58), ("60", 60), ("A4", 69), ("my flute C4", 60), ("flute-C4", 60), ("flute_v2_72", 72), ("flute_060", 60),
    ("grand_A0", 21), ("grand_C8", 108), ("flute_acoustic_002-069-050", 69), ("bass_synthetic_068-049-025", 49),
    ("take_2", None), ("sample_440", None), ("take_12", None), ("song_109", None), ("flute", None), ("flute60", None),
    ("IMG_2031", None), ("grand_C9", None), ("grand_C-1", None), ("flute_H4", None), ("x_002-130-050", None),
    ("", None), ("mp3", None), ("track_1_of_2", None),
])
def test_a_name_says_the_pitch_or_nothing(name, pitch):
    assert pitch_from_name(name) == pitch


@pytest.mark.parametrize("pitch", [21, 24, 33, 40, 52, 60, 69, 77, 84, 96, 108])
@pytest.mark.parametrize(("harmonics", "decay", "noise"), [(1, 0, 0), (10, 3, 0.01), (40, 6, 0), (5, 0, 0.1)])
def test_a_note_is_found_within_20_cents(pitch, harmonics, decay, noise):
    found = pitch_from_sound(tone(pitch, harmonics, decay, noise))
    assert found is not None
    assert abs(found - pitch) < 0.2


def test_a_note_without_its_fundamental_is_found():
    sound = tone(48, 10) - tone(48, 1)
    assert round(pitch_from_sound(sound)) == 48


def test_a_late_onset_and_vibrato_do_not_hide_the_pitch():
    time_s = np.arange(2 * RATE_HZ) / RATE_HZ
    phase = 2 * np.pi * pitch_to_hz(64) * time_s + 2.0 * np.sin(2 * np.pi * 5 * time_s)  # +- 0.5 semitones
    sound = np.concatenate([np.zeros(RATE_HZ), np.sin(phase) + 0.4 * np.sin(2 * phase)]).astype(np.float32)
    assert round(pitch_from_sound(sound)) == 64


def drum() -> np.ndarray:
    return np.random.default_rng(1).normal(size=2 * RATE_HZ) * np.exp(-np.arange(2 * RATE_HZ) / 2_000)


@pytest.mark.parametrize("sound", [
    np.random.default_rng(0).normal(size=2 * RATE_HZ),
    np.cumsum(np.random.default_rng(0).normal(size=2 * RATE_HZ)),
    drum(),
    np.eye(1, RATE_HZ)[0],
    np.concatenate([tone(pitch, 5, seconds=0.5) for pitch in (60, 64, 67, 72)]),
], ids=["white noise", "brown noise", "drum", "click", "melody"])
def test_what_has_no_one_pitch_has_none(sound):
    assert pitch_from_sound(sound.astype(np.float32)) is None


def test_the_name_goes_before_the_sound():
    assert pitch_of(Path("flute_60.wav"), tone(72, 5)) == 60
    assert pitch_of(Path("take_2.wav"), tone(72, 5)) == 72
    assert pitch_of(Path("sample_440.wav"), tone(69, 5)) == 69


def test_a_drum_without_a_pitch_in_its_name_is_refused_by_name():
    with pytest.raises(TetradError, match=r"kit/snare\.wav.*snare_60\.wav"):
        pitch_of(Path("kit/snare.wav"), drum().astype(np.float32))
