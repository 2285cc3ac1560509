"""TFRecords read in any order, and what `tetrad train` says of notes that cannot be trained on."""

import json
import os
import random
import re
import shutil
import wave
from pathlib import Path

import numpy as np
import pytest

import tetrad
from device.errors import TetradError
from tests.train import tiny, training
from train import indexed, notes, tfrecord
from train.crops import Notes
from train.indexed import IndexedTfrecord


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("notes")
    tiny.write_notes(folder / "jsonwav", range(48, 54, 3))
    notes.write_tfrecord(folder / "notes.tfrecord", notes.Jsonwav(folder / "jsonwav"))
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A jsonwav folder that a test may damage."""
    return shutil.copytree(made / "jsonwav", tmp_path / "jsonwav")


@pytest.fixture
def record_file(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(made / "notes.tfrecord", tmp_path / "notes.tfrecord"))


def shuffled_payload(payload: bytes, chance: random.Random) -> bytes:
    """The same features in another order, as a map may be written."""
    example = tfrecord.Example.FromString(payload)
    entries = list(example.features.feature)
    chance.shuffle(entries)
    other = tfrecord.Example()
    other.features.feature.extend(entries)
    return other.SerializeToString()


def test_a_record_file_trains_on_the_same_crops_as_its_folder(made):
    a, b = Notes(made / "jsonwav"), Notes(made / "notes.tfrecord")
    assert a.notes == b.notes
    for note in reversed(a.notes):
        np.testing.assert_array_equal(a.audio(note), b.audio(note))


def test_features_may_be_in_any_order(made, tmp_path):
    chance = random.Random(3)
    payloads = [shuffled_payload(p, chance) for p in tfrecord.read_frames(made / "notes.tfrecord")]
    assert len({p.find(b"audio") for p in payloads}) > 2
    (tmp_path / "x.tfrecord").write_bytes(b"".join(map(tfrecord.frame, payloads)))
    read = IndexedTfrecord(tmp_path / "x.tfrecord")
    assert read.notes == notes.Jsonwav(made / "jsonwav").notes
    for note, audio in notes.Jsonwav(made / "jsonwav"):
        np.testing.assert_array_equal(read.audio(note.note_str), audio)


def test_the_index_is_made_without_reading_the_sounds(record_file, monkeypatch):
    whole = []
    monkeypatch.setattr(tfrecord, "checked", lambda *a: whole.append(a))
    IndexedTfrecord(record_file)
    assert not whole


def test_the_index_is_kept_and_made_again_when_the_file_changes(record_file, monkeypatch):
    scans, scan = [], indexed.scan
    monkeypatch.setattr(indexed, "scan", lambda path: (scans.append(path), scan(path))[1])
    first = IndexedTfrecord(record_file)
    again = IndexedTfrecord(record_file)
    assert len(scans) == 1
    assert first.notes == again.notes
    frames = list(tfrecord.read_frames(record_file))
    record_file.write_bytes(b"".join(map(tfrecord.frame, frames[1:])))
    assert IndexedTfrecord(record_file).notes == first.notes[1:]
    assert len(scans) == 2
    os.utime(record_file, ns=(1, 1))
    IndexedTfrecord(record_file)
    assert len(scans) == 3


@pytest.mark.parametrize("damage", [
    lambda text: text[: len(text) // 2], lambda text: text.replace("[", "{", 1), lambda text: text + "5\n",
    lambda text: "\n".join(text.split("\n")[:3] + text.split("\n")[4:]), lambda text: "", lambda text: "[]\n" + text,
    lambda text: text.replace('"pitch": 48', '"pitch": 49', 1)])
def test_a_damaged_index_is_made_again(record_file, damage):
    wanted = IndexedTfrecord(record_file).notes
    index = record_file.with_name("notes.tfrecord.index")
    index.write_text(damage(index.read_text()))
    read = IndexedTfrecord(record_file)
    assert read.notes == wanted
    assert read.audio(wanted[-1].note_str).any()


def test_a_folder_that_cannot_be_written_to_has_no_index(record_file, monkeypatch):
    def refuse(path):
        raise TetradError("read-only")

    monkeypatch.setattr(indexed.files, "atomic", refuse)
    assert len(IndexedTfrecord(record_file)) == 6
    assert not record_file.with_name("notes.tfrecord.index").exists()


def test_damage_within_a_sound_is_found_when_it_is_read(record_file):
    read = IndexedTfrecord(record_file)
    with record_file.open("r+b") as file:
        file.seek(os.stat(record_file).st_size - 100_000)
        file.write(b"\x55")
    with pytest.raises(TetradError, match=r"notes\.tfrecord, record 5: it is damaged there"):
        read.audio(read.notes[5].note_str)
    assert read.audio(read.notes[4].note_str).any()


def test_a_changed_bit_anywhere_is_refused_with_the_file(record_file):
    chance, whole = random.Random(11), record_file.read_bytes()
    for _ in range(60):
        damaged = bytearray(whole[: chance.choice([len(whole), len(whole), chance.randrange(len(whole))])])
        at = chance.choice([chance.randrange(1000), chance.randrange(len(damaged))])
        damaged[min(at, len(damaged) - 1)] ^= 1 << chance.randrange(8)
        record_file.write_bytes(damaged)
        with pytest.raises(TetradError, match=str(record_file)):
            list(IndexedTfrecord(record_file))


def rewrite(record_file: Path, number: int, **changed: object) -> None:
    payloads = list(tfrecord.read_frames(record_file))
    record = notes.record_of(payloads[number], "x") | changed
    record = {key: value for key, value in record.items() if value is not None}
    payloads[number] = tfrecord.encode(record)
    record_file.write_bytes(b"".join(map(tfrecord.frame, payloads)))


LOUD = np.zeros(64000, np.float32)


@pytest.mark.parametrize(("changed", "complaint"), [
    ({"audio": LOUD[:63999]}, "record 2 .* has no audio of 64000 samples"),
    ({"audio": np.concatenate([LOUD, LOUD])}, "record 2 .* has no audio of 64000 samples"),
    ({"audio": None}, "record 2 .* has no audio of 64000 samples"),
    ({"audio": np.full(64000, np.nan, np.float32)}, "record 2 .* has samples that are NaN or beyond 1"),
    ({"sample_rate": 44100}, "record 2: sample_rate is not 16000"),
    ({"note_str": "bass-1"}, "record 2: note_str 'bass-1' is not like"),
    ({"pitch": None}, "record 2: pitch is not a whole number"),
    ({"note_str": "reed_synthetic_000-048-100", "pitch": 48}, "record 2: .* is there twice"),
])
def test_training_on_a_record_that_cannot_be_ends_in_one_line(record_file, tmp_path, capsys, changed, complaint):
    rewrite(record_file, 2, **changed)
    assert_refused(record_file, tmp_path, capsys, f"{record_file}, {complaint}")


def assert_refused(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], complaint: str) -> None:
    config = training.write_config(tmp_path / "tiny.json", batch=8)
    assert tetrad.main(["train", "autoencoder", "--notes", str(path), "--out", str(tmp_path / "run"), "--config",
                        str(config), "--examples", "0"]) == 1
    line = capsys.readouterr().err.strip()
    assert line.startswith("tetrad: ")
    assert "\n" not in line
    assert re.search(complaint, line), line
    assert not (tmp_path / "run" / "history.csv").exists()


def test_training_on_a_cut_record_file_ends_in_one_line(record_file, tmp_path, capsys):
    record_file.write_bytes(record_file.read_bytes()[:-1000])
    assert_refused(record_file, tmp_path, capsys, f"{record_file}, record 5: the file is cut there")


def write_wav(path: Path, samples: int, rate_hz: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate_hz, samples, "NONE", ""))
        file.writeframes(bytes(2 * samples))


@pytest.mark.parametrize(("samples", "rate_hz", "complaint"), [
    (63999, 16000, "63999 samples, not"), (64000, 44100, "at 44100 Hz")])
def test_training_on_a_wav_of_another_kind_ends_in_one_line(folder, tmp_path, capsys, samples, rate_hz, complaint):
    for path in (folder / "audio").glob("*.wav"):
        write_wav(path, samples, rate_hz)
    assert_refused(folder, tmp_path, capsys, rf"{folder}.*\.wav.*{complaint}")


@pytest.mark.parametrize(("changed", "complaint"), [
    ({"velocity": None}, "velocity is not a whole number"), ({"note_str": "bass-1"}, "'bass-1' is not like"),
    ({"note_str": "reed_synthetic_002-051-100"}, "its note_str is reed_synthetic_002-051-100|its name says")])
def test_training_on_an_index_that_cannot_be_ends_in_one_line(folder, tmp_path, capsys, changed, complaint):
    index = folder / "examples.json"
    examples = json.loads(index.read_text())
    examples["reed_synthetic_001-048-100"] |= changed
    index.write_text(json.dumps(examples))
    assert_refused(folder, tmp_path, capsys, complaint)


def test_of_a_folder_with_the_dataset_the_train_split_is_taken(made, tmp_path, capsys):
    shutil.copytree(made / "jsonwav", tmp_path / "nsynth-valid.jsonwav")
    with pytest.raises(TetradError, match=r"neither examples\.json nor nsynth-train\.jsonwav or \.tfrecord"):
        Notes(tmp_path)
    (tmp_path / "nsynth-train.tfrecord").write_bytes((made / "notes.tfrecord").read_bytes())
    assert Notes(tmp_path).source.path == tmp_path / "nsynth-train.tfrecord"
    shutil.copytree(made / "jsonwav", tmp_path / "nsynth-train.jsonwav")
    assert Notes(tmp_path).source.path == tmp_path / "nsynth-train.jsonwav"
    assert f"training on {tmp_path / 'nsynth-train.jsonwav'}" in capsys.readouterr().err


def test_what_is_no_notes_is_refused_by_name(tmp_path):
    with pytest.raises(TetradError, match=r"cannot read .*nowhere: No such file"):
        Notes(tmp_path / "nowhere")
    (tmp_path / "x.tfrecord").write_bytes(b"")
    with pytest.raises(TetradError, match=r"x\.tfrecord is empty"):
        Notes(tmp_path / "x.tfrecord")
