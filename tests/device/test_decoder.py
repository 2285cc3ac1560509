"""The decoder around a made-up network; and the shipped decoder and encoder, as the box runs them."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import tetrad
from device import conditioning, litert, sustain, synth
from device import decoder as decoder_module
from device.analysis import analyse
from device.conditioning import CHANNELS, COLUMNS, MARGIN_COLUMNS, ROWS, SEGMENT_COLUMNS
from device.decoder import FACTORY_DECODER, Decoder
from device.encoder import FACTORY_ENCODER, Encoder
from device.errors import TetradError
from device.library import read_library
from device.pitch import pitch_from_sound
from device.preset import Preset
from device.recording import NOTE_PEAK, as_sound
from device.synth import CONTROLS, FRAME_SAMPLES, FRAMES_A_COLUMN, PARTIALS
from tests.train.tiny import note_audio

FACTORY = FACTORY_DECODER.parent
PRESETS = sorted(FACTORY.glob("*.tetrad"))


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder()


REACH = 7  # columns on either side that a made-up network averages over, as a network's filters reach
STEP = 7 / 255  # of a made-up network's controls, which lie in -1 to 6


class MadeUp:
    """In place of `litert.Model`: the first latents are the controls of the first partials and of a band of noise, each
    averaged over REACH columns on either side. The last latent lowers all of them."""

    heard = (0, 1, 2, 5, PARTIALS + 20)
    is_quantized = True

    def __init__(self, path: Path, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> None:
        assert input_shape == (1, ROWS, COLUMNS, CHANNELS)
        assert output_shape == (1, ROWS, COLUMNS, FRAMES_A_COLUMN * CONTROLS)
        self.path, self.id, self.runs = path, "made-up", 0
        self.output_values = (np.arange(-128, 128) + 128).astype(np.float32) * np.float32(STEP) - 1

    def quantize(self, x: np.ndarray) -> np.ndarray:
        return np.clip(np.rint(x * 127 / 6), -128, 127).astype(np.int8)

    def run(self, x: np.ndarray) -> np.ndarray:
        assert (x.shape, x.dtype) == ((1, ROWS, COLUMNS, CHANNELS), np.int8)
        self.runs += 1
        values = x.astype(np.float32) * 6 / 127
        latents = values[..., : len(self.heard)] - values[..., 15:16]
        padded = np.pad(latents, [(0, 0), (0, 0), (REACH, REACH), (0, 0)])
        means = np.mean([padded[:, :, i : i + COLUMNS] for i in range(2 * REACH + 1)], axis=0)
        controls = np.zeros((1, ROWS, COLUMNS, FRAMES_A_COLUMN, CONTROLS), np.float32)
        for of, control in enumerate(self.heard):
            controls[..., control] = means[..., None, of]
        steps = np.clip(np.rint((controls + 1) / STEP) - 128, -128, 127).astype(np.int8)
        return steps.reshape(1, ROWS, COLUMNS, FRAMES_A_COLUMN * CONTROLS)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> Decoder:
    monkeypatch.setattr(litert, "Model", MadeUp)
    return Decoder(Path("made-up.tflite"))


def some_tracks(notes: int, columns: int) -> np.ndarray:
    """Slowly moving, so that a network's rows have edges to get wrong."""
    random = np.random.default_rng(columns)
    turns = random.random((notes, 1, 16)) + np.arange(columns)[:, None] / 60 * random.random((notes, 1, 16))
    tracks = 4 + 1.5 * np.sin(2 * np.pi * turns)
    tracks[..., 15] = 0
    return tracks.astype(np.float32)


def test_levels_are_the_controls_of_each_track(made_up: Decoder) -> None:
    tracks = [some_tracks(1, columns)[0] for columns in (203, 67, 300)]
    levels = made_up.levels(tracks, 60.0)
    for track, found in zip(tracks, levels, strict=True):
        assert (found.shape, found.dtype) == ((4 * len(track), CONTROLS), np.float32)
        # Without rows and margins: the same averages over the whole track
        padded = np.pad(track, [(REACH, REACH), (0, 0)])
        means = np.mean([padded[i : i + len(track)] for i in range(2 * REACH + 1)], axis=0)
        for of, control in enumerate(MadeUp.heard):
            expected = synth.level(np.repeat(means[:, of], 4))
            assert found[:, control] == pytest.approx(expected, rel=0.06, abs=1e-4)  # a step is 5 %
        assert not found[:, 3].any()  # under 0 is silence, as 0 is


