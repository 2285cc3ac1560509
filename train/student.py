"""The student: a feed-forward WaveNet at control rate, and the differentiable twin of `device.synth`.

Gated, dilated, residual and skip layers as in WaveNet, run once over a whole note at 250 Hz instead of once a sample at
16 kHz; each step puts out levels of partials and noise bands, which the host turns into sound (as in DDSP, Engel et al.
2020). What goes in and what comes out are columns at 62.5 Hz, of four steps each: the conditioning is no faster, and a
short tensor with many channels is what an Edge TPU moves best. Convolutions are (1, k) kernels over [rows, columns].
"""

import math
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops
from librosa.filters import mel

from device import conditioning, synth
from device.preset import SAMPLE_RATE_HZ


@dataclass(frozen=True)
class StudentConfig:
    """Shape of the student."""

    width: int = 192
    layers: int = 8
    cycle: int = 4  # layers after which the dilations 1, 2, 4, 8 start again

    @property
    def reach_columns(self) -> int:
        """Columns that the filters reach over, on either side."""
        return math.ceil(sum(2 ** (i % self.cycle) for i in range(self.layers)) / synth.FRAMES_A_COLUMN)


class Conv2D(layers.Conv2D):  # the name stays: files of weights know layers by it
    """Conv2D of kernels (1, k) that keep the size; trained on a processor as one matrix product of all taps side by
    side: the same numbers several times sooner, above all in bfloat16."""

    def call(self, inputs: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:  # (B, rows, columns, C)
        if not training or not keras.distribution.list_devices()[0].startswith("cpu"):
            return super().call(inputs)
        taps, dilation = self.kernel_size[1], self.dilation_rate[1]
        reach = (taps - 1) * dilation
        padded = ops.pad(inputs, [(0, 0), (0, 0), (reach // 2, reach // 2), (0, 0)])
        columns = ops.shape(inputs)[2]
        beside = [padded[:, :, i * dilation : i * dilation + columns] for i in range(taps)]
        stacked = ops.concatenate(beside, axis=-1) if taps > 1 else inputs
        product = ops.matmul(stacked, ops.reshape(self.kernel[0], (-1, self.filters)))
        return self.activation(product + self.bias)


class Frames(layers.Layer):
    """The frames of each column, which lie one after the other in its channels, as columns of their own; a number of
    them below 1 puts them together again. No more than another view of the same numbers."""

    def __init__(self, frames: float, dtype: str | None = None) -> None:
        super().__init__(dtype=dtype)
        self.frames = frames

    def compute_output_shape(self, shape: tuple) -> tuple:
        batch, rows, columns, channels = shape
        return batch, rows, columns and int(columns * self.frames), int(channels / self.frames)

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        batch, rows, columns, channels = ops.shape(inputs)
        columns = int(columns * self.frames) if isinstance(columns, int) else -1
        return ops.reshape(inputs, (batch, rows, columns, int(channels / self.frames)))


def build_student(config: StudentConfig, rows: int | None = None, columns: int | None = None,
                  batch: int | None = None) -> keras.Model:
    """(B, rows, columns, CHANNELS) -> controls in [0, 6], (B, rows, columns, FRAMES_A_COLUMN * CONTROLS), the frames of
    a column one after the other. Rows do not see each other."""
    width = config.width
    x = keras.Input((rows, columns, conditioning.CHANNELS), batch_size=batch, name="conditioning")
    frames = synth.FRAMES_A_COLUMN
    h = Frames(frames)(Conv2D(frames * width, (1, 1), name="start")(x))
    skip = None
    for i in range(config.layers):
        # One convolution of twice the width, split: two on the same input would bring SPACE_TO_BATCH_ND back.
        d = Conv2D(2 * width, (1, 3), padding="same", dilation_rate=(1, 2 ** (i % config.cycle)),
                   name=f"dilated_{i}")(h)
        d = d + Frames(frames)(Conv2D(frames * 2 * width, (1, 1), name=f"condition_{i}")(x))
        gate, filtered = ops.split(d, 2, axis=-1)
        gated = ops.sigmoid(gate) * ops.tanh(filtered)
        s = Conv2D(width, (1, 1), name=f"skip_{i}")(gated)
        skip = s if skip is None else skip + s
        if i < config.layers - 1:
            h = h + Conv2D(width, (1, 1), name=f"residual_{i}")(gated)
    y = Conv2D(width, (1, 1), activation="relu", name="out")(ops.relu(skip))
    # ReLU6 bounds the controls, so that int8 spends its 256 steps on levels that can be heard.
    y = Conv2D(synth.CONTROLS, (1, 1), activation="relu6", name="controls", dtype="float32",
               bias_initializer=keras.initializers.Constant(3.0))(y)
    return keras.Model(x, Frames(1 / frames, dtype="float32")(y), name="student")


def level(control: keras.KerasTensor) -> keras.KerasTensor:
    """`device.synth.level`, differentiable."""
    decade = float(np.log(10.0) / 20.0 * synth.RANGE_DB)
    return ops.exp((control / synth.CONTROL_TOP - 1.0) * decade) - float(np.exp(-decade))


def synthesize(controls: keras.KerasTensor, starts: keras.KerasTensor, steps: keras.KerasTensor,
               ratios: keras.KerasTensor, audible: keras.KerasTensor, noise_real: keras.KerasTensor,
               noise_imag: keras.KerasTensor) -> keras.KerasTensor:
    """`device.synth.synthesize` for crops of notes whose pitch may move, differentiable.

    controls (B, F + 1, CONTROLS); starts (B, F, PARTIALS), each partial's phase in turns at the start of a frame; steps
    (B, F), turns a sample of the fundamental; ratios (B, PARTIALS) of the partials to it; audible (B, PARTIALS) of 0
    and 1; noise spectra (B, F + 1, BANDS) -> audio (B, F * 64).
    """
    frame = synth.FRAME_SAMPLES
    frames = starts.shape[1]
    levels = level(controls)
    a = levels[..., : synth.PARTIALS] * audible[:, None, :]  # (B, F + 1, K)
    rate = steps[:, :, None] * ratios[:, None, :]  # (B, F, K)
    theta = starts[..., None] + rate[..., None] * np.arange(frame, dtype=np.float32)  # (B, F, K, 64)
    sines = ops.sin(2 * np.pi * (theta - ops.floor(theta)))
    ends = ops.matmul(ops.stack([a[:, :-1], a[:, 1:]], axis=2), sines)  # (B, F, 2, 64)
    harmonic = ends[:, :, 0] + (ends[:, :, 1] - ends[:, :, 0]) * synth.RAMP
    gains = levels[..., synth.PARTIALS :] * synth.band_gain()
    grains = ops.irfft((noise_real * gains, noise_imag * gains), fft_length=2 * frame) * synth.WINDOW
    noise = grains[:, :-1, frame:] + grains[:, 1:, :frame]  # (B, F, 64)
    return ops.reshape(harmonic + noise, (-1, frames * frame))


RESOLUTIONS_SAMPLES = (128, 512, 2048)
# Of a loud partial's magnitude, a quarter of the window's length: 70 dB under it, 10 dB under what still counts in the
# evaluation. What is lower is rounding noise, and was never heard.
LOG_FLOOR = 8e-5
MEL_BANDS, MEL_WINDOW_SAMPLES = 80, 1024
ONSET_S, ONSET_WEIGHT = 0.1, 3.0  # how long an onset is, which is heard as much as what follows it; what it counts
MEL = mel(sr=SAMPLE_RATE_HZ, n_fft=MEL_WINDOW_SAMPLES, n_mels=MEL_BANDS, norm=None).T  # (513, 80)


def magnitudes(audio: keras.KerasTensor, window_samples: int) -> keras.KerasTensor:
    real, imag = ops.stft(audio, window_samples, window_samples // 4, window_samples, center=False)
    return ops.sqrt(real * real + imag * imag + 1e-10)


def spectral_loss(decoded: keras.KerasTensor, target: keras.KerasTensor,
                  onset_s: keras.KerasTensor) -> keras.KerasTensor:
    """Multi-resolution STFT loss, (B,): of magnitudes relative to the target's mean, and of their logarithms; and of
    the logarithms of mel bands, in which noise is no other noise. Windows in the first ONSET_S from `onset_s` (B,) on,
    in seconds from the first sample, count for more.

    After Yamamoto et al. 2020 (arXiv 1910.11480), Engel et al. 2020 (DDSP) and Kong et al. 2020 (HiFi-GAN). No loss on
    waveforms: noise has none.
    """
    def mean(differences: keras.KerasTensor, window_samples: int) -> keras.KerasTensor:  # (B, frames, bins) -> (B,)
        at_s = (np.arange(differences.shape[1], dtype=np.float32) + 2) * (window_samples / 4 / SAMPLE_RATE_HZ)
        after_s = at_s - onset_s[:, None]  # of the windows' middles
        reach_s = window_samples / 2 / SAMPLE_RATE_HZ
        is_onset = ops.cast((after_s > -reach_s) & (after_s < ONSET_S), "float32")
        return ops.mean(ops.mean(differences, axis=2) * (1 + (ONSET_WEIGHT - 1) * is_onset), axis=1)

    def log_difference(a: keras.KerasTensor, b: keras.KerasTensor, window_samples: int) -> keras.KerasTensor:
        floor = LOG_FLOOR * window_samples
        differences = ops.abs(ops.log(a + floor) - ops.log(b + floor))
        # All lines alike, and as loud as they are: partials are few among the lines, and would be given up for the
        # noise between them.
        loudness = ops.stop_gradient(ops.sqrt(a + b + floor))
        weights = loudness / ops.mean(loudness, axis=2, keepdims=True)
        return mean(differences * (0.5 + 0.5 * weights), window_samples)

    total = 0.0
    for window_samples in RESOLUTIONS_SAMPLES:
        a, b = magnitudes(decoded, window_samples), magnitudes(target, window_samples)  # (B, frames, bins)
        linear = mean(ops.abs(a - b), window_samples) / (ops.mean(b) + 0.1 * LOG_FLOOR * window_samples)
        total = total + linear + log_difference(a, b, window_samples)
    a, b = (ops.sqrt(ops.matmul(ops.square(magnitudes(x, MEL_WINDOW_SAMPLES)), MEL)) for x in (decoded, target))
    return total / len(RESOLUTIONS_SAMPLES) + log_difference(a, b, MEL_WINDOW_SAMPLES)
