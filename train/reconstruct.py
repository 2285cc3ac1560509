"""Notes through every model, on a worker: what each stage makes of a recording, and how a listener measures it."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from device import conditioning, jobs, synth
from device.analysis import Tone, analyse
from device.decoder import Decoder, loud
from device.preset import FRAMES, NOTE_SAMPLES
from device.vibrato import vibrate
from train import baseline, classifier, mulaw, qualities
from train.distil import embed, load_trained
from train.embed import Sound, audio_of
from train.measure import heard_pitch, log_mel_distance_db
from train.run import read_config
from train.sampler import generate, load_teacher

STAGES = ("original", "mu-law", "teacher", "baseline", "float student", "int8 student")
TRACKED = ("original", "teacher", "baseline", "int8 student")  # the pitch tracker takes a second a note
HELD_FRAMES = 3 * FRAMES // 4  # of a note's embedding, before the release


class Item(NamedTuple):
    """A note to be reconstructed."""

    sound: Sound
    pitch: int  # MIDI


class Models(NamedTuple):
    """Where the models are, as whole paths."""

    student: Path
    teacher: Path | None  # None: the student's own
    baseline: Path
    decoder: Path
    temperature: float  # of the teacher's draws


load_teacher_run = lru_cache(maxsize=4)(load_teacher)
load_student_run = lru_cache(maxsize=1)(load_trained)
load_baseline_run = lru_cache(maxsize=2)(baseline.load_baseline)
load_decoder = lru_cache(maxsize=1)(Decoder)


def excitation_of(tone: Tone) -> synth.Excitation:
    """A recording's partials for one decoded note."""
    return synth.Excitation(tone.partials_cents[None], np.ones((1, 1), np.float32))


def float_student(student: keras.Model, embedding: np.ndarray, pitch: float,
                  excitation: synth.Excitation | None = None) -> np.ndarray:
    """What `Decoder.decode` does for one note, without int8: [125, 16] -> [64000]."""
    track = conditioning.channels(conditioning.columns(embedding), pitch)
    outputs = keras.ops.convert_to_numpy(student(conditioning.to_tensors([track])))
    controls = conditioning.from_tensors(outputs, [len(track)])[0].reshape(-1, synth.CONTROLS)
    return loud(synth.synthesize(synth.level(controls)[None], pitch, excitation))[0]


def by_teacher(models: Models, audio: np.ndarray, pitches: np.ndarray) -> np.ndarray:
    teacher = load_teacher_run(models.teacher or models.student)
    embeddings = np.stack([embed(teacher, recording) for recording in audio])
    return mulaw.decode(generate(teacher, embeddings, pitches, NOTE_SAMPLES, temperature=models.temperature))


def by_baseline(models: Models, audio: np.ndarray, pitches: np.ndarray) -> np.ndarray:
    return baseline.reconstruct(load_baseline_run(models.baseline), audio, pitches)


def by_student(models: Models, audio: np.ndarray, pitches: np.ndarray, quantized: bool) -> np.ndarray:
    """With the partials and the vibrato of each recording, as a preset keeps them."""
    trained, decoder = load_student_run(models.student), load_decoder(models.decoder)
    sounds = []
    for recording, pitch in zip(audio, pitches.astype(float), strict=True):
        tone, z = analyse(recording, pitch), embed(trained.autoencoder, recording)
        sound = (decoder.decode(z[None], pitch, excitation_of(tone))[0] if quantized
                 else float_student(trained.student, z, pitch, excitation_of(tone)))
        sounds.append(vibrate(sound, tone.rate_hz, tone.depth_cents, tone.delay_s))
    return np.stack(sounds)


RECONSTRUCTIONS: dict[str, Callable[[Models, np.ndarray, np.ndarray], np.ndarray]] = {
    "original": lambda models, audio, pitches: audio,
    "mu-law": lambda models, audio, pitches: mulaw.decode(mulaw.encode(audio)),
    "teacher": by_teacher,
    "baseline": by_baseline,
    "float student": lambda models, audio, pitches: by_student(models, audio, pitches, quantized=False),
    "int8 student": lambda models, audio, pitches: by_student(models, audio, pitches, quantized=True),
}


def measure_chunk(models: Models, stages: Sequence[str], items: Sequence[Item]) -> bytes:
    """For each stage, packed: classifier features uint8 [n, BINS, FRAMES]; log-mel distances to the recordings, dB [n];
    pitches that pyin hears [n], NaN where it hears none, or where the stage is none of TRACKED."""
    audio = np.stack([audio_of(item.sound, as_notes=False) for item in items])
    pitches = np.array([item.pitch for item in items])
    found: list[np.ndarray] = []
    for stage in stages:
        sounds = RECONSTRUCTIONS[stage](models, audio, pitches)
        distances = [log_mel_distance_db(a, b) for a, b in zip(sounds, audio, strict=True)]
        heard = [heard_pitch(sound) if stage in TRACKED else None for sound in sounds]
        found += [np.stack([classifier.features(sound) for sound in sounds]), np.array(distances),
                  np.array([np.nan if pitch is None else pitch for pitch in heard])]
    return jobs.pack(found)


def describe_chunk(runs: Sequence[Path], items: Sequence[Item]) -> bytes:
    """Of recordings, packed: classifier features uint8 [n, BINS, FRAMES]; qualities [n, 10], see train.qualities; and
    the embeddings by each run, float32 [n, 125, 16] or, of a baseline, [n, 1, size]."""
    audio = np.stack([audio_of(item.sound, as_notes=False) for item in items])
    found = [np.stack([classifier.features(sound) for sound in audio]),
             np.array([qualities.measured(sound, item.pitch) for sound, item in zip(audio, items, strict=True)])]
    return jobs.pack(found + [embeddings_by(run, audio) for run in runs])


def embeddings_by(run: Path, audio: np.ndarray) -> np.ndarray:
    """Notes [n, NOTE_SAMPLES] through the encoder of any run: float32 [n, 125, 16] or, of a baseline, [n, 1, size]."""
    if read_config(run).get("kind") == baseline.KIND:
        return baseline.embed(load_baseline_run(run), audio)[:, None]
    teacher = load_teacher_run(run, plays=False)
    return np.stack([embed(teacher, sound) for sound in audio])