def test_a_whole_note_and_a_body_with_its_release_take_one_invocation(made_up: Decoder) -> None:
    for lengths in ((250,), (204, 67)):
        before = made_up._model.runs
        made_up.levels([some_tracks(1, length)[0] for length in lengths], 60.0)
        assert made_up._model.runs == before + 1


def test_columns_are_synthesized_as_asked(made_up: Decoder) -> None:
    tracks = some_tracks(2, 60)
    cents = np.random.default_rng(0).uniform(-50, 50, (2, PARTIALS)).astype("f")
    excitation = synth.Excitation(cents, np.array([[1, 0], [0.5, 0.5]], "f"))
    audio = made_up.decode_columns(tracks, 57.0, excitation, 8 * 256, 30 * 256)
    assert (audio.shape, audio.dtype) == ((2, 60 * 256), np.float32)
    levels = np.stack(made_up.levels(list(tracks), 57.0))
    np.testing.assert_array_equal(audio, synth.synthesize(levels, 57.0, excitation, 8 * 256, 30 * 256))
    assert np.abs(audio - made_up.decode_columns(tracks, 57.0, excitation)).max() > 1e-3
    assert np.abs(audio - made_up.decode_columns(tracks, 57.0, None, 8 * 256, 30 * 256)).max() > 1e-3


def test_a_latent_that_repeats_decodes_to_sound_that_does(made_up: Decoder) -> None:
    """From where the loop's context has filled the network's reach."""
    loop, before = some_tracks(1, 46)[0], some_tracks(1, 30)[0]
    track = np.concatenate([before, *[loop] * 4])[None]
    start, cycle = (30 + 46) * 256, 46 * 256
    audio = made_up.decode_columns(track, 60.4, None, cycle, start)[0]
    first, second = audio[start : start + cycle], audio[start + cycle : start + 2 * cycle]
    assert np.abs(first).max() > 0.01
    assert np.abs(second - first).max() < 1e-5 * np.abs(first).max()


def test_embeddings_are_decoded_at_columns_to_a_notes_peak(made_up: Decoder) -> None:
    embeddings = some_tracks(3, 20)
    embeddings[1, :, 15] = 1.0  # 15 dB softer
    embeddings[2, :, 15] = 3.0
    audio = made_up.decode(embeddings, 60.0)
    assert audio.shape == (3, 20 * 512)
    plain = made_up.decode_columns(conditioning.columns(embeddings), 60.0)
    peaks = np.abs(plain).max(axis=1)
    assert peaks[2] < 0.05 < peaks[1] < peaks[0]  # 20 dB at most
    assert np.abs(audio).max(axis=1)[:2] == pytest.approx(NOTE_PEAK, rel=1e-4)
    np.testing.assert_allclose(audio[2], plain[2] * 10, rtol=1e-4)
    cents = synth.Excitation(np.full((1, PARTIALS), 100, "f"), np.ones((3, 1), "f"))
    assert np.abs(made_up.decode(embeddings, 60.0, cents) - audio).max() > 0.1


def test_each_frame_of_a_track_of_pitches_is_fed_and_played(made_up: Decoder) -> None:
    embeddings = some_tracks(1, 8)
    inputs: list[np.ndarray] = []
    quantize = made_up._model.quantize
    made_up._model.quantize = lambda x: inputs.append(x) or quantize(x)  # type: ignore[method-assign,func-returns-value]
    moving = np.array([60] * 4 + [72] * 4, np.float32)
    audio = made_up.decode_columns(conditioning.columns(embeddings), moving)[0]
    row = inputs[0][0, 0, MARGIN_COLUMNS : MARGIN_COLUMNS + 16, 16:]
    np.testing.assert_array_equal(row, conditioning.hats(np.repeat(moving, 2)))
    low, high = (made_up.decode_columns(conditioning.columns(embeddings), pitch)[0] for pitch in (60.0, 72.0))
    np.testing.assert_array_equal(audio[:2000], low[:2000])
    assert np.abs(np.abs(np.fft.rfft(audio[2048:])) - np.abs(np.fft.rfft(high[2048:]))).max() < 0.35 * np.abs(
        np.fft.rfft(high[2048:])).max()


