import argparse
import json
import sys
import types

import numpy as np
import pytest
import soundfile

from device import corner
from device.corner import Source, bracketing, embed_corners, named_source, recordings
from device.errors import TetradError
from device.preset import FRAMES, Preset, make_command

RATE_HZ = 16_000


class LevelEncoder:
    """An encoder that is one: the level and the zero crossings of each frame, in two of the 16 numbers."""

    def __init__(self, path=None) -> None:
        self.notes = 0

    def embed(self, audio: np.ndarray) -> np.ndarray:
        self.notes += 1
        frames = audio.reshape(FRAMES, -1)
        embedding = np.zeros((FRAMES, 16), np.float32)
        embedding[:, 0] = np.abs(frames).mean(axis=1)
        embedding[:, 1] = (np.diff(np.signbit(frames), axis=1)).mean(axis=1)
        return embedding


def write_tone(path, pitch: int, seconds: float = 1.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time_s), RATE_HZ)


def write_nsynth(folder, notes) -> None:
    folder.mkdir(exist_ok=True)
    examples = {}
    for instrument, pitch, velocity in notes:
        name = f"{instrument}-{pitch:03d}-{velocity:03d}"
        examples[name] = {"pitch": pitch, "velocity": velocity, "instrument_str": instrument}
        write_tone(folder / "audio" / f"{name}.wav", pitch)
    (folder / "examples.json").write_text(json.dumps(examples))


def test_a_folders_recordings_are_found_by_name_or_sound(tmp_path):
    write_tone(tmp_path / "flute_60.wav", 60)
    write_tone(tmp_path / "flute_C5.flac", 72)
    write_tone(tmp_path / "take_2.wav", 67)
    (tmp_path / "README.txt").write_text("not a recording")
    (tmp_path / "._flute_61.wav").write_bytes(b"what a Mac leaves")
    found = recordings(Source(tmp_path), 100)
    names = {pitch: path.name for pitch, path in found.items()}
    assert names == {60: "flute_60.wav", 72: "flute_C5.flac", 67: "take_2.wav"}


def test_one_recording_is_a_corner(tmp_path):
    write_tone(tmp_path / "flute_F#3.wav", 54)
    name, source = named_source(f"flute={tmp_path}/flute_F#3.wav")
    assert name == "flute"
    assert recordings(source, 100) == {54: tmp_path / "flute_F#3.wav"}


def test_of_an_nsynth_folder_the_nearest_velocity_of_the_chosen_instrument_is_taken(tmp_path):
    write_nsynth(tmp_path, [("flute_a_002", 60, 25), ("flute_a_002", 60, 75), ("flute_a_002", 60, 127),
                            ("flute_a_002", 64, 50), ("bass_s_068", 60, 100)])
    _, source = named_source(f"flute={tmp_path}#flute_a_002")
    assert [path.stem for path in recordings(source, 100).values()] == ["flute_a_002-060-075", "flute_a_002-064-050"]
    assert recordings(source, 120)[60].stem == "flute_a_002-060-127"
    with pytest.raises(TetradError, match=r"2 instruments.*#bass_s_068"):
        recordings(Source(tmp_path), 100)
    with pytest.raises(TetradError, match=r"no instrument oboe.*bass_s_068, flute_a_002"):
        recordings(Source(tmp_path, "oboe"), 100)


def test_an_nsynth_folder_of_one_instrument_needs_no_choice(tmp_path):
    write_nsynth(tmp_path, [("organ_electronic_001", 60, 100), ("organ_electronic_001", 62, 100)])
    assert sorted(recordings(Source(tmp_path), 100)) == [60, 62]


@pytest.mark.parametrize("examples", [
    "", "[]", "{}", '{"a": 1}', '{"a": {"pitch": 60}}', '{"a": {"pitch": "x", "velocity": 1}}',
    '{"a": {"pitch": 1e999, "velocity": 1}}', '{"a": {"pitch": 300, "velocity": 1}}'])
def test_an_nsynth_folder_that_is_none_is_refused(tmp_path, examples):
    (tmp_path / "examples.json").write_text(examples)
    with pytest.raises(TetradError, match=str(tmp_path)):
        recordings(Source(tmp_path), 100)


def test_corners_without_recordings_are_refused_by_name(tmp_path):
    (tmp_path / "empty").mkdir()
    for path, word in ((tmp_path / "empty", "no recordings"), (tmp_path / "none", "not there"),
                       (tmp_path / "none_60.wav", "not there")):
        with pytest.raises(TetradError, match=f"{path.name}.*{word}"):
            recordings(Source(path), 100)
    with pytest.raises(TetradError, match="no NSynth folder"):
        recordings(Source(tmp_path / "empty", "flute"), 100)


def test_two_recordings_of_a_pitch_are_refused_by_both_names(tmp_path):
    write_tone(tmp_path / "flute_60.wav", 60)
    write_tone(tmp_path / "flute_C4.wav", 60)
    with pytest.raises(TetradError, match=r"flute_60\.wav and .*flute_C4\.wav"):
        recordings(Source(tmp_path), 100)


def test_only_recordings_that_the_presets_pitches_need_are_embedded():
    assert bracketing(range(21, 109), (24, 28, 32)) == [24, 28, 32]
    assert bracketing((30, 40, 50, 90), (24, 44, 84)) == [30, 40, 50, 90]
    assert bracketing((60,), (24, 84)) == [60]
    assert bracketing((20, 30, 40), (84,)) == [40]
    assert bracketing((30, 40, 50), (24,)) == [30]
    assert bracketing((10, 20, 30, 100, 110), (24, 84)) == [20, 30, 100]


