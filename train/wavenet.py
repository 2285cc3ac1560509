"""The WaveNet autoencoder of NSynth (Engel et al., 2017, arXiv 1704.01279): one class, its configurations as data.

A temporal encoder turns a sound into an embedding of 16 numbers each 512 samples; an autoregressive WaveNet, biased
by the embedding, predicts each next sample as one of 256 mu-law levels. Plain Keras 3: every backend runs it.
"""

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops

from device.spectrum import BINS, SILENCE, STEP_SAMPLES
from train import mulaw

FILTER = 3  # taps of every dilated convolution


@dataclass(frozen=True)
class Config:
    """Shape and training of an autoencoder. `*_cycle`: layers after which the dilations 1, 2, 4 ... start again."""

    name: str
    encoder_input: str  # "samples": mu-law samples / 128, as published; "spectrum": device.spectrum's frames
    encoder_width: int
    encoder_layers: int
    encoder_cycle: int
    decoder_width: int
    decoder_skip: int
    decoder_layers: int
    decoder_cycle: int
    pitch_dimensions: int  # of a learned vector for the MIDI pitch, beside the embedding; 0: no pitch, as published
    crop_samples: int
    batch: int
    learning_rates: tuple[tuple[int, float], ...]  # (from this step on, rate)
    average_decay: float  # of the weights' moving average
    steps: int
    dimensions: int = 16
    hop_samples: int = 512
    initializer: str = "glorot_uniform"  # of the convolutions' kernels, by Keras' name
    gradient_norm: float = 1.0  # to which the gradient is clipped; 0: it is not
    precision: str = "float32"  # Keras' dtype policy in training; weights are float32 in each

    @property
    def encoder_step_samples(self) -> int:
        return STEP_SAMPLES if self.encoder_input == "spectrum" else 1


CONFIGS = {
    # h512_bo16 of the paper: 59,827,712 parameters in what generates, 262,656 of them in a last residual layer that
    # reaches no output, and is left out here.
    "nsynth": Config(
        name="nsynth", encoder_input="samples", encoder_width=128, encoder_layers=30, encoder_cycle=10,
        decoder_width=512, decoder_skip=256, decoder_layers=30, decoder_cycle=10, pitch_dimensions=0,
        crop_samples=6144, batch=32, average_decay=0.9999, steps=200_000,
        learning_rates=((0, 2e-4), (90_000, 4e-4 / 3), (120_000, 6e-5), (150_000, 4e-5), (180_000, 2e-5)),
        initializer="lecun_uniform", gradient_norm=0.0,
    ),
    # What two cores can teach in an hour. The encoder starts from a spectrum, so that its layers need not learn one.
    "small": Config(
        name="small", encoder_input="spectrum", encoder_width=256, encoder_layers=4, encoder_cycle=2,
        decoder_width=32, decoder_skip=64, decoder_layers=20, decoder_cycle=10, pitch_dimensions=16,
        crop_samples=5120, batch=8, average_decay=0.998, steps=4000,
        learning_rates=((0, 2e-3), (2000, 1e-3), (3200, 3e-4)),
    ),
}  # fmt: skip


