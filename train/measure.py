"""How near a decoded note is to its recording: the pitch that a public tracker hears, and log-mel distances."""

import librosa
import numpy as np
import soxr

from device.preset import SAMPLE_RATE_HZ
from device.synth import pitch_to_hz

MEL_BANDS = 80
MEL_WINDOW_SAMPLES, MEL_HOP_SAMPLES = 1024, 256
FLOOR_DB = 60.0  # under the recording's loudest band
ONSET_WINDOW_SAMPLES, ONSET_HOP_SAMPLES = 256, 64  # 16 ms, 4 ms: what an attack is judged with
ONSET_BANDS = 40  # as many as that window can tell apart
ONSET_S, LATER_S = 0.1, 1.0  # how long an onset is; where as much of the held sound begins, to compare with
NOISE_BAND_HZ, NOISE_S = (3000.0, 8000.0), 0.05  # where breath, bow and hammer are alone with few partials

PYIN_WINDOW_SAMPLES, PYIN_HOP_SAMPLES = 2048, 512
PITCH_RANGE = (22, 98)  # MIDI pitches within which the tracker looks
COARSE_STEP = 0.2  # semitones; librosa's own, 0.1, takes five times as long
# There its periods are whole samples and a parabola: 10 cents off at 1 kHz. So it looks again about what it has found,
# in fine steps, at three times the rate, and in windows that hold low pitches: 4 cents off at most from C2 to C6, of
# sounds whose pitch is known.
FINE_RATE_HZ, FINE_WINDOW_SAMPLES, FINE_HOP_SAMPLES = 48_000, 12_288, 3072
FINE_STEP, FINE_REACH = 0.02, 1.5  # semitones
FINE_OCTAVES_PER_S = 1.3  # that a pitch moves at most: librosa wants a semitone a hop, no less
SOUNDING_DB = 40.0  # frames softer than this under the loudest have no pitch to be judged by


def matched(audio: np.ndarray, recording: np.ndarray) -> np.ndarray:
    """`audio` scaled to the recording's RMS level."""
    return audio * np.sqrt((np.mean(recording**2) + 1e-12) / (np.mean(audio**2) + 1e-12))


def mel_db(audio: np.ndarray, window_samples: int = MEL_WINDOW_SAMPLES, hop_samples: int = MEL_HOP_SAMPLES,
           bands: int = MEL_BANDS) -> np.ndarray:
    power = librosa.feature.melspectrogram(y=audio, sr=SAMPLE_RATE_HZ, n_fft=window_samples, hop_length=hop_samples,
                                           n_mels=bands)
    return np.asarray(10 * np.log10(power + 1e-12))  # [bands, frames]


def log_mel_distance_db(audio: np.ndarray, recording: np.ndarray) -> float:
    """Mean absolute difference of 80 mel bands in dB, loudness matched, floor 60 dB under the recording's peak."""
    a, b = mel_db(matched(audio, recording)), mel_db(recording)
    floor = float(b.max()) - FLOOR_DB
    return float(np.mean(np.abs(np.maximum(a, floor) - np.maximum(b, floor))))


def onset_distances_db(audio: np.ndarray, recording: np.ndarray) -> tuple[float, float]:
    """The same of a note's first 100 ms, in windows of 16 ms, and of as much from 1 s on. Loudness is matched, and the
    floor found, over the whole note."""
    a, b = (mel_db(sound, ONSET_WINDOW_SAMPLES, ONSET_HOP_SAMPLES, ONSET_BANDS)
            for sound in (matched(audio, recording), recording))
    floor, frames = float(b.max()) - FLOOR_DB, round(ONSET_S * SAMPLE_RATE_HZ / ONSET_HOP_SAMPLES)
    off = np.abs(np.maximum(a, floor) - np.maximum(b, floor)).mean(axis=0)
    later = round(LATER_S * SAMPLE_RATE_HZ / ONSET_HOP_SAMPLES)
    return float(off[:frames].mean()), float(off[later : later + frames].mean())


def noise_difference_db(audio: np.ndarray, recording: np.ndarray) -> float:
    """By how much the first 50 ms are louder between 3 and 8 kHz than the recording's, dB; loudness matched over the
    whole note, floor 60 dB under the recording's loudest 50 ms of all frequencies."""
    samples = round(NOISE_S * SAMPLE_RATE_HZ)
    loudest = float(np.mean(recording[: len(recording) // samples * samples].reshape(-1, samples) ** 2, axis=1).max())
    hz = np.fft.rfftfreq(len(recording), 1 / SAMPLE_RATE_HZ)
    outside = (hz < NOISE_BAND_HZ[0]) | (hz > NOISE_BAND_HZ[1])

    def level_db(sound: np.ndarray) -> float:
        spectrum = np.fft.rfft(sound)
        spectrum[outside] = 0
        power = float(np.mean(np.fft.irfft(spectrum, len(sound))[:samples] ** 2))
        return 10 * np.log10(max(power, loudest * 10 ** (-FLOOR_DB / 10)) + 1e-12)

    return level_db(matched(audio, recording)) - level_db(recording)


def snr_db(signal: np.ndarray, other: np.ndarray) -> float:
    """Of the difference of two sounds, the second at the gain that makes it smallest."""
    a, b = signal.astype(np.float64), other.astype(np.float64)
    difference = a - b * (a @ b) / max(float(b @ b), 1e-12)
    return float(10 * np.log10((a @ a + 1e-12) / (difference @ difference + 1e-12)))


def heard_pitch(audio: np.ndarray) -> float | None:
    """The MIDI pitch that librosa's pyin (Mauch and Dixon 2014) hears, as the median of its sounding voiced frames."""
    heard = _tracked(audio, SAMPLE_RATE_HZ, PITCH_RANGE, PYIN_WINDOW_SAMPLES, PYIN_HOP_SAMPLES,
                     resolution=COARSE_STEP)
    if heard is None:
        return None
    about = heard - FINE_REACH, heard + FINE_REACH
    fine = _tracked(soxr.resample(audio, SAMPLE_RATE_HZ, FINE_RATE_HZ), FINE_RATE_HZ, about, FINE_WINDOW_SAMPLES,
                    FINE_HOP_SAMPLES, resolution=FINE_STEP, max_transition_rate=FINE_OCTAVES_PER_S)
    return heard if fine is None else fine


def _tracked(audio: np.ndarray, rate_hz: int, between: tuple[float, float], window_samples: int, hop_samples: int,
             **how: float) -> float | None:
    low, high = map(pitch_to_hz, between)
    f0_hz, voiced, _ = librosa.pyin(audio, fmin=low, fmax=high, sr=rate_hz, frame_length=window_samples,
                                    hop_length=hop_samples, **how)
    rms = librosa.feature.rms(y=audio, frame_length=window_samples, hop_length=hop_samples)[0]
    counted = voiced & (rms > rms.max() * 10 ** (-SOUNDING_DB / 20))
    if counted.sum() < 3:
        return None
    return float(np.median(librosa.hz_to_midi(f0_hz[counted])))
