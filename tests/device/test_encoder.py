"""The encoder around a made-up network, and the shipped one, on sounds of any length."""

from pathlib import Path

import numpy as np
import pytest

from device import litert
from device.encoder import MARGIN_FRAMES, Encoder, in_windows
from device.errors import TetradError
from device.preset import FRAMES, HOP_SAMPLES, NOTE_SAMPLES
from device.spectrum import BINS, SILENCE, STEP_SAMPLES

STEPS = HOP_SAMPLES // STEP_SAMPLES  # spectra a frame
REACH = 7  # spectra on either side that the shipped encoder's filters reach over


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder()


class MadeUp:
    """In place of `litert.Model`: the means of each 14 bands, over REACH spectra on either side of a frame's."""

    is_quantized = False

    def __init__(self, path: Path, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> None:
        assert (input_shape, output_shape) == ((1, STEPS * FRAMES, BINS), (1, FRAMES, 16))
        self.path, self.id = path, "made-up"

    def run(self, x: np.ndarray) -> np.ndarray:
        assert (x.shape, x.dtype) == ((1, STEPS * FRAMES, BINS), np.float32)
        bands = x[0].reshape(STEPS * FRAMES, 16, BINS // 16).mean(axis=2)
        padded = np.pad(bands, [(REACH, REACH), (0, 0)])
        means = [padded[STEPS * i : STEPS * i + STEPS + 2 * REACH].mean(axis=0) for i in range(FRAMES)]
        return np.stack(means)[None].astype(np.float32)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> Encoder:
    monkeypatch.setattr(litert, "Model", MadeUp)
    return Encoder(Path("made-up.tflite"))


def test_a_note_is_embedded_frame_by_frame(made_up: Encoder) -> None:
    note = np.zeros(NOTE_SAMPLES, np.float32)
    note[60 * HOP_SAMPLES :] = scale(4)[60 * HOP_SAMPLES :]
    embedding = made_up.embed(note)
    assert (embedding.shape, embedding.dtype) == ((FRAMES, 16), np.float32)
    assert embedding[20:55] == pytest.approx(np.full((35, 16), SILENCE), abs=1e-3)
    assert (embedding[66:100].max(axis=1) > SILENCE + 0.5).all()


def test_a_whole_sound_is_embedded_as_if_by_one_window(made_up: Encoder) -> None:
    sound = scale(20)
    whole = made_up.embed_whole(sound)
    assert whole.shape == (625, 16)
    assert np.abs(np.diff(whole, axis=0)).max(axis=1).min() > 1e-4  # there is something to compare
    for start in range(0, len(whole) - FRAMES, 31):
        cut = made_up.embed(sound[start * HOP_SAMPLES : start * HOP_SAMPLES + NOTE_SAMPLES])
        np.testing.assert_allclose(whole[start:][6 : FRAMES - 6], cut[6:-6], atol=1e-5)
    np.testing.assert_allclose(whole[-30:], made_up.embed(sound[-NOTE_SAMPLES:])[-30:], atol=1e-5)
    np.testing.assert_array_equal(made_up.embed_whole(sound[:NOTE_SAMPLES]), made_up.embed(sound[:NOTE_SAMPLES]))
    short = sound[:19_000]
    padded = np.pad(short, (0, NOTE_SAMPLES - len(short)))
    np.testing.assert_array_equal(made_up.embed_whole(short), made_up.embed(padded)[:38])


def test_a_network_for_int8_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Whole(MadeUp):
        is_quantized = True

    monkeypatch.setattr(litert, "Model", Whole)
    with pytest.raises(TetradError, match=r"mine\.tflite: its input is int8, an encoder's is float; is it a decoder\?"):
        Encoder(Path("mine.tflite"))


def scale(seconds: float) -> np.ndarray:
    """A rising sweep with a beat, so that no two frames are alike."""
    time_s = np.arange(round(seconds * 16_000)) / 16_000
    sweep = np.sin(2 * np.pi * (100 + 40 * time_s) * time_s)
    return (0.6 * sweep * (0.6 + 0.4 * np.sin(7 * time_s))).astype(np.float32)


def test_a_note_is_embedded_as_a_whole_sound_to_the_same_numbers(encoder: Encoder) -> None:
    note = scale(4)
    assert len(note) == NOTE_SAMPLES
    np.testing.assert_array_equal(encoder.embed_whole(note), encoder.embed(note))


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (512, 1), (513, 2), (63_999, 125), (64_001, 126),
                                                 (100_000, 196), (960_000, 1875)])
def test_a_sound_has_a_row_for_each_32_ms_that_it_begins(encoder: Encoder, samples: int, frames: int) -> None:
    embedding = encoder.embed_whole(scale(60)[:samples])
    assert (embedding.shape, embedding.dtype) == ((frames, 16), np.float32)
    assert np.isfinite(embedding).all()


def test_no_seam_is_heard_where_windows_meet(encoder: Encoder) -> None:
    """Each row of a long sound is that of a note cut anywhere around it."""
    sound = scale(20)
    whole = encoder.embed_whole(sound)
    for start in range(0, len(whole) - FRAMES, 31):
        cut = encoder.embed(sound[start * HOP_SAMPLES : start * HOP_SAMPLES + NOTE_SAMPLES])
        inner = slice(6, FRAMES - 6)  # a spectrum's window and the filters reach over 5 frames
        np.testing.assert_allclose(whole[start:][inner], cut[inner], atol=1e-5)
    np.testing.assert_allclose(whole[-30:], encoder.embed(sound[-NOTE_SAMPLES:])[-30:], atol=1e-5)
    assert np.abs(np.diff(whole, axis=0)).max(axis=1).min() > 1e-3  # there is something to compare


def test_a_short_sound_is_one_that_silence_follows(encoder: Encoder) -> None:
    sound = scale(1.2)
    note = np.pad(sound, (0, NOTE_SAMPLES - len(sound)))
    np.testing.assert_array_equal(encoder.embed_whole(sound), encoder.embed(note)[:38])


@pytest.mark.parametrize("frames", [3, 10, 11, 14, 15, 29, 100])
def test_windows_cover_all_and_know_their_margins(frames: int) -> None:
    """With sums over a reach of 2 frames, zero beyond the ends, instead of a network."""
    inputs = np.random.default_rng(frames).integers(1, 9, (frames * STEPS, 16)).astype(np.float32)

    def embed(x: np.ndarray) -> np.ndarray:
        padded = np.pad(x, ((2 * STEPS, 2 * STEPS), (0, 0)))
        return np.stack([padded[i * STEPS : (i + 5) * STEPS].sum(axis=0) for i in range(len(x) // STEPS)])

    np.testing.assert_array_equal(in_windows(embed, inputs, frames, 10, 2), embed(inputs))


def test_the_margin_is_more_than_the_shipped_encoder_reaches_over(encoder: Encoder) -> None:
    """Sound beyond the margin changes nothing; sound just outside of a row's own samples does."""
    sound = scale(4)
    at = 60
    first = encoder.embed(sound)[at]
    far, near = sound.copy(), sound.copy()
    far[: (at - MARGIN_FRAMES) * HOP_SAMPLES] = 0
    near[: (at - 1) * HOP_SAMPLES] = 0
    np.testing.assert_array_equal(encoder.embed(far)[at], first)
    assert np.abs(encoder.embed(near)[at] - first).max() > 1e-3
