"""Mixes and morphs between two sounds, through the command."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

import tetrad
from device.decoder import pitch_track
from device.errors import TetradError
from device.pitch import pitch_from_sound
from tests.train import tiny
from train import autoencoder, crops, interpolate, run
from train.measure import log_mel_distance_db

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    for name, audio in (("dark_57", tiny.note_audio(57, 0.3)), ("bright_57", tiny.note_audio(57, 0.9)),
                        ("short_57", tiny.note_audio(57, 0.6)[:24_000]), ("high_64", tiny.note_audio(64, 0.6)),
                        ("plain", tiny.note_audio(57, 0.5)), ("sharp", tiny.note_audio(58, 0.5))):
        soundfile.write(folder / f"{name}.wav", audio, RATE_HZ, "FLOAT")
    return folder


def call(sounds: Path, out: Path, *names: str, options: tuple[str, ...] = ()) -> int:
    return tetrad.main(["interpolate", *(str(sounds / f"{name}.wav") for name in names), "--out", str(out), *options])


def read(path: Path) -> np.ndarray:
    return soundfile.read(path, dtype="float32")[0]


def brightness_hz(audio: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(audio[8000:24_000])) ** 2
    return float(np.arange(len(spectrum)) @ spectrum / spectrum.sum())


def test_each_step_is_written_as_mix_morph_and_embedding(sounds: Path, tmp_path: Path,
                                                         capsys: pytest.CaptureFixture[str]) -> None:
    assert call(sounds, tmp_path, "dark_57", "bright_57", options=("--steps", "3", "--json")) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["pairs"], figures["seconds"], figures["padded"]) == (1, 4, "none")
    weights = ("0.000", "0.500", "1.000")
    names = {f"dark_57-bright_57-{weight}{end}" for weight in weights for end in ("-mix.wav", "-morph.wav", ".npy")}
    assert {path.name for path in tmp_path.iterdir()} == names | {"interpolation.png", "interpolation.json"}
    mixes, morphs = ([read(tmp_path / f"dark_57-bright_57-{weight}-{kind}.wav") for weight in weights]
                     for kind in ("mix", "morph"))
    for audio in (*mixes, *morphs):
        assert audio.shape == (64_000,)
        assert np.abs(audio).max() == pytest.approx(0.7, abs=0.01)
    dark, bright = tiny.note_audio(57, 0.3) * 1.4, tiny.note_audio(57, 0.9) * 1.4
    np.testing.assert_allclose(mixes[0], dark, atol=1e-3)
    np.testing.assert_allclose(mixes[2], bright, atol=1e-3)
    half = dark + bright
    np.testing.assert_allclose(mixes[1], half * 0.7 / np.abs(half).max(), atol=1e-3)
    first, middle, last = (np.load(tmp_path / f"dark_57-bright_57-{weight}.npy") for weight in weights)
    np.testing.assert_allclose(middle, (first + last) / 2, atol=1e-5)
    assert [pitch_from_sound(morph) for morph in morphs] == pytest.approx([57, 57, 57], abs=0.2)
    assert brightness_hz(morphs[0]) < brightness_hz(morphs[1]) < brightness_hz(morphs[2])
    told = json.loads((tmp_path / "interpolation.json").read_text())["log_mel_db_from_mix_to_morph"]
    assert set(told) == {"dark_57-bright_57"}
    for weight, mix, morph in zip(weights, mixes, morphs, strict=True):
        assert told["dark_57-bright_57"][weight] == pytest.approx(log_mel_distance_db(morph, mix), abs=0.05)
    assert figures["log_mel_db_from_mix_to_morph"] == told["dark_57-bright_57"]["0.500"]


def test_several_sounds_are_interpolated_pair_by_pair_and_padded(sounds: Path, tmp_path: Path,
                                                                 capsys: pytest.CaptureFixture[str]) -> None:
    assert call(sounds, tmp_path, "dark_57", "short_57", "bright_57", options=("--steps", "2")) == 0
    assert [path.name for path in tmp_path.glob("*.png")] == ["interpolation.png"]
    pairs = {path.stem.rsplit("-", 1)[0] for path in tmp_path.glob("*.npy")}
    assert pairs == {"dark_57-short_57", "short_57-bright_57"}
    assert len(read(tmp_path / "short_57-bright_57-0.000-morph.wav")) == 64_000
    assert f"padded: {sounds / 'short_57.wav'}" in capsys.readouterr().out


def test_sounds_of_different_pitch_are_refused_unless_one_is_asked_for(sounds: Path, tmp_path: Path,
                                                                       capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert call(sounds, out, "dark_57", "high_64") == 1
    assert "dark_57.wav sounds at MIDI pitch 57 and " in capsys.readouterr().err
    assert call(sounds, out, "plain", "sharp") == 1  # heard, for their names tell none
    assert "at MIDI pitch 57 and " in capsys.readouterr().err
    assert not out.exists()
    assert call(sounds, out, "dark_57", "high_64", options=("--steps", "2", "--pitch", "60@0,69@1.5")) == 0
    audio = read(out / "dark_57-high_64-0.000-morph.wav")
    heard = [pitch_from_sound(part) for part in (audio[:22_000], audio[25_000:47_000])]
    assert heard == pytest.approx([60, 69], abs=0.2)


def test_nearly_equal_pitches_lead_from_one_to_the_other() -> None:
    nothing = np.zeros((3, 16), np.float32)
    low, high = (interpolate.Sound(Path("x.wav"), tone(pitch), nothing) for pitch in (60.1, 60.4))
    assert interpolate.pitches_between(low, high, [0, 0.5, 1], None) == pytest.approx([60.1, 60.25, 60.4], abs=0.02)
    noise = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
    hiss = interpolate.Sound(Path("hiss.wav"), noise, nothing)
    with pytest.raises(TetradError, match=r"hiss\.wav: no pitch in its name and none found in its sound"):
        interpolate.pitches_between(low, hiss, [0, 1], None)
    assert interpolate.pitches_between(low, high, [0, 1], pitch_track("48")) == [48, 48]


def tone(pitch: float) -> np.ndarray:
    phase = 2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * np.arange(32_000) / RATE_HZ
    return (0.5 * np.sin(phase) + 0.2 * np.sin(2 * phase)).astype(np.float32)


def test_the_teacher_of_a_run_plays_in_the_students_place(sounds: Path, tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "EPOCH_STEPS", 2)
    notes = crops.Notes(tiny.write_notes(tmp_path / "notes"))
    autoencoder.train_autoencoder(notes, tiny.CONFIG, tmp_path / "run")
    for out in ("a", "b"):
        assert call(sounds, tmp_path / out, "short_57", "plain",
                    options=("--steps", "2", "--run", str(tmp_path / "run"), "--pitch", "57")) == 0
    morphs = [read(tmp_path / out / "short_57-plain-1.000-morph.wav") for out in ("a", "b")]
    assert len(morphs[0]) == 64_000
    assert np.abs(morphs[0]).max() > 0
    np.testing.assert_array_equal(*morphs)
    of_run = np.load(tmp_path / "a" / "short_57-plain-1.000.npy")
    assert of_run.shape == (125, 16)
    assert call(sounds, tmp_path / "c", "short_57", "plain", options=("--steps", "2", "--pitch", "57")) == 0
    assert not np.allclose(of_run, np.load(tmp_path / "c" / "short_57-plain-1.000.npy"))


@pytest.mark.parametrize(("names", "words"), [
    (("dark_57",), "is one sound: give two or more"),
    (("dark_57", "missing_57"), "missing_57.wav"),
    (("dark_57", "bright_57", "dark_57", "bright_57"), "two pairs are called dark_57-bright_57"),
])  # fmt: skip
def test_what_cannot_be_interpolated_is_refused_in_one_line(names: tuple[str, ...], words: str, sounds: Path,
                                                            tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(sounds, tmp_path / "out", *names) == 1
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert words in error[0]
    assert not (tmp_path / "out").exists()
