"""What the small encoder hears: log spectra every 256 samples, of long windows for pitch, of short ones for attack."""

from functools import lru_cache

import numpy as np

from device.preset import SAMPLE_RATE_HZ

STEP_SAMPLES = 256
LONG_SAMPLES, SHORT_SAMPLES = 1024, 256  # windows
SHORTS = 2  # short windows a step
LONG_BANDS, SHORT_BANDS = 128, 48  # as the ear divides them: of single lines below, wide above
BINS = LONG_BANDS + SHORTS * SHORT_BANDS
EDGE_SAMPLES = 512  # more than a window reaches over on either side of its step, in whole steps
FLOOR = 1e-4  # 80 dB under a line of full scale, where 16-bit recordings have little but rounding noise left
SILENCE = float((np.log(FLOOR) + 5.0) / 2.5)  # what silence is in a spectrum


def log_spectrum(audio: np.ndarray) -> np.ndarray:
    """Audio float32 [..., samples] -> float32 [..., samples / STEP_SAMPLES, BINS], roughly in [-2, 2].

    The windows of step i are centred on the samples from i * STEP_SAMPLES on, or on their halves; outside the audio is
    silence.
    """
    frames = audio.shape[-1] // STEP_SAMPLES
    long = _bands(audio, LONG_SAMPLES, STEP_SAMPLES, LONG_BANDS)[..., :frames, :]
    short = _bands(audio, SHORT_SAMPLES, STEP_SAMPLES // SHORTS, SHORT_BANDS)[..., : SHORTS * frames, :]
    both = np.concatenate([long, short.reshape(*short.shape[:-2], frames, -1)], axis=-1)
    return ((np.log(both + FLOOR) + 5.0) / 2.5).astype(np.float32)


def _bands(audio: np.ndarray, window_samples: int, step_samples: int, bands: int) -> np.ndarray:
    """Amplitude of each band of each window: [..., steps, bands]."""
    window = np.hanning(window_samples + 1)[:-1].astype(np.float32)
    margin = (window_samples - step_samples) // 2
    padded = np.pad(audio, [(0, 0)] * (audio.ndim - 1) + [(margin, margin)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, window_samples, axis=-1)[..., ::step_samples, :]
    lines = np.abs(np.fft.rfft(windows * window)) * (2 / window.sum())
    return np.asarray(np.sqrt(lines**2 @ _triangles(window_samples, bands)))


@lru_cache(maxsize=2)
def _triangles(window_samples: int, bands: int) -> np.ndarray:
    """float32 [lines, bands]: overlapping triangles of height 1, evenly spaced on Slaney's mel scale (1998), and no
    narrower than a line."""
    lines = np.arange(window_samples // 2 + 1)
    hz = lines * SAMPLE_RATE_HZ / window_samples
    mel = np.where(hz < 1000, hz * 3 / 200, 15 + np.log(np.maximum(hz, 1) / 1000) * 27 / np.log(6.4))
    edges = np.interp(np.linspace(0, mel[-1], bands + 2), mel, lines)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising = (lines[:, None] - left) / np.maximum(centre - left, 1)
    falling = (right - lines[:, None]) / np.maximum(right - centre, 1)
    return np.clip(np.minimum(rising, falling), 0, 1).astype(np.float32)