def test_embeddings_are_taken_as_they_are(tmp_path):
    embedding = np.random.default_rng(0).normal(size=(FRAMES, 16)).astype(np.float32)
    np.save(tmp_path / "flute_60.npy", embedding)
    encoder = LevelEncoder()
    np.testing.assert_array_equal(embed_corners({"flute": Source(tmp_path)}, encoder, 100)["flute"][60], embedding)
    assert encoder.notes == 0


@pytest.mark.parametrize("array", [
    np.zeros((FRAMES, 15)), np.full((FRAMES, 16), np.nan), np.zeros((FRAMES, 16), object), np.zeros((FRAMES, 16), "U3"),
    np.zeros(0)])
def test_embeddings_that_are_none_are_refused_by_name(tmp_path, array):
    np.save(tmp_path / "flute_60.npy", array)
    with pytest.raises(TetradError, match=r"flute_60\.npy"):
        corner.read_embedding(tmp_path / "flute_60.npy")
    (tmp_path / "flute_60.npy").write_bytes(b"\x93NUMPY junk")
    with pytest.raises(TetradError, match=r"flute_60\.npy"):
        corner.read_embedding(tmp_path / "flute_60.npy")


def test_an_embedding_without_a_pitch_in_its_name_is_refused(tmp_path):
    np.save(tmp_path / "flute.npy", np.zeros((FRAMES, 16)))
    with pytest.raises(TetradError, match=r"flute\.npy has no pitch in its name"):
        recordings(Source(tmp_path), 100)


@pytest.mark.parametrize("argument", ["flute", "=path", "flute=", ""])
def test_a_corner_is_a_name_and_a_path(argument):
    with pytest.raises(argparse.ArgumentTypeError):
        named_source(argument)


@pytest.fixture
def make(monkeypatch):
    """`tetrad preset make` with the encoder above."""
    for name, members in (("encoder", {"Encoder": LevelEncoder}),
                          ("decoder", {"Decoder": lambda path: types.SimpleNamespace(id="decoder-7")})):
        module = types.ModuleType(f"device.{name}")
        module.__dict__.update(members)
        monkeypatch.setitem(sys.modules, f"device.{name}", module)

    def run(*arguments) -> None:
        parser = argparse.ArgumentParser()
        make_command(parser)(parser.parse_args(list(map(str, arguments))))
    return run


def test_the_command_makes_a_preset_of_folders_files_notes_and_embeddings(tmp_path, make, capsys):
    for pitch in (60, 61, 72):
        write_tone(tmp_path / "flute" / f"flute_{pitch}.wav", pitch)
    write_tone(tmp_path / "organ.wav", 48)
    write_nsynth(tmp_path / "notes", [("bass_s_068", 36, 100), ("bass_s_068", 36, 25), ("brass_x_001", 40, 100)])
    np.save(tmp_path / "bell_70.npy", np.ones((FRAMES, 16), np.float32))
    out = tmp_path / "four.tetrad"
    make("--corner", f"flute={tmp_path}/flute", "--corner", f"organ={tmp_path}/organ.wav", "--corner",
         f"bass={tmp_path}/notes#bass_s_068", "--corner", f"bell={tmp_path}/bell_70.npy", "--out", out,
         "--author", "A. Maker", "--release-ms", 400, "--json")
    assert json.loads(capsys.readouterr().out)["name"] == "four"
    preset = Preset.read(out)
    assert [entry.name for entry in preset.corners] == ["flute", "organ", "bass", "bell"]
    assert (preset.name, preset.author, preset.decoder) == ("four", "A. Maker", "decoder-7")
    assert preset.synth.release_ms == 400
    # the flute's zero crossings rise an octave, to 72, and stay there
    crossings = [preset.embedding(0, 0, pitch)[10, 1] for pitch in (24, 60, 66, 72, 84)]
    assert crossings[0] == crossings[1] < crossings[2] < crossings[3] == crossings[4]
    assert crossings[3] / crossings[1] == pytest.approx(2, rel=0.15)
    np.testing.assert_allclose(preset.embedding(1, 1, 30), 1, atol=1e-6)


@pytest.mark.parametrize("names", ["abc", "abcde", "abca"])
def test_three_five_or_equal_corners_are_bad_use(tmp_path, make, names):
    write_tone(tmp_path / "flute_60.wav", 60)
    corners = [argument for name in names for argument in ("--corner", f"{name}={tmp_path}/flute_60.wav")]
    with pytest.raises(SystemExit) as caught:
        make(*corners, "--out", tmp_path / "p.tetrad")
    assert caught.value.code == 2


def test_a_bad_recording_leaves_no_preset(tmp_path, make):
    write_tone(tmp_path / "flute_60.wav", 60)
    soundfile.write(tmp_path / "organ_60.wav", np.zeros(RATE_HZ), RATE_HZ)
    good, bad = f"{tmp_path}/flute_60.wav", f"{tmp_path}/organ_60.wav"
    with pytest.raises(TetradError, match=r"organ_60\.wav is silent"):
        make("--corner", f"a={good}", "--corner", f"b={good}", "--corner", f"c={good}", "--corner", f"d={bad}",
             "--out", tmp_path / "p.tetrad")
    assert not (tmp_path / "p.tetrad").exists()
