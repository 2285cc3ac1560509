"""NSynth's two formats: read, written, converted, damaged. TensorFlow's own reader and writer are the reference."""

import io
import json
import os
import random
import struct
import wave

import numpy as np
import pytest

import tetrad
from device.errors import TetradError
from device.preset import NOTE_SAMPLES, SAMPLE_RATE_HZ
from train import tfrecord
from train.notes import (
    FAMILIES,
    Jsonwav,
    Note,
    Tfrecord,
    audio_path,
    count_by,
    note_of,
    open_notes,
    to_int16,
    write_jsonwav,
    write_tfrecord,
)

FULL = Note("bass_synthetic_068-049-025", 49, 25, 0, 2, (0, 1, 0, 0, 0, 0, 0, 0, 0, 1), note=217499, instrument=656,
            sample_rate=16000, qualities_str=("dark", "tempo-synced"))
BARE = Note("synth_lead_electronic_1005-108-127", 108, 127, 9, 1, (0,) * 10)
OURS = Note("mallet_acoustic_009-084-100", 84, 100, 5, 0, (0,) * 10, 158820, 9, 16000, (), 9, "Glockenspiel")
NOTES = (FULL, BARE, OURS)


def sounds():
    """Every value of int16, in three orders: what is lossless for these is lossless."""
    every = np.arange(-32768, 32768, dtype=np.int16)[-NOTE_SAMPLES:]
    chance = np.random.default_rng(3)
    return [sound.astype(np.float32) / 32768 for sound in
            (every, np.roll(np.arange(-32768, 32768, dtype=np.int16), 1536)[:NOTE_SAMPLES], chance.permutation(every))]


@pytest.fixture
def folder(tmp_path):
    write_jsonwav(tmp_path / "a.jsonwav", zip(NOTES, sounds(), strict=True))
    return tmp_path / "a.jsonwav"


@pytest.fixture
def record_file(tmp_path):
    write_tfrecord(tmp_path / "a.tfrecord", zip(NOTES, sounds(), strict=True))
    return tmp_path / "a.tfrecord"


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_both_formats_give_back_what_was_written(folder, record_file):
    for path in (folder, record_file):
        read = list(open_notes(path))
        assert tuple(note for note, _ in read) == NOTES
        for (_, audio), sound in zip(read, sounds(), strict=True):
            assert audio.dtype == np.float32
            assert np.array_equal(audio, sound)
        assert len(open_notes(path)) == 3


def test_a_notes_sound_is_found_by_its_name(folder):
    assert np.array_equal(Jsonwav(folder).audio(OURS.note_str), sounds()[2])


def test_examples_json_is_as_nsynth_publishes_it(folder):
    examples = json.loads((folder / "examples.json").read_text())
    assert examples["bass_synthetic_068-049-025"] == {
        "note_str": "bass_synthetic_068-049-025", "pitch": 49, "velocity": 25, "instrument_family": 0,
        "instrument_source": 2, "qualities": [0, 1, 0, 0, 0, 0, 0, 0, 0, 1], "note": 217499, "instrument": 656,
        "sample_rate": 16000, "qualities_str": ["dark", "tempo-synced"], "instrument_str": "bass_synthetic_068",
        "instrument_family_str": "bass", "instrument_source_str": "synthetic"}
    assert "note" not in examples[BARE.note_str]
    assert examples[BARE.note_str]["instrument_family_str"] == "synth_lead"


def test_tensorflow_reads_our_records(record_file):
    tf = pytest.importorskip("tensorflow")
    text, number = tf.io.FixedLenFeature([], tf.string), tf.io.FixedLenFeature([], tf.int64)
    wanted = {"note_str": text, "pitch": number, "velocity": number, "instrument_source": number,
              "instrument_family": number, "audio": tf.io.FixedLenFeature([64000], tf.float32),
              "qualities": tf.io.FixedLenFeature([10], tf.int64)}  # what the reference reader asks for
    there = {"note": number, "sample_rate": number, "instrument": number, "instrument_str": text,
             "qualities_str": tf.io.VarLenFeature(tf.string)}
    payloads = list(tf.data.TFRecordDataset(str(record_file)).as_numpy_iterator())
    assert len(payloads) == 3
    for note, sound, payload in zip(NOTES, sounds(), payloads, strict=True):
        example = tf.io.parse_single_example(payload, wanted | (there if note.note else {}))
        assert example["note_str"].numpy().decode() == note.note_str
        assert np.array_equal(example["audio"].numpy(), sound)
        assert tuple(example["qualities"].numpy()) == note.qualities
        for name in ("pitch", "velocity", "instrument_source", "instrument_family"):
            assert example[name].numpy() == getattr(note, name)
        if note.note:
            assert example["note"].numpy() == note.note
            assert example["instrument_str"].numpy().decode() == note.instrument_str
            assert tuple(text.decode() for text in example["qualities_str"].values.numpy()) == note.qualities_str


