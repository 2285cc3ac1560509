"""What the small encoder hears: a log-magnitude spectrum every 128 samples."""

import numpy as np

WINDOW_SAMPLES = 1024
STEP_SAMPLES = 128
BINS = WINDOW_SAMPLES // 2 + 1
FLOOR = 1e-4  # 80 dB under a line of full scale, where 16-bit recordings have little but rounding noise left

_WINDOW = np.hanning(WINDOW_SAMPLES + 1)[:-1].astype(np.float32)


def log_spectrum(audio: np.ndarray) -> np.ndarray:
    """Audio float32 [..., samples] -> float32 [..., samples / STEP_SAMPLES, BINS], roughly in [-2, 2].

    Frame i is centred on the middle of the samples from i * STEP_SAMPLES on; outside the audio is silence.
    """
    frames = audio.shape[-1] // STEP_SAMPLES
    margin = (WINDOW_SAMPLES - STEP_SAMPLES) // 2
    padded = np.pad(audio, [(0, 0)] * (audio.ndim - 1) + [(margin, margin)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW_SAMPLES, axis=-1)[..., ::STEP_SAMPLES, :]
    magnitude = np.abs(np.fft.rfft(windows[..., :frames, :] * _WINDOW)) * (2 / _WINDOW.sum())
    return ((np.log(magnitude + FLOOR) + 5.0) / 2.5).astype(np.float32)
