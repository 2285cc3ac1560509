import keras
import numpy as np
import pytest

from tests.train import tiny
from train import classifier
from train.notes import Note


def note(pitch: int, family: int) -> Note:
    return Note(f"x-{pitch:03}-100", pitch, 100, family, 2, (0,) * 10)


def test_a_semitone_shifts_the_features_by_its_bins() -> None:
    low, high = (classifier.features(tiny.note_audio(pitch, 0.5)).astype(float).mean(1) for pitch in (57, 58))
    assert classifier.features(tiny.note_audio(57, 0.5)).shape == (classifier.BINS, classifier.FRAMES)
    likeness = [np.corrcoef(low[12:-12], np.roll(high, -shift)[12:-12])[0, 1] for shift in range(7)]
    assert np.argmax(likeness) == classifier.BINS_PER_SEMITONE


def test_features_do_not_depend_on_level_and_silence_is_none() -> None:
    audio = tiny.note_audio(60, 0.5)
    loud, soft = classifier.features(audio), classifier.features(0.01 * audio)
    np.testing.assert_allclose(loud.astype(int), soft.astype(int), atol=1)
    assert loud.max() == 255
    assert not classifier.features(np.zeros_like(audio)).any()


def test_the_loudest_bin_is_the_pitch_of_a_sine() -> None:
    for pitch in (21, 60, 107):
        time_s = np.arange(64000) / 16000
        sine = np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time_s).astype(np.float32)
        loudest = classifier.features(sine)[:, 8:24].mean(1).argmax()
        assert loudest == classifier.BINS_PER_SEMITONE * (pitch - classifier.LOWEST)


def test_pitch_and_family_are_learned_and_told_of_new_notes() -> None:
    """Two instruments, told apart by their brightness; every second pitch is new to the classifier."""
    notes = [note(pitch, family) for pitch in range(45, 75) for family in (1, 7)]
    features = np.stack([classifier.features(tiny.note_audio(n.pitch, {1: 0.3, 7: 0.9}[n.instrument_family]))
                         for n in notes])
    bright = np.array([[n.instrument_family == 7] + [0] * 9 for n in notes])
    known = np.array([n.pitch % 3 != 0 for n in notes])
    targets = {name: values[known] for name, values in classifier.labels(notes, bright).items()}
    listener = classifier.train(features[known], targets, epochs=20, batch=8)
    told = classifier.predict(listener, features[~known])
    unseen = [n for n, there in zip(notes, known, strict=True) if not there]
    assert np.mean(told["family"] == [n.instrument_family for n in unseen]) > 0.9
    assert np.mean(told["qualities"] == bright[~known]) > 0.95
    assert np.mean(np.abs(told["pitch"] - [n.pitch for n in unseen]) <= 1) > 0.9  # of pitches it has never heard


def test_pitches_beyond_the_datasets_count_as_its_nearest() -> None:
    targets = classifier.labels([note(12, 0), note(21, 0), note(108, 0), note(120, 0)], np.zeros((4, 10)))
    assert targets["pitch"].tolist() == [0, 0, 87, 87]


@pytest.mark.parametrize("shift", [0, 1])
def test_the_network_moves_with_the_pitch(shift: int) -> None:
    """A spectrum moved up by a semitone moves the pitch logits by one, whatever the weights are."""
    keras.utils.set_random_seed(1)
    model, random = classifier.build(), np.random.default_rng(2)
    picture = np.zeros((1, classifier.BINS, classifier.FRAMES), np.uint8)
    picture[:, 100:160] = random.integers(0, 255, (1, 60, classifier.FRAMES))
    logits = [model.predict(np.roll(picture, s * classifier.BINS_PER_SEMITONE, axis=1), verbose=0)["pitch"][0]
              for s in (0, shift)]
    np.testing.assert_allclose(logits[0][10:70], np.roll(logits[1], -shift)[10:70], atol=1e-4)
