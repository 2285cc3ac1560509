"""Which notes a listener learns from and which are reconstructed: no instrument is in both, as in NSynth."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from operator import not_
from pathlib import Path

from device.errors import TetradError
from train.crops import is_held_back, open_source, published
from train.embed import Sound, sound_of
from train.instruments import is_test_instrument, test_instruments
from train.notes import Note


@dataclass(frozen=True)
class Part:
    """Some notes of a dataset, and where their sounds are."""

    path: Path  # of the jsonwav folder or the TFRecord itself
    notes: Sequence[Note]

    @cached_property
    def sounds(self) -> list[Sound]:
        return [sound_of(self.path, note) for note in self.notes]


def unheard(part: Part) -> Part:
    """Those notes of a part that no training has heard: of instruments kept for tests, and held back by their names."""
    unseen = test_instruments(part.path)
    return Part(part.path, [note for note in part.notes
                            if note.instrument_str in unseen or is_held_back(note.note_str)])


def whole(path: Path) -> Part:
    source = open_source(path.resolve())
    return Part(source.path, source.notes)


def learned_and_tested(notes: Path, train: Path | None) -> tuple[Part, Part]:
    """The notes to learn from, and those to test on.

    `notes`: NSynth's own folder, with its train and test splits; or notes to test on, with those to learn from in
    `train`; or, without, notes of which the instruments are tested that no training hears (train/instruments.py), or an
    instrument in eight where there is no list of them. Raises TetradError where either is empty.
    """
    found = published(notes, "test")
    if found is not None:
        learned, tested = train or published(notes, "train"), whole(found)
        if learned is None:
            raise TetradError(f"{notes} has {found.name} and no nsynth-train: put it there, or give --train")
        parts = whole(learned), tested
    elif train is not None:
        if train.resolve() == notes.resolve():
            raise TetradError(f"{notes} would be learned from and tested: leave --train out, and an eighth is tested")
        parts = whole(train), whole(notes)
    else:
        every = whole(notes)
        listed = test_instruments(every.path)
        is_tested = [note.instrument_str in listed if listed else is_test_instrument(note.instrument_str)
                     for note in every.notes]
        parts = (Part(every.path, list(compress(every.notes, map(not_, is_tested)))),
                 Part(every.path, list(compress(every.notes, is_tested))))
    if not all(part.notes for part in parts):
        raise TetradError(f"{notes} has too few instruments to test on some and learn from others: give --train")
    return parts
