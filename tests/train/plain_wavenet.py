"""The decoder of train/wavenet.py as its formulas stand, whole and in float64: what the sampler is held against."""

import numpy as np

from train.sampler import layers_of
from train.wavenet import FILTER, Config, WaveNetAutoencoder

Weights = dict[str, tuple[np.ndarray, np.ndarray]]  # name -> kernel [taps, inputs, outputs], bias


def weights_of(autoencoder: WaveNetAutoencoder) -> Weights:
    layers = {layer.name: layer for layer in autoencoder.decoder.layers}
    return {name: tuple(np.asarray(w) for w in layers[name].get_weights()) for name in layers_of(autoencoder.config)}


def random_weights(config: Config, channels: int, random: np.random.Generator) -> Weights:
    """Such that activations stay of size 1; `channels` are those of the condition."""
    width, skip = config.decoder_width, config.decoder_skip
    shapes = {"start": (FILTER, 1, width), "skip_start": (1, width, skip), "condition_out": (1, channels, skip),
              "out": (1, skip, skip), "logits": (1, skip, 256)}
    for i in range(config.decoder_layers):
        shapes |= {f"dilated_{i}": (FILTER, width, 2 * width), f"condition_{i}": (1, channels, 2 * width),
                   f"residual_{i}": (1, width, width), f"skip_{i}": (1, width, skip)}

    def draw(*shape: int) -> np.ndarray:
        return random.standard_normal(shape).astype(np.float32)

    return {name: (draw(*shapes[name]) / np.float32(np.sqrt(np.prod(shapes[name][:2]))), 0.3 * draw(shapes[name][2]))
            for name in layers_of(config)}


def logits(config: Config, weights: Weights, codes: np.ndarray, conditions: np.ndarray) -> np.ndarray:
    """Codes [B, T] and conditions [B, frames, channels] -> float64 [B, T, 256] of each sample, given those before."""

    def convolution(name: str, x: np.ndarray, dilation: int = 1) -> np.ndarray:
        kernel, bias = weights[name]
        reach = (len(kernel) - 1) * dilation
        padded = np.pad(x, [(0, 0), (reach, 0), (0, 0)])
        return bias + sum(padded[:, tap * dilation : tap * dilation + x.shape[1]] @ kernel[tap].astype(np.float64)
                          for tap in range(len(kernel)))

    def condition(name: str) -> np.ndarray:
        return np.repeat(convolution(name, conditions), config.hop_samples, axis=1)[:, : codes.shape[1]]

    before = np.pad(codes, [(0, 0), (1, 0)])[:, :-1, None] / 128.0
    h = convolution("start", before)
    skip = convolution("skip_start", h)
    for i in range(config.decoder_layers):
        d = convolution(f"dilated_{i}", h, 2 ** (i % config.decoder_cycle)) + condition(f"condition_{i}")
        a, b = np.split(d, 2, axis=2)
        gated = np.tanh(b) / (1 + np.exp(-a))
        if i < config.decoder_layers - 1:
            h = h + convolution(f"residual_{i}", gated)
        skip = skip + convolution(f"skip_{i}", gated)
    y = convolution("out", np.maximum(skip, 0)) + condition("condition_out")
    return convolution("logits", np.maximum(y, 0))
