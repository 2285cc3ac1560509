"""Recordings as people have them, into notes as the encoder knows them."""

import itertools
import os
import wave
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile
import soxr

from device import files
from device.errors import TetradError
from device.preset import NOTE_SAMPLES, SAMPLE_RATE_HZ

NOTE_PEAK = 0.7  # peak of a note. Training normalises its notes to the same (it takes this constant)
SILENCE_PEAK = 1e-3  # -60 dB of full scale: below it a recording holds no note
ONSET_RATIO = 1e-2  # -40 dB of the note's peak: louder than a room, softer than a slow attack's first hundredth
OFFSET_RATIO = 1e-2  # of the peak: a smaller mean is the sound's own, and notes are learned with theirs
LEAD_SAMPLES = SAMPLE_RATE_HZ // 100  # 10 ms kept before the onset: breath and pick noise
RELEASE_SAMPLES = SAMPLE_RATE_HZ  # 1 s: NSynth's notes are held for 3 s and released for 1 s
FULL_SCALE = 32767  # of the 16 bits that are written: +1 and -1 are as far from 0
MIN_SECONDS = 0.05  # less is a click
MAX_SECONDS = 600  # of a recording; more is no note, and would fill a small board's memory
UNKNOWN_BYTES = 0x7FFF_FF00  # of a RIFF: a length that is none
RATES_HZ = (1_000, 1_000_000)  # outside of it the header is damaged


def load_recording(path: Path | str) -> np.ndarray:
    """A recording as float32 [samples], mono (mean of the channels), 16 kHz, +-1 full scale.

    Reads what libsndfile reads (WAV, FLAC, AIFF, Ogg, MP3 ...) at any rate, channels and depth. Raises TetradError
    where it cannot be read, is cut, empty, silent, shorter than 50 ms or longer than 10 minutes, or holds NaN or
    infinity.
    """
    try:
        if lost := cut_bytes(path):
            raise TetradError(f"{path} is cut, {lost} bytes are missing: copy it again")
        with soundfile.SoundFile(path) as file:
            rate_hz, frames = file.samplerate, file.frames
            if not RATES_HZ[0] <= rate_hz <= RATES_HZ[1]:
                raise TetradError(f"{path} says it has {rate_hz} samples a second: export it again as WAV")
            if frames > MAX_SECONDS * rate_hz:
                raise TetradError(f"{path} is longer than {MAX_SECONDS} s: cut it to one note")
            channels = file.read(dtype="float32", always_2d=True)  # (samples, channels)
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
        reason = "there is no such file" if not Path(path).exists() else "it is not audio, or damaged"
        raise TetradError(f"cannot read {path} as a recording: {reason}; give a WAV, FLAC or AIFF file") from error
    if not channels.size:
        raise TetradError(f"{path} is empty: record it again")
    if not np.isfinite(channels).all():
        raise TetradError(f"{path} holds NaN or infinite samples: export it again")
    if len(channels) < MIN_SECONDS * rate_hz:
        raise TetradError(f"{path} is shorter than {1000 * MIN_SECONDS:.0f} ms: give a whole note")
    audio: np.ndarray = channels.mean(axis=1, dtype=np.float32)
    if rate_hz != SAMPLE_RATE_HZ:
        audio = soxr.resample(audio, rate_hz, SAMPLE_RATE_HZ)
    if not audio.size or np.ptp(audio) < 2 * SILENCE_PEAK:  # the span, for an offset is no sound
        raise TetradError(f"{path} is silent: record it louder")
    return audio


def cut_bytes(path: Path | str) -> int:
    """How many bytes a WAV's header announces that are not there; libsndfile reads such a file as a shorter one."""
    with open(path, "rb") as file:
        head = file.read(12)
    if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return 0
    announced = int.from_bytes(head[4:8], "little") + 8
    if announced >= UNKNOWN_BYTES:  # what programs write that do not know the length yet
        return 0
    return max(0, announced - os.path.getsize(path))


def as_sound(audio: np.ndarray) -> np.ndarray:
    """A recording, float32 [samples] at 16 kHz, as it is but for its level: peak NOTE_PEAK, a cheap card's offset taken
    away. Raises TetradError where it is silent."""
    if not len(audio) or not np.ptp(audio) > 0:
        raise TetradError("a silent sound cannot be brought to a level: record it louder")
    offset = np.float32(np.mean(audio, dtype=np.float64))
    if abs(offset) > OFFSET_RATIO * np.abs(audio).max():
        audio = audio - offset
    return audio * np.float32(NOTE_PEAK / np.abs(audio).max())


def as_note(audio: np.ndarray) -> np.ndarray:
    """A recording, float32 [samples] at 16 kHz, as a note: float32 [64000], peak NOTE_PEAK.

    What is before the onset is cut but for 10 ms; a longer sound is released from 3 s to 4 s, a shorter one is padded
    with zeros. Raises TetradError where it is silent.
    """
    if not len(audio) or not np.ptp(audio) > 0:
        raise TetradError("a silent sound is no note: record it louder")
    audio = audio - np.float32(np.mean(audio, dtype=np.float64))  # a cheap card's offset would hide the onset
    level = np.abs(audio)
    onset = int(np.argmax(level > ONSET_RATIO * level.max()))
    audio = audio[max(0, onset - LEAD_SAMPLES):]
    note = np.zeros(NOTE_SAMPLES, np.float32)
    note[: len(audio)] = audio[:NOTE_SAMPLES]
    if len(audio) > NOTE_SAMPLES:
        note[-RELEASE_SAMPLES:] *= np.cos(np.linspace(0, np.pi / 2, RELEASE_SAMPLES)).astype(np.float32) ** 2
    return note * np.float32(NOTE_PEAK / np.abs(note).max())


def to_int16(audio: np.ndarray) -> np.ndarray:
    """float [...] as 16 bits, 1.0 being FULL_SCALE; beyond full scale is clipped."""
    return np.rint(np.clip(audio, -1, 1) * FULL_SCALE).astype(np.int16)


def write_wav(path: Path, blocks: Iterable[np.ndarray], rate_hz: int, durable: bool = True) -> tuple[int, float]:
    """Blocks float [frames] or [frames, channels] as a 16-bit WAV, whole or not at all; beyond full scale is clipped.

    Returns the frames and their peak. Raises TetradError where it cannot be written.
    """
    blocks = iter(blocks)
    first = next(blocks)
    frames, peak = 0, 0.0
    # Python's own writer: a full disk reaches us as the OSError it is, which libsndfile's callbacks print instead.
    with files.atomic(path, durable) as file, wave.open(file, "wb") as wav:
        wav.setnchannels(first[0].size)
        wav.setsampwidth(2)
        wav.setframerate(rate_hz)
        for block in itertools.chain([first], blocks):
            wav.writeframesraw(to_int16(block).astype("<i2").tobytes())
            frames += len(block)
            peak = max(peak, float(np.abs(block).max(initial=0.0)))
    return frames, peak
