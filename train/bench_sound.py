"""`tetrad bench sound`: the figures of docs/sound.md, of the shipped decoder, against what was asked of it.

Two sets of notes: `factory`, of the instruments that are in the shipped presets, and `unseen`, of instruments that no
training has heard. Neither has taught the listener that judges them.
"""

import json
import os
import shutil
import tempfile
import time
import zlib
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from device import bake, bench_bake, console, files, jobs
from device.decoder import FACTORY_DECODER, Decoder
from device.encoder import FACTORY_ENCODER
from device.errors import TetradError
from device.library import Library, read_library
from device.preset import SAMPLE_RATE_HZ, Preset
from train import classifier, note_figures, pad_figures, rainbowgram, reference, sound_figures, sound_text, tables
from train.bench_generate import Reference, rate, write_checkpoint
from train.evaluate import FACTORY_BASELINE, evenly, known_qualities
from train.instruments import test_instruments
from train.note_figures import FIGURES
from train.notes import FAMILIES, Note
from train.reconstruct import Item, Models, describe_chunk
from train.sampler import FACTORY_RUN
from train.split import Part, whole

LIBRARY = FACTORY_DECODER.parent / "library.json"
PITCHES = range(36, 85)
STRUCK = (4, 5, *range(8, 15), 98, 108, 112)  # programs: tines, mallets and bells, crystal, kalimba, tinkle bell
MOVED = ("string", "brass", "flute", "reed", "vocal")  # families that are bowed or blown
MOVED_NOTES = 4  # times as many as of others: most have no vibrato, which is soon seen
PAD_PITCHES = (48, 60, 72)
PICTURED = 6  # pairs, of each set
CHUNK_NOTES = 4
SPEED_PITCHES = (40, 52, 64, 76)


@dataclass(frozen=True)
class Files:
    """What is measured, as whole paths."""

    models: Models
    encoder: Path
    library: Path
    reference: Path

    @property
    def digest(self) -> str:
        runs = (self.models.student, self.models.teacher or self.models.student, self.models.baseline)
        weights = [path for run in runs for path in (run / "config.json", *sorted(run.glob("*.weights.h5")))]
        return jobs.digest_of(self.models.decoder, self.encoder, *weights)


def spread(notes: Sequence[Note], most: int | None) -> list[Note]:
    """At most so many notes, as many of each instrument as of every other, at pitches and velocities that a hash of
    their names draws, in the order that they came in."""
    by_instrument: dict[str, list[Note]] = {}
    for note in sorted(notes, key=lambda note: zlib.crc32(note.note_str[::-1].encode())):
        by_instrument.setdefault(note.instrument_str, []).append(note)
    turns = sorted(((turn, name) for name, own in by_instrument.items() for turn in range(len(own))))
    picked = {by_instrument[name][turn].note_str for turn, name in turns[:most]}
    return [note for note in notes if note.note_str in picked]


@dataclass(frozen=True)
class Sets:
    """The notes of the bench: those that the listener learns from, and by the name of each set those that are tested,
    of which the most are taken when it is measured."""

    learned: Part
    tested: Mapping[str, Part]


def sets_of(notes: Path, library: Library, most_learned: int) -> Sets:
    """Raises TetradError where the notes have none of an instrument of the library, or no test instruments."""
    every = whole(notes)
    unseen, played = test_instruments(every.path), set(library.instruments)
    if not unseen:
        raise TetradError(f"{every.path} lists no test-instruments.txt: give notes of `tetrad notes render`, which "
                          "keeps some instruments from training")
    inside = [note for note in every.notes if note.pitch in PITCHES]
    tested = {
        "factory": [n for n in inside if n.instrument_str in played and n.velocity in library.velocities],
        "unseen": [n for n in inside if n.instrument_str in unseen],
    }
    there = {note.instrument_str for note in tested["factory"]}
    if missing := sorted(played - there):
        raise TetradError(f"{every.path} has no notes of {missing[0]} that the presets were made from: give the notes "
                          "that they were made from")
    if not tested["unseen"]:
        raise TetradError(f"{every.path} has no note of its test instruments from {PITCHES[0]} to {PITCHES[-1]}: "
                          "give all of the notes")
    learned = [n for n in every.notes if n.instrument_str not in unseen | played]
    if not learned:
        raise TetradError(f"{every.path} has only instruments that are tested, and none to learn from: give more")
    learned = [learned[i] for i in evenly(range(len(learned)), most_learned)]
    return Sets(Part(every.path, learned), {name: Part(every.path, part) for name, part in tested.items()})


