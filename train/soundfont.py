"""Renders a SoundFont's programs to a folder of NSynth notes: 3 s held, 1 s released, mono, no reverb or chorus.

FluidSynth renders many notes at once, each on a MIDI channel with an output of its own, so that none depends on its
neighbours. It reads a font's samples without a low-pass in front: at 16 kHz all above 8 kHz would fold back (FluidR3's
programs: log spectra 0.3 dB off on average, the worst 7.5). It runs at 32 kHz (0.1 and 2.3), which soxr halves.
"""

import json
import os
import re
import struct
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from ctypes import c_char_p, c_int, c_void_p
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import soxr
from numpy.typing import NDArray

from device import console, files, jobs
from device.errors import TetradError
from device.preset import NOTE_SAMPLES, SAMPLE_RATE_HZ
from train.instruments import LIST, write_test_instruments
from train.notes import (
    FAMILIES,
    FULL_SCALE,
    HELD_SAMPLES,
    KIND,
    QUALITIES,
    SOURCES,
    Note,
    audio_path,
    to_int16,
    write_examples,
    write_wav,
)
from train.programs import PROGRAMS, UNPITCHED

OVERSAMPLING = 2  # FluidSynth's rate over ours
BATCH_NOTES = 16  # rendered at once: FluidSynth's mixing buffers of 16 outputs just fit a 2 MB second-level cache
POLYPHONY = 32 * BATCH_NOTES  # voices: more layers than fonts have, so that no note steals another's
SYNTH_GAIN = 0.5  # with left + right as mono: FluidR3's loudest note at velocity 127 peaks 0.9 dB under full scale
SYNTH_SETTINGS = {
    "midi-channels": BATCH_NOTES, "audio-groups": BATCH_NOTES, "audio-channels": BATCH_NOTES, "polyphony": POLYPHONY,
    "cpu-cores": 1, "reverb.active": 0, "chorus.active": 0,
}
RECIPE = "render.json"  # what a folder was rendered from; a folder is only gone on with by the same recipe
FONT_INSTRUMENTS = 1000  # numbers that a font takes
PARTIAL = "note.part"  # the WAV that is being written; the next run writes over what a kill has left
SILENCE_DBFS = -60.0  # a note whose peak is lower is dropped
OUTCOMES = ("rendered", "silent", "clipped")  # the last two are dropped


class Key(NamedTuple):
    """One note that can be asked of a SoundFont."""

    program: int
    pitch: int
    velocity: int
    font: int = 0  # which of those that were given

    def describe(self) -> Note:
        """The note's fields. Numbers come from font and program, so that they do not depend on what else is
        rendered: the second font's program 33 is instrument 1033."""
        name, family, source = PROGRAMS[self.program]
        instrument = self.font * FONT_INSTRUMENTS + self.program
        return Note(
            note_str=f"{family}_{source}_{instrument:03}-{self.pitch:03}-{self.velocity:03}",
            pitch=self.pitch,
            velocity=self.velocity,
            instrument_family=FAMILIES.index(family),
            instrument_source=SOURCES.index(source),
            qualities=(0,) * len(QUALITIES),  # unknown: nobody has listened
            note=(instrument * 128 + self.pitch) * 128 + self.velocity,
            instrument=instrument,
            sample_rate=SAMPLE_RATE_HZ,
            qualities_str=(),
            program=self.program,
            program_name=name,
        )


