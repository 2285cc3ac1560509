"""The teacher's own samples: one at a time, each layer's past kept, so that a sample costs O(layers).

After the fast generation of Paine et al. 2016 (arXiv 1611.09482). NumPy, for batches of notes: what Python costs a
step is shared by all of them.
"""

from collections.abc import Callable

import numpy as np

from train import mulaw
from train.wavenet import FILTER, WaveNetAutoencoder


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * x))


class Sampler:
    """Steps a batch of notes through the decoder."""

    def __init__(self, autoencoder: WaveNetAutoencoder, embeddings: np.ndarray, pitches: np.ndarray) -> None:
        """embeddings (B, F, 16), MIDI pitches (B,)."""
        self.config = config = autoencoder.config
        self._weights = {layer.name: [np.asarray(w) for w in layer.get_weights()]
                         for layer in autoencoder.decoder.layers if layer.get_weights()}
        condition = embeddings.astype(np.float32)  # (B, F, 16)
        if config.pitch_dimensions:
            vector = self._weights["pitch_vector"][0][pitches] @ self._weights["pitch_condition"][0]
            frames = np.broadcast_to(vector[:, None], (*condition.shape[:2], vector.shape[-1]))
            condition = np.concatenate([condition, frames], axis=-1)
        names = [f"condition_{i}" for i in range(config.decoder_layers)] + ["condition_out"]
        self._biases = {name: self._pointwise(name, condition) for name in names}  # (B, F, channels)
        batch = len(embeddings)
        self._time = 0
        self._inputs = np.zeros((batch, FILTER), np.float32)  # the last samples, the newest last
        self._past = [np.zeros(((FILTER - 1) * self._dilation(i), batch, config.decoder_width), np.float32)
                      for i in range(config.decoder_layers)]
        self._taps = [np.concatenate(list(self._weights[f"dilated_{i}"][0]), axis=0)  # (3 W, 2 W)
                      for i in range(config.decoder_layers)]

    def _dilation(self, layer: int) -> int:
        return int(2 ** (layer % self.config.decoder_cycle))

    def _pointwise(self, name: str, x: np.ndarray) -> np.ndarray:
        kernel, bias = self._weights[name]
        return x @ kernel[0] + bias

    def logits(self) -> np.ndarray:
        """(B, 256) of the next sample."""
        config, frame = self.config, self._time // self.config.hop_samples
        kernel, bias = self._weights["start"]
        h = self._inputs @ kernel[:, 0] + bias  # (B, W)
        skip = self._pointwise("skip_start", h)
        for i, past in enumerate(self._past):
            oldest = self._time % len(past)
            middle = (self._time - self._dilation(i)) % len(past)
            taps = np.concatenate([past[oldest], past[middle], h], axis=-1)  # (B, 3 W)
            d = taps @ self._taps[i] + self._weights[f"dilated_{i}"][1] + self._biases[f"condition_{i}"][:, frame]
            past[oldest] = h
            gated = sigmoid(d[:, : config.decoder_width]) * np.tanh(d[:, config.decoder_width :])
            if i < config.decoder_layers - 1:
                h = h + self._pointwise(f"residual_{i}", gated)
            skip = skip + self._pointwise(f"skip_{i}", gated)
        y = self._pointwise("out", np.maximum(skip, 0)) + self._biases["condition_out"][:, frame]
        return self._pointwise("logits", np.maximum(y, 0))

    def feed(self, codes: np.ndarray) -> None:
        """Takes the samples (B,) that were chosen, mu-law codes, and goes on to the next."""
        self._inputs = np.concatenate([self._inputs[:, 1:], (codes / 128)[:, None].astype(np.float32)], axis=1)
        self._time += 1


def draw(logits: np.ndarray, random: np.random.Generator, temperature: float) -> np.ndarray:
    """One mu-law code in [-128, 127] a row of logits (B, 256)."""
    p = np.exp((logits - logits.max(-1, keepdims=True)) / temperature)
    cumulative = np.cumsum(p, axis=-1)
    chosen = (cumulative < random.random((len(p), 1)) * cumulative[:, -1:]).sum(-1)
    return np.minimum(chosen, mulaw.LEVELS - 1) - 128


def generate(autoencoder: WaveNetAutoencoder, embeddings: np.ndarray, pitches: np.ndarray, samples: int, seed: int = 0,
             temperature: float = 1.0, advance: Callable[[float], None] = lambda steps: None) -> np.ndarray:
    """Embeddings (B, F, 16) and MIDI pitches (B,) -> mu-law codes int16 (B, samples), samples <= 512 F."""
    sampler, random = Sampler(autoencoder, embeddings, pitches), np.random.default_rng(seed)
    codes = np.empty((len(embeddings), samples), np.int16)
    for t in range(samples):
        codes[:, t] = draw(sampler.logits(), random, temperature)
        sampler.feed(codes[:, t])
        if (t + 1) % 100 == 0:
            advance(100)
    return codes