class Bench:
    """One bench; the work on notes goes through `cluster`, and is kept in `store` until the end."""

    def __init__(self, measured: Files, cluster: jobs.Cluster, store: Path) -> None:
        self.measured, self.cluster, self.store, self._key = measured, cluster, store, measured.digest

    def chunks(self, function: Callable[[list], bytes], items: Sequence, description: str,
               chunk_items: int = CHUNK_NOTES) -> list[bytes]:
        return list(jobs.run(function, items, self.store, chunk_items=chunk_items, cluster=self.cluster,
                             description=description, key=f"sound {description} {self._key}"))

    def told(self, function: Callable[[list], bytes], items: Sequence, description: str,
             chunk_items: int = CHUNK_NOTES) -> list:
        """What the function tells of each item, in JSON."""
        return [row for chunk in self.chunks(function, items, description, chunk_items) for row in json.loads(chunk)]

    def arrays(self, function: Callable[[list], bytes], items: Sequence, description: str) -> list[np.ndarray]:
        packed = [jobs.unpack(chunk) for chunk in self.chunks(function, items, description)]
        return [np.concatenate(column) for column in zip(*packed, strict=True)]

    def described(self, part: Part, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The classifier's features and the measured qualities of recordings."""
        features, qualities = self.arrays(partial(describe_chunk, ()), items_of(part), f"{name}: recordings")
        return features, qualities

    def note_set(self, part: Part, name: str, most: int | None, teacher_notes: int) -> dict[str, Any]:
        """Everything of a set but what the listener recognises, for which it gives features."""
        models, encoder = self.measured.models, self.measured.encoder
        chosen = Part(part.path, spread(part.notes, most))
        figures, features = self.arrays(partial(note_figures.note_chunk, models, encoder), items_of(chosen),
                                        f"{name}: notes")
        distances = dict(zip(FIGURES, figures.T, strict=True))
        (baseline,) = self.arrays(partial(note_figures.stage_chunk, models, "baseline"), items_of(chosen),
                                  f"{name}: baseline")
        some = Part(part.path, spread(chosen.notes, teacher_notes))
        teacher = np.zeros(0)
        if some.notes:
            (teacher,) = self.arrays(partial(note_figures.stage_chunk, models, "teacher"), items_of(some),
                                     f"{name}: teacher")
        struck = Part(part.path, spread([n for n in part.notes if n.program in STRUCK], most))
        lost = self.told(partial(note_figures.partial_chunk, models.decoder, encoder), items_of(struck),
                         f"{name}: partials")
        moved = Part(part.path, spread([n for n in part.notes if FAMILIES[n.instrument_family] in MOVED],
                                       most and MOVED_NOTES * most))
        vibratos = self.told(partial(note_figures.vibrato_chunk, models.decoder, encoder), items_of(moved),
                             f"{name}: vibrato")
        return {"part": chosen, "figures": distances | {"baseline": baseline}, "features": features,
                "teacher": (some, teacher), "partials": (struck, lost), "vibratos": (moved, vibratos)}

    def pads(self, presets: Sequence[Path]) -> list[dict[str, Any]]:
        places = [pad_figures.Place(path, pitch) for path in presets for pitch in PAD_PITCHES]
        digest = jobs.digest_of(*presets)
        return self.told(partial(pad_figures.pad_chunk, self.measured.models.decoder), places, f"presets {digest[:8]}",
                         chunk_items=1)


def items_of(part: Part) -> list[Item]:
    return [Item(sound, note.pitch) for sound, note in zip(part.sounds, part.notes, strict=True)]


def recognised(bench: Bench, sets: Sets, found: Mapping[str, dict[str, Any]], epochs: int) -> dict[str, Any]:
    """For each set what a listener recognises in recordings and in what the int8 student makes of them, in percent."""
    features, measured = bench.described(sets.learned, "learned")
    parts = {name: own["part"] for name, own in found.items()}
    recorded = {name: bench.described(part, name) for name, part in parts.items()}
    own = {name: known_qualities(sets.learned, part, (measured, recorded[name][1])) for name, part in parts.items()}
    listener = classifier.train(features, classifier.labels(sets.learned.notes, next(iter(own.values()))[0]), epochs)
    rows: dict[str, Any] = {"learned_notes": len(sets.learned.notes)}
    for name, part in parts.items():
        _, truth, counted, source = own[name]
        every, figures = list(range(len(part.notes))), found[name]["figures"]
        stages = {"recordings": tables.Measured(every, recorded[name][0], 0 * figures["mu-law"],
                                                figures["recorded_pitch"]),
                  "int8 student": tables.Measured(every, found[name]["features"], figures["int8 student"],
                                                  figures["decoded_pitch"])}
        row = {stage: tables.figures(measured_stage, stages["recordings"], part.notes, truth, counted, listener)
               for stage, measured_stage in stages.items()}
        rows[name] = {"qualities": source} | {stage: {key: row[stage][key] for key in sound_figures.RECOGNISED}
                                              for stage in stages}
    return rows


def speed(measured: Files, presets: Sequence[Path], seconds: float) -> dict[str, object]:
    """Whole tables, body and release, as `bake` decodes them, on one thread; beside it the reference generator; and a
    full pad on all cores."""
    decoder, preset = Decoder(measured.models.decoder), bench_bake.loudest_layer(Preset.read(presets[0]))
    bake.decode_pad(preset, decoder, SPEED_PITCHES[0], 2)
    cells_s, taken_s = 0.0, 0.0
    for pitch in SPEED_PITCHES:
        start_s = time.perf_counter()
        decoded = bake.decode_pad(preset, decoder, pitch, bake.GRID)
        taken_s += time.perf_counter() - start_s
        cells_s += decoded.cells.size / SAMPLE_RATE_HZ
    samples_per_s = cells_s * SAMPLE_RATE_HZ / taken_s
    pad = bench_bake.measure(preset, decoder, os.cpu_count() or 1)
    result: dict[str, object] = {"x_realtime": cells_s / taken_s, "audio_s": cells_s, "threads": 1, "pad": pad,
                                 "reference_samples_per_s": None, "reference_ratio": None}
    try:
        reference.load(measured.reference)
    except TetradError as error:
        return result | {"without_reference": str(error)}
    with tempfile.TemporaryDirectory() as folder:
        prefix = Path(folder) / "model.ckpt-0"
        write_checkpoint(measured.reference, prefix)
        theirs = Reference(measured.reference, prefix, batch=1, threads=os.cpu_count() or 1)
        found = rate(partial(theirs.generate, np.zeros((1, 16), np.float32)), seconds, batch=1)
    return result | {"reference_samples_per_s": found, "reference_ratio": samples_per_s / found}


def pictures(found: Mapping[str, dict[str, Any]], measured: Files, out: Path) -> None:
    """For each set a picture of some notes, recordings above what the int8 student makes of them."""
    decoder = Decoder(measured.models.decoder)
    for name, own in found.items():
        part: Part = own["part"]
        some = Part(part.path, [part.notes[i] for i in evenly(range(len(part.notes)), PICTURED)])
        heard = [note_figures.listen(measured.encoder, item) for item in items_of(some)]
        made = [note_figures.decoded(decoder, recording, note.pitch)
                for recording, note in zip(heard, some.notes, strict=True)]
        titles = [f"{note.program_name or note.instrument_str}, {note.pitch}, velocity {note.velocity}"
                  for note in some.notes]
        rainbowgram.draw([recording.audio for recording in heard] + made, titles + ["decoded"] * len(made),
                         out / f"{name}.png", columns=len(made))


def measure(args: Namespace, cluster: jobs.Cluster) -> dict[str, Any]:
    """Does all of it, and writes it to `args.out`."""
    measured, library = files_of(args), read_library(args.library)
    presets = [measured.library.parent / entry.file for entry in library.presets]
    sets = sets_of(args.notes, library, args.most_train)
    timed = speed(measured, presets, args.seconds)  # while nothing else runs
    out = args.out.resolve()
    store = out.with_name(f".{out.name}.chunks")
    bench = Bench(measured, cluster, store)
    found = {name: bench.note_set(part, name, args.most, args.teacher_notes) for name, part in sets.tested.items()}
    pads = bench.pads(presets)
    result = sound_figures.summary(found, recognised(bench, sets, found, args.epochs), pads, timed)
    files.make_folder(out)
    for name, text in (("sound.json", json.dumps(result, indent=1) + "\n"), ("sound.md", sound_text.text(result))):
        with files.atomic(out / name) as file:
            file.write(text.encode())
    pictures(found, measured, out)
    shutil.rmtree(store, ignore_errors=True)
    return result


def files_of(args: Namespace) -> Files:
    """What the options name. Raises TetradError where a decoder and a run would be measured that are not each other's.
    """
    if args.run != FACTORY_RUN and args.decoder is None:
        raise TetradError(f"{args.run} is not the run of the shipped decoder: make its own with `tetrad quantize` and "
                          "give it to --decoder")
    models = Models(args.run.resolve(), args.teacher and args.teacher.resolve(), args.baseline.resolve(),
                    (args.decoder or FACTORY_DECODER).resolve(), temperature=1.0)
    return Files(models, (args.encoder or FACTORY_ENCODER).resolve(), args.library.resolve(), args.reference.resolve())


def bench_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("--notes", type=Path, required=True, help="the notes that were trained on, with the list of "
                        "instruments that were not")
    parser.add_argument("--out", type=Path, required=True, help="folder for sound.json, sound.md and pictures")
    parser.add_argument("--most", type=console.whole_number(1, 1_000_000), default=144, help="notes of each set, of "
                        "its struck ones, and four times as many of those that may have vibrato (default: %(default)s)")
    parser.add_argument("--most-train", type=console.whole_number(1, 1_000_000), default=3000,
                        help="notes that the listener learns from (default: %(default)s)")
    parser.add_argument("--epochs", type=console.whole_number(1, 1000), default=12, help="of the listener's training")
    parser.add_argument("--teacher-notes", type=console.whole_number(0, 1_000_000), default=8,
                        help="notes of each set that the teacher plays, sample by sample (default: %(default)s)")
    parser.add_argument("--run", type=Path, default=FACTORY_RUN, help="run of a student instead of the shipped one")
    parser.add_argument("--decoder", type=Path, help="its int8 decoder, which another --run needs")
    parser.add_argument("--encoder", type=Path, help="an encoder.tflite instead of the shipped one")
    parser.add_argument("--teacher", type=Path, help="run of a teacher instead of the student's own")
    parser.add_argument("--baseline", type=Path, default=FACTORY_BASELINE, help="run of a baseline instead of the "
                                                                                "shipped one")
    parser.add_argument("--library", type=Path, default=LIBRARY, help="list of presets, which lie beside it, instead "
                        "of the shipped one")
    parser.add_argument("--seconds", type=console.whole_number(1, 3600), default=20,
                        help="that the reference generator plays")
    reference.add_option(parser)
    jobs.add_options(parser)
    console.add_json_option(parser)

    def run(args: Namespace) -> None:
        with jobs.cluster_of(args) as cluster:
            result = measure(args, cluster)
        goals = {f"{row['what']}, {name}": sound_text.told(row[name]) for row in result["goals"]
                 for name in ("factory", "unseen") if row[name] is not None}
        console.report(args, result if args.json else goals)

    return run
