"""Quantization-aware fine-tuning of a student: it learns to sound in int8 as it did in float.

The student is rebuilt with explicit fake-quantization nodes round every convolution and every activation, which the
converter takes for the tensors' real ranges (Jacob et al. 2018, arXiv 1712.05877). What it learns from is itself: the
float student's controls for embeddings of notes, so neither recordings nor synthesis are needed.
"""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from device import conditioning, console, synth
from train.student import StudentConfig, level

BATCH = 16  # segments
LEARNING_RATE, RANGE_RATE = 1e-4, 2e-3
LOUDNESS_WEIGHT = 30.0  # of the levels' error in power beside the controls' own: the loud ones make what is heard
CALIBRATED = 64  # segments whose largest and smallest values the ranges begin with
STEP = 256  # of an int8 range
# Skips that are summed in one convolution, whose sums have 32 bits, instead of one by one in 8. An Edge TPU's rows hold
# no more of them side by side (quantize/edgetpu.py).
SUMMED = 2
SQUASHED = (-1.0, 1 - 2 / STEP)  # the range that LiteRT gives to a tanh
# The stack's sums reach 200, where a tanh is flat from 4 on: with all of that in 256 steps, none would be left below.
BEFORE_SQUASHING = {"dilated": 12.0, "sum": 8.0}


class FakeQuantized(tf.Module):
    """The student of a configuration, with weights and ranges of its own; float32 in and out."""

    def __init__(self, student: keras.Model, config: StudentConfig) -> None:
        super().__init__()
        self.config = config
        self.weights_of = {layer.name: [tf.Variable(w, name=f"{layer.name}_{i}")
                                        for i, w in enumerate(layer.get_weights())]
                           for layer in student.layers if layer.get_weights()}
        self.ranges: dict[str, tf.Variable] = {}
        self.seen: dict[str, tuple[float, float]] | None = {}  # while it calibrates

    def calibrate(self, inputs: np.ndarray) -> None:
        """Takes the ranges of all activations from inputs [n, 1, COLUMNS, CHANNELS]."""
        self.seen = {}
        self(tf.constant(inputs))
        for name, (low, high) in self.seen.items():
            most = BEFORE_SQUASHING.get(name.partition("_")[0], np.inf)
            low, high = max(low, -most), min(high, most)
            self.ranges[name] = tf.Variable([min(low, -1e-3), max(high, 1e-3)], name=f"range_{name}", dtype=tf.float32)
        self.seen = None

    def _activation(self, x: tf.Tensor, name: str, fixed: tuple[float, float] | None = None) -> tf.Tensor:
        if fixed:
            return tf.quantization.fake_quant_with_min_max_args(x, *fixed)
        if self.seen is not None:
            self.seen[name] = float(tf.reduce_min(x)), float(tf.reduce_max(x))
            return x
        return tf.quantization.fake_quant_with_min_max_vars(x, self.ranges[name][0], self.ranges[name][1])

    def _convolution(self, x: tf.Tensor, *names: str, dilation: int = 1) -> tf.Tensor:
        """The sum of several convolutions of a part of the channels each; of one, that one's."""
        kernels, biases = zip(*(self.weights_of[name] for name in names), strict=True)
        kernel, bias = tf.concat(kernels, axis=2), tf.add_n(biases)
        reach = tf.maximum(tf.reduce_max(tf.abs(kernel), axis=(0, 1, 2)), 1e-6)
        # narrow: symmetric about 0, as LiteRT wants weights, -127 to 127
        kernel = tf.quantization.fake_quant_with_min_max_vars_per_channel(kernel, -reach, reach, narrow_range=True)
        return tf.nn.conv2d(x, kernel, 1, "SAME", dilations=[1, 1, dilation, 1]) + bias

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """(B, rows, columns, CHANNELS) -> controls (B, rows, columns, FRAMES_A_COLUMN * CONTROLS)."""
        x = self._activation(x, "conditioning")
        frames = synth.FRAMES_A_COLUMN
        h = as_frames(self._activation(self._convolution(x, "start"), "start"), frames)
        skips = []
        for i in range(self.config.layers):
            d = self._activation(self._convolution(h, f"dilated_{i}", dilation=2 ** (i % self.config.cycle)),
                                 f"dilated_{i}")
            c = as_frames(self._activation(self._convolution(x, f"condition_{i}"), f"condition_{i}"), frames)
            gate, filtered = tf.split(self._activation(d + c, f"sum_{i}"), 2, axis=-1)
            gate = self._activation(tf.sigmoid(gate), "", (0.0, 1 - 1 / STEP))  # the ranges that LiteRT's ops have
            filtered = self._activation(tf.tanh(filtered), "", SQUASHED)
            gated = self._activation(gate * filtered, "", SQUASHED)
            skips.append(gated)
            if i < self.config.layers - 1:
                r = self._activation(self._convolution(gated, f"residual_{i}"), f"residual_{i}")
                h = self._activation(h + r, f"hidden_{i}")
        skip = None
        for first in range(0, len(skips), SUMMED):
            s = self._convolution(tf.concat(skips[first : first + SUMMED], axis=-1),
                                  *(f"skip_{i}" for i in range(self.config.layers)[first : first + SUMMED]))
            s = self._activation(s, f"skip_{first}")
            skip = s if skip is None else self._activation(skip + s, f"skips_{first}")
        y = self._activation(tf.nn.relu(skip), "relu")
        y = self._activation(tf.nn.relu(self._convolution(y, "out")), "out")
        y = self._activation(tf.nn.relu6(self._convolution(y, "controls")), "", (0.0, synth.CONTROL_TOP))
        return as_frames(y, 1 / frames)

    @property
    def weights(self) -> list[tf.Variable]:
        return [variable for pair in self.weights_of.values() for variable in pair]