class Conv1D(layers.Conv1D):  # the name stays: files of weights know layers by it
    """Conv1D; trained on a processor, as a matrix product a tap: the same numbers in about half of the time, for its
    libraries know the gradients of dilated convolutions less well than products."""

    def call(self, inputs: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:  # (B, T, C)
        if not training or not keras.distribution.list_devices()[0].startswith("cpu"):
            return super().call(inputs)
        reach = (self.kernel_size[0] - 1) * self.dilation_rate[0]
        left = reach if self.padding == "causal" else reach // 2
        pads = reach and self.padding != "valid"
        padded = ops.pad(inputs, [(0, 0), (left, reach - left), (0, 0)]) if pads else inputs
        total = self.bias
        for tap in range(self.kernel_size[0]):
            start = tap * self.dilation_rate[0]
            total = total + ops.tensordot(padded[:, start : start - reach or None], self.kernel[tap], axes=1)
        return total


def build_encoder(config: Config) -> keras.Model:
    """The temporal encoder, non-causal: frames (B, T / step, 1 or BINS) -> embedding (B, T / 512, 16).

    Published, every layer pads with zeros. A spectrum is padded once, with silence, so that a sound's first and last
    frames are embedded as those of a sound that silence surrounds.
    """
    padded = config.encoder_input == "spectrum"

    def convolution(channels: int, taps: int, name: str, dilation: int = 1) -> keras.Layer:
        return Conv1D(channels, taps, padding="valid" if padded else "same", dilation_rate=dilation, name=name,
                      kernel_initializer=config.initializer)

    x = keras.Input((None, BINS if padded else 1), name="frames")
    dilations = [2 ** (i % config.encoder_cycle) for i in range(config.encoder_layers)]
    reach = FILTER // 2 + sum(dilations)
    h = ops.pad(x, [(0, 0), (reach, reach), (0, 0)], constant_values=SILENCE) if padded else x
    h = convolution(config.encoder_width, FILTER, "start")(h)  # (B, T', W)
    for i, dilation in enumerate(dilations):
        d = layers.ReLU()(h)
        d = convolution(config.encoder_width, FILTER, f"dilated_{i}", dilation)(d)
        d = convolution(config.encoder_width, 1, f"residual_{i}")(layers.ReLU()(d))
        h = layers.Add()([h[:, dilation:-dilation] if padded else h, d])
    z = convolution(config.dimensions, 1, "bottleneck")(h)
    z = layers.AveragePooling1D(config.hop_samples // config.encoder_step_samples)(z)  # (B, T / 512, 16)
    return keras.Model(x, z, name="encoder")


def build_decoder(config: Config) -> keras.Model:
    """The causal WaveNet: samples (B, T, 1) in [-1, 1), embedding (B, T / 512, 16), pitch (B,) where it is conditioned
    -> logits (B, T, 256) of each sample, given those before it."""
    x = keras.Input((None, 1), name="samples")
    embedding = keras.Input((None, config.dimensions), name="embedding")
    inputs, condition = [x, embedding], embedding
    if config.pitch_dimensions:
        pitch = keras.Input((), dtype="int32", name="pitch")
        inputs.append(pitch)
        vector = layers.Embedding(128, config.pitch_dimensions, name="pitch_vector")(pitch)[:, None, :]
        frames = layers.Dense(config.pitch_dimensions, use_bias=False, name="pitch_condition")(vector)
        ones = ops.ones_like(embedding[..., :1])
        condition = layers.Concatenate()([embedding, frames * ones])  # (B, T / 512, 16 + pitch)

    def convolution(channels: int, taps: int, name: str, dilation: int = 1, dtype: str | None = None) -> keras.Layer:
        return Conv1D(channels, taps, padding="causal", dilation_rate=dilation, name=name, dtype=dtype,
                      kernel_initializer=config.initializer)

    def bias(channels: int, name: str) -> keras.KerasTensor:
        # The 1x1 runs before the upsampling: the same numbers at a 512th of the cost.
        return layers.UpSampling1D(config.hop_samples)(convolution(channels, 1, name)(condition))

    width, skip_width = config.decoder_width, config.decoder_skip
    shifted = layers.ZeroPadding1D((1, 0))(x)[:, :-1]  # a sample may not see itself
    h = convolution(width, FILTER, "start")(shifted)  # (B, T, W)
    skip = convolution(skip_width, 1, "skip_start")(h)
    for i in range(config.decoder_layers):
        d = convolution(2 * width, FILTER, f"dilated_{i}", 2 ** (i % config.decoder_cycle))(h)
        d = d + bias(2 * width, f"condition_{i}")
        gated = ops.sigmoid(d[..., :width]) * ops.tanh(d[..., width:])
        if i < config.decoder_layers - 1:  # the last one would reach no output
            h = h + convolution(width, 1, f"residual_{i}")(gated)
        skip = skip + convolution(skip_width, 1, f"skip_{i}")(gated)
    y = convolution(skip_width, 1, "out")(ops.relu(skip)) + bias(skip_width, "condition_out")
    logits = convolution(mulaw.LEVELS, 1, "logits", dtype="float32")(ops.relu(y))  # (B, T, 256), for a softmax
    return keras.Model(inputs, logits, name="decoder")


class WaveNetAutoencoder:
    """Encoder and decoder of one configuration."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.encoder = build_encoder(config)
        self.decoder = build_decoder(config)

    def rescale_embedding(self, divisors: np.ndarray) -> None:
        """Divides each of the embedding's numbers by one of `divisors` (16,); the decoder's output stays the same."""
        bottleneck = self.encoder.get_layer("bottleneck")
        bottleneck.set_weights([w / divisors for w in bottleneck.get_weights()])
        for layer in self.decoder.layers:
            if layer.name.startswith("condition_"):
                kernel, bias = layer.get_weights()
                kernel[:, : self.config.dimensions] *= divisors[:, None]
                layer.set_weights([kernel, bias])

    def logits(self, samples: keras.KerasTensor, embedding: keras.KerasTensor, pitch: keras.KerasTensor,
               ) -> keras.KerasTensor:
        """(B, T, 1), (B, T / 512, 16), (B,) -> (B, T, 256); the pitch is left out where it is not conditioned."""
        inputs = [samples, embedding] + ([pitch] if self.config.pitch_dimensions else [])
        return self.decoder([ops.convert_to_tensor(x) for x in inputs])  # Keras takes no arrays beside tensors


def cross_entropy(codes: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
    """Mean nats a sample, (B,): mu-law codes (B, T) in [-128, 127] against logits (B, T, 256)."""
    losses = ops.sparse_categorical_crossentropy(ops.cast(codes, "int32") + 128, logits, from_logits=True)
    return ops.mean(losses, axis=-1)
