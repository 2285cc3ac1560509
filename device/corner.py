"""What stands at a corner of a preset: a folder of recordings, one recording, embeddings, or an NSynth folder."""

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from device import console, files
from device.errors import TetradError
from device.pitch import pitch_from_name, pitch_of
from device.preset import DIMENSIONS, FRAMES, PITCHES
from device.recording import as_note, load_recording

RECORDINGS = (".wav", ".flac", ".aif", ".aiff", ".ogg", ".mp3")  # suffixes; other files in a folder are passed over
EMBEDDING = ".npy"
MAX_EXAMPLES_BYTES = 1 << 30  # NSynth's largest examples.json, of 289,205 notes, takes a fifth of it


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


def embed_corners(sources: Mapping[str, Source], encoder: Encoder, velocity: int) -> dict[str, dict[int, np.ndarray]]:
    """Embeddings, float32 [125, 16], of each corner's recordings by pitch: of those that the preset's pitches need.

    Shows progress. Raises TetradError naming the file that cannot be used.
    """
    found = {name: recordings(source, velocity) for name, source in sources.items()}
    needed = {name: {pitch: paths[pitch] for pitch in bracketing(paths, PITCHES)} for name, paths in found.items()}
    with console.progress("embedding", sum(map(len, needed.values()))) as bar:
        embeddings: dict[str, dict[int, np.ndarray]] = {name: {} for name in needed}
        for name, paths in needed.items():
            for pitch, path in paths.items():
                bar.note(path.name)
                embeddings[name][pitch] = embed_file(path, encoder)
                bar.advance()
    return embeddings


def embed_file(path: Path, encoder: Encoder) -> np.ndarray:
    """The embedding, float32 [125, 16], of a recording, or the one that an .npy holds."""
    return read_embedding(path) if path.suffix.lower() == EMBEDDING else encoder.embed(as_note(load_recording(path)))


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


def recordings(source: Source, velocity: int) -> dict[int, Path]:
    """The files of a corner by MIDI pitch, at least one. Raises TetradError naming the path and what it lacks."""
    path = source.path
    if (path / "examples.json").is_file():
        return nsynth_recordings(source, velocity)
    if source.instrument is not None:
        raise TetradError(f"{path} is no NSynth folder (it has no examples.json): give it without #{source.instrument}")
    if path.is_dir():
        found = sorted(file for file in path.iterdir()
                       if file.suffix.lower() in (*RECORDINGS, EMBEDDING) and not file.name.startswith("."))
    else:
        found = [path]
    if not found:
        raise TetradError(f"{path} has no recordings: put files such as flute_60.wav into it")
    by_pitch: dict[int, Path] = {}
    for file in found:
        pitch = file_pitch(file)
        if pitch in by_pitch:
            raise TetradError(f"{by_pitch[pitch]} and {file} have the same pitch, {pitch}: keep one of them, "
                              f"or name them with their MIDI pitch, such as {path.stem}_60{file.suffix}")
        by_pitch[pitch] = file
    return by_pitch


def file_pitch(path: Path) -> int:
    """The MIDI pitch of a recording or embedding. Raises TetradError where there is no such file, or no pitch."""
    pitch = pitch_from_name(path.stem)
    if not path.is_file():
        raise TetradError(f"{path} is not there: give a folder of recordings or a recording")
    if pitch is not None:
        return pitch
    if path.suffix.lower() == EMBEDDING:
        raise TetradError(f"{path} has no pitch in its name: name it such as {path.stem}_60{EMBEDDING}")
    return pitch_of(path, load_recording(path))


def nsynth_recordings(source: Source, velocity: int) -> dict[int, Path]:
    """Of an NSynth jsonwav folder: one instrument's file at each pitch, of the velocity nearest to the wanted one."""
    index = source.path / "examples.json"
    examples = files.parse_json(files.read_whole(index, MAX_EXAMPLES_BYTES), str(index))
    if not isinstance(examples, dict) or not examples:
        raise TetradError(f"{index} lists no notes: give a folder that NSynth or `tetrad notes render` made")
    nearest: dict[int, tuple[int, int, Path]] = {}
    instruments = set()
    for note, about in examples.items():
        try:
            pitch, loud = int(about["pitch"]), int(about["velocity"])
            instrument = str(about.get("instrument_str", note[:-8]))  # without -PPP-VVV
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise TetradError(f"{index}: note {note!r} has no pitch or velocity: get the folder again") from error
        instruments.add(instrument)
        if source.instrument in (None, instrument) and 0 <= pitch <= 127:
            candidate = abs(loud - velocity), loud, source.path / "audio" / f"{Path(note).name}.wav"
            nearest[pitch] = min(nearest.get(pitch, candidate), candidate)
    if source.instrument is None and len(instruments) > 1:
        raise TetradError(f"{source.path} has {len(instruments)} instruments: choose one, such as "
                          f"{source.path}#{min(instruments)}")
    if not nearest:
        some = ", ".join(sorted(instruments)[:5]) + (" ..." if len(instruments) > 5 else "")
        raise TetradError(f"{source.path} has no instrument {source.instrument}: it has {some}")
    return {pitch: path for pitch, (_, _, path) in sorted(nearest.items())}