def check_soundfont(path: Path) -> None:
    """Raises TetradError where `path` is no whole SoundFont 2 file (FluidSynth's reason would be lost in its log)."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            kind, riff_bytes, form = struct.unpack("<4sI4s", file.read(12).ljust(12, b"\0"))
            if kind != b"RIFF" or form != b"sfbk":
                raise TetradError(f"{path} is not a SoundFont 2 file (.sf2): give one, such as FluidR3_GM.sf2")
            if size < riff_bytes + 8:
                raise TetradError(f"{path} is cut: it has {size} of {riff_bytes + 8} bytes; download it again")
            lists = list(riff_lists(file, riff_bytes + 8))
    except OSError as error:
        raise TetradError(f"cannot read the SoundFont {path}: {error.strerror}; check --soundfont") from error
    if lists != [b"INFO", b"sdta", b"pdta"]:
        raise TetradError(f"{path} is damaged: its parts are not INFO, sdta, pdta; download it again")


def riff_lists(file: BinaryIO, end: int) -> Iterator[bytes]:
    """The types of the LIST chunks up to byte `end`; b"" for one that does not fit."""
    at = 12
    while at + 12 <= end:
        file.seek(at)
        kind, chunk_bytes, form = struct.unpack("<4sI4s", file.read(12))
        at += 8 + chunk_bytes + chunk_bytes % 2
        yield form if kind == b"LIST" and at <= end + 1 else b""


class Font:
    """A SoundFont loaded once, and played by a fresh FluidSynth for each batch of notes.

    Fresh, because FluidSynth's voices remember the panning and filter of the note that they played before (a reset does
    not clear them): a note's bytes would depend on what was rendered earlier. Making one costs a thirtieth of a batch.
    Raises TetradError where libfluidsynth is missing or does not take the file.
    """

    def __init__(self, path: Path) -> None:
        check_soundfont(path)
        try:
            import fluidsynth as lib
        except ImportError as error:
            raise TetradError("FluidSynth is missing: apt install libfluidsynth3, pip install pyfluidsynth") from error
        self._lib = lib
        for level in range(5):
            lib._fl.fluid_set_log_function(level, None, None)  # its warnings would break our own lines
        synth = ("synth", c_void_p, 1)
        font = ("font", c_void_p, 1)
        self._add = lib.cfunc("fluid_synth_add_sfont", c_int, synth, font)
        self._remove = lib.cfunc("fluid_synth_remove_sfont", c_int, synth, font)
        self._process = lib.cfunc("fluid_synth_process", c_int, synth, ("len", c_int, 1), ("nfx", c_int, 1),
                                  ("fx", c_void_p, 1), ("nout", c_int, 1), ("out", c_void_p, 1))
        self._settings = lib.new_fluid_settings()
        lib.fluid_settings_setnum(self._settings, b"synth.sample-rate", float(SAMPLE_RATE_HZ * OVERSAMPLING))
        lib.fluid_settings_setnum(self._settings, b"synth.gain", SYNTH_GAIN)
        for name, value in SYNTH_SETTINGS.items():
            lib.fluid_settings_setint(self._settings, f"synth.{name}".encode(), value)
        self._owner = lib.new_fluid_synth(self._settings)
        number = lib.fluid_synth_sfload(self._owner, str(path).encode(), 0)
        if number < 0:
            raise TetradError(f"FluidSynth does not take the SoundFont {path}: download it again or give another")
        self._font = lib.fluid_synth_get_sfont_by_id(self._owner, number)

    def __enter__(self) -> "Font":
        return self

    def __exit__(self, *_: object) -> None:
        self._lib.delete_fluid_synth(self._owner)
        self._lib.delete_fluid_settings(self._settings)

    @property
    def fluidsynth(self) -> str:
        """FluidSynth's version."""
        self._lib._fl.fluid_version_str.restype = c_char_p
        return str(self._lib._fl.fluid_version_str().decode())

    def has(self, program: int) -> bool:
        return self._lib.fluid_sfont_get_preset(self._font, 0, program) is not None

    def render(self, keys: Sequence[Key]) -> NDArray[np.float32]:
        """At most `BATCH_NOTES` notes, as mono float32 [notes, NOTE_SAMPLES]; 1.0 is full scale and may be passed."""
        lib, synth = self._lib, self._lib.new_fluid_synth(self._settings)
        number = self._add(synth, self._font)
        try:
            for channel, key in enumerate(keys):
                lib.fluid_synth_program_select(synth, channel, number, 0, key.program)
                lib.fluid_synth_noteon(synth, channel, key.pitch, key.velocity)
            sound = np.zeros((len(keys), NOTE_SAMPLES * OVERSAMPLING), np.float32)
            held = HELD_SAMPLES * OVERSAMPLING
            self._mix_into(sound[:, :held], synth)
            for channel, key in enumerate(keys):
                lib.fluid_synth_noteoff(synth, channel, key.pitch)
            self._mix_into(sound[:, held:], synth)
        finally:
            self._remove(synth, self._font)
            lib.delete_fluid_synth(synth)
        return np.stack([soxr.resample(note, OVERSAMPLING, 1) for note in sound])

    def _mix_into(self, sound: NDArray[np.float32], synth: int) -> None:
        """Adds each channel's left and right to its row of `sound` [notes, samples]."""
        unused = np.zeros(sound.shape[1], np.float32)  # for the outputs that have no note
        rows = [*sound, *[unused] * (BATCH_NOTES - len(sound))]
        outputs = (c_void_p * (2 * BATCH_NOTES))(*(row.ctypes.data for row in rows for _ in ("left", "right")))
        if self._process(synth, sound.shape[1], 0, None, len(outputs), outputs):
            raise TetradError("FluidSynth stopped rendering: install version 2.3 or later")