def tensorflow_example(described, audio, **changed):
    tf = pytest.importorskip("tensorflow")
    everything = described.record() | {"audio": audio} | changed
    values = {key: value for key, value in everything.items() if value is not None}
    features = {}
    for key, value in values.items():
        items = value if isinstance(value, tuple | list | np.ndarray) else [value]
        if key == "audio":
            features[key] = tf.train.Feature(float_list=tf.train.FloatList(value=items))
        elif isinstance(next(iter(items), ""), str):
            features[key] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[item.encode() for item in items]))
        else:
            features[key] = tf.train.Feature(int64_list=tf.train.Int64List(value=items))
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def test_we_read_tensorflows_records(tmp_path):
    tf = pytest.importorskip("tensorflow")
    with tf.io.TFRecordWriter(str(tmp_path / "tf.tfrecord")) as writer:
        for note, sound in zip(NOTES, sounds(), strict=True):
            writer.write(tensorflow_example(note, sound))
        writer.write(tensorflow_example(  # the least that NSynth's own reader asks for
            FULL, sounds()[0], note=None, instrument=None, sample_rate=None, qualities_str=None, instrument_str=None,
            instrument_family_str=None, instrument_source_str=None))
    read = list(Tfrecord(tmp_path / "tf.tfrecord"))
    assert tuple(note for note, _ in read[:3]) == NOTES
    assert all(np.array_equal(audio, sound) for (_, audio), sound in zip(read, sounds(), strict=False))
    assert read[3][0] == Note(FULL.note_str, 49, 25, 0, 2, FULL.qualities)


