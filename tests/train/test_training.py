"""Teacher, distillation and evaluation on tiny models: through the commands, as a user would."""

import csv
import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pytest

import tetrad
from device import analysis, conditioning, synth
from device.errors import TetradError
from tests.train import tiny
from train import autoencoder, crops, distil, instruments, run
from train.sampler import load_teacher
from train.student import StudentConfig, build_student
from train.wavenet import WaveNetAutoencoder


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> crops.Notes:
    return crops.Notes(tiny.write_notes(tmp_path_factory.mktemp("notes") / "jsonwav"))


@pytest.fixture(autouse=True)
def short_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "EPOCH_STEPS", 5)


CONFIG = dataclasses.replace(tiny.CONFIG, steps=10)


@pytest.fixture(scope="module")
def teacher(notes: crops.Notes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "EPOCH_STEPS", 5)
        folder = tmp_path_factory.mktemp("runs") / "teacher"
        autoencoder.train_autoencoder(notes, CONFIG, folder)
    return folder


def student_config() -> distil.DistilConfig:
    return distil.DistilConfig(CONFIG, StudentConfig(width=8, layers=4, cycle=2), crop_samples=2048, batch=3,
                               learning_rates=((0, 3e-3),), average_decay=0.9, steps=30)


def losses(folder: Path) -> list[float]:
    with (folder / "history.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def test_a_teacher_learns(notes: crops.Notes, teacher: Path) -> None:
    keras.utils.set_random_seed(0)
    untrained = WaveNetAutoencoder(CONFIG)
    batches = autoencoder.teacher_batches(notes, dataclasses.replace(CONFIG, batch=12), seed=1, workers=1)
    before, after = (np.mean(autoencoder.TeacherTrainer(model)(batches[0][0]))
                     for model in (untrained, autoencoder.load_autoencoder(teacher)))
    assert after < before - 0.05
    assert len(losses(teacher)) == 2


def test_an_interrupted_training_goes_on_as_if_it_had_not_been(notes: crops.Notes, teacher: Path, tmp_path: Path,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    class Stop(Exception):
        pass

    def stop(self: run.Recorder, epoch: int, logs: object = None) -> None:
        whole(self, epoch, logs)
        raise Stop

    whole = run.Recorder.on_epoch_end
    monkeypatch.setattr(run.Recorder, "on_epoch_end", stop)
    with pytest.raises(Stop):
        autoencoder.train_autoencoder(notes, CONFIG, tmp_path / "run")
    assert len(losses(tmp_path / "run")) == 1
    monkeypatch.setattr(run.Recorder, "on_epoch_end", whole)
    resumed = autoencoder.train_autoencoder(notes, CONFIG, tmp_path / "run")
    assert losses(tmp_path / "run") == pytest.approx(losses(teacher), abs=2e-4)
    for a, b in zip(resumed.decoder.get_weights(), autoencoder.load_autoencoder(teacher).decoder.get_weights(),
                    strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3)


def test_an_imported_run_is_trained_on_from_its_weights(notes: crops.Notes, teacher: Path, tmp_path: Path) -> None:
    """Such a run has weights and no state. At a rate of nothing, they stay."""
    still = dataclasses.replace(CONFIG, learning_rates=((0, 1e-12),), steps=5)
    run.open_run(tmp_path / "imported", still, autoencoder.KIND)
    for name in ("encoder.weights.h5", "decoder.weights.h5"):
        (tmp_path / "imported" / name).write_bytes((teacher / name).read_bytes())
    trained = autoencoder.train_autoencoder(notes, still, tmp_path / "imported", seed=9)
    for a, b in zip(trained.decoder.get_weights(), autoencoder.load_autoencoder(teacher).decoder.get_weights(),
                    strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.fixture(scope="module")
def student(notes: crops.Notes, teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "student"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "EPOCH_STEPS", 5)
        distil.train_student(notes, teacher, student_config(), folder)
    return folder


def test_a_student_learns_with_its_encoder(notes: crops.Notes, teacher: Path, student: Path) -> None:
    before, after = autoencoder.load_autoencoder(teacher), distil.load_trained(student)
    assert not np.allclose(before.encoder.get_weights()[0], after.autoencoder.encoder.get_weights()[0])
    config = student_config()
    keras.utils.set_random_seed(0)
    untrained = build_student(config.student)
    made = distil.StudentCrops(notes, distil.TeacherNotes(np.zeros((0, 0)), np.zeros((0, 2))), config)
    batches = [made.batch(np.random.default_rng(i)) for i in range(8)]  # some have more onsets, whose loss is higher
    then, now = (np.mean([distil.StudentTrainer(encoder, model, config)(batch) for batch in batches])
                 for encoder, model in ((before.encoder, untrained), (after.autoencoder.encoder, after.student)))
    assert now < 0.95 * then


@pytest.mark.parametrize("steps", [0, 3])
def test_a_student_is_quantized(student: Path, tmp_path: Path, steps: int) -> None:
    assert distil.load_student(student).output_shape[:3] == (1, conditioning.ROWS, conditioning.COLUMNS)
    assert tetrad.main(["quantize", str(student), "--out", str(tmp_path / "d.tflite"), "--steps", str(steps),
                        "--encoder", str(tmp_path / "e.tflite")]) == 0
    assert tetrad.main(["check", str(tmp_path / "d.tflite")]) == 0


def test_a_student_alone_has_no_teacher_until_one_is_taught(notes: crops.Notes, student: Path, tmp_path: Path) -> None:
    with pytest.raises(TetradError, match="train autoencoder --encoder"):
        load_teacher(student)
    taught = autoencoder.train_autoencoder(notes, CONFIG, tmp_path / "taught", encoder=student)
    assert losses(tmp_path / "taught")[-1] < losses(tmp_path / "taught")[0]
    assert same(taught.encoder.get_weights(), distil.load_trained(student).autoencoder.encoder.get_weights())


def test_a_taught_teacher_plays_for_a_student_that_goes_on(notes: crops.Notes, student: Path, tmp_path: Path) -> None:
    autoencoder.train_autoencoder(notes, CONFIG, tmp_path / "taught", encoder=student)
    config = dataclasses.replace(student_config(), encoder="frozen", teacher_notes=2, teacher_samples=4096,
                                 teacher_share=0.4, steps=5)
    distil.train_student(notes, tmp_path / "taught", config, tmp_path / "distilled", begin=student)
    before, after = distil.load_trained(student), distil.load_trained(tmp_path / "distilled")
    assert same(before.autoencoder.encoder.get_weights(), after.autoencoder.encoder.get_weights())
    assert not same(before.student.get_weights(), after.student.get_weights())
    np.testing.assert_allclose(before.student.get_weights()[0], after.student.get_weights()[0], atol=0.1)
    assert np.load(tmp_path / "distilled" / "teacher_notes.npz")["codes"].shape == (2, 4096)


def test_a_teacher_does_not_play_to_an_encoder_that_moves(notes: crops.Notes, teacher: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(student_config(), teacher_notes=2)
    with pytest.raises(TetradError, match="--encoder frozen"):
        distil.train_student(notes, teacher, config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_of_another_configuration_is_refused(notes: crops.Notes, teacher: Path) -> None:
    with pytest.raises(TetradError, match=r"another configuration \(decoder_width\)"):
        autoencoder.train_autoencoder(notes, dataclasses.replace(CONFIG, decoder_width=5), teacher)


def test_a_run_does_not_go_on_with_fewer_notes(notes: crops.Notes, teacher: Path, tmp_path: Path) -> None:
    fewer = crops.Notes(tiny.write_notes(tmp_path / "fewer", range(48, 57, 3)))
    with pytest.raises(TetradError, match=r"has learned from 1\d notes, and these \d are others"):
        autoencoder.train_autoencoder(fewer, dataclasses.replace(CONFIG, steps=15), teacher)
    assert len(losses(teacher)) == 2


def test_more_steps_are_no_other_configuration(teacher: Path, notes: crops.Notes, tmp_path: Path) -> None:
    distil_run = tmp_path / "run"
    run.open_run(distil_run, CONFIG, autoencoder.KIND)
    run.open_run(distil_run, dataclasses.replace(CONFIG, steps=99), autoencoder.KIND)
    assert autoencoder.config_of(distil_run).steps == 99


def test_a_folder_that_is_no_run_is_refused_by_name(tmp_path: Path, teacher: Path) -> None:
    with pytest.raises(TetradError, match=r"config\.json: not a training run"):
        autoencoder.load_autoencoder(tmp_path)
    with pytest.raises(TetradError, match="not a run of a student"):
        distil.load_trained(teacher)


def test_cut_weights_are_refused_by_name(teacher: Path, tmp_path: Path) -> None:
    for name in ("config.json", "encoder.weights.h5", "decoder.weights.h5"):
        data = (teacher / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) // 2] if name.startswith("decoder") else data)
    with pytest.raises(TetradError, match=r"decoder\.weights\.h5"):
        autoencoder.load_autoencoder(tmp_path)


def test_held_back_notes_are_never_drawn(notes: crops.Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crops, "HELD_BACK", 3)
    held = {note.note_str for note in notes.source.notes if crops.is_held_back(note.note_str)}
    assert 0 < len(held) < len(notes.source.notes) / 2
    drawn = {note.note_str for note in crops.Notes(notes.source.folder).notes}
    assert drawn == {note.note_str for note in notes.source.notes} - held


def test_neighbouring_pitches_are_mixed(notes: crops.Notes) -> None:
    middle = next(note for note in notes.notes if len(notes.neighbours(note)) == 2)
    assert [notes.notes[i].instrument_str for i in notes.neighbours(middle)] == [middle.instrument_str] * 2
    below, above = (notes.notes[i].pitch for i in notes.neighbours(middle))
    assert below < middle.pitch < above
    assert notes.neighbours(middle, louder=True) == []  # of one velocity
    np.testing.assert_array_equal(distil.mixing([1, 2]), [[1, 0, 0], [0, 0.5, 0.5]])


def test_instruments_that_are_for_tests_are_never_drawn(tmp_path: Path) -> None:
    folder = tiny.write_notes(tmp_path / "notes")
    (folder / instruments.LIST).write_text("reed_synthetic_001\n")
    assert {note.instrument_str for note in crops.Notes(folder).notes} == {"reed_synthetic_000", "reed_synthetic_002"}


def test_a_crop_is_excited_by_its_recordings_own_partials(notes: crops.Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its phases run on from those of the crop before."""
    cents, track = np.linspace(0, 90, 100, dtype=np.float32), np.linspace(-20, 20, 1000, dtype=np.float32)
    monkeypatch.setattr(notes, "tone", lambda note: analysis.Tone(cents, 0.0, track, 0.0, 0.0, 0.0, 0.0))
    made = distil.StudentCrops(notes, distil.TeacherNotes(np.zeros((0, 0)), np.zeros((0, 2))), student_config())
    whole, later = (made.partials(notes.crop(notes.notes[0], start, 8192 - start)) for start in (0, 4096))
    np.testing.assert_allclose(later[0], whole[0][64:], atol=1e-6)
    np.testing.assert_allclose(1200 * np.log2(whole[2] / np.arange(1, 101)), cents, atol=0.01)
    asked = synth.pitch_to_hz(notes.notes[0].pitch) / 16000
    np.testing.assert_allclose(1200 * np.log2(whole[1] / asked), track[:128], atol=0.01)


def test_an_onset_begins_in_silence(notes: crops.Notes) -> None:
    early, first = (notes.crop(notes.notes[0], start, 4096 - start) for start in (-1024, 0))
    np.testing.assert_array_equal(early.audio, np.pad(first.audio, (1024, 0)))
    np.testing.assert_array_equal(early.spectrum[4:], first.spectrum)
    made = distil.StudentCrops(notes, distil.TeacherNotes(np.zeros((0, 0)), np.zeros((0, 2))), student_config())
    turns, rates, _ = made.partials(early)
    np.testing.assert_array_equal(turns[16:], made.partials(first)[0])
    assert (turns[:16] == turns[16]).all()
    assert len(rates) == len(early.audio) // 64


def test_a_damaged_note_ends_the_training_with_its_name(tmp_path: Path) -> None:
    folder = tiny.write_notes(tmp_path / "notes", range(48, 54, 3))
    for path in (folder / "audio").glob("*-051-*"):
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(TetradError, match=r"-051-100\.wav"):
        autoencoder.train_autoencoder(crops.Notes(folder), dataclasses.replace(CONFIG, batch=8), tmp_path / "run")


def test_notes_between_which_nothing_can_be_played_are_refused(notes: crops.Notes, teacher: Path,
                                                               tmp_path: Path) -> None:
    folder = tiny.write_notes(tmp_path / "notes")
    examples = json.loads((folder / "examples.json").read_text())
    (folder / "examples.json").write_text(json.dumps({k: v for k, v in examples.items() if "_000-" in k}))
    config = dataclasses.replace(student_config(), encoder="frozen", teacher_notes=2)
    with pytest.raises(TetradError, match="--teacher-notes 0"):
        distil.train_student(crops.Notes(folder), teacher, config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_all_batches_are_of_one_shape(notes: crops.Notes) -> None:
    played = distil.TeacherNotes(np.zeros((2, 4096), np.int16), np.array([[0, 4], [1, 5]]))
    config = dataclasses.replace(student_config(), batch=8, neighbour_share=0.5, teacher_share=0.4)
    batches = [distil.StudentCrops(notes, played, config).batch(np.random.default_rng(i)) for i in range(12)]
    shapes = [{key: value.shape for key, value in batch.items()} for batch in batches]
    assert all(shape == shapes[0] for shape in shapes)
    mix = np.concatenate([batch["mix"] for batch in batches])
    np.testing.assert_allclose(mix.sum(axis=1), 1)
    assert 0 < np.mean((mix == 0.5).any(axis=1)) < 1


def test_a_crop_is_embedded_as_in_the_whole_note(notes: crops.Notes, teacher: Path) -> None:
    model = autoencoder.load_autoencoder(teacher)
    note = notes.notes[0]
    whole = distil.embed(model, notes.audio(note))
    crop = notes.crop(note, 20 * 512, 4096)
    embedding = np.asarray(model.encoder(crop.spectrum[None]))[0, crops.MARGIN_FRAMES : -crops.MARGIN_FRAMES]
    np.testing.assert_allclose(embedding, whole[20:28], atol=1e-4)