def outcome(sound: NDArray[np.float32]) -> str:
    """What becomes of a note, [samples]: one of OUTCOMES."""
    peak = float(np.abs(sound).max())
    if peak < 10 ** (SILENCE_DBFS / 20):
        return "silent"
    return "clipped" if peak > 1 - 1 / FULL_SCALE else "rendered"


def start_folder(out: Path, recipe: dict[str, Any]) -> None:
    """Makes the folder, or takes up one that was begun with the same recipe. Raises TetradError for any other."""
    begun = out / RECIPE
    try:
        (out / "audio").mkdir(parents=True, exist_ok=True)
        if begun.exists():
            if files.parse_json(begun.read_bytes(), str(begun)) != recipe:
                raise TetradError(f"{out} was rendered from another font, or with other options: give another --out")
        elif any(out.glob("audio/*")) or (out / "examples.json").exists():
            raise TetradError(f"{out} holds notes that were not rendered here: give another --out")
    except OSError as error:
        raise TetradError(f"cannot make the folder {out}: {error.strerror}; give another --out") from error
    with files.atomic(begun) as file:
        file.write(f"{json.dumps(recipe, indent=1)}\n".encode())


def render(soundfonts: Sequence[Path], out: Path, programs: Sequence[int] | None, pitches: Sequence[int],
           velocities: Sequence[int], cluster: jobs.Cluster | None = None) -> dict[str, Any]:
    """Renders all combinations to the folder `out`, or the rest of them where it was stopped. Returns the counts.

    `programs` None: those below `UNPITCHED` that a font has. `cluster` None: in this process. Raises TetradError for
    a font that is damaged or lacks a program that was asked for, and for a folder that holds other notes.
    """
    digests = [font_digest(path) for path in soundfonts]
    fonts = [(path.resolve(), open_font(path.resolve(), digest))
             for path, digest in zip(soundfonts, digests, strict=True)]
    for path, font in fonts:
        if missing := [p for p in programs or () if not font.has(p)]:
            names = ", ".join(f"{p} ({PROGRAMS[p][0]})" for p in missing)
            raise TetradError(f"{path} has no program {names}: leave it out of --programs")
    chosen = [sorted(set(programs or filter(font.has, range(UNPITCHED)))) for _, font in fonts]
    made_by = {"fluidsynth": fonts[0][1].fluidsynth, "soxr": soxr.__version__}
    start_folder(out, {"format": "tetrad-render", "version": 2, **made_by, "pitches": list(pitches),
                       "velocities": list(velocities),
                       "fonts": [{"soundfont": path.name, "sha256": digest, "programs": programs_of}
                                 for (path, _), digest, programs_of in zip(fonts, digests, chosen, strict=True)]})
    started_s, done, todo = time.perf_counter(), list[Note](), 0
    counts = Counter(dict.fromkeys(OUTCOMES, 0))
    for number, (path, _) in enumerate(fonts):
        keys = [Key(*numbers, number) for numbers in product(chosen[number], pitches, velocities)]
        notes = {key: key.describe() for key in keys}
        left = [key for key in keys if not is_whole(audio_path(out, notes[key].note_str))]
        done += [notes[key] for key in sorted(set(keys) - set(left))]
        todo += len(left)
        results = jobs.run(partial(render_batch, path, digests[number], made_by), left, None,
                           chunk_items=BATCH_NOTES, cluster=cluster or jobs.Cluster(1), description="notes", key="")
        for key, becomes, samples in rendered(left, results):
            counts[becomes] += 1
            if becomes == "rendered":
                store(out, notes[key].note_str, samples)
                done.append(notes[key])
    wall_s = time.perf_counter() - started_s
    if not done:
        (out / RECIPE).unlink()
        (out / "audio").rmdir()
        raise TetradError(f"{', '.join(str(path) for path, _ in fonts)}: nothing to hear of the notes: ask for other "
                          "--programs, --pitches or --velocities")
    instruments = {note.instrument_str for note in done}
    tested = write_test_instruments(out, instruments)
    print(f"{tested} of {len(instruments)} instruments are for tests ({out / LIST}): no training hears them",
          file=sys.stderr, flush=True)
    write_examples(out, sorted(done, key=lambda note: note.note or 0))
    return {"notes": len(done), "found": len(done) - counts["rendered"], **counts,
            "instruments": len(instruments), "test_instruments": tested, "notes_per_s": todo / wall_s}


