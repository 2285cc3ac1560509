"""The paper's evaluation: what a listener trained on recordings still recognises in reconstructions of unseen ones.

Beside it, what a reconstruction costs in log-mel distance and in pitch, at each stage: mu-law, teacher, baseline,
student. Intervals are bootstrapped over instruments, since notes of one instrument are alike.
"""

import json
import shutil
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import keras
import numpy as np

from device import console, files, jobs
from device.decoder import FACTORY_DECODER
from device.errors import TetradError
from train import classifier, probe
from train.notes import FAMILIES, QUALITIES, Note
from train.qualities import MEASURED
from train.reconstruct import HELD_FRAMES, STAGES, Item, Models, describe_chunk, measure_chunk
from train.run import read_config
from train.sampler import FACTORY_RUN, positive_number
from train.soundfont import numbers
from train.split import Part, learned_and_tested, unheard
from train.tables import COLUMNS, Measured, draw_histories, draw_stages, figures, interval, report_text

FACTORY_BASELINE = FACTORY_RUN / "baseline"
CHUNK_NOTES = 8  # a batch for the teacher


def evenly(indices: Sequence[int], most: int | None) -> list[int]:
    """At most so many of them, evenly chosen."""
    if most is None or len(indices) <= most:
        return list(indices)
    return [indices[i] for i in np.linspace(0, len(indices) - 1, most).round().astype(int)] if most else []


def chosen(part: Part, args: Namespace, most: int | None) -> Part:
    """Of a part's notes those that the options ask for."""
    picked = [i for i, n in enumerate(part.notes) if n.pitch in args.pitches
              and (args.velocity is None or n.velocity == args.velocity)
              and (args.programs is None or n.program in args.programs)]
    if not picked:
        raise TetradError(f"{part.path} has no notes of the pitches, velocity and programs that were asked for; see "
                          "`tetrad notes info`")
    return Part(part.path, [part.notes[i] for i in evenly(picked, most)])


class Evaluation:
    """One evaluation; the work on notes goes through `cluster`, and is kept in `store` until the end."""

    def __init__(self, models: Models, cluster: jobs.Cluster, store: Path) -> None:
        self.models, self.cluster, self.store = models, cluster, store
        runs = [run for run in (models.student, models.teacher, models.baseline) if run is not None]
        self._key = jobs.digest_of(*(path for run in runs for path in run_files(run)), models.decoder)

    def measure(self, stages: Sequence[str], part: Part, indices: list[int]) -> dict[str, Measured]:
        sounds = part.sounds
        items = [Item(sounds[i], part.notes[i].pitch) for i in indices]
        chunks = [jobs.unpack(chunk) for chunk in jobs.run(
            partial(measure_chunk, self.models, tuple(stages)), items, self.store, chunk_items=CHUNK_NOTES,
            cluster=self.cluster, description=", ".join(stages),
            key=f"measure {stages} {self.models.temperature} {self._key}")]
        columns = [np.concatenate(column) for column in zip(*chunks, strict=True)]
        return {stage: Measured(indices, *columns[3 * i : 3 * i + 3]) for i, stage in enumerate(stages)}

    def describe(self, part: Part, runs: Sequence[Path]) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
        """Features, measured qualities, and embeddings by each run, of all notes of a part."""
        items = [Item(sound, note.pitch) for sound, note in zip(part.sounds, part.notes, strict=True)]
        key = jobs.digest_of(*(path for run in runs for path in run_files(run)))
        chunks = [jobs.unpack(chunk) for chunk in jobs.run(
            partial(describe_chunk, tuple(runs)), items, self.store, chunk_items=CHUNK_NOTES, cluster=self.cluster,
            description="describing notes", key=f"describe {key}")]
        features, qualities, *embeddings = [np.concatenate(column) for column in zip(*chunks, strict=True)]
        return features, qualities, embeddings


def run_files(run: Path) -> list[Path]:
    return [run / "config.json", *sorted(run.glob("*.weights.h5"))]


