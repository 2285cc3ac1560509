"""Embeddings of recordings as people have them, and of datasets; by the shipped encoder and by a run's."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny import CONFIG, note_audio, write_notes

import tetrad
from device import jobs
from device.encoder import Encoder
from device.errors import TetradError
from device.recording import NOTE_PEAK, as_note, load_recording
from train import embed
from train.embed import RunEncoder, reach_samples, sounds_at
from train.notes import Jsonwav, write_tfrecord
from train.wavenet import CONFIGS, WaveNetAutoencoder

SAMPLES = dataclasses.replace(CONFIG, encoder_input="samples", encoder_layers=6, encoder_cycle=3, pitch_dimensions=0)
DEEP = dataclasses.replace(CONFIG, encoder_layers=8, encoder_cycle=4)


def write_run(folder: Path, config) -> WaveNetAutoencoder:
    from train.autoencoder import KIND
    from train.run import open_run

    open_run(folder, config, KIND)
    autoencoder = WaveNetAutoencoder(config)
    autoencoder.encoder.save_weights(folder / "encoder.weights.h5")
    autoencoder.decoder.save_weights(folder / "decoder.weights.h5")
    return autoencoder


def embedded(folder: Path, *words: str) -> dict[str, np.ndarray]:
    assert tetrad.main(["embed", *words, "--out", str(folder)]) == 0
    assert not list(folder.parent.glob(".*.chunks"))
    return {path.stem: np.load(path) for path in sorted(folder.iterdir())}


@pytest.mark.parametrize(("name", "rate_hz", "channels", "subtype"), [
    ("a.wav", 44_100, 2, "PCM_24"), ("a.flac", 48_000, 1, "PCM_16"), ("a.aiff", 22_050, 3, "PCM_16"),
    ("a.wav", 8_000, 1, "FLOAT")])
def test_a_recording_of_any_kind_is_embedded_at_its_own_length(tmp_path: Path, name: str, rate_hz: int, channels: int,
                                                               subtype: str) -> None:
    time_s = np.arange(round(6.5 * rate_hz)) / rate_hz
    sound = 0.3 * np.sin(2 * np.pi * 440 * time_s)
    soundfile.write(tmp_path / name, np.repeat(sound[:, None], channels, axis=1), rate_hz, subtype)
    (embedding,) = embedded(tmp_path / "out", str(tmp_path / name)).values()
    assert (embedding.shape, embedding.dtype) == ((204, 16), np.float32)  # 104,000 samples
    same = Encoder().embed_whole((NOTE_PEAK * np.sin(2 * np.pi * 440 * np.arange(104_000) / 16_000)).astype(np.float32))
    assert np.abs(embedding[2:-2] - same[2:-2]).mean() < 0.05  # 16 bits' noise
    assert np.abs(same).mean() > 0.3


def test_a_scale_of_a_minute_keeps_its_order_and_length(tmp_path: Path) -> None:
    notes = [note_audio(pitch, 0.5) for pitch in range(48, 63)]
    soundfile.write(tmp_path / "scale.wav", np.concatenate(notes), 16_000, "FLOAT")
    (embedding,) = embedded(tmp_path / "out", str(tmp_path / "scale.wav")).values()
    assert embedding.shape == (15 * 125, 16)
    level = NOTE_PEAK / 0.5
    for number in (0, 7, 14):
        alone = Encoder().embed(notes[number] * np.float32(level))
        np.testing.assert_allclose(embedding[number * 125 + 4 : number * 125 + 100], alone[4:100], atol=1e-3)


def test_a_recording_without_a_level_or_with_an_offset_is_brought_to_one(tmp_path: Path) -> None:
    for name, sound in (("soft", 0.01 * note_audio(60, 0.5)), ("loud", note_audio(60, 0.5)),
                        ("shifted", 0.4 * note_audio(60, 0.5) + 0.3)):
        soundfile.write(tmp_path / f"{name}.wav", sound, 16_000, "FLOAT")
    soft, loud, shifted = (embedded(tmp_path / "out", str(tmp_path))[name] for name in ("soft", "loud", "shifted"))
    np.testing.assert_allclose(soft, loud, atol=1e-4)
    as_it_is = Encoder().embed_whole(0.4 * note_audio(60, 0.5) + 0.3)
    assert np.abs(shifted - loud).mean() < 0.1 * np.abs(as_it_is - loud).mean()


def test_as_notes_cuts_as_a_presets_corner_does(tmp_path: Path) -> None:
    sound = np.concatenate([np.zeros(8000), note_audio(57, 0.7), note_audio(57, 0.7)])
    soundfile.write(tmp_path / "long_57.wav", sound, 16_000)
    note = as_note(load_recording(tmp_path / "long_57.wav"))
    (embedding,) = embedded(tmp_path / "out", str(tmp_path / "long_57.wav"), "--as-notes").values()
    np.testing.assert_array_equal(embedding, Encoder().embed(note))


def test_both_formats_of_a_dataset_give_the_same_embeddings(tmp_path: Path) -> None:
    pytest.importorskip("google_crc32c")
    notes = Jsonwav(write_notes(tmp_path / "notes"))
    write_tfrecord(tmp_path / "notes.tfrecord", notes)
    of_folder = embedded(tmp_path / "a", str(tmp_path / "notes"))
    of_file = embedded(tmp_path / "b", str(tmp_path / "notes.tfrecord"))
    assert list(of_folder) == list(of_file) == sorted(note.note_str for note in notes.notes)
    audio = notes.audio(notes.notes[3].note_str)
    expected = Encoder().embed(audio * np.float32(NOTE_PEAK / np.abs(audio).max()))
    np.testing.assert_allclose(of_folder[notes.notes[3].note_str], expected, atol=1e-5)
    for name, embedding in of_folder.items():
        np.testing.assert_array_equal(embedding, of_file[name])


def test_a_datasets_note_and_its_file_alone_give_the_same_embedding(tmp_path: Path) -> None:
    notes = write_notes(tmp_path / "notes", range(48, 49))
    of_folder, of_files = embedded(tmp_path / "a", str(notes)), embedded(tmp_path / "b", str(notes / "audio"))
    for name in of_folder.keys() | of_files.keys():
        np.testing.assert_allclose(of_folder[name], of_files[name], atol=1e-4)


def test_a_silent_note_of_a_dataset_is_embedded_like_the_others(tmp_path: Path) -> None:
    notes = write_notes(tmp_path / "notes", range(48, 49))
    silent = sorted((notes / "audio").iterdir())[0]
    soundfile.write(silent, np.zeros(64_000), 16_000, "PCM_16")
    assert np.isfinite(embedded(tmp_path / "out", str(notes))[silent.stem]).all()


def test_a_recording_that_has_changed_is_embedded_again(tmp_path: Path) -> None:
    """What an interrupted command has kept is not taken for a file that was replaced since."""
    names = [f"{i}_60.wav" for i in range(2)]
    for name in names:
        soundfile.write(tmp_path / name, note_audio(60, 0.5), 16_000)
    (tmp_path / "2_60.wav").write_text("no sound")
    words = ["embed", str(tmp_path), "--out", str(tmp_path / "out"), "--workers", "1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embed, "CHUNK_SOUNDS", 1)
        assert tetrad.main(words) == 1
        assert not (tmp_path / "out").exists()
        assert len(list((tmp_path / ".out.chunks").iterdir())) == 2
        for name in ("0_60.wav", "2_60.wav"):
            soundfile.write(tmp_path / name, note_audio(60, 0.9), 16_000)
        result = embedded(tmp_path / "out", str(tmp_path))
    np.testing.assert_array_equal(result["0_60"], result["2_60"])
    assert np.abs(result["0_60"] - result["1_60"]).max() > 0.1


@pytest.mark.parametrize(("words", "complaint"), [
    (["a/flute.wav", "b/flute.wav"], "two sounds are called flute"), (["empty"], "empty has no recordings"),
    (["none.wav"], "there is no such file"), (["none.tfrecord"], "none.tfrecord"),
    (["a/flute.wav", "--encoder", "a/flute.wav"], "no LiteRT model"), (["a/flute.wav", "--run", "a"], "config.json")])
def test_what_cannot_be_embedded_is_one_line(tmp_path: Path, words: list[str], complaint: str,
                                             monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("a", "b", "empty"):
        Path(folder).mkdir()
    for folder in ("a", "b"):
        soundfile.write(f"{folder}/flute.wav", note_audio(60, 0.5), 16_000)
    assert tetrad.main(["embed", *words, "--out", "out"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line
    assert not Path("out").exists()


@pytest.mark.parametrize("config", [CONFIG, DEEP, SAMPLES], ids=["tiny", "deep", "samples"])
def test_a_runs_encoder_hears_a_long_sound_as_if_at_once(tmp_path: Path, config, monkeypatch) -> None:
    from train.crops import encoder_frames

    autoencoder = write_run(tmp_path / "run", config)
    monkeypatch.setattr(embed, "WINDOW_FRAMES", 40)
    sound = (0.3 * np.random.default_rng(0).normal(size=150 * 512 - 100)).clip(-1, 1).astype(np.float32)
    whole = RunEncoder(tmp_path / "run").embed_whole(sound)
    at_once = np.asarray(autoencoder.encoder(encoder_frames(config, np.pad(sound, (0, 100)))[None]))[0]
    assert whole.shape == (150, 16)
    np.testing.assert_allclose(whole, at_once, atol=1e-5)
    assert np.abs(at_once).max() > 0.01


def test_the_shipped_file_hears_a_long_sound_as_its_network_does_at_once() -> None:
    from device.spectrum import log_spectrum
    from train.distil import load_trained

    network = load_trained(Path(embed.__file__).parent / "factory").autoencoder.encoder
    sound = (0.1 * np.random.default_rng(0).normal(size=300 * 512)).astype(np.float32)
    at_once = np.asarray(network(log_spectrum(sound)[None]))[0]
    np.testing.assert_allclose(Encoder().embed_whole(sound), at_once, atol=1e-3)
    assert np.abs(at_once).max() > 1


def test_reach_is_that_of_the_filters() -> None:
    assert reach_samples(CONFIGS["nsynth"]) == 1 + 3 * 1023
    assert reach_samples(CONFIGS["small"]) == 7 * 256


def test_a_run_embeds_as_it_hears(tmp_path: Path) -> None:
    from train.distil import embed as embed_with

    autoencoder = write_run(tmp_path / "run", CONFIG)
    notes = write_notes(tmp_path / "notes", range(48, 49))
    found = embedded(tmp_path / "out", str(notes), "--run", str(tmp_path / "run"))
    name = sorted(found)[0]
    audio = Jsonwav(notes).audio(name)
    expected = embed_with(autoencoder, audio * np.float32(NOTE_PEAK / np.abs(audio).max()))
    np.testing.assert_allclose(found[name], expected, atol=1e-5)


def test_another_encoder_on_a_worker_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", note_audio(60, 0.5), 16_000)
    sounds = list(sounds_at(tmp_path / "a.wav"))
    with pytest.raises(TetradError, match="is another one here: give all machines the same files"):
        embed.embed_chunk(None, None, "0" * 16, False, sounds)
    assert len(jobs.unpack(embed.embed_chunk(None, None, Encoder().id, False, sounds))) == 1


@pytest.mark.full
def test_two_workers_give_the_same_files_as_one_process(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("distributed")
    notes = write_notes(tmp_path / "notes", range(36, 84))  # 144: five chunks
    one = embedded(tmp_path / "one", str(notes), "--workers", "1")
    capsys.readouterr()
    two = embedded(tmp_path / "two", str(notes), "--workers", "2", "--json")
    assert json.loads(capsys.readouterr().out)["embeddings"] == 144
    assert all(np.array_equal(one[name], two[name]) for name in one.keys() | two.keys())
    for folder, workers in (("one wav", "1"), ("two wav", "2")):
        words = ["decode", str(tmp_path / "one"), "--out", str(tmp_path / folder), "--workers", workers]
        assert tetrad.main(words) == 0
    sounds = {path.name: path.read_bytes() for path in (tmp_path / "one wav").iterdir()}
    assert sounds == {path.name: path.read_bytes() for path in (tmp_path / "two wav").iterdir()}
    assert len(sounds) == 144
