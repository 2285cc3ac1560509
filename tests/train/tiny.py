"""Models and notes small enough to train in seconds."""

import json
from pathlib import Path

import keras
import numpy as np
import soundfile

from device.preset import NOTE_SAMPLES, SAMPLE_RATE_HZ
from device.synth import pitch_to_hz
from train import autoencoder, baseline, distil
from train.run import open_run, save_weights
from train.student import StudentConfig, build_student
from train.wavenet import Config, WaveNetAutoencoder

CONFIG = Config(
    name="tiny", encoder_input="spectrum", encoder_width=8, encoder_layers=2, encoder_cycle=2, decoder_width=6,
    decoder_skip=7, decoder_layers=4, decoder_cycle=3, pitch_dimensions=3, crop_samples=1024, batch=2,
    learning_rates=((0, 2e-3),), average_decay=0.9, steps=2,
)  # fmt: skip

BASELINE = baseline.BaselineConfig(
    name="tiny", encoder_channels=(2,) * 9, decoder_channels=(2,) * 9, hidden=3, embedding=4, pitch_dimensions=2,
    norm_momentum=0.9, batch=2, learning_rates=((0, 1e-3),), adam_beta_1=0.5, gradient_norm=0.0, average_decay=0.0,
    steps=1,
)  # fmt: skip


def write_runs(folder: Path) -> dict[str, Path]:
    """Runs of a teacher, a student and a baseline, with the weights that models begin with."""
    keras.utils.set_random_seed(0)
    teacher, student = WaveNetAutoencoder(CONFIG), StudentConfig(width=4, layers=2)
    config = distil.DistilConfig(CONFIG, student)
    spectral = baseline.Baseline(BASELINE)
    parts = {"teacher": {"encoder": teacher.encoder, "decoder": teacher.decoder},
             "student": {"encoder": teacher.encoder, "decoder": teacher.decoder, "student": build_student(student)},
             "baseline": {"encoder": spectral.encoder, "decoder": spectral.decoder}}
    for name, kind, what in (("teacher", autoencoder.KIND, CONFIG), ("student", distil.KIND, config),
                             ("baseline", baseline.KIND, BASELINE)):
        open_run(folder / name, what, kind)
        for part, model in parts[name].items():
            save_weights(model, folder / name / f"{part}.weights.h5")
    return {name: folder / name for name in parts}


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
