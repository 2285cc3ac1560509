"""What stands at a corner of a preset: a folder of recordings, one recording, embeddings, or an NSynth folder."""

import argparse
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from device import console, files, sustain
from device.analysis import analyse
from device.errors import TetradError
from device.pitch import pitch_from_name, pitch_of
from device.preset import (
    CENTS_STEP,
    DIMENSIONS,
    FRAMES,
    MOTION,
    PARTIALS,
    PITCHES,
    Corner,
    Preset,
    between,
    layer_velocities,
    mix_motion,
    nearest,
)
from device.recording import as_note, load_recording
from device.synth_settings import Synth

RECORDINGS = (".wav", ".flac", ".aif", ".aiff", ".ogg", ".mp3")  # suffixes; other files in a folder are passed over
EMBEDDING = ".npy"
MAX_EXAMPLES_BYTES = 1 << 30  # NSynth's largest examples.json, of 289,205 notes, takes a fifth of it
VELOCITY = re.compile(r"(?:_v|-\d{3}-)(\d{1,3})$")  # flute_60_v100, and NSynth's flute_acoustic_002-060-100
DEFAULT_VELOCITY = 100  # of the one layer of recordings that tell none
INT8_TOP = 127  # either side of zero

Recordings = Mapping[int, Mapping[int | None, Path]]  # by MIDI pitch, then by velocity; None: it tells none


class Encoder(Protocol):
    """From a note to its embedding."""

    def embed(self, audio: np.ndarray) -> np.ndarray:
        """float32 [64000] -> float32 [125, 16]"""
        ...


@dataclass(frozen=True)
class Source:
    """A path, and the instrument to take where it is an NSynth folder of several."""

    path: Path
    instrument: str | None = None


def named_source(argument: str) -> tuple[str, Source]:
    """`NAME=PATH` or `NAME=PATH#INSTRUMENT` of a command line, as argparse's type."""
    name, equals, path = argument.partition("=")
    if not (name and equals and path):
        raise argparse.ArgumentTypeError(f"{argument!r} is not NAME=PATH")
    if "#" in path and not Path(path).exists():  # a file may be called flute_F#3.wav
        folder, _, instrument = path.rpartition("#")
        return name, Source(Path(folder), instrument)
    return name, Source(Path(path))


@dataclass(frozen=True, eq=False)
class Note:
    """What a corner takes of a recording: its embedding, float [FRAMES, DIMENSIONS], and what was measured in it."""

    embedding: np.ndarray
    partials_cents: np.ndarray = field(default_factory=lambda: np.zeros(PARTIALS, np.float32))  # [PARTIALS]
    motion: np.ndarray = field(default_factory=lambda: np.zeros(len(MOTION), np.float32))  # see preset.MOTION


def velocity_list(argument: str) -> tuple[int, ...]:
    """`50,100` of a command line, as argparse's type."""
    try:
        return layer_velocities([int(part) for part in argument.split(",")])
    except (ValueError, TetradError) as error:
        raise argparse.ArgumentTypeError(
            f"{argument!r} is not 1 to 4 ascending MIDI velocities such as 50,100") from error


def embed_corners(sources: Mapping[str, Source], encoder: Encoder, velocities: tuple[int, ...] | None = None,
                  ) -> tuple[tuple[int, ...], dict[str, list[dict[int, Note]]]]:
    """The layers' velocities, and of each corner, for each layer, the notes by pitch that the preset's pitches need.

    The velocities are those that all corners have unless given. Shows progress. Raises TetradError naming the file
    that cannot be used.
    """
    found = {name: recordings(source) for name, source in sources.items()}
    velocities = velocities or common_layers(found.values())
    needed: dict[str, list[dict[int, Path]]] = {}
    for name, there in found.items():
        pitches = bracketing(there, PITCHES)
        needed[name] = [{pitch: of_velocity(there[pitch], velocity) for pitch in pitches} for velocity in velocities]
    files_of = {name: {path: pitch for layer in layers for pitch, path in layer.items()}
                for name, layers in needed.items()}
    with console.progress("embedding", sum(map(len, files_of.values()))) as bar:
        notes: dict[str, list[dict[int, Note]]] = {}
        for name, layers in needed.items():
            heard: dict[Path, Note] = {}
            for path, pitch in files_of[name].items():
                bar.note(path.name)
                heard[path] = listen(path, pitch, encoder)
                bar.advance()
            notes[name] = [{pitch: heard[path] for pitch, path in layer.items()} for layer in layers]
    return velocities, notes


def listen(path: Path, pitch: int, encoder: Encoder) -> Note:
    """A recording as a note of a MIDI pitch; an .npy is an embedding, which holds no more than itself."""
    if path.suffix.lower() == EMBEDDING:
        return Note(read_embedding(path))
    audio = sustain.held(as_note(load_recording(path)))
    tone = analyse(audio, pitch)
    return Note(encoder.embed(audio), tone.partials_cents, np.array([getattr(tone, of) for of in MOTION], np.float32))