def test_conversion_there_and_back_gives_the_same_bytes(folder, record_file, tmp_path, capsys):
    def convert(source, target):
        assert tetrad.main(["notes", "convert", str(source), str(tmp_path / target), "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"notes": 3}

    convert(folder, "b.tfrecord")
    convert(tmp_path / "b.tfrecord", "b.jsonwav")
    assert contents(tmp_path / "b.jsonwav") == contents(folder)
    assert (tmp_path / "b.tfrecord").read_bytes() == record_file.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["a.jsonwav", "a.tfrecord", "b.jsonwav", "b.tfrecord"]


def test_floats_between_16_bit_steps_are_rounded_to_the_nearest():
    assert to_int16(np.array([0.4, 0.6, -0.6, 32768, -32768], np.float32) / 32768).tolist() == [0, 1, -1, 32767, -32768]


def test_a_failed_conversion_leaves_nothing(folder, record_file, tmp_path, capsys):
    record_file.write_bytes(record_file.read_bytes()[:-1])
    audio_path(folder, OURS.note_str).unlink()
    for source, target in ((record_file, "b.jsonwav"), (folder, "b.tfrecord"), (folder, "a.tfrecord")):
        assert tetrad.main(["notes", "convert", str(source), str(tmp_path / target)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [f"{record_file}, record 2: the file is cut" in lines[0], OURS.note_str in lines[1],
            "is there already" in lines[2]] == [True] * 3
    assert len(lines) == 3
    assert sorted(os.listdir(tmp_path)) == ["a.jsonwav", "a.tfrecord"]


def test_what_a_killed_conversion_left_is_overwritten(record_file, tmp_path):
    left = tmp_path / ".b.jsonwav.part" / "audio"
    left.mkdir(parents=True)
    (left / "old.wav").write_bytes(b"RIFF")
    write_jsonwav(tmp_path / "b.jsonwav", Tfrecord(record_file))
    assert len(contents(tmp_path / "b.jsonwav")) == 3 + 1
    assert not (tmp_path / ".b.jsonwav.part").exists()


def test_info_counts_by_family_source_pitch_and_velocity(folder, record_file, capsys):
    for path in (folder, record_file):
        assert tetrad.main(["notes", "info", str(path), "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {
            "notes": 3, "instruments": 3, "family": {"bass": 1, "mallet": 1, "synth_lead": 1},
            "source": {"acoustic": 1, "electronic": 1, "synthetic": 1}, "pitch": {"49": 1, "84": 1, "108": 1},
            "velocity": {"25": 1, "100": 1, "127": 1}}
    assert tetrad.main(["notes", "info", str(folder)]) == 0
    assert "pitch: 49 (1), 84 (1), 108 (1)" in capsys.readouterr().out.splitlines()
    assert count_by([FULL, FULL])["instrument"] == {"bass_synthetic_068": 2}


@pytest.mark.parametrize(("changed", "complaint"), [
    ({"note_str": "bass-1"}, "note_str 'bass-1' is not like bass_synthetic_068-049-025"),
    ({"note_str": "../bass_synthetic_068-049-025"}, "is not like"),
    ({"note_str": "drums_synthetic_068-049-025"}, "is not like"),
    ({"note_str": 5}, "is not like"),
    ({"pitch": None}, "pitch is not a whole number"),
    ({"pitch": 128}, "pitch is not a whole number"),
    ({"pitch": float("nan")}, "pitch is not a whole number"),
    ({"pitch": 50}, "its name says bass synthetic 049 025, its fields bass synthetic 050 025"),
    ({"velocity": 26}, "its name says"),
    ({"velocity": True}, "velocity is not"),
    ({"instrument_family": 11}, "instrument_family is not"),
    ({"instrument_family": 1}, "its name says"),
    ({"instrument_source": 3}, "instrument_source is not"),
    ({"instrument_source": 0}, "its name says"),
    ({"qualities": None}, "qualities is not a list of 10"),
    ({"qualities": [0] * 9}, "qualities is not a list of 10"),
    ({"qualities": [2] * 10}, "a quality is not"),
    ({"sample_rate": 44100}, "sample_rate is not"),
    ({"qualities_str": "dark"}, "names is not a list"),
    ({"qualities_str": [5]}, "a name is not"),
    ({"program_name": ["x"]}, "a name is not"),
])
def test_a_note_that_cannot_be_is_refused_with_its_place_and_what_to_do(changed, complaint):
    with pytest.raises(TetradError) as caught:
        note_of(FULL.record() | changed, "examples.json, note 7")
    message = str(caught.value)
    assert message.startswith("examples.json, note 7: ")
    assert complaint in message
    assert message.endswith("get the notes again, or leave this one out")


def test_a_missing_field_is_told_with_file_and_note(folder):
    index = folder / "examples.json"
    examples = json.loads(index.read_text())
    del examples[FULL.note_str]["velocity"]
    index.write_text(json.dumps(examples))
    with pytest.raises(TetradError, match=rf"{index}, {FULL.note_str}: velocity is not"):
        Jsonwav(folder)


@pytest.mark.parametrize(("text", "complaint"), [
    ("{", "is not JSON"), ("[]", "is not an object of notes"), ('{"a": 1}', "is not an object of notes"),
    ("{}", "lists no notes"), (None, "give a whole jsonwav folder")])
def test_an_index_that_is_none_is_refused_by_name(folder, text, complaint):
    index = folder / "examples.json"
    index.unlink() if text is None else index.write_text(text)
    with pytest.raises(TetradError, match=complaint) as caught:
        Jsonwav(folder)
    assert str(index) in str(caught.value)


def wav_bytes(channels=1, sample_bytes=2, rate_hz=SAMPLE_RATE_HZ, samples=NOTE_SAMPLES):
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setparams((channels, sample_bytes, rate_hz, samples, "NONE", ""))
        file.writeframes(bytes(channels * sample_bytes * samples))
    return data.getvalue()


@pytest.mark.parametrize(("data", "complaint"), [
    (b"", "it is no PCM WAV, or damaged"),
    (b"RIFF\0\0\0\0WAVE", "it is no PCM WAV, or damaged"),
    (wav_bytes()[:-1], "is cut: it has 63999 of 64000 samples"),
    (wav_bytes()[:3000], "is cut"),
    (wav_bytes(samples=63999), "and 63999 samples, not"),
    (wav_bytes(rate_hz=44100), "at 44100 Hz"),
    (wav_bytes(channels=2), "has 2 channels"),
    (wav_bytes(sample_bytes=1), "of 8 bits"),
    (wav_bytes().replace(b"fmt \x10\0\0\0\x01", b"fmt \x10\0\0\0\x03"), "it is no PCM WAV"),
    (None, "there is no such file"),
])
def test_a_wav_of_another_kind_is_refused_by_name(folder, data, complaint):
    path = audio_path(folder, FULL.note_str)
    path.unlink() if data is None else path.write_bytes(data)
    with pytest.raises(TetradError, match=complaint) as caught:
        list(Jsonwav(folder))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(("audio", "complaint"), [
    (np.zeros(63999, np.float32), "has no audio of 64000 samples"),
    (None, "has no audio of 64000 samples"),
    (["0"] * 64000, "has no audio of 64000 samples"),
    (np.full(64000, np.nan, np.float32), "NaN"),
    (np.full(64000, 1.01, np.float32), "beyond 1"),
])
def test_a_record_with_other_audio_is_told_with_its_number(record_file, audio, complaint):
    record = FULL.record() | ({} if audio is None else {"audio": audio})
    with record_file.open("ab") as file:
        file.write(tfrecord.frame(tfrecord.encode(record)))
    notes = iter(Tfrecord(record_file))
    assert [next(notes)[0] for _ in range(3)] == list(NOTES)
    with pytest.raises(TetradError, match=rf"{record_file}, record 3 \({FULL.note_str}\) .*{complaint}"):
        next(notes)


def test_a_cut_record_file_is_told_with_the_record(record_file):
    whole = record_file.read_bytes()
    first = len(tfrecord.frame(next(tfrecord.read_frames(record_file))))
    for kept, record in ((1, 0), (11, 0), (12, 0), (5000, 0), (first - 1, 0), (first + 5, 1), (len(whole) - 1, 2)):
        record_file.write_bytes(whole[:kept])
        with pytest.raises(TetradError, match=rf"{record_file}, record {record}: the file is cut"):
            list(Tfrecord(record_file))
    record_file.write_bytes(b"")
    with pytest.raises(TetradError, match="is empty"):
        list(Tfrecord(record_file))


def test_what_is_no_record_file_is_refused_by_name(tmp_path):
    path = tmp_path / "x.tfrecord"
    with pytest.raises(TetradError, match="is not there"):
        Tfrecord(path)
    path.write_bytes(wav_bytes())
    with pytest.raises(TetradError, match="no TFRecord, or damaged"):
        list(Tfrecord(path))
    for payload in (b"\xff\xff", tfrecord.encode({"note_str": "x"}).replace(b"x", b"\xff")):
        path.write_bytes(tfrecord.frame(payload))
        with pytest.raises(TetradError, match="record 0 is not an example of NSynth"):
            list(Tfrecord(path))


def test_an_absurd_length_takes_no_memory(tmp_path):
    length = struct.pack("<Q", 1 << 62)
    (tmp_path / "x.tfrecord").write_bytes(length + struct.pack("<I", tfrecord.masked_crc(length)) + bytes(100))
    with pytest.raises(TetradError, match="is cut"):
        list(Tfrecord(tmp_path / "x.tfrecord"))


def test_a_changed_byte_of_a_record_file_is_noticed(record_file):
    chance = random.Random(5)
    whole = record_file.read_bytes()
    for _ in range(60):
        damaged = bytearray(whole)
        at = chance.choice([chance.randrange(16), chance.randrange(len(whole))])
        damaged[at] ^= 1 << chance.randrange(8)
        record_file.write_bytes(damaged)
        with pytest.raises(TetradError, match=str(record_file)):
            list(Tfrecord(record_file).notes)


def test_any_payload_is_a_note_or_refused(tmp_path):
    """Checksums are right here, so that the damage reaches what is behind them."""
    chance = random.Random(7)
    whole = tfrecord.encode(OURS.record() | {"audio": np.zeros(10, np.float32)})
    refused = 0
    for _ in range(500):
        damaged = bytearray(whole[: chance.choice([len(whole), chance.randrange(len(whole))])])
        for _ in range(chance.randint(0, 3) if damaged else 0):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        (tmp_path / "x.tfrecord").write_bytes(tfrecord.frame(bytes(damaged)))
        try:
            (note,) = Tfrecord(tmp_path / "x.tfrecord").notes
            assert note.instrument_str.split("_")[0] in "_".join(FAMILIES)
        except TetradError:
            refused += 1
    assert 200 < refused < 500


def test_any_wav_is_read_or_refused(folder):
    chance = random.Random(9)
    path = audio_path(folder, FULL.note_str)
    whole = path.read_bytes()
    notes, refused = Jsonwav(folder), 0
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            damaged[chance.randrange(44)] = chance.randrange(256)
        path.write_bytes(damaged[: chance.choice([len(whole), chance.randrange(100)])])
        try:
            assert notes.audio(FULL.note_str).shape == (NOTE_SAMPLES,)
        except TetradError:
            refused += 1
    assert 200 < refused < 400