def known_qualities(learned: Part, tested: Part, measured: tuple[np.ndarray, np.ndarray],
                    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """The truth for learned and tested notes [n, 10], which columns count, and where it comes from: the dataset's own
    labels, or, where it has none, what can be measured."""
    own = [np.array([note.qualities for note in part.notes]) for part in (learned, tested)]
    if own[0].any() and own[1].any():
        return own[0], own[1], np.ones(len(QUALITIES), bool), "are the dataset's"
    counted = np.array([name in MEASURED for name in QUALITIES])
    return measured[0], measured[1], counted, f"are measured from the recordings: {', '.join(MEASURED)}"


def probes(runs: Sequence[Path], learned: Part, tested: Part, embeddings: tuple[list, list]) -> list[dict]:
    """The second table: a row a run."""
    rows = []
    groups, pitches = [note.instrument_str for note in tested.notes], [note.pitch for note in tested.notes]
    for run, known, unseen in zip(runs, *embeddings, strict=True):
        known, unseen = (z[:, :HELD_FRAMES].mean(1) for z in (known, unseen))
        read = probe.read_pitches(known, [note.pitch for note in learned.notes], unseen)
        config = read_config(run)
        beside = config.get("autoencoder", config).get("pitch_dimensions", 0) > 0
        rows.append({"run": name_of(run), "pitch_beside": beside, "notes": len(groups),
                     "pitch_percent": interval(100 * (read == pitches), np.ones(len(groups)), groups)})
    return rows


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--notes", type=Path, default=Path("notes/fluid"),
                        help="folder with nsynth-train and nsynth-test, or notes to test on (default: %(default)s)")
    parser.add_argument("--train", type=Path, help="notes that the classifiers learn from, where --notes are others; "
                                                   "without it, the instruments of test-instruments.txt are tested, "
                                                   "or an eighth of them where --notes have no such list")
    parser.add_argument("--out", type=Path, required=True, help="folder for evaluation.json, .md and pictures")
    parser.add_argument("--run", type=Path, default=FACTORY_RUN, help="run of a student instead of the shipped one")
    parser.add_argument("--decoder", type=Path, help="its int8 decoder, which another --run needs")
    parser.add_argument("--teacher", type=Path, help="run of a teacher instead of the student's own")
    parser.add_argument("--baseline", type=Path, default=FACTORY_BASELINE, help="run of a baseline instead of the "
                                                                                "shipped one")
    parser.add_argument("--probe", type=Path, nargs="+", default=[], metavar="RUN",
                        help="runs from whose embeddings pitch is read too, beside the student's and the baseline's")
    parser.add_argument("--teacher-notes", type=console.whole_number(0, 1_000_000), default=32,
                        help="how many of the notes the teacher plays, sample by sample")
    parser.add_argument("--temperature", type=positive_number, default=1.0, help="of the teacher's draws (default: 1)")
    parser.add_argument("--most", type=console.whole_number(1, 1_000_000), help="test at most so many notes")
    parser.add_argument("--most-train", type=console.whole_number(1, 1_000_000), default=20_000,
                        help="learn from at most so many notes")
    parser.add_argument("--epochs", type=console.whole_number(1, 1000), default=12, help="of the classifiers' training")
    midi = partial(numbers, low=0)
    parser.add_argument("--programs", type=midi, help="test General MIDI programs, from 0, such as 9,19,32-39")
    parser.add_argument("--pitches", type=midi, default=range(128), help="test pitches, such as 36:84 or 60,72")
    parser.add_argument("--velocity", type=console.whole_number(1, 127), help="only notes of this velocity")
    parser.add_argument("--held-back", action="store_true", help="test only notes that no training has seen")
    jobs.add_options(parser)
    console.add_json_option(parser)


def models_of(args: Namespace) -> Models:
    """What the options name, as whole paths, which are the same on a worker. Raises TetradError where a student of
    one's own would be measured with the shipped decoder."""
    if args.run != FACTORY_RUN and args.decoder is None:
        raise TetradError(f"{args.run} is not the run of the shipped decoder: make its own with `tetrad quantize` and "
                          "give it to --decoder")
    return Models(args.run.resolve(), args.teacher and args.teacher.resolve(), args.baseline.resolve(),
                  (args.decoder or FACTORY_DECODER).resolve(), args.temperature)


def parts_of(args: Namespace) -> tuple[Part, Part]:
    """The notes that are learned from, and those that are tested."""
    learned, tested = learned_and_tested(args.notes, args.train)
    if args.held_back:
        tested = unheard(tested)
    learned = Part(learned.path, [learned.notes[i] for i in evenly(range(len(learned.notes)), args.most_train)])
    if len({note.pitch for note in learned.notes}) < 2:
        raise TetradError(f"{learned.path}: the notes to learn from have one pitch: give others to --train")
    return learned, chosen(tested, args, args.most)


