"""What the student is fed: the embedding at control rate and the pitch, laid out as the decoder's tensor."""

from functools import lru_cache

import numpy as np

from device.preset import DIMENSIONS, HOP_SAMPLES
from device.synth import FRAME_SAMPLES, Pitch

CONTROL_FRAMES = HOP_SAMPLES // FRAME_SAMPLES  # of a frame of the embedding: 8
# The pitch as eight hats, an octave apart and as high as embeddings reach: in one number, or lower, int8 would leave
# too little between two semitones.
HAT_LEVEL = 4.0
HAT_PITCHES = np.arange(24, 109, 12, dtype=np.float32)
CHANNELS = DIMENSIONS + len(HAT_PITCHES)

# A note is cut into segments, laid as rows of one tensor with what the filters reach over on either side: an Edge TPU
# takes no activation as long as a note (quantize/edgetpu.py), and wants few, large invocations.
ROWS = 4
SEGMENT_FRAMES = 250
MARGIN_FRAMES = 38
COLUMNS = SEGMENT_FRAMES + 2 * MARGIN_FRAMES


def hats(pitch: Pitch) -> np.ndarray:
    """float32 [..., 8]: each MIDI pitch [...] between the two nearest of HAT_PITCHES; 24 to 108, nearest beyond."""
    at = np.clip(np.asarray(pitch, np.float64), HAT_PITCHES[0], HAT_PITCHES[-1])[..., None]
    return (HAT_LEVEL * np.maximum(0, 1 - np.abs(at - HAT_PITCHES) / 12)).astype(np.float32)


@lru_cache(maxsize=4)
def upsampling(frames: int) -> np.ndarray:
    """float32 [8 frames, frames]: linear interpolation from the middles of embedding frames to control frames."""
    at = (np.arange(frames * CONTROL_FRAMES) * FRAME_SAMPLES - HOP_SAMPLES / 2) / HOP_SAMPLES
    return np.stack([np.interp(at, np.arange(frames), row) for row in np.eye(frames)], axis=1).astype(np.float32)


def channels(embedding: np.ndarray, pitch: Pitch) -> np.ndarray:
    """Embedding [frames, 16] and MIDI pitch, or pitches [frames] -> float32 [8 frames, CHANNELS]."""
    z = upsampling(len(embedding)) @ embedding.astype(np.float32)
    pitches = hats(pitch) if np.ndim(pitch) == 0 else np.repeat(hats(pitch), CONTROL_FRAMES, axis=0)
    return np.concatenate([z, np.broadcast_to(pitches, (len(z), len(HAT_PITCHES)))], axis=1)


def to_tensors(track: np.ndarray) -> np.ndarray:
    """Channels of a note [T, CHANNELS] -> the decoder's inputs [n, ROWS, COLUMNS, CHANNELS]; zero is 'no note'."""
    segments = -(-len(track) // SEGMENT_FRAMES)
    tensors = -(-segments // ROWS)
    length = tensors * ROWS * SEGMENT_FRAMES
    padded = np.pad(track, [(MARGIN_FRAMES, length - len(track) + MARGIN_FRAMES), (0, 0)])
    rows = [padded[i * SEGMENT_FRAMES : i * SEGMENT_FRAMES + COLUMNS] for i in range(tensors * ROWS)]
    return np.stack(rows).reshape(tensors, ROWS, COLUMNS, -1)


def from_tensors(outputs: np.ndarray, frames: int) -> np.ndarray:
    """The decoder's outputs [n, ROWS, COLUMNS, C] -> the note's controls [frames, C], the margins cut off."""
    inner = outputs[:, :, MARGIN_FRAMES : MARGIN_FRAMES + SEGMENT_FRAMES]
    return inner.reshape(-1, outputs.shape[-1])[:frames]
