"""Which instruments are learned from, and which only tested: trainings and evaluations keep to one list."""

from pathlib import Path

import pytest

from device.errors import TetradError
from tests.train import tiny
from train import crops, instruments, split

NAMES = [f"reed_synthetic_{number:03}" for number in range(3)]


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Of three instruments, of which the second is for tests."""
    folder = tiny.write_notes(tmp_path / "notes", range(48, 60))
    (folder / instruments.LIST).write_text(f"{NAMES[1]}\nflute_acoustic_999\n")
    return folder


def names(part: split.Part) -> set[str]:
    return {note.instrument_str for note in part.notes}


def test_no_training_hears_an_instrument_of_the_list(notes: Path) -> None:
    assert {note.instrument_str for note in crops.Notes(notes).notes} == {NAMES[0], NAMES[2]}
    (notes / instruments.LIST).unlink()
    assert {note.instrument_str for note in crops.Notes(notes).notes} == set(NAMES)
    (notes / instruments.LIST).write_text("\n".join(NAMES))
    with pytest.raises(TetradError, match="held back from training, or for tests"):
        crops.Notes(notes)


def test_an_evaluation_tests_the_instruments_of_the_list(notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split, "is_test_instrument", lambda name: name == NAMES[2])  # the rule says another
    learned, tested = split.learned_and_tested(notes, None)
    assert (names(learned), names(tested)) == ({NAMES[0], NAMES[2]}, {NAMES[1]})
    assert (len(learned.notes), len(tested.notes)) == (24, 12)
    assert names(learned) == {note.instrument_str for note in crops.Notes(notes).notes}


@pytest.mark.parametrize("left", ["no list", "an empty list"])
def test_without_a_list_the_rule_holds(notes: Path, monkeypatch: pytest.MonkeyPatch, left: str) -> None:
    monkeypatch.setattr(split, "is_test_instrument", lambda name: name == NAMES[2])
    (notes / instruments.LIST).unlink()
    if left == "an empty list":
        (notes / instruments.LIST).touch()
    learned, tested = split.learned_and_tested(notes, None)
    assert (names(learned), names(tested)) == (set(NAMES[:2]), {NAMES[2]})


def test_a_list_of_all_or_of_others_leaves_nothing_to_learn_from_or_to_test(notes: Path) -> None:
    for listed in ("\n".join(NAMES), "flute_acoustic_999"):
        (notes / instruments.LIST).write_text(listed)
        with pytest.raises(TetradError, match=f"{notes} has too few instruments"):
            split.learned_and_tested(notes, None)


def test_notes_to_learn_from_that_are_given_are_taken_whole(notes: Path, tmp_path: Path) -> None:
    other = tiny.write_notes(tmp_path / "other", range(48, 50))
    learned, tested = split.learned_and_tested(other, notes)
    assert (names(learned), names(tested)) == (set(NAMES), set(NAMES))


def test_a_file_of_notes_has_no_list(notes: Path) -> None:
    assert instruments.test_instruments(notes / "examples.json") == frozenset()
    assert instruments.test_instruments(notes.parent) == frozenset()