def common_layers(corners: Iterable[Recordings]) -> tuple[int, ...]:
    """The softest and the loudest of the velocities that all corners have; where one has none, a single layer."""
    told = [{velocity for of_pitch in corner.values() for velocity in of_pitch} for corner in corners]
    common = sorted(velocity for velocity in set.intersection(*told) if velocity is not None)
    return tuple(sorted({common[0], common[-1]})) if common else (DEFAULT_VELOCITY,)


def of_velocity(of_pitch: Mapping[int | None, Path], velocity: int) -> Path:
    """The recording of the nearest velocity, the softer of two; one that tells none serves each."""
    def distance(told: int | None) -> tuple[int, int]:
        return (0, 0) if told is None else (abs(told - velocity), told)

    return of_pitch[min(of_pitch, key=distance)]


def make_preset(corners: Mapping[str, Sequence[Mapping[int, Note]]], *, name: str, author: str = "", licence: str = "",
                velocities: tuple[int, ...] = (DEFAULT_VELOCITY,), synth: Synth | None = None, decoder: str = "",
                pitches: tuple[int, ...] = PITCHES) -> Preset:
    """A preset of four instruments, in the corners' order: of each, a layer a velocity, the notes by recorded pitch.

    One scale a corner, its largest value / 127, so an int8 step is 0.4 % of it. Raises TetradError on bad notes.
    """
    made = []
    for corner, layers in corners.items():
        if not layers or not all(layers):
            raise TetradError(f"corner {corner!r} has no recording")
        exact = np.stack([embeddings_at(corner, layer, pitches) for layer in layers])  # (L, P, F, D)
        scale = float(np.abs(exact).max()) / INT8_TOP or 1.0  # an instrument that is 0 throughout has no scale
        partials, motion = zip(*(measured_at(corner, layer, pitches) for layer in layers), strict=True)
        made.append(Corner(corner, scale, np.rint(exact / scale).astype(np.int8), np.stack(partials), np.stack(motion)))
    return Preset(name, author, licence, tuple(made), tuple(pitches), tuple(velocities), synth or Synth(), decoder)


def embeddings_at(corner: str, notes: Mapping[int, Note], pitches: Sequence[int]) -> np.ndarray:
    """Embeddings at any pitches, float32 [pitches, FRAMES, DIMENSIONS], linear between the recorded ones, the nearest
    outside of them."""
    recorded = sorted(notes)
    for pitch in recorded:
        embedding = notes[pitch].embedding
        if np.shape(embedding) != (FRAMES, DIMENSIONS) or not np.isfinite(embedding).all():
            raise TetradError(f"corner {corner!r}, pitch {pitch}: an embedding is [{FRAMES}, {DIMENSIONS}] "
                              f"numbers, not {list(np.shape(embedding))} or NaN: embed the recording again")
    stack = np.stack([np.asarray(notes[pitch].embedding, np.float32) for pitch in recorded])  # (R, F, D)
    low, high, share = between(recorded, pitches)
    share = share[:, None, None]
    return (1 - share) * stack[low] + share * stack[high]