def evaluate(args: Namespace, cluster: jobs.Cluster) -> dict[str, object]:
    """Does all of it, and writes it to `args.out`."""
    models, (learned, tested) = models_of(args), parts_of(args)
    runs = [models.student, models.baseline, *(run.resolve() for run in args.probe)]
    every, store = list(range(len(tested.notes))), args.out.resolve().with_name(f".{args.out.resolve().name}.chunks")
    work = Evaluation(models, cluster, store)

    features, measured, embeddings = work.describe(learned, runs)
    _, tested_measured, tested_embeddings = work.describe(tested, runs)
    stages = work.measure([name for name in STAGES if name != "teacher"], tested, every)
    if some := evenly(every, args.teacher_notes):
        stages |= work.measure(["teacher"], tested, some)

    known, truth, counted, source = known_qualities(learned, tested, (measured, tested_measured))
    listener = classifier.train(features, classifier.labels(learned.notes, known), args.epochs)
    table = {name: figures(stages[name], stages["original"], tested.notes, truth, counted, listener)
             for name in STAGES if name in stages}
    last = -1 if args.probe else 0
    pitches, matrices = probe.correlations(tested_embeddings[last], tested.notes)
    mean = mean_correlation(matrices)
    result: dict[str, object] = {
        "learned_notes": len(learned.notes), "tested_notes": len(tested.notes), "qualities": source, "stages": table,
        "int8_student_by_family": by_family(stages, tested.notes, truth, counted, listener),
        "probe": probes(runs, learned, tested, (embeddings, tested_embeddings)),
        "correlation": {"run": name_of(runs[last]), "instruments": len(matrices), "octave": octave(pitches, matrices),
                        "pitches": pitches,
                        "mean": [[None if np.isnan(r) else round(float(r), 4) for r in row] for row in mean]},
        "by_note": by_note(stages, tested.notes),
    }
    files.make_folder(args.out)
    for name, text in (("evaluation.json", json.dumps(result, indent=1) + "\n"),
                       ("evaluation.md", report_text(result))):
        with files.atomic(args.out / name) as file:
            file.write(text.encode())
    draw_stages(table, args.out / "evaluation.png")
    probe.draw_correlations(pitches, matrices, mean, args.out / "correlation.png")
    draw_histories(args.run, args.out / "loss.png")
    shutil.rmtree(store, ignore_errors=True)
    return result


def name_of(run: Path) -> str:
    """A run's folder and the one it is in: runs/student."""
    return f"{run.parent.name}/{run.name}"


def octave(pitches: Sequence[int], matrices: dict[str, np.ndarray]) -> dict[str, float] | None:
    """The correlation of an instrument's embeddings an octave apart, over instruments; None where no two are."""
    pairs = [(i, pitches.index(pitch + 12)) for i, pitch in enumerate(pitches) if pitch + 12 in pitches]
    by_instrument = {name: [matrix[i, j] for i, j in pairs if np.isfinite(matrix[i, j])]
                     for name, matrix in matrices.items()}
    means = {name: float(np.mean(found)) for name, found in by_instrument.items() if found}
    return interval(np.array(list(means.values())), np.ones(len(means)), list(means)) if means else None


def mean_correlation(matrices: dict[str, np.ndarray]) -> np.ndarray:
    """[pitches, pitches] over the instruments that have both; NaN where none has."""
    stacked = np.stack(list(matrices.values()))
    counts = np.isfinite(stacked).sum(0)
    return np.where(counts > 0, np.nansum(stacked, 0) / np.maximum(counts, 1), np.nan)


def by_family(stages: dict[str, Measured], notes: Sequence[Note], truth: np.ndarray, counted: np.ndarray,
              listener: keras.Model) -> dict[str, dict]:
    """The int8 student's row for each family."""
    stage, rows = stages["int8 student"], {}
    for number, name in enumerate(FAMILIES):
        there = [i for i in stage.notes if notes[i].instrument_family == number]
        if there:
            part = Measured(there, stage.features[there], stage.log_mel_db[there], stage.heard[there])
            rows[name] = figures(part, stages["original"], notes, truth, counted, listener)
    return rows


def by_note(stages: dict[str, Measured], notes: Sequence[Note]) -> list[dict]:
    """What each stage measures of each note; pitches in MIDI, None where none is heard."""
    rows: list[dict] = [{"note": note.note_str, "program": note.program_name, "log_mel_db": {}, "pitch_heard": {}}
                        for note in notes]
    for name, stage in stages.items():
        for i, distance, heard in zip(stage.notes, stage.log_mel_db, stage.heard, strict=True):
            rows[i]["log_mel_db"][name] = round(float(distance), 3)
            rows[i]["pitch_heard"][name] = None if np.isnan(heard) else round(float(heard), 2)
    return rows


def evaluate_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    add_options(parser)

    def run(args: Namespace) -> None:
        with jobs.cluster_of(args) as cluster:
            result = evaluate(args, cluster)
        stages: dict = result["stages"]  # type: ignore[assignment]
        console.report(args, {"notes": result["tested_notes"], "learned_notes": result["learned_notes"]}
                       | {f"{name}: {COLUMNS[key]}": row[key]["value"]
                          for name, row in stages.items() for key in COLUMNS if row[key]})

    return run
