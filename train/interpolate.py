"""Between two sounds: mixed as signals, which are heard as two, and morphed as embeddings, which are heard as one."""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from device import console, files
from device.decoder import MAX_FRAMES, Decoder, PitchTrack, pitch_track
from device.errors import TetradError
from device.pitch import pitch_from_name, pitch_from_sound
from device.preset import HOP_SAMPLES, SAMPLE_RATE_HZ
from device.recording import NOTE_PEAK, as_sound, load_recording, write_wav
from device.synth import Pitch
from train import mulaw, rainbowgram
from train.embed import SoundEncoder, open_encoder
from train.measure import log_mel_distance_db

SAME_SEMITONES = 0.5  # a quarter tone: sounds further apart are not of one pitch

# Embeddings [N, frames, 16] and the pitch of each -> sounds float32 [N, 512 frames].
Play = Callable[[np.ndarray, list[Pitch]], np.ndarray]


@dataclass(frozen=True)
class Sound:
    """What is interpolated between: float32 [T] at peak NOTE_PEAK, with its embedding [ceil(T / 512), 16]."""

    path: Path
    audio: np.ndarray
    embedding: np.ndarray


@dataclass(frozen=True)
class Step:
    """A place between two sounds; `weight` is the share of the second."""

    weight: float
    mix: np.ndarray  # float32 [T], at peak NOTE_PEAK, as the morph is
    morph: np.ndarray  # float32 [T]
    embedding: np.ndarray  # of the morph
    log_mel_db: float  # from the mix to the morph


def load_sounds(paths: list[Path], encoder: SoundEncoder) -> tuple[list[Sound], list[Path]]:
    """The sounds, all as long as the longest, and which of them were padded with silence for it."""
    audios = [as_sound(load_recording(path)) for path in paths]
    longest = max(map(len, audios))
    if longest > MAX_FRAMES * HOP_SAMPLES:
        path = paths[[len(audio) for audio in audios].index(longest)]
        raise TetradError(f"{path} is longer than {MAX_FRAMES * HOP_SAMPLES // SAMPLE_RATE_HZ} s: cut it shorter")
    sounds, padded = [], []
    for path, audio in zip(paths, audios, strict=True):
        if len(audio) < longest:
            padded.append(path)
        audio = np.pad(audio, (0, longest - len(audio)))
        sounds.append(Sound(path, audio, encoder.embed_whole(audio)))
    return sounds, padded


def sounding_pitch(sound: Sound) -> float:
    """The MIDI pitch that the name tells, or the sound; with its fraction. Raises TetradError where neither does."""
    named = pitch_from_name(sound.path.stem)
    pitch = pitch_from_sound(sound.audio) if named is None else float(named)
    if pitch is None:
        raise TetradError(f"{sound.path}: no pitch in its name and none found in its sound; give --pitch")
    return pitch


def pitches_between(first: Sound, second: Sound, weights: list[float], asked: PitchTrack | None) -> list[Pitch]:
    """The pitch of each morph: what is asked for, else what leads from one sound's to the other's, which must be near.

    Raises TetradError where they are more than a quarter tone apart.
    """
    if asked is not None:
        return [asked.at_frames(len(first.embedding))] * len(weights)
    low, high = sounding_pitch(first), sounding_pitch(second)
    if abs(high - low) > SAME_SEMITONES:
        raise TetradError(f"{first.path} sounds at MIDI pitch {low:.4g} and {second.path} at {high:.4g}: give sounds "
                          "of one pitch, or --pitch for that of all morphs")
    return [(1 - weight) * low + weight * high for weight in weights]


def interpolate(first: Sound, second: Sound, weights: list[float], pitches: list[Pitch], play: Play) -> list[Step]:
    embeddings = np.stack([(1 - w) * first.embedding + w * second.embedding for w in weights]).astype(np.float32)
    morphs = play(embeddings, pitches)[:, : len(first.audio)]
    steps = []
    for weight, embedding, morph in zip(weights, embeddings, morphs, strict=True):
        mix = (1 - weight) * first.audio + weight * second.audio
        mix = (mix * (NOTE_PEAK / max(float(np.abs(mix).max()), 1e-6))).astype(np.float32)
        steps.append(Step(weight, mix, morph, embedding, log_mel_distance_db(morph, mix)))
    return steps


def play_student(embeddings: np.ndarray, pitches: list[Pitch]) -> np.ndarray:
    decoder = Decoder()
    return np.concatenate([decoder.decode(e[None], pitch) for e, pitch in zip(embeddings, pitches, strict=True)])