def measured_at(corner: str, notes: Mapping[int, Note], pitches: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Partials int16 [pitches, PARTIALS] of the nearest recorded pitch; motion float32 [pitches, 4] between them."""
    recorded = sorted(notes)
    cents = np.stack([notes[pitch].partials_cents for pitch in recorded])
    motion = np.stack([notes[pitch].motion for pitch in recorded]).astype(np.float32)
    if not (np.isfinite(cents).all() and np.isfinite(motion).all()):
        raise TetradError(f"corner {corner!r}: what was measured of a recording is not finite: record it again")
    tenths = np.clip(np.rint(cents / CENTS_STEP), -32_768, 32_767).astype("<i2")
    low, high, share = between(recorded, pitches)
    mixed = [mix_motion(motion[[below, above]], np.array([1 - part, part]))
             for below, above, part in zip(low, high, share, strict=True)]
    return tenths[[nearest(recorded, pitch) for pitch in pitches]], np.stack(mixed).astype("<f4")


def read_embedding(path: Path, most_frames: int = FRAMES) -> np.ndarray:
    """float32 [frames, 16] of an .npy such as `tetrad embed` writes: of a note (`--as-notes`), 125 frames; with
    `most_frames`, of any length up to that. Raises TetradError where it is none."""
    try:
        stored = np.lib.format.open_memmap(path, mode="r")  # maps: no memory is taken for what the header claims
        frames = FRAMES if most_frames == FRAMES else min(max(len(stored), 1), most_frames)
        values = np.array(stored, np.float32) if stored.shape == (frames, DIMENSIONS) else None
    except Exception as error:  # the header is a Python literal: syntax, tokenizer and other errors
        reason = "it is none, or damaged" if path.exists() else "there is no such file"
        raise TetradError(f"cannot read {path} as an embedding: {reason}; make it with `tetrad embed`") from error
    if values is not None and not np.isfinite(values).all():
        raise TetradError(f"{path} holds NaN or infinite numbers: make it again with `tetrad embed`")
    if values is None and most_frames > FRAMES and len(stored) > most_frames:
        raise TetradError(f"{path} has {len(stored)} frames, and {most_frames} are the most: cut the sound shorter")
    if values is None:
        how = "`tetrad embed --as-notes`" if most_frames == FRAMES else "`tetrad embed`"
        raise TetradError(f"{path} is not [{frames}, {DIMENSIONS}] numbers: make it with {how}")
    return values


def bracketing(recorded: Iterable[int], wanted: Iterable[int]) -> list[int]:
    """Those recorded pitches that an interpolation at the wanted ones reads: the next below and the next above each."""
    there = sorted(recorded)
    read = set()
    for pitch in wanted:
        read.add(max((p for p in there if p <= pitch), default=there[0]))
        read.add(min((p for p in there if p >= pitch), default=there[-1]))
    return sorted(read)


def recordings(source: Source) -> Recordings:
    """The files of a corner, at least one. Raises TetradError naming the path and what it lacks."""
    path = source.path
    if (path / "examples.json").is_file():
        return nsynth_recordings(source)
    if source.instrument is not None:
        raise TetradError(f"{path} is no NSynth folder (it has no examples.json): give it without #{source.instrument}")
    if path.is_dir():
        found = sorted(file for file in path.iterdir()
                       if file.suffix.lower() in (*RECORDINGS, EMBEDDING) and not file.name.startswith("."))
    else:
        found = [path]
    if not found:
        raise TetradError(f"{path} has no recordings: put files such as flute_60.wav into it")
    by_pitch: dict[int, dict[int | None, Path]] = {}
    for file in found:
        pitch, velocity = file_pitch(file), velocity_from_name(file.stem)
        there = by_pitch.setdefault(pitch, {})
        for told, other in there.items():
            if velocity is None or told in (None, velocity):
                raise TetradError(f"{other} and {file} have the same pitch, {pitch}: keep one of them, or name them "
                                  f"with MIDI pitch and velocity, such as {path.stem}_60_v100{file.suffix}")
        there[velocity] = file
    return by_pitch


def velocity_from_name(stem: str) -> int | None:
    """The MIDI velocity at the end of a file's name (without suffix), or None: flute_60_v100, NSynth's names."""
    found = VELOCITY.search(stem)
    return int(found[1]) if found and 1 <= int(found[1]) <= 127 else None


def file_pitch(path: Path) -> int:
    """The MIDI pitch of a recording or embedding. Raises TetradError where there is no such file, or no pitch."""
    pitch = pitch_from_name(re.sub(r"_v\d{1,3}$", "", path.stem))
    if not path.is_file():
        raise TetradError(f"{path} is not there: give a folder of recordings or a recording")
    if pitch is not None:
        return pitch
    if path.suffix.lower() == EMBEDDING:
        raise TetradError(f"{path} has no pitch in its name: name it such as {path.stem}_60{EMBEDDING}")
    return pitch_of(path, load_recording(path))


def nsynth_recordings(source: Source) -> Recordings:
    """Of an NSynth jsonwav folder: the files of one instrument."""
    index = source.path / "examples.json"
    instruments = nsynth_instruments(index, files.stamp(index))
    if source.instrument is None and len(instruments) > 1:
        raise TetradError(f"{source.path} has {len(instruments)} instruments: choose one, such as "
                          f"{source.path}#{min(instruments)}")
    found = instruments.get(min(instruments) if source.instrument is None else source.instrument)
    if not found:
        some = ", ".join(sorted(instruments)[:5]) + (" ..." if len(instruments) > 5 else "")
        raise TetradError(f"{source.path} has no instrument {source.instrument}: it has {some}")
    return found


@lru_cache(maxsize=1)
def nsynth_instruments(index: Path, stamp: str) -> Mapping[str, Recordings]:
    """The recordings of each instrument that an examples.json lists. `stamp` is the file's: a changed one is read anew.
    """
    examples = files.parse_json(files.read_whole(index, MAX_EXAMPLES_BYTES), str(index))
    if not isinstance(examples, dict) or not examples:
        raise TetradError(f"{index} lists no notes: give a folder that NSynth or `tetrad notes render` made")
    instruments: dict[str, dict[int, dict[int | None, Path]]] = {}
    for note, about in sorted(examples.items()):
        try:
            pitch, velocity = int(about["pitch"]), int(about["velocity"])
            instrument = str(about.get("instrument_str", note[:-8]))  # without -PPP-VVV
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise TetradError(f"{index}: note {note!r} has no pitch or velocity: get the folder again") from error
        by_pitch = instruments.setdefault(instrument, {})
        if 0 <= pitch <= 127:
            path = index.parent / "audio" / f"{Path(note).name}.wav"
            by_pitch.setdefault(pitch, {}).setdefault(min(max(velocity, 1), 127), path)
    return instruments
