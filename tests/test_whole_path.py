"""Four recordings that nobody has heard before, to a preset, a bank and a rendered song: through the commands alone."""

from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile

import tetrad
from device.pitch import pitch_from_sound
from device.preset import Preset


def pluck(rate_hz: int, pitch: int) -> np.ndarray:
    """A string after Karplus and Strong 1983."""
    length = round(rate_hz / (440 * 2 ** ((pitch - 69) / 12)) - 0.5)
    string = np.random.default_rng(0).uniform(-1, 1, length)
    out = []
    for _ in range(2 * rate_hz // length):
        out.append(string)
        string = 0.498 * (string + np.roll(string, 1)) + 0.002 * string
    return np.concatenate(out)


def horn(rate_hz: int, pitch: int, brightness: float = 3) -> np.ndarray:
    """A brass tone by frequency modulation, after Chowning 1973."""
    time_s = np.arange(3 * rate_hz) / rate_hz
    swell = np.minimum(1, time_s / 0.1) * np.minimum(1, (3 - time_s) / 0.2)
    phase = 2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time_s
    return swell * np.sin(phase + brightness * swell * np.sin(phase))


def square(rate_hz: int, pitch: int) -> np.ndarray:
    time_s = np.arange(5 * rate_hz) / rate_hz
    return 0.3 * np.sign(np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time_s))


def write_recordings(folder: Path) -> None:
    """A stereo file at 96 kHz, a folder of two, an 8-bit one at 22.05 kHz, and one whose pitch is only in its sound."""
    (folder / "horn").mkdir()
    soundfile.write(folder / "pluck_C4.wav", np.stack([pluck(96_000, 60)] * 2, axis=1), 96_000, "PCM_24")
    for pitch in (53, 65):
        soundfile.write(folder / "horn" / f"horn_{pitch}.wav", 0.5 * horn(44_100, pitch), 44_100)
    soundfile.write(folder / "square_57.wav", square(22_050, 57), 22_050, "PCM_U8")
    soundfile.write(folder / "found in the attic.flac", 0.1 * horn(48_000, 62), 48_000)


def write_song(path: Path) -> None:
    """Three chords of a second; the higher note of the last is held for five more."""
    song, track = mido.MidiFile(ticks_per_beat=480), mido.MidiTrack()
    song.tracks.append(track)
    for value in (0, 64, 127):  # the knob x from left to right
        track.append(mido.Message("control_change", control=16, value=value))
        for note in (57, 64):
            track.append(mido.Message("note_on", note=note, velocity=100))
        track.append(mido.Message("note_off", note=57, time=960))
        track.append(mido.Message("note_off", note=64, time=4800 if value == 127 else 0))
    song.save(path)


