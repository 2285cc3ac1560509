"""How near a decoded note is to its recording: the pitch that a public tracker hears, and the log-mel distance."""

import librosa
import numpy as np

from device.preset import SAMPLE_RATE_HZ
from device.synth import pitch_to_hz

MEL_BANDS = 80
MEL_WINDOW_SAMPLES, MEL_HOP_SAMPLES = 1024, 256
FLOOR_DB = 60.0  # under the recording's loudest band
PYIN_WINDOW_SAMPLES, PYIN_HOP_SAMPLES = 2048, 512
PITCH_RANGE = (22, 98)  # MIDI pitches within which the tracker looks
SOUNDING_DB = 40.0  # frames softer than this under the loudest have no pitch to be judged by


def matched(audio: np.ndarray, recording: np.ndarray) -> np.ndarray:
    """`audio` scaled to the recording's RMS level."""
    return audio * np.sqrt((np.mean(recording**2) + 1e-12) / (np.mean(audio**2) + 1e-12))


def mel_db(audio: np.ndarray) -> np.ndarray:
    power = librosa.feature.melspectrogram(y=audio, sr=SAMPLE_RATE_HZ, n_fft=MEL_WINDOW_SAMPLES,
                                           hop_length=MEL_HOP_SAMPLES, n_mels=MEL_BANDS)
    return np.asarray(10 * np.log10(power + 1e-12))  # [MEL_BANDS, frames]


def log_mel_distance_db(audio: np.ndarray, recording: np.ndarray) -> float:
    """Mean absolute difference of 80 mel bands in dB, loudness matched, floor 60 dB under the recording's peak."""
    a, b = mel_db(matched(audio, recording)), mel_db(recording)
    floor = b.max() - FLOOR_DB
    return float(np.mean(np.abs(np.maximum(a, floor) - np.maximum(b, floor))))


def heard_pitch(audio: np.ndarray) -> float | None:
    """The MIDI pitch that librosa's pyin (Mauch and Dixon 2014) hears, as the median of its sounding voiced frames."""
    low, high = map(pitch_to_hz, PITCH_RANGE)
    f0_hz, voiced, _ = librosa.pyin(audio, fmin=low, fmax=high, sr=SAMPLE_RATE_HZ, frame_length=PYIN_WINDOW_SAMPLES,
                                    hop_length=PYIN_HOP_SAMPLES)
    rms = librosa.feature.rms(y=audio, frame_length=PYIN_WINDOW_SAMPLES, hop_length=PYIN_HOP_SAMPLES)[0]
    counted = voiced & (rms > rms.max() * 10 ** (-SOUNDING_DB / 20))
    if counted.sum() < 3:
        return None
    return float(np.median(librosa.hz_to_midi(f0_hz[counted])))
