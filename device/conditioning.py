"""What the student is fed: the embedding at its own rate and the pitch, laid out as the decoder's tensor."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from device.preset import DIMENSIONS, HOP_SAMPLES
from device.synth import COLUMN_SAMPLES

COLUMNS_A_FRAME = HOP_SAMPLES // COLUMN_SAMPLES  # of the embedding: 2
# The pitch as eight hats, an octave apart and as high as embeddings reach: in one number, or lower, int8 would leave
# too little between two semitones.
HAT_LEVEL = 4.0
HAT_PITCHES = np.arange(24, 109, 12, dtype=np.float32)
CHANNELS = DIMENSIONS + len(HAT_PITCHES)

# A note is cut into segments, laid as rows of one tensor with what the filters reach over on either side: an Edge TPU
# takes no activation as long as a note (quantize/edgetpu.py), and wants few, large invocations. A note takes one, and
# so do body and release of a wavetable (device/sustain.py).
ROWS = 4
SEGMENT_COLUMNS = 68
MARGIN_COLUMNS = 8
COLUMNS = SEGMENT_COLUMNS + 2 * MARGIN_COLUMNS


def hats(pitch: float | np.ndarray) -> np.ndarray:
    """float32 [..., 8]: each MIDI pitch [...] between the two nearest of HAT_PITCHES; 24 to 108, nearest beyond."""
    at = np.clip(np.asarray(pitch, np.float64), HAT_PITCHES[0], HAT_PITCHES[-1])[..., None]
    return (HAT_LEVEL * np.maximum(0, 1 - np.abs(at - HAT_PITCHES) / 12)).astype(np.float32)


@lru_cache(maxsize=4)
def upsampling(frames: int) -> np.ndarray:
    """float32 [2 frames, frames]: linear interpolation from the middles of embedding frames to those of columns."""
    at = (np.arange(frames * COLUMNS_A_FRAME) + 0.5) / COLUMNS_A_FRAME - 0.5
    return np.stack([np.interp(at, np.arange(frames), row) for row in np.eye(frames)], axis=1).astype(np.float32)


def columns(embeddings: np.ndarray) -> np.ndarray:
    """Embeddings [..., frames, 16] -> float32 [..., 2 frames, 16], at the decoder's rate."""
    return np.asarray(upsampling(embeddings.shape[-2]) @ embeddings.astype(np.float32))


def channels(track: np.ndarray, pitch: float | np.ndarray) -> np.ndarray:
    """A track [columns, 16] and the MIDI pitch, or pitches [columns] -> float32 [columns, CHANNELS]."""
    return np.concatenate([track, np.broadcast_to(hats(pitch), (len(track), len(HAT_PITCHES)))], axis=1)


def to_tensors(tracks: Sequence[np.ndarray], before: int = 0, after: int = 0) -> np.ndarray:
    """Channels of several tracks, [columns, CHANNELS] each -> the decoder's inputs [n, ROWS, COLUMNS, CHANNELS], one
    track's segments after the other's; zero is 'no note'.

    The first `before` and the last `after` columns, MARGIN_COLUMNS at most, are only what the filters hear of the rest.
    """
    rows = []
    for track in tracks:
        segments = -(-(len(track) - before - after) // SEGMENT_COLUMNS)
        first = MARGIN_COLUMNS - before
        last = segments * SEGMENT_COLUMNS + MARGIN_COLUMNS + before - len(track)
        padded = np.pad(track, [(first, last), (0, 0)])
        rows += [padded[i * SEGMENT_COLUMNS : i * SEGMENT_COLUMNS + COLUMNS] for i in range(segments)]
    spare = -len(rows) % ROWS
    return np.stack(rows + [np.zeros_like(rows[0])] * spare).reshape(-1, ROWS, COLUMNS, CHANNELS)


def from_tensors(outputs: np.ndarray, lengths: Sequence[int]) -> list[np.ndarray]:
    """The decoder's outputs [n, ROWS, COLUMNS, C] -> columns [length, C] of tracks of these lengths, margins cut."""
    inner = outputs[:, :, MARGIN_COLUMNS : MARGIN_COLUMNS + SEGMENT_COLUMNS].reshape(-1, outputs.shape[-1])
    found, at = [], 0
    for length in lengths:
        found.append(inner[at : at + length])
        at += -(-length // SEGMENT_COLUMNS) * SEGMENT_COLUMNS
    return found