def test_four_recordings_become_a_song(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_recordings(tmp_path)
    write_song(tmp_path / "song.mid")
    assert tetrad.main(["embed", "--as-notes", "pluck_C4.wav", "square_57.wav", "--out", "embeddings"]) == 0
    corners = {"pluck": "embeddings/pluck_C4.npy", "horn": "horn", "square": "square_57.wav",
               "attic": "found in the attic.flac"}
    words = [word for name, path in corners.items() for word in ("--corner", f"{name}={path}")]
    assert tetrad.main(["preset", "make", *words, "--name", "Mine", "--out", "mine.tetrad"]) == 0
    assert [corner.name for corner in Preset.read("mine.tetrad").corners] == list(corners)
    assert tetrad.main(["bake", "mine.tetrad", "--out", "bank", "--pitches", "56,64"]) == 0
    assert tetrad.main(["render", "song.mid", "--preset", "mine.tetrad", "--bank", "bank", "--out", "song.wav"]) == 0
    audio, rate_hz = soundfile.read("song.wav", dtype="float32")
    assert rate_hz == 48_000
    assert 8 <= len(audio) / rate_hz < 10  # the last note's release is behind it
    thirds = [audio[int(i * rate_hz) : int((i + 0.9) * rate_hz), 0] for i in range(3)]
    assert all(0.01 < np.abs(third).max() <= 1 for third in thirds)
    assert np.isfinite(audio).all()
    spectra = [np.abs(np.fft.rfft(third * np.hanning(len(third)))) for third in thirds]
    early, late = (np.sqrt(np.mean(audio[at * rate_hz : (at + 1) * rate_hz] ** 2)) for at in (4, 7))
    assert late == pytest.approx(early, rel=0.25)  # the horns are held for longer than any recording was
    for spectrum in spectra:  # both notes are there, each at its pitch
        for pitch in (57, 64):
            hz = 440 * 2 ** ((pitch - 69) / 12)
            near = spectrum[round(0.9 * (hz - 4)) : round(0.9 * (hz + 5))]
            between = spectrum[round(0.9 * (hz + 8)) : round(0.9 * (hz + 24))]
            assert near.max() > 10 * np.median(between)


def test_soft_and_loud_recordings_are_layers_between_which_velocity_moves(tmp_path: Path,
                                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "horn").mkdir()
    for velocity, brightness in ((30, 0.5), (120, 4)):
        soundfile.write(tmp_path / "horn" / f"horn_60_v{velocity}.wav", 0.5 * horn(16_000, 60, brightness), 16_000)
    words = [word for i in range(4) for word in ("--corner", f"horn{i}=horn")]
    assert tetrad.main(["preset", "make", *words, "--out", "p.tetrad"]) == 0
    assert Preset.read("p.tetrad").velocities == (30, 120)
    song, track = mido.MidiFile(ticks_per_beat=480), mido.MidiTrack()
    song.tracks.append(track)
    for velocity in (30, 75, 120):
        track.append(mido.Message("note_on", note=60, velocity=velocity))
        track.append(mido.Message("note_off", note=60, time=1920))
    song.save("song.mid")
    assert tetrad.main(["render", "song.mid", "--preset", "p.tetrad", "--out", "song.wav"]) == 0
    audio, rate_hz = soundfile.read("song.wav", dtype="float32")
    centroids = []
    for start in (0, 2, 4):
        spectrum = np.abs(np.fft.rfft(audio[int((start + 0.5) * rate_hz) : int((start + 1.5) * rate_hz), 0]))
        centroids.append(np.sum(np.arange(len(spectrum)) * spectrum**2) / np.sum(spectrum**2))
    soft, between, loud = centroids
    assert 1.03 * soft < between < loud / 1.03


def test_one_recording_a_corner_plays_over_the_keyboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_recordings(tmp_path)
    words = [word for i in range(4) for word in ("--corner", f"horn{i}=horn/horn_65.wav")]
    assert tetrad.main(["preset", "make", *words, "--out", "p.tetrad"]) == 0
    preset = Preset.read("p.tetrad")
    from device.decoder import Decoder

    for pitch in (53, 65, 72):
        assert pitch_from_sound(Decoder().decode(preset.embedding(0, 0, pitch)[None], pitch)[0]) == pytest.approx(
            pitch, abs=0.2)


@pytest.mark.parametrize(("name", "content"), [
    ("empty.wav", b""), ("text.wav", b"this is no sound"), ("silent_60.wav", np.zeros(16_000)),
    ("nan_60.wav", np.full(16_000, np.nan)), ("no samples_60.wav", np.zeros(0)),
    ("hiss.wav", np.random.default_rng(0).normal(0, 0.1, 32_000)),
])
def test_a_bad_recording_is_one_line_and_no_preset(name: str, content: bytes | np.ndarray, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    write_recordings(tmp_path)
    if isinstance(content, bytes):
        Path(name).write_bytes(content)
    else:
        soundfile.write(name, content, 16_000, "FLOAT")
    before = {path.name for path in tmp_path.iterdir()}
    words = [word for i, path in enumerate(("horn", "horn", "square_57.wav", name))
             for word in ("--corner", f"c{i}={path}")]
    assert tetrad.main(["preset", "make", *words, "--out", "p.tetrad"]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len([line for line in lines if line.startswith("tetrad: ")]) == 1
    assert name in lines[-1]
    assert {path.name for path in tmp_path.iterdir()} == before