def test_context_is_heard_and_takes_no_place(made_up: Decoder) -> None:
    track = some_tracks(1, 150)[0]
    whole = made_up.levels([track], 60.0)[0]
    inner = made_up.levels([track[22:134]], 60.0, before=MARGIN_COLUMNS, after=REACH)[0]
    np.testing.assert_array_equal(inner, whole[4 * 30 : 4 * 127])
    unheard = made_up.levels([track[30:127]], 60.0)[0]
    assert np.abs(unheard - inner).max() > 0.01
    audio = made_up.decode_columns(track[None], 60.0, before=5, after=MARGIN_COLUMNS)
    assert audio.shape == (1, (150 - 5 - MARGIN_COLUMNS) * 256)


def test_like_a_recording_a_note_has_its_partials_and_vibrato(made_up: Decoder, tmp_path: Path) -> None:
    time_s = np.arange(64_000) / 16_000
    cents = 30 * np.sin(2 * np.pi * 5 * time_s)
    turns = np.cumsum(440 * 2 ** (cents / 1200)) / 16_000
    sung = sum(0.5**k * np.sin(2 * np.pi * k * turns) for k in range(1, 9))
    bell = sum(np.sin(2 * np.pi * r * 440 * time_s) / r for r in (1, 2.76, 5.4)) * np.exp(-time_s)
    for name, sound in (("sung", sung), ("bell", bell)):
        soundfile.write(tmp_path / f"{name}.wav", 0.5 * sound / np.abs(sound).max(), 16_000)
    embedding = np.repeat(some_tracks(1, 1)[0], 125, axis=0)
    plain = made_up.decode(embedding[None], 69.0)[0]
    tone = analyse(decoder_module.decode_like(made_up, embedding, 69.0, tmp_path / "sung.wav"), 69)
    assert tone.rate_hz == pytest.approx(5, rel=0.03)
    assert tone.depth_cents == pytest.approx(30, rel=0.1)
    spectra = [np.abs(np.fft.rfft(sound[16_000:48_000])) * 2 / 32_000 for sound in (
        plain, decoder_module.decode_like(made_up, embedding, 69.0, tmp_path / "bell.wav"))]
    harmonic, free = (round(ratio * 440 * 2) for ratio in (3, 2.76))  # lines of 0.5 Hz
    assert spectra[0][harmonic] > 5 * spectra[0][free - 1 : free + 2].max()
    assert spectra[1][free - 1 : free + 2].max() > 5 * spectra[1][harmonic]
    with pytest.raises(TetradError, match=r"bell\.wav.*one to --pitch"):
        decoder_module.decode_like(made_up, embedding, np.full(125, 69.0), tmp_path / "bell.wav")


def test_the_bench_measures_the_network_and_all(made_up: Decoder, capsys: pytest.CaptureFixture[str]) -> None:
    assert tetrad.main(["bench", "decode", "--notes", "2", "--decoder", str(made_up.path), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["network_x_realtime"] > figures["x_realtime"] > 0
    assert figures["audio_s"] == 8
    assert figures["model"] == "made-up.tflite made-up"


def test_a_decoder_of_floats_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Float(MadeUp):
        is_quantized = False

    monkeypatch.setattr(litert, "Model", Float)
    with pytest.raises(TetradError, match=r"mine\.tflite: not int8; make it with `tetrad quantize`"):
        Decoder(Path("mine.tflite"))


def test_a_decoder_crosses_to_another_process_by_its_file(made_up: Decoder) -> None:
    again = pickle.loads(pickle.dumps(made_up))
    assert (again.path, again.id) == (made_up.path, "made-up")


def test_the_library_is_shipped_for_the_shipped_decoder(decoder: Decoder) -> None:
    library = read_library(FACTORY / "library.json")
    assert {entry.file for entry in library.presets} == {path.name for path in PRESETS}
    for entry in library.presets:
        path = FACTORY / entry.file
        preset = Preset.read(path)
        assert [corner.name for corner in preset.corners] == list(entry.corners)
        assert (preset.name, preset.synth, preset.decoder) == (entry.name, entry.synth, decoder.id)
        assert preset.velocities == (50, 100)
        assert path.stat().st_size <= preset.layers * 160_000
    assert [corner.name for corner in Preset.read(FACTORY / "first.tetrad").corners] == [
        "bass", "flute", "organ", "glockenspiel"]  # those of NSynth's post
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
    cells = Preset.read(FACTORY / "first.tetrad").cells(60, 2)[-1].reshape(4, 125, 16)
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


def test_the_shipped_shapes_hold_a_note() -> None:
    assert ROWS * SEGMENT_COLUMNS >= 250
