import argparse
import json
import sys
import types

import numpy as np
import pytest
import soundfile

from device import corner
from device.corner import (
    Source,
    bracketing,
    common_layers,
    embed_corners,
    named_source,
    of_velocity,
    recordings,
    velocity_list,
)
from device.errors import TetradError
from device.preset import FRAMES, Preset
from device.preset_command import make_command
from device.synth_settings import Synth

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


def tone(pitch: int, seconds: float = 1.0, *, ratios=(1,), vibrato_cents: float = 0.0, fall_db_per_s: float = 0.0):
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    hz = 440 * 2 ** ((pitch - 69 + vibrato_cents / 100 * np.sin(2 * np.pi * 5.5 * time_s)) / 12)
    turns = np.cumsum(hz) / RATE_HZ
    level = 10 ** (-fall_db_per_s * time_s / 20) * np.minimum(1, (seconds - time_s) / 0.02)
    return 0.5 * level * sum(np.sin(2 * np.pi * ratio * turns) for ratio in ratios) / len(ratios)


def write_tone(path, pitch: int, seconds: float = 1.0, **more) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(pitch, seconds, **more), RATE_HZ)


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
    found = recordings(Source(tmp_path))
    names = {pitch: path.name for pitch, of_pitch in found.items() for velocity, path in of_pitch.items()
             if velocity is None}
    assert names == {60: "flute_60.wav", 72: "flute_C5.flac", 67: "take_2.wav"}


def test_velocities_are_in_the_names(tmp_path):
    names = ("flute_60_v50.wav", "flute_60_v100.wav", "flute_C5_v7.wav", "flute_61_v128.wav", "flute_63_v0.wav",
             "flute_acoustic_002-069-025.wav")
    pitches = (60, 60, 72, 61, 63, 69)
    for name, pitch in zip(names, pitches, strict=True):
        write_tone(tmp_path / name, pitch)
    found = recordings(Source(tmp_path))
    told = {path.name: (pitch, velocity) for pitch, of_pitch in found.items() for velocity, path in of_pitch.items()}
    assert told == dict(zip(names, zip(pitches, (50, 100, 7, None, None, 25), strict=True), strict=True))


def test_one_recording_is_a_corner(tmp_path):
    write_tone(tmp_path / "flute_F#3.wav", 54)
    name, source = named_source(f"flute={tmp_path}/flute_F#3.wav")
    assert name == "flute"
    assert recordings(source) == {54: {None: tmp_path / "flute_F#3.wav"}}


def test_of_an_nsynth_folder_the_chosen_instruments_recordings_are_found(tmp_path):
    write_nsynth(tmp_path, [("flute_a_002", 60, 25), ("flute_a_002", 60, 75), ("flute_a_002", 60, 127),
                            ("flute_a_002", 64, 50), ("bass_s_068", 60, 100)])
    _, source = named_source(f"flute={tmp_path}#flute_a_002")
    found = recordings(source)
    assert {pitch: list(of_pitch) for pitch, of_pitch in found.items()} == {60: [25, 75, 127], 64: [50]}
    assert found[60][75] == tmp_path / "audio" / "flute_a_002-060-075.wav"
    with pytest.raises(TetradError, match=r"2 instruments.*#bass_s_068"):
        recordings(Source(tmp_path))
    with pytest.raises(TetradError, match=r"no instrument oboe.*bass_s_068, flute_a_002"):
        recordings(Source(tmp_path, "oboe"))


def test_the_recording_of_the_nearest_velocity_is_taken():
    of_pitch = {25: "p", 75: "mf", 127: "ff"}
    assert [of_velocity(of_pitch, velocity) for velocity in (1, 50, 51, 101, 102, 127)] == [
        "p", "p", "mf", "mf", "ff", "ff"]
    assert of_velocity({None: "any"}, 50) == "any"


def test_layers_are_the_softest_and_loudest_that_all_corners_have():
    def corner(*velocities):
        return {60: dict.fromkeys(velocities[:2], "a"), 64: dict.fromkeys(velocities[2:], "a")}

    full = corner(25, 50, 75, 100, 127)
    assert common_layers([full, full]) == (25, 127)
    assert common_layers([full, corner(50, 75, 100), corner(100, 50)]) == (50, 100)
    assert common_layers([full, corner(50, 60)]) == (50,)
    assert common_layers([full, corner(30, 60)]) == (100,)
    assert common_layers([full, corner(None)]) == common_layers([corner(None), corner(None)]) == (100,)


