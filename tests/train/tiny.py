"""Models and notes small enough to train in seconds."""

import json
from pathlib import Path

import numpy as np
import soundfile

from device.preset import NOTE_SAMPLES, SAMPLE_RATE_HZ
from device.synth import pitch_to_hz
from train.wavenet import Config

CONFIG = Config(
    name="tiny", encoder_input="spectrum", encoder_width=8, encoder_layers=2, encoder_cycle=2, decoder_width=6,
    decoder_skip=7, decoder_layers=4, decoder_cycle=3, pitch_dimensions=3, crop_samples=1024, batch=2,
    learning_rates=((0, 2e-3),), average_decay=0.9, steps=2,
)  # fmt: skip


def note_audio(pitch: int, brightness: float) -> np.ndarray:
    """A decaying tone, float32 [64000]; brightness is the ratio between neighbouring harmonics' amplitudes."""
    time_s = np.arange(NOTE_SAMPLES) / SAMPLE_RATE_HZ
    harmonics = range(1, int(7000 / pitch_to_hz(pitch)))
    tone = sum(brightness**k * np.sin(2 * np.pi * k * pitch_to_hz(pitch) * time_s) for k in harmonics)
    audio = tone * np.exp(-time_s) * (time_s < 3.2)
    return (0.5 * audio / np.abs(audio).max()).astype(np.float32)


def write_notes(folder: Path, pitches: range = range(48, 60, 3)) -> Path:
    """A jsonwav folder of three instruments."""
    (folder / "audio").mkdir(parents=True)
    examples = {}
    for number, brightness in enumerate((0.3, 0.6, 0.9)):
        for pitch in pitches:
            name = f"reed_synthetic_{number:03}-{pitch:03}-100"
            soundfile.write(folder / "audio" / f"{name}.wav", note_audio(pitch, brightness), SAMPLE_RATE_HZ, "PCM_16")
            examples[name] = {"note_str": name, "pitch": pitch, "velocity": 100, "instrument_family": 7,
                              "instrument_source": 2, "qualities": [0] * 10}
    (folder / "examples.json").write_text(json.dumps(examples))
    return folder
