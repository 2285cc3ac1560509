"""Sounds to embeddings: the teacher's encoder as a float LiteRT file, which takes a note; longer sounds in windows."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from device import litert
from device.errors import TetradError
from device.preset import DIMENSIONS, FRAMES, HOP_SAMPLES, NOTE_SAMPLES
from device.spectrum import BINS, STEP_SAMPLES, log_spectrum

FACTORY_ENCODER = Path(__file__).parent / "factory" / "encoder.tflite"
MARGIN_FRAMES = 16  # of a window are context: 64 spectra. The shipped encoder's filters reach over 7 on either side


class Encoder:
    """The encoder of one file; the shipped one unless a path is given."""

    def __init__(self, path: Path | None = None) -> None:
        model = litert.Model(path or FACTORY_ENCODER, (1, NOTE_SAMPLES // STEP_SAMPLES, BINS), (1, FRAMES, DIMENSIONS))
        if model.is_quantized:
            raise TetradError(f"{model.path}: its input is int8, an encoder's is float; is it a decoder?")
        self._model = model
        self.id = model.id

    def embed(self, audio: np.ndarray) -> np.ndarray:
        """A note as `device.recording.as_note` gives it, float32 [64000] -> embedding float32 [125, 16]."""
        return self._model.run(log_spectrum(audio)[None])[0].copy()

    def embed_whole(self, audio: np.ndarray) -> np.ndarray:
        """A sound of any length, float32 [samples] -> embedding float32 [ceil(samples / 512), 16].

        A long sound is embedded as if the file took it whole: windows overlap by more than the filters reach over. A
        sound shorter than a note is embedded as one that silence follows; a note as `embed` does it.
        """
        frames = -(-len(audio) // HOP_SAMPLES)
        total = max(frames, FRAMES)
        spectra = log_spectrum(np.pad(audio, (0, total * HOP_SAMPLES - len(audio))))
        return in_windows(lambda window: self._model.run(window[None])[0].copy(), spectra, total, FRAMES,
                          MARGIN_FRAMES)[:frames]


def in_windows(embed: Callable[[np.ndarray], np.ndarray], inputs: np.ndarray, frames: int, window: int,
               margin: int) -> np.ndarray:
    """The embedding float32 [frames, 16] of inputs [steps, channels], a whole number of steps a frame.

    `embed` is given as many inputs as `window` frames have, or all of them where they are fewer. Windows overlap, so
    that each row has `margin` frames around it, or the sound's own end: it pads there as it would the whole.
    """
    window = min(window, frames)
    steps = len(inputs) // frames
    embedding = np.empty((frames, DIMENSIONS), np.float32)
    for start in [*range(0, frames - window, window - 2 * margin), frames - window]:
        known = margin if start else 0  # the window before this one knows these rows better
        rows = embed(inputs[start * steps : (start + window) * steps])
        embedding[start + known : start + window] = rows[known:]
    return embedding