@pytest.mark.parametrize("argument", ["", "0", "128", "100,50", "50,50", "1,2,3,4,5", "a", "50,", "50.5", "-1"])
def test_velocities_are_one_to_four_ascending_numbers(argument):
    assert velocity_list("50,100") == (50, 100)
    assert velocity_list("1,2,3,127") == (1, 2, 3, 127)
    with pytest.raises(argparse.ArgumentTypeError, match="ascending MIDI velocities"):
        velocity_list(argument)


def test_an_nsynth_folder_of_one_instrument_needs_no_choice(tmp_path):
    write_nsynth(tmp_path, [("organ_electronic_001", 60, 100), ("organ_electronic_001", 62, 100)])
    assert sorted(recordings(Source(tmp_path))) == [60, 62]


@pytest.mark.parametrize("examples", [
    "", "[]", "{}", '{"a": 1}', '{"a": {"pitch": 60}}', '{"a": {"pitch": "x", "velocity": 1}}',
    '{"a": {"pitch": 1e999, "velocity": 1}}', '{"a": {"pitch": 300, "velocity": 1}}'])
def test_an_nsynth_folder_that_is_none_is_refused(tmp_path, examples):
    (tmp_path / "examples.json").write_text(examples)
    with pytest.raises(TetradError, match=str(tmp_path)):
        recordings(Source(tmp_path))


def test_corners_without_recordings_are_refused_by_name(tmp_path):
    (tmp_path / "empty").mkdir()
    for path, word in ((tmp_path / "empty", "no recordings"), (tmp_path / "none", "not there"),
                       (tmp_path / "none_60.wav", "not there")):
        with pytest.raises(TetradError, match=f"{path.name}.*{word}"):
            recordings(Source(path))
    with pytest.raises(TetradError, match="no NSynth folder"):
        recordings(Source(tmp_path / "empty", "flute"))


def test_two_recordings_of_a_pitch_are_refused_by_both_names(tmp_path):
    write_tone(tmp_path / "flute_60.wav", 60)
    write_tone(tmp_path / "flute_C4.wav", 60)
    with pytest.raises(TetradError, match=r"flute_60\.wav and .*flute_C4\.wav"):
        recordings(Source(tmp_path))
    (tmp_path / "flute_60.wav").rename(tmp_path / "flute_60_v50.wav")
    with pytest.raises(TetradError, match=r"flute_60_v50\.wav and .*flute_C4\.wav"):
        recordings(Source(tmp_path))
    (tmp_path / "flute_C4.wav").rename(tmp_path / "flute_C4_v050.wav")
    with pytest.raises(TetradError, match=r"flute_60_v50\.wav and .*flute_C4_v050\.wav"):
        recordings(Source(tmp_path))


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
    velocities, notes = embed_corners({"flute": Source(tmp_path)}, encoder)
    assert velocities == (100,)
    note = notes["flute"][0][60]
    np.testing.assert_array_equal(note.embedding, embedding)
    assert not note.partials_cents.any()
    assert not note.motion.any()
    assert encoder.notes == 0


def test_what_is_heard_in_a_recording_is_in_the_note(tmp_path):
    write_tone(tmp_path / "violin_69.wav", 69, 3.2, ratios=(1, 2, 3), vibrato_cents=20)
    write_tone(tmp_path / "bar_69.wav", 69, 4, ratios=(1, 2.756), fall_db_per_s=12)
    write_tone(tmp_path / "organ_69.wav", 69, 3.2, ratios=(1, 2, 3))
    _, notes = embed_corners({name: Source(tmp_path / f"{name}_69.wav") for name in ("violin", "bar", "organ")},
                             LevelEncoder())
    violin, bar, organ = (layers[0][69] for layers in notes.values())
    np.testing.assert_allclose(violin.motion[:2], (5.5, 20), rtol=0.1)
    assert bar.motion[3] == pytest.approx(12, abs=0.5)
    ratios = np.arange(1, 101) * 2 ** (bar.partials_cents / 1200)
    assert np.min(np.abs(ratios - 2.756)) < 0.01
    assert np.abs(organ.partials_cents[:10]).max() < 2
    np.testing.assert_allclose(organ.motion, 0, atol=0.5)


