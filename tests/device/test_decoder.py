"""The shipped decoder and encoder, as the box runs them."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import tetrad
from device import conditioning, sustain
from device import decoder as decoder_module
from device.conditioning import COLUMNS, ROWS
from device.decoder import FACTORY_DECODER, Decoder
from device.encoder import FACTORY_ENCODER, Encoder
from device.errors import TetradError
from device.pitch import pitch_from_sound
from device.preset import Preset
from device.recording import as_sound
from device.synth import FRAME_SAMPLES, FRAMES_A_COLUMN
from tests.train.tiny import note_audio

FACTORY = FACTORY_DECODER.parent
PRESETS = sorted(FACTORY.glob("*.tetrad"))


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder()


def test_three_presets_of_twelve_instruments_are_shipped_for_the_shipped_decoder(decoder: Decoder) -> None:
    presets = [Preset.read(path) for path in PRESETS]
    assert len(presets) >= 3
    assert len({corner.name for preset in presets for corner in preset.corners}) >= 12
    assert {preset.decoder for preset in presets} == {decoder.id}
    assert [corner.name for corner in Preset.read(FACTORY / "first.tetrad").corners] == [
        "bass", "flute", "organ", "glockenspiel"]
    assert all(path.stat().st_size <= 160_000 for path in PRESETS)
    files = [*FACTORY.iterdir(), *(Path(tetrad.__file__).parent / "train" / "factory").iterdir()]
    assert sum(path.stat().st_size for path in files) <= 20e6


@pytest.mark.parametrize("pitch", [41, 60, 61, 79])
def test_a_note_sounds_at_the_asked_pitch(decoder: Decoder, pitch: int) -> None:
    embedding = Preset.read(FACTORY / "first.tetrad").embedding(1, 0, pitch)
    audio = decoder.decode(embedding[None], pitch)[0]
    assert audio.shape == (64_000,)
    heard = pitch_from_sound(audio)
    assert heard is not None
    assert abs(heard - pitch) < 0.2


def test_a_loops_levels_run_into_its_own(decoder: Decoder) -> None:
    """Bit for bit, so that no seam is there to be heard."""
    tracks = conditioning.columns(Preset.read(PRESETS[0]).at(60)[-1])
    for decays in (np.zeros(4), np.full(4, 9.0)):
        columns = sustain.loop_columns(60)
        for body in sustain.body(tracks, decays, columns):
            levels = decoder.levels([body], 60, after=conditioning.MARGIN_COLUMNS)[0]
            start = sustain.loop_start_samples(columns) // FRAME_SAMPLES
            end = start + columns * FRAMES_A_COLUMN
            assert len(levels) == end + FRAMES_A_COLUMN
            np.testing.assert_array_equal(levels[end:], levels[start : start + FRAMES_A_COLUMN])
            np.testing.assert_array_equal(levels[end - 8 : end], levels[start - 8 : start])


def test_notes_decoded_together_are_those_decoded_alone(decoder: Decoder) -> None:
    cells = Preset.read(FACTORY / "first.tetrad").cells(60, 2).reshape(4, 125, 16)
    together = decoder.decode(cells, 60)
    assert np.abs(together).max() > 0.1
    for cell, audio in zip(cells, together, strict=True):
        np.testing.assert_array_equal(decoder.decode(cell[None], 60)[0], audio)


def test_neighbouring_cells_share_their_phase_so_a_crossfade_is_a_morph(decoder: Decoder) -> None:
    preset = Preset.read(FACTORY / "chamber.tetrad")
    left, exact, right = decoder.decode(np.stack([preset.embedding(x, 0.0, 60) for x in (0.25, 0.375, 0.5)]), 60)
    faded = (left + right) / 2
    # Two recordings a little apart in phase would lose 3 dB; cells lose next to nothing.
    lost_db = 10 * np.log10(np.mean(faded**2) / np.sqrt(np.mean(left**2) * np.mean(right**2)))
    assert abs(lost_db) < 1
    assert np.corrcoef(faded, exact)[0, 1] > 0.9


def test_a_single_recording_is_as_loud_all_over_the_keyboard(decoder: Decoder) -> None:
    embedding = Encoder().embed(note_audio(71, 0.4) * 1.4)
    for pitch in range(35, 90, 6):
        assert np.abs(decoder.decode(embedding[None], pitch)).max() == pytest.approx(0.7, rel=0.01)


@pytest.mark.parametrize("pitch", ["nan", "128", "-1", "C4", "", "@0", "60@", "60@1", "60@0,62", "60@0,62@0",
                                   "60@0,62@2,64@1", "60@0,200@1", "60@0,62@inf", "60@nan"])
def test_what_is_no_pitch_is_bad_use(pitch: str) -> None:
    with pytest.raises(SystemExit) as end:
        tetrad.main(["decode", "e.npy", "--pitch", pitch, "--out", "o.wav"])
    assert end.value.code == 2


def test_pitches_begin_with_the_frames_nearest_to_their_times() -> None:
    track = decoder_module.pitch_track("60@0,62.5@0.5,64@1.0")
    at = track.at_frames(125)
    assert isinstance(at, np.ndarray)
    assert at.dtype == np.float32
    assert at.tolist() == [60] * 16 + [62.5] * 15 + [64] * 94  # 15.625 and 31.25 frames of 32 ms
    assert decoder_module.pitch_track("60.5").at_frames(125) == 60.5
    assert decoder_module.pitch_track("60@0").at_frames(9) == 60
    with pytest.raises(TetradError, match=r"pitch 64 begins at 1 s, and the sound ends at 0\.96 s"):
        track.at_frames(30)


def test_a_track_of_pitches_is_decoded_in_order(tmp_path: Path) -> None:
    np.save(tmp_path / "flute.npy", Preset.read(FACTORY / "first.tetrad").embedding(1, 0, 62))
    command = ["decode", str(tmp_path / "flute.npy"), "--out", str(tmp_path / "o.wav")]
    assert tetrad.main([*command, "--pitch", "57@0,62@1,69@2"]) == 0
    audio = soundfile.read(tmp_path / "o.wav", dtype="float32")[0]
    assert audio.shape == (64_000,)
    heard = [pitch_from_sound(audio[start : start + 14_000]) for start in (1000, 17_000, 33_000)]
    assert heard == pytest.approx([57, 62, 69], abs=0.2)
    (tmp_path / "o.wav").unlink()
    assert tetrad.main([*command, "--pitch", "57@0,62@5"]) == 1
    assert not (tmp_path / "o.wav").exists()


def decoded_from_sound(decoder: Decoder, audio: np.ndarray, pitch: str) -> np.ndarray:
    embedding = Encoder().embed_whole(as_sound(audio))
    return decoder.decode(embedding[None], decoder_module.pitch_track(pitch).at_frames(len(embedding)))[0]


def test_a_scale_comes_back_in_order_though_only_single_notes_were_learned(decoder: Decoder) -> None:
    pitches, seconds = (57, 59, 61, 62, 64), 0.8
    samples = int(seconds * 16_000)
    release = np.minimum(1, np.arange(samples)[::-1] / 800).astype(np.float32)
    scale = np.concatenate([note_audio(pitch, 0.6)[:samples] * release for pitch in pitches])
    track = ",".join(f"{pitch}@{seconds * i}" for i, pitch in enumerate(pitches))
    audio = decoded_from_sound(decoder, scale, track)
    assert len(audio) == -(-len(scale) // 512) * 512
    heard = [pitch_from_sound(audio[i * samples : (i + 1) * samples]) for i in range(len(pitches))]
    assert heard == pytest.approx(pitches, abs=0.2)


def test_a_note_of_ten_seconds_keeps_its_pitch_and_length(decoder: Decoder) -> None:
    time_s = np.arange(160_000) / 16_000
    note = sum(0.6**k * np.sin(2 * np.pi * k * 220 * time_s) for k in range(1, 20)) * (time_s < 9)
    audio = decoded_from_sound(decoder, note.astype(np.float32), "57")
    assert len(audio) == 313 * 512
    heard = [pitch_from_sound(audio[start : start + 16_000]) for start in range(0, 140_000, 20_000)]
    assert heard == pytest.approx([57] * 7, abs=0.2)
    levels = [np.sqrt(np.mean(audio[start : start + 8000] ** 2)) for start in range(8000, 136_000, 8000)]
    assert max(levels) < 1.5 * min(levels)
    assert np.sqrt(np.mean(audio[150_000:] ** 2)) < 0.1 * min(levels)


def test_the_pitch_in_the_files_name_is_taken_unless_another_is_asked(tmp_path: Path,
                                                                      capsys: pytest.CaptureFixture[str]) -> None:
    embedding = Preset.read(FACTORY / "first.tetrad").embedding(1, 0, 64)
    for name, options, pitch in (("flute_64", [], 64), ("flute_64", ["--pitch", "60"], 60), ("flute", [], None)):
        np.save(tmp_path / f"{name}.npy", embedding)
        out = tmp_path / "o.wav"
        code = tetrad.main(["decode", str(tmp_path / f"{name}.npy"), *options, "--out", str(out)])
        assert code == (1 if pitch is None else 0)
        if pitch is not None:
            assert pitch_from_sound(soundfile.read(out, dtype="float32")[0]) == pytest.approx(pitch, abs=0.2)
    assert "flute.npy has no pitch in its name: give --pitch" in capsys.readouterr().err


def test_one_bad_recording_leaves_no_embeddings(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "good_60.wav", note_audio(60, 0.5), 16_000)
    (tmp_path / "bad_60.wav").write_text("no sound")
    names = [str(tmp_path / name) for name in ("good_60.wav", "bad_60.wav")]
    assert tetrad.main(["embed", *names, "--out", str(tmp_path / "out")]) == 1
    assert not (tmp_path / "out").exists()


def test_an_embedding_of_ten_seconds_decodes_to_ten_seconds(tmp_path: Path) -> None:
    embedding = Preset.read(FACTORY / "first.tetrad").embedding(1, 0, 60)
    long = np.concatenate([embedding[:60], np.repeat(embedding[60:61], 200, axis=0), embedding[60:]])
    np.save(tmp_path / "long.npy", long)
    assert tetrad.main(["decode", str(tmp_path / "long.npy"), "--pitch", "60", "--out", str(tmp_path / "o.wav")]) == 0
    audio = soundfile.read(tmp_path / "o.wav", dtype="float32")[0]
    assert audio.shape == (325 * 512,)
    assert pitch_from_sound(audio[100_000:130_000]) == pytest.approx(60, abs=0.2)


@pytest.mark.parametrize("shape", [(0, 16), (2000, 16), (125, 15), (16,)])
def test_what_is_no_embedding_is_refused_by_name(shape: tuple[int, ...], tmp_path: Path,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "e.npy", np.zeros(shape, np.float32))
    assert tetrad.main(["decode", str(tmp_path / "e.npy"), "--pitch", "60", "--out", str(tmp_path / "o.wav")]) == 1
    error = capsys.readouterr().err
    assert "e.npy is not [" in error or (len(shape) == 2 and "e.npy has 2000 frames, and 1875 are the most" in error)
    assert not (tmp_path / "o.wav").exists()


def test_inputs_take_the_nearest_step_and_saturate(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Decoder()._model
    monkeypatch.setitem(model._input, "quantization", (0.5, 7))
    assert model.quantize(np.array([0, 0.2, 0.3, -1, 1000, -1000])).tolist() == [7, 7, 8, 5, 127, -128]


def test_a_decoder_crosses_to_another_process(decoder: Decoder) -> None:
    assert pickle.loads(pickle.dumps(decoder)).id == decoder.id


def test_what_is_embedded_decodes_to_its_own_pitch_and_colour(decoder: Decoder) -> None:
    encoder = Encoder()
    bright, dark = (encoder.embed(note_audio(60, brightness) * 1.4) for brightness in (0.9, 0.3))
    assert bright.shape == (125, 16)
    sounds = decoder.decode(np.stack([bright, dark]), 60)
    spectra = np.abs(np.fft.rfft(sounds[:, 8000:24000]))
    centroids = spectra @ np.arange(spectra.shape[1]) / spectra.sum(axis=1)
    assert centroids[0] > 1.5 * centroids[1]


@pytest.mark.parametrize("damage", ["text", "cut", "flipped", "encoder", "missing"])
def test_what_is_no_decoder_is_refused_by_name(damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, path = FACTORY_DECODER.read_bytes(), tmp_path / "bad.tflite"
    if damage != "missing":
        path.write_bytes({"text": b"no model", "cut": data[: len(data) // 2], "flipped": data[:8] + b"\xff" * 64,
                          "encoder": FACTORY_ENCODER.read_bytes()}[damage])
    np.save(tmp_path / "e.npy", np.zeros((125, 16), np.float32))
    assert tetrad.main(["decode", str(tmp_path / "e.npy"), "--pitch", "60", "--decoder", str(path), "--out",
                        str(tmp_path / "out.wav")]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "bad.tflite" in error
    assert not (tmp_path / "out.wav").exists()


def test_a_decoder_is_no_encoder() -> None:
    with pytest.raises(TetradError, match=r"decoder\.tflite"):
        Encoder(FACTORY_DECODER)


def test_embed_and_decode_are_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "reed_57.wav", note_audio(57, 0.8), 16_000)
    assert tetrad.main(["embed", str(tmp_path / "reed_57.wav"), "--out", str(tmp_path)]) == 0
    embedding = np.load(tmp_path / "reed_57.npy")
    assert (embedding.shape, embedding.dtype) == ((125, 16), np.float32)
    capsys.readouterr()
    assert tetrad.main(["decode", str(tmp_path / "reed_57.npy"), "--pitch", "57", "--out",
                        str(tmp_path / "out.wav"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["seconds"] == 4
    audio, rate_hz = soundfile.read(tmp_path / "out.wav")
    assert rate_hz == 16_000
    assert pitch_from_sound(audio.astype(np.float32)) == pytest.approx(57, abs=0.2)


def test_the_bench_prints_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert tetrad.main(["bench", "decode", "--notes", "3", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["x_realtime"] > 1
    assert figures["threads"] == 1
    assert Decoder().id in figures["model"]


def test_the_device_part_runs_without_tensorflow() -> None:
    names = [path.stem for path in Path(decoder_module.__file__).parent.glob("*.py") if path.stem != "__init__"]
    code = f"""
import importlib, sys
for name in {names}: importlib.import_module("device." + name)
print([m for m in sys.modules if m.split(".")[0] in ("tensorflow", "keras", "librosa", "train", "quantize")])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_shipped_shapes_are_those_of_a_note() -> None:
    assert ROWS * (COLUMNS - 76) == 1000
