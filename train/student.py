"""The student: a feed-forward WaveNet at control rate, and the differentiable twin of `device.synth`.

Gated, dilated, residual and skip layers as in WaveNet, run once over a whole note at 250 Hz instead of once a sample
at 16 kHz; what comes out are levels of harmonics and noise bands, which the host turns into sound (as in DDSP, Engel
et al. 2020). Convolutions are (1, k) kernels over [rows, columns], the layout an Edge TPU takes.
"""

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops

from device import conditioning, synth


@dataclass(frozen=True)
class StudentConfig:
    """Shape of the student."""

    width: int = 96
    layers: int = 8
    cycle: int = 4  # layers after which the dilations 1, 2, 4, 8 start again

    @property
    def reach_frames(self) -> int:
        """Control frames that the filters reach over, on either side."""
        return 2 + sum(2 ** (i % self.cycle) for i in range(self.layers))


def build_student(config: StudentConfig, rows: int | None = None, columns: int | None = None,
                  batch: int | None = None) -> keras.Model:
    """(B, rows, columns, CHANNELS) -> controls (B, rows, columns, CONTROLS) in [0, 6]. Rows do not see each other."""
    width = config.width
    x = keras.Input((rows, columns, conditioning.CHANNELS), batch_size=batch, name="conditioning")
    h = layers.Conv2D(width, (1, 5), padding="same", name="start")(x)
    skip = None
    for i in range(config.layers):
        # One convolution of twice the width, split: two on the same input would bring SPACE_TO_BATCH_ND back.
        d = layers.Conv2D(2 * width, (1, 3), padding="same", dilation_rate=(1, 2 ** (i % config.cycle)),
                          name=f"dilated_{i}")(h)
        d = d + layers.Conv2D(2 * width, 1, name=f"condition_{i}")(x)
        gate, filtered = ops.split(d, 2, axis=-1)
        gated = ops.sigmoid(gate) * ops.tanh(filtered)
        s = layers.Conv2D(width, 1, name=f"skip_{i}")(gated)
        skip = s if skip is None else skip + s
        if i < config.layers - 1:
            h = h + layers.Conv2D(width, 1, name=f"residual_{i}")(gated)
    y = layers.Conv2D(width, 1, activation="relu", name="out")(ops.relu(skip))
    # ReLU6 bounds the controls, so that int8 spends its 256 steps on levels that can be heard.
    y = layers.Conv2D(synth.CONTROLS, 1, activation="relu6", bias_initializer=keras.initializers.Constant(3.0),
                      name="controls")(y)
    return keras.Model(x, y, name="student")


def level(control: keras.KerasTensor) -> keras.KerasTensor:
    """`device.synth.level`, differentiable."""
    decade = float(np.log(10.0) / 20.0 * synth.RANGE_DB)
    return ops.exp((control / synth.CONTROL_TOP - 1.0) * decade) - float(np.exp(-decade))


def synthesize(controls: keras.KerasTensor, turns: keras.KerasTensor, audible: keras.KerasTensor,
               noise_real: keras.KerasTensor, noise_imag: keras.KerasTensor) -> keras.KerasTensor:
    """`device.synth.synthesize` for crops, differentiable.

    controls (B, F + 1, CONTROLS), the fundamental's phase in turns (B, F * 64), audible (B, HARMONICS) of 0 and 1,
    noise spectra (B, F + 1, BANDS) -> audio (B, F * 64).
    """
    frame = synth.FRAME_SAMPLES
    frames = turns.shape[1] // frame
    levels = level(controls)
    a = levels[..., : synth.HARMONICS] * audible[:, None, :]  # (B, F + 1, K)
    theta = ops.reshape(turns, (-1, frames, 1, frame)) * synth.HARMONIC_NUMBERS[:, None]  # (B, F, K, 64)
    theta = theta - ops.floor(theta)
    sines = ops.sin(2 * np.pi * theta + synth.PHASES_RADIANS[:, None])
    ends = ops.matmul(ops.stack([a[:, :-1], a[:, 1:]], axis=2), sines)  # (B, F, 2, 64)
    harmonic = ends[:, :, 0] + (ends[:, :, 1] - ends[:, :, 0]) * synth.RAMP
    gains = levels[..., synth.HARMONICS :] * synth.band_gain()
    grains = ops.irfft((noise_real * gains, noise_imag * gains), fft_length=2 * frame) * synth.WINDOW
    noise = grains[:, :-1, frame:] + grains[:, 1:, :frame]  # (B, F, 64)
    return ops.reshape(harmonic + noise, (-1, frames * frame))


RESOLUTIONS_SAMPLES = (128, 512, 2048)
LOG_FLOOR = 1e-3


def magnitudes(audio: keras.KerasTensor, window_samples: int) -> keras.KerasTensor:
    real, imag = ops.stft(audio, window_samples, window_samples // 4, window_samples, center=False)
    return ops.sqrt(real * real + imag * imag + 1e-10)


def spectral_loss(decoded: keras.KerasTensor, target: keras.KerasTensor) -> keras.KerasTensor:
    """Multi-resolution STFT loss, (B,): of magnitudes relative to the target's mean, and of their logarithms.

    After Yamamoto et al. 2020 (arXiv 1910.11480) and Engel et al. 2020 (DDSP). No loss on waveforms: noise has none.
    """
    total = 0.0
    for window_samples in RESOLUTIONS_SAMPLES:
        a, b = magnitudes(decoded, window_samples), magnitudes(target, window_samples)  # (B, frames, bins)
        linear = ops.mean(ops.abs(a - b), axis=(1, 2)) / (ops.mean(b) + LOG_FLOOR)
        logarithmic = ops.mean(ops.abs(ops.log(a + LOG_FLOOR) - ops.log(b + LOG_FLOOR)), axis=(1, 2))
        total = total + linear + logarithmic
    return total / len(RESOLUTIONS_SAMPLES)