def test_a_short_recording_is_embedded_as_if_it_were_held(tmp_path):
    write_tone(tmp_path / "flute_60.wav", 60, 0.8)
    write_tone(tmp_path / "pluck_60.wav", 60, 0.8, fall_db_per_s=40)
    _, notes = embed_corners({name: Source(tmp_path / f"{name}_60.wav") for name in ("flute", "pluck")},
                             LevelEncoder())
    flute, pluck = (layers[0][60] for layers in notes.values())
    np.testing.assert_allclose(flute.embedding[2:92, 0], np.median(flute.embedding[:92, 0]), rtol=0.1)
    assert flute.motion[3] < 1
    assert not flute.embedding[97:, 0].any()
    assert not pluck.embedding[30:, 0].any()
    assert pluck.motion[3] > 30


def test_a_recording_that_serves_two_layers_is_embedded_once(tmp_path):
    write_nsynth(tmp_path / "notes", [("flute_a_002", 60, 50), ("flute_a_002", 60, 100), ("flute_a_002", 70, 50)])
    write_tone(tmp_path / "organ_60.wav", 60)
    encoder = LevelEncoder()
    sources = {"flute": Source(tmp_path / "notes"), "organ": Source(tmp_path / "organ_60.wav")}
    velocities, notes = embed_corners(sources, encoder, (40, 90, 127))
    assert velocities == (40, 90, 127)
    assert encoder.notes == 4
    soft, loud, louder = notes["flute"]
    assert soft[60] is not loud[60]
    assert loud[60] is louder[60]
    assert soft[70] is loud[70]
    assert notes["organ"][0][60] is notes["organ"][2][60]


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
        recordings(Source(tmp_path))


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
         "--author", "A. Maker", "--synth", "release_ms=400", "--synth", "filter_mode=low", "--json")
    assert json.loads(capsys.readouterr().out)["name"] == "four"
    preset = Preset.read(out)
    assert preset.velocities == (100,)
    assert [entry.name for entry in preset.corners] == ["flute", "organ", "bass", "bell"]
    assert (preset.name, preset.author, preset.decoder) == ("four", "A. Maker", "decoder-7")
    assert preset.synth == Synth(release_ms=400, filter_mode=1)
    # the flute's zero crossings rise an octave, to 72, and stay there
    crossings = [preset.embedding(0, 0, pitch)[10, 1] for pitch in (24, 60, 66, 72, 84)]
    assert crossings[0] == crossings[1] < crossings[2] < crossings[3] == crossings[4]
    assert crossings[3] / crossings[1] == pytest.approx(2, rel=0.15)
    np.testing.assert_allclose(preset.embedding(1, 1, 30), 1, atol=1e-6)


def test_the_command_makes_a_layer_of_each_velocity(tmp_path, make, capsys):
    write_nsynth(tmp_path / "notes", [("flute_a_002", 60, velocity) for velocity in (25, 50, 100)])
    for velocity, level in ((25, 0), (50, 0.2), (100, 0)):  # overtones: the encoder hears zero crossings
        soundfile.write(tmp_path / "notes" / "audio" / f"flute_a_002-060-{velocity:03d}.wav",
                        tone(60, 3.5) + level * tone(100, 3.5), RATE_HZ)
    words = [word for name in "abcd" for word in ("--corner", f"{name}={tmp_path}/notes")]
    make(*words, "--out", tmp_path / "p.tetrad", "--json")
    told = json.loads(capsys.readouterr().out)
    assert told["velocities"] == [25, 100]
    assert told["a from"] == [60]
    make(*words, "--out", tmp_path / "p.tetrad", "--velocities", "50,100,127")
    preset = Preset.read(tmp_path / "p.tetrad")
    assert preset.velocities == (50, 100, 127)
    soft, loud = (preset.embedding(0, 0, 60, velocity)[50, 1] for velocity in (50, 100))
    assert soft > 1.2 * loud
    np.testing.assert_array_equal(preset.corners[0].values[1], preset.corners[0].values[2])
    first = (tmp_path / "p.tetrad").read_bytes()
    make(*words, "--out", tmp_path / "p.tetrad", "--velocities", "50,100,127")
    assert (tmp_path / "p.tetrad").read_bytes() == first


def test_wrong_velocities_are_bad_use(tmp_path, make):
    with pytest.raises(SystemExit) as caught:
        make("--corner", "a=b", "--velocities", "100,50", "--out", tmp_path / "p.tetrad")
    assert caught.value.code == 2


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