def as_frames(x: tf.Tensor, frames: float) -> tf.Tensor:
    """`train.student.Frames`, of a tensor whose rows and columns are known."""
    batch, rows, columns, channels = x.shape
    return tf.reshape(x, (batch or -1, rows, int(columns * frames), int(channels / frames)))


def fine_tune(student: keras.Model, config: StudentConfig, inputs: np.ndarray, steps: int, seed: int = 0,
              ) -> Callable[[tf.Tensor], tf.Tensor]:
    """The student as a function of the decoder's input tensor with fake quantization, tuned so many steps.

    inputs: the decoder's, of notes, float32 [..., COLUMNS, CHANNELS].
    """
    segments = inputs.reshape(-1, 1, conditioning.COLUMNS, conditioning.CHANNELS)
    segments = segments[np.abs(segments).sum(axis=(1, 2, 3)) > 0]
    random = np.random.default_rng(seed)
    quantized = FakeQuantized(student, config)
    quantized.calibrate(segments[random.choice(len(segments), min(CALIBRATED, len(segments)), replace=False)])
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, max(steps, 1))
    optimizer, ranges = keras.optimizers.Adam(rate), keras.optimizers.Adam(RANGE_RATE)
    optimizer.build(quantized.weights)
    ranges.build(list(quantized.ranges.values()))

    @tf.function
    def step(x: tf.Tensor) -> tf.Tensor:
        wanted = student(x, training=False)
        with tf.GradientTape(persistent=True) as tape:
            loss = difference(quantized(x), wanted)
        optimizer.apply_gradients(zip(tape.gradient(loss, quantized.weights), quantized.weights, strict=True))
        held = list(quantized.ranges.values())
        ranges.apply_gradients([(tf.zeros_like(v) if g is None else g, v)
                                for g, v in zip(tape.gradient(loss, held), held, strict=True)])
        return loss

    with console.progress("fine-tuning for int8", steps) as bar:
        for _ in range(steps):
            picked = random.integers(0, len(segments), BATCH)
            loss = step(tf.constant(segments[picked].astype(np.float32)))
            bar.advance()
            bar.note(f"loss {float(loss):.4f}")
    return quantized


def difference(controls: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    """How far controls are off: as levels in dB, and as power relative to the wanted sound's."""
    inner = slice(conditioning.MARGIN_COLUMNS, -conditioning.MARGIN_COLUMNS)
    a, b = controls[:, :, inner], wanted[:, :, inner]
    x, y = level(a), level(b)
    power = tf.reduce_sum(tf.square(x - y), axis=(1, 2, 3)) / (tf.reduce_sum(tf.square(y), axis=(1, 2, 3)) + 1e-6)
    return tf.reduce_mean(tf.abs(a - b)) + LOUDNESS_WEIGHT * tf.reduce_mean(tf.minimum(power, 1.0))