def font_digest(path: Path) -> str:
    check_soundfont(path.resolve())
    return jobs.digest_of(path.resolve())


@lru_cache(maxsize=8)
def open_font(soundfont: Path, digest: str) -> Font:
    """The font with this SHA-256; loaded once in a process."""
    if jobs.digest_of(soundfont) != digest:
        raise TetradError(f"{soundfont} is not the same file on all machines: copy it to each")
    return Font(soundfont)


def render_batch(soundfont: Path, digest: str, made_by: dict[str, str], keys: Sequence[Key]) -> bytes:
    """What became of at most BATCH_NOTES notes, uint8 [notes] of OUTCOMES, and the rendered ones, int16 [n,
    NOTE_SAMPLES]."""
    font = open_font(soundfont, digest)
    if made_by != {"fluidsynth": font.fluidsynth, "soxr": soxr.__version__}:
        raise TetradError(f"a worker has not {made_by}: install the same FluidSynth and soxr on all machines")
    sounds = font.render(keys)
    becomes = [outcome(sound) for sound in sounds]
    kept = sounds[[name == "rendered" for name in becomes]]
    return jobs.pack([np.array([OUTCOMES.index(name) for name in becomes], np.uint8), to_int16(kept)])


def rendered(keys: Sequence[Key], results: Iterable[bytes]) -> Iterator[tuple[Key, str, NDArray[np.int16]]]:
    """Each note with what became of it and, where it was rendered, its samples (else none)."""
    left = iter(keys)
    for result in results:
        becomes, sounds = jobs.unpack(result)
        kept = iter(sounds)
        for number in becomes:
            yield next(left), OUTCOMES[number], next(kept) if number == 0 else sounds[:0]


def store(out: Path, note_str: str, samples: NDArray[np.int16]) -> None:
    """Writes a note's WAV so that a kill leaves it whole or not there."""
    wav, part = audio_path(out, note_str), out / PARTIAL
    try:
        write_wav(part, samples)
        os.replace(part, wav)
    except OSError as error:
        raise TetradError(f"cannot write {wav}: {error.strerror}; make room, and run this again, it goes on") from error


WAV_HEADER_BYTES = 44  # RIFF, fmt and data headers of a plain PCM file


def is_whole(wav: Path) -> bool:
    """Whether a WAV of a note is there, and not one that a power cut has left empty."""
    return wav.exists() and wav.stat().st_size == WAV_HEADER_BYTES + KIND[1] * NOTE_SAMPLES


def numbers(text: str, low: int) -> list[int]:
    """The numbers, `low` to 127, that "0-7,16" (ranges and numbers) or "24:96:3" (first, last, step) names."""
    chosen: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,3})(?:[-:](\d{1,3})(?::(\d{1,3}))?)?", part.strip())
        if not match:
            raise ArgumentTypeError(f"{part!r} is not a number, a range such as 0-7, or first:last:step")
        first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
        if not low <= first <= last <= 127 or step == 0:
            raise ArgumentTypeError(f"{part!r} is not ascending from {low} to 127")
        chosen.update(range(first, last + 1, step))
    return sorted(chosen)


def render_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    midi, velocity = partial(numbers, low=0), partial(numbers, low=1)  # a note-on of velocity 0 is a note-off
    parser.add_argument("--soundfont", type=Path, required=True, nargs="+", metavar="F",
                        help="SoundFont 2 files (.sf2); the instruments of the second are numbered from 1000")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to make, or to go on with")
    parser.add_argument("--programs", type=midi, metavar="LIST", help="such as 0-7,16 (all pitched ones of the font)")
    parser.add_argument("--pitches", type=midi, default="24:96:3", metavar="A:B:STEP",
                        help="MIDI pitches, B included (24:96:3)")
    parser.add_argument("--velocities", type=velocity, default="50,100", metavar="LIST", help="such as 25,50 (50,100)")
    jobs.add_options(parser)
    console.add_json_option(parser)

    def run(args: Namespace) -> None:
        with jobs.cluster_of(args) as cluster:
            counts = render(args.soundfont, args.out, args.programs, args.pitches, args.velocities, cluster)
        console.report(args, counts)

    return run