def teacher_player(autoencoder: Any) -> Play:
    """Plays with a teacher, a train.wavenet.WaveNetAutoencoder, sample by sample."""
    from train.sampler import generate  # takes TensorFlow, which the student does without

    def play(embeddings: np.ndarray, pitches: list[Pitch]) -> np.ndarray:
        frames = embeddings.shape[1]
        tracks = np.stack([np.broadcast_to(np.float32(pitch), frames) for pitch in pitches])
        with console.progress("the teacher plays", frames * HOP_SAMPLES) as bar:
            codes = generate(autoencoder, embeddings, tracks, frames * HOP_SAMPLES, advance=bar.advance)
        return mulaw.decode(codes)

    return play


def write(steps: list[Step], pair: str, folder: Path) -> None:
    """For each step of a pair of sounds PAIR-WEIGHT-mix.wav, -morph.wav and .npy, the morph's embedding."""
    for step in steps:
        stem = f"{pair}-{step.weight:.3f}"
        write_wav(folder / f"{stem}-mix.wav", [step.mix], SAMPLE_RATE_HZ)
        write_wav(folder / f"{stem}-morph.wav", [step.morph], SAMPLE_RATE_HZ)
        with files.atomic(folder / f"{stem}.npy") as file:
            np.save(file, step.embedding)


def draw(pairs: list[list[Step]], names: list[str], picture: Path) -> None:
    """The mixes of all pairs in one row, the morphs under them. names: of the sounds, one more than pairs."""
    row = [step for number, steps in enumerate(pairs) for step in steps[number > 0 :]]  # what two pairs share, once
    ends = {0: names[0]} | {sum(map(len, pairs[: n + 1])) - n - 1: names[n + 1] for n in range(len(pairs))}
    titles = [f"{kind} {step.weight:.3g}" + (f": {ends[i]}" if i in ends and kind == "mix" else "")
              for kind in ("mix", "morph") for i, step in enumerate(row)]
    rainbowgram.draw([step.mix for step in row] + [step.morph for step in row], titles, picture,
                     [None] * len(row) + [step.embedding for step in row], columns=len(row))


def interpolate_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("recordings", nargs="+", type=Path, metavar="WAV", help="two or more sounds of one pitch; each "
                        "is interpolated with the next")
    parser.add_argument("--out", type=Path, required=True, help="folder for sounds, embeddings, pictures and "
                        "interpolation.json")
    parser.add_argument("--steps", type=console.whole_number(2, 101), default=5, help="from one sound to the next, "
                        "both counted")
    parser.add_argument("--run", type=Path, help="encoder and teacher of this run, which plays sample by sample, "
                        "instead of the shipped student")
    parser.add_argument("--pitch", type=pitch_track, help="of all morphs: MIDI, or pitches at seconds, such as "
                        "60@0,62@0.5; that of the names or sounds unless given")
    console.add_json_option(parser)

    def run(args: Namespace) -> None:
        if len(args.recordings) < 2:
            raise TetradError(f"{args.recordings[0]} is one sound: give two or more to interpolate between")
        names = [f"{a.stem}-{b.stem}" for a, b in pairwise(args.recordings)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise TetradError(f"two pairs are called {twice[0]}: rename a file")
        sounds, padded = load_sounds(args.recordings, open_encoder(None, args.run))
        weights = np.linspace(0, 1, args.steps).tolist()
        teacher = None
        if args.run:
            from train.sampler import load_teacher

            teacher = load_teacher(args.run)
        unpitched = teacher is not None and not teacher.config.pitch_dimensions
        none: list[Pitch] = [0.0] * len(weights)
        asked = [none if unpitched else pitches_between(first, second, weights, args.pitch)
                 for first, second in pairwise(sounds)]
        play = teacher_player(teacher) if teacher else play_student
        files.make_folder(args.out)
        distances_db, every = {}, []
        for name, (first, second), pitches in zip(names, pairwise(sounds), asked, strict=True):
            steps = interpolate(first, second, weights, pitches, play)
            write(steps, name, args.out)
            every.append(steps)
            distances_db[name] = {f"{step.weight:.3f}": step.log_mel_db for step in steps}
        draw(every, [path.stem for path in args.recordings], args.out / "interpolation.png")
        with files.atomic(args.out / "interpolation.json") as file:
            file.write(json.dumps({"log_mel_db_from_mix_to_morph": distances_db}, indent=1).encode() + b"\n")
        inner = [db for of in distances_db.values() for weight, db in of.items() if 0 < float(weight) < 1]
        console.report(args, {"pairs": len(names), "folder": str(args.out),
                              "seconds": len(sounds[0].audio) / SAMPLE_RATE_HZ,
                              "padded": ", ".join(map(str, padded)) or "none",
                              **({"log_mel_db_from_mix_to_morph": float(np.mean(inner))} if inner else {})})

    return run
