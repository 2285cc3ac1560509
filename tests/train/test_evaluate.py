"""The evaluation on tiny untrained models: what it counts, and that its parts fit."""

import json
from pathlib import Path

import numpy as np
import pytest

import tetrad
from device.decoder import FACTORY_DECODER
from device.errors import TetradError
from tests.train import tiny
from train import probe, split, tables
from train.crops import is_held_back
from train.evaluate import evenly, mean_correlation, octave
from train.notes import Note


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of each kind, with the weights that models begin with."""
    return tiny.write_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_notes(tmp_path_factory.mktemp("notes") / "jsonwav")


def test_all_stages_are_measured_and_reported(runs: dict[str, Path], notes: Path, tmp_path: Path,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split, "is_test_instrument", lambda name: name.endswith("_001"))
    out = tmp_path / "out"
    assert tetrad.main(["evaluate", "--notes", str(notes), "--run", str(runs["student"]), "--baseline",
                        str(runs["baseline"]), "--probe", str(runs["teacher"]), "--decoder",
                        str(FACTORY_DECODER), "--out", str(out), "--epochs", "1",
                        "--most", "3", "--teacher-notes", "1", "--workers", "1"]) == 0
    result = json.loads((out / "evaluation.json").read_text())
    assert result["tested_notes"] == 3
    assert result["learned_notes"] == 8
    assert set(result["stages"]) == {"original", "mu-law", "teacher", "baseline", "float student", "int8 student"}
    assert [row["notes"] for row in result["stages"].values()] == [3, 3, 1, 3, 3, 3]
    distance = {name: row["log_mel_db"]["value"] for name, row in result["stages"].items()}
    assert distance["original"] == 0
    assert 0 < distance["mu-law"] < min(distance["baseline"], distance["teacher"], distance["float student"])
    assert result["stages"]["original"]["within_20_cents_percent"]["value"] == 100
    assert [(row["run"].split("/")[-1], row["pitch_beside"]) for row in result["probe"]] == [
        ("student", True), ("baseline", True), ("teacher", True)]
    assert {note["note"] for note in result["by_note"]} <= {f"reed_synthetic_001-{p:03}-100" for p in range(48, 60, 3)}
    text = (out / "evaluation.md").read_text()
    assert all(f"| {name} | " in text for name in result["stages"])
    assert all((out / name).read_bytes().startswith(b"\x89PNG") for name in ("evaluation.png", "correlation.png"))
    assert not (tmp_path / ".out.chunks").exists()


def measured(heard: list[float], log_mel_db: list[float] | None = None) -> tables.Measured:
    count = len(heard)
    features = np.zeros((count, 291, 32), np.uint8)
    return tables.Measured(list(range(count)), features, np.array(log_mel_db or [1.0] * count), np.array(heard))


def test_a_row_counts_what_is_right_and_near(monkeypatch: pytest.MonkeyPatch) -> None:
    notes = [Note(f"reed_acoustic_00{i % 3}-060-100", 60, 100, 7, 0, (0,) * 10) for i in range(6)]
    told = {"pitch": np.array([60, 60, 60, 72, 60, 59]), "family": np.array([7, 7, 7, 0, 0, 0]),
            "qualities": np.tile([1] + [0] * 9, (6, 1))}
    monkeypatch.setattr(tables.classifier, "predict", lambda listener, features: told)
    nan = float("nan")
    recorded = measured([60.02, 60.0, 60.0, 72.0, nan, 59.9])
    decoded = measured([60.1, 60.21, nan, 60.0, 60.0, 59.85], [0.0, 1, 2, 3, 4, 5])
    truth = np.zeros((6, 10), int)
    truth[:3, 0] = 1  # three of six were bright, and all were called so
    counted = np.arange(10) < 2
    row = tables.figures(decoded, recorded, notes, truth, counted, None)
    assert (row["notes"], row["instruments"]) == (6, 3)
    assert row["pitched_notes"] == 4  # one recording is an octave off, one has no pitch
    assert row["within_20_cents_percent"]["value"] == 50
    assert row["log_mel_db"]["value"] == 2.5
    assert row["pitch_percent"]["value"] == pytest.approx(100 * 4 / 6)
    assert row["family_percent"]["value"] == 50
    assert row["quality_percent"]["value"] == 75  # of two qualities one is always right
    assert row["quality_f1"]["value"] == pytest.approx(2 * 3 / (2 * 3 + 3))


def test_an_interval_is_as_wide_as_instruments_differ() -> None:
    random = np.random.default_rng(1)
    hits, groups = random.random(400) < 0.7, [str(i % 40) for i in range(400)]
    alike = tables.interval(hits, np.ones(400), groups)
    assert alike["value"] == pytest.approx(hits.mean())
    expected = 1.96 * np.sqrt(0.7 * 0.3 / 400)
    assert (alike["high"] - alike["low"]) / 2 == pytest.approx(expected, rel=0.35)
    unlike = tables.interval(np.repeat(np.arange(40) < 28, 10), np.ones(400), [str(i // 10) for i in range(400)])
    assert unlike["high"] - unlike["low"] > 2.5 * (alike["high"] - alike["low"])  # ten notes tell no more than one


def test_a_line_reads_pitch_only_where_it_is() -> None:
    random = np.random.default_rng(2)
    pitches = random.integers(40, 48, 400)
    told = np.eye(8)[pitches - 40] @ random.normal(size=(8, 16)) + 0.01 * random.normal(size=(400, 16))
    assert np.mean(probe.read_pitches(told[:300], pitches[:300], told[300:]) == pitches[300:]) > 0.95
    noise = random.normal(size=(400, 16))
    assert np.mean(probe.read_pitches(noise[:300], pitches[:300], noise[300:]) == pitches[300:]) < 0.4


def test_correlations_are_of_an_instruments_own_pitches() -> None:
    def note(instrument: int, pitch: int, velocity: int = 100) -> Note:
        return Note(f"reed_acoustic_{instrument:03}-{pitch:03}-{velocity:03}", pitch, velocity, 7, 0, (0,) * 10)

    random = np.random.default_rng(3)
    one = random.normal(size=(5, 16))
    notes = [note(0, 50), note(0, 62, 25), note(0, 62), note(1, 62), note(1, 70)]
    embeddings = np.stack([one, random.normal(size=(5, 16)), 2 * one + 1, one, -one])
    pitches, matrices = probe.correlations(embeddings, notes)
    assert pitches == [50, 62, 70]
    first, second = matrices["reed_acoustic_000"], matrices["reed_acoustic_001"]
    assert first[0, 1] == pytest.approx(1)  # with the louder of two
    assert np.isnan(first[0, 2])
    assert second[1, 2] == pytest.approx(-1)
    mean = mean_correlation(matrices)
    assert mean[0, 1] == pytest.approx(1)
    assert np.isnan(mean[0, 2])
    octaves = octave(pitches, matrices)
    assert octaves is not None
    assert octaves["value"] == pytest.approx(1)  # 50 and 62, of the one instrument that has both
    assert octave([50, 61], {"one": np.ones((2, 2))}) is None


def test_no_instrument_is_learned_from_and_tested(tmp_path: Path) -> None:
    folder = tiny.write_notes(tmp_path / "notes", range(48, 51))
    examples = json.loads((folder / "examples.json").read_text())
    for number in range(3, 40):
        name = f"reed_synthetic_{number:03}-048-100"
        examples[name] = {**examples["reed_synthetic_000-048-100"], "note_str": name}
        (folder / "audio" / f"{name}.wav").symlink_to(folder / "audio" / "reed_synthetic_000-048-100.wav")
    (folder / "examples.json").write_text(json.dumps(examples))
    learned, tested = split.learned_and_tested(folder, None)
    names = [{note.instrument_str for note in part.notes} for part in (learned, tested)]
    assert not names[0] & names[1]
    assert len(names[0] | names[1]) == 40
    assert 1 <= len(names[1]) <= 12
    assert [sound.name for sound in tested.sounds] == [note.note_str for note in tested.notes]


def test_unheard_are_notes_of_test_instruments_and_those_held_back(tmp_path: Path) -> None:
    folder = tiny.write_notes(tmp_path / "notes", range(40, 80))
    every = split.whole(folder)
    held_back = [note for note in every.notes if is_held_back(note.note_str)]
    assert 0 < len(held_back) < 20
    assert split.unheard(every).notes == held_back
    (folder / "test-instruments.txt").write_text("reed_synthetic_002\n")
    names = {note.note_str for note in split.unheard(every).notes}
    assert names == {note.note_str for note in every.notes
                     if note in held_back or note.instrument_str == "reed_synthetic_002"}


def test_the_datasets_own_split_is_taken(tmp_path: Path) -> None:
    test = tiny.write_notes(tmp_path / "nsynth-test.jsonwav", range(48, 49))
    with pytest.raises(TetradError, match="learned from and tested"):
        split.learned_and_tested(test, test)
    with pytest.raises(TetradError, match=r"nsynth-test\.jsonwav and no nsynth-train"):
        split.learned_and_tested(tmp_path, None)
    train = tiny.write_notes(tmp_path / "nsynth-train", range(50, 52))
    learned, tested = split.learned_and_tested(tmp_path, None)
    assert (learned.path, len(learned.notes), tested.path, len(tested.notes)) == (train, 6, test, 3)


def test_too_few_instruments_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notes = tiny.write_notes(tmp_path / "notes", range(48, 49))
    assert tetrad.main(["evaluate", "--notes", str(notes), "--out", str(tmp_path / "out")]) == 1
    assert "too few instruments" in capsys.readouterr().err


def test_a_student_of_ones_own_needs_its_own_decoder(runs: dict[str, Path], notes: Path, tmp_path: Path,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    assert tetrad.main(["evaluate", "--notes", str(notes), "--run", str(runs["student"]), "--out",
                        str(tmp_path / "out")]) == 1
    assert "give it to --decoder" in capsys.readouterr().err


def test_a_missing_run_is_named_before_any_work(notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(split, "is_test_instrument", lambda name: name.endswith("_001"))
    assert tetrad.main(["evaluate", "--notes", str(notes), "--baseline", str(tmp_path / "none"), "--out",
                        str(tmp_path / "out")]) == 1
    assert str(tmp_path / "none") in capsys.readouterr().err


def test_notes_are_chosen_evenly() -> None:
    assert evenly(range(100), 3) == [0, 50, 99] or evenly(range(100), 3) == [0, 49, 99]
    assert evenly([5, 7], 3) == [5, 7]
    assert evenly([5, 7], 0) == []
