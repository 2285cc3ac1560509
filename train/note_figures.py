"""Single notes for `tetrad bench sound`, on a worker: what decoding keeps of a recording, in numbers."""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from device import _engine, jobs
from device.analysis import Tone, analyse
from device.bake import bake
from device.bank import Bank
from device.corner import Note, make_preset
from device.decoder import Decoder
from device.encoder import Encoder
from device.preset import CORNERS, MOTION, NOTE_SAMPLES, SAMPLE_RATE_HZ
from device.render import render
from device.song import Event
from device.synth_settings import Synth
from device.vibrato import vibrate
from train import classifier, partials
from train.embed import audio_of
from train.measure import heard_pitch, log_mel_distance_db, noise_difference_db, onset_distances_db, snr_db
from train.reconstruct import (
    RECONSTRUCTIONS,
    Item,
    Models,
    excitation_of,
    float_student,
    load_decoder,
    load_student_run,
)

# Of each note: log-mel distances of the stages; the difference of int8 and float student; the pitches heard in the
# recording and in what int8 makes of it, MIDI, NaN: none; the onset's distance, and that of as much sound a second
# later; and by how much the onset's noise is too loud.
FIGURES = ("mu-law", "float student", "int8 student", "snr_db", "recorded_pitch", "decoded_pitch", "onset_db",
           "later_db", "noise_db")
HELD_S, RELEASED_S = 3.0, 1.0  # of a note that the engine plays
START_S = 0.1  # before it, for the knobs to have come to rest
LEAST_DEPTH_CENTS = 8.0  # less is no vibrato that one would measure

load_encoder = lru_cache(maxsize=1)(Encoder)


class Listened(NamedTuple):
    """A recording as the box takes it."""

    audio: np.ndarray  # float32 [NOTE_SAMPLES]
    tone: Tone
    embedding: np.ndarray  # float32 [125, 16]


def listen(encoder: Path, item: Item) -> Listened:
    audio = audio_of(item.sound, as_notes=False)
    return Listened(audio, analyse(audio, item.pitch), load_encoder(encoder).embed(audio))


def decoded(decoder: Decoder, heard: Listened, pitch: int) -> np.ndarray:
    """What the int8 student makes of a recording, vibrato included: float32 [NOTE_SAMPLES]."""
    excitation = excitation_of(heard.tone)
    sound = decoder.decode(heard.embedding[None], pitch, excitation)[0]
    return vibrate(sound, heard.tone.rate_hz, heard.tone.depth_cents, heard.tone.delay_s)


def note_figures(models: Models, encoder: Path, item: Item) -> tuple[list[float], np.ndarray]:
    """FIGURES of a note, and the classifier's features of what the int8 student makes of it."""
    heard, pitch = listen(encoder, item), item.pitch
    tone, audio = heard.tone, heard.audio
    exact = float_student(load_student_run(models.student).student, heard.embedding, pitch, excitation_of(tone))
    rounded = load_decoder(models.decoder).decode(heard.embedding[None], pitch, excitation_of(tone))[0]
    moved, sound = (vibrate(still, tone.rate_hz, tone.depth_cents, tone.delay_s) for still in (exact, rounded))
    pitches = [np.nan if told is None else told for told in (heard_pitch(audio), heard_pitch(sound))]
    coded = RECONSTRUCTIONS["mu-law"](models, audio, np.zeros(1))
    distances = [log_mel_distance_db(made, audio) for made in (coded, moved, sound)]
    figures = [*distances, snr_db(exact, rounded), *pitches, *onset_distances_db(sound, audio),
               noise_difference_db(sound, audio)]
    return figures, classifier.features(sound)


def note_chunk(models: Models, encoder: Path, items: Sequence[Item]) -> bytes:
    """Packed: FIGURES [n, 9] and classifier features uint8 [n, BINS, FRAMES]."""
    figures, features = zip(*(note_figures(models, encoder, item) for item in items), strict=True)
    return jobs.pack([np.array(figures), np.stack(features)])


def stage_chunk(models: Models, stage: str, items: Sequence[Item]) -> bytes:
    """Packed: log-mel distances [n] of a stage of train.reconstruct."""
    audio = np.stack([audio_of(item.sound, as_notes=False) for item in items])
    sounds = RECONSTRUCTIONS[stage](models, audio, np.array([item.pitch for item in items]))
    return jobs.pack([np.array([log_mel_distance_db(a, b) for a, b in zip(sounds, audio, strict=True)])])


def partial_chunk(decoder: Path, encoder: Path, items: Sequence[Item]) -> bytes:
    """JSON: for each note the errors of its strongest partials, {"cents": [..], "db": [..]}; None where one is lost."""
    found = []
    for item in items:
        heard = listen(encoder, item)
        cents, db = partials.errors(heard.audio, decoded(load_decoder(decoder), heard, item.pitch))
        found.append({"cents": as_told(cents), "db": as_told(db)})
    return json.dumps(found).encode()


def as_told(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 3) for value in values]


def vibrato_chunk(decoder: Path, encoder: Path, items: Sequence[Item]) -> bytes:
    """JSON: for each note, of the recording and of what the engine plays of it, [rate in Hz, depth in cents] each;
    None where the recording has no vibrato."""
    found: list[list[list[float]] | None] = []
    for item in items:
        heard = listen(encoder, item)
        if heard.tone.depth_cents < LEAST_DEPTH_CENTS:
            found.append(None)
            continue
        again = analyse(by_engine(heard, item.pitch, load_decoder(decoder)), item.pitch)
        found.append([[tone.rate_hz, tone.depth_cents] for tone in (heard.tone, again)])
    return json.dumps(found).encode()


def by_engine(heard: Listened, pitch: int, decoder: Decoder) -> np.ndarray:
    """A recording through preset, bank and engine: a note held for 3 s and released for 1 s, float32 [NOTE_SAMPLES]."""
    motion = np.array([getattr(heard.tone, of) for of in MOTION], np.float32)
    note = Note(heard.embedding, heard.tone.partials_cents, motion)
    preset = make_preset({str(corner): [{pitch: note}] for corner in range(CORNERS)}, name="one", pitches=(pitch,))
    with TemporaryDirectory(prefix="tetrad-") as folder:
        return played(bake(preset, decoder, folder, [pitch], grid=2), pitch)[:NOTE_SAMPLES]


def played(bank: Bank, pitch: int, x: float = 0.5, y: float = 0.5, held_s: float = HELD_S) -> np.ndarray:
    """A note at a point of the pad by the box's engine at the bank's rate, and a second of its release: float32
    [samples]."""
    velocity = bank.velocities[-1] / 127
    events = [Event(0.0, _engine.BLEND, a=x, b=y), Event(START_S, _engine.NOTE_ON, key=pitch, a=velocity),
              Event(START_S + held_s, _engine.NOTE_OFF, key=pitch)]
    sound = render(events, bank, Synth(), SAMPLE_RATE_HZ).mean(axis=1)
    first, samples = round(START_S * SAMPLE_RATE_HZ), round((held_s + RELEASED_S) * SAMPLE_RATE_HZ)
    return np.pad(sound[first:], (0, samples))[:samples].astype(np.float32)
