"""The tables and pictures of an evaluation: figures with their intervals, as Markdown and as bars."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import matplotlib
import numpy as np
from matplotlib import pyplot as plt

from device import files
from train import classifier
from train.notes import Note

PITCHED_SEMITONES = 0.5  # a note is pitched where the tracker hears the asked pitch in the recording, to a quarter tone
NEAR_SEMITONES = 0.2  # 20 cents
RESAMPLINGS = 1000
LOWEST, HIGHEST = classifier.LOWEST, classifier.LOWEST + classifier.PITCHES - 1


@dataclass(frozen=True)
class Measured:
    """A stage's notes, by their index in the test, and what `train.reconstruct.measure_chunk` found of each."""

    notes: list[int]
    features: np.ndarray
    log_mel_db: np.ndarray
    heard: np.ndarray  # MIDI pitch, NaN: none


def interval(numerator: np.ndarray, denominator: np.ndarray, groups: Sequence[str]) -> dict[str, float]:
    """Sum over sum, with the 95 % interval of a bootstrap that draws whole groups: {"value", "low", "high"}."""
    names, index = np.unique(groups, return_inverse=True)
    above, below = (np.bincount(index, np.asarray(values, float), len(names)) for values in (numerator, denominator))
    drawn = np.random.default_rng(0).integers(0, len(names), (RESAMPLINGS, len(names)))
    ratios = above[drawn].sum(1) / np.maximum(below[drawn].sum(1), 1e-12)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return {"value": float(above.sum() / max(below.sum(), 1e-12)), "low": float(low), "high": float(high)}


def figures(stage: Measured, original: Measured, notes: Sequence[Note], qualities: np.ndarray, counted: np.ndarray,
            listener: keras.Model) -> dict[str, object]:
    """One row of the first table. qualities: truth [notes, 10]; counted: which of the ten columns count."""
    told = classifier.predict(listener, stage.features)
    some, truth = [notes[i] for i in stage.notes], qualities[stage.notes][:, counted]
    groups = [note.instrument_str for note in some]
    pitches, said = np.array([note.pitch for note in some]), told["qualities"][:, counted]
    recorded = dict(zip(original.notes, original.heard, strict=True))
    pitched = np.abs(np.array([recorded[i] for i in stage.notes]) - pitches) < PITCHED_SEMITONES
    near = pitched & (np.abs(stage.heard - pitches) <= NEAR_SEMITONES)
    right, wrong = (said & truth).sum(1), (said != truth).sum(1)

    def percent(hits: np.ndarray) -> dict[str, float]:
        return interval(100 * hits, np.ones(len(hits)), groups)

    return {
        "notes": len(some), "instruments": len(set(groups)),
        "pitch_percent": percent(told["pitch"] == np.clip(pitches, LOWEST, HIGHEST)),
        "family_percent": percent(told["family"] == np.array([note.instrument_family for note in some])),
        "quality_percent": percent((said == truth).mean(1)),
        "quality_f1": interval(2 * right, 2 * right + wrong, groups),
        "log_mel_db": interval(stage.log_mel_db, np.ones(len(some)), groups),
        "pitched_notes": int(pitched.sum()),
        "within_20_cents_percent": interval(100 * near, pitched, groups) if np.isfinite(stage.heard).any() else None,
    }


COLUMNS = {"pitch_percent": "pitch, %", "family_percent": "family, %", "quality_percent": "quality, %",
           "quality_f1": "quality, F1", "log_mel_db": "log-mel, dB", "within_20_cents_percent": "within 20 cents, %"}


def cell(figure: dict[str, float] | None) -> str:
    if figure is None:
        return "-"
    return f"{figure['value']:.3g} ({figure['low']:.3g} to {figure['high']:.3g})"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def report_text(result: dict) -> str:
    """The tables in Markdown."""
    stages = [(name, str(row["notes"]), str(row["instruments"]), *(cell(row[key]) for key in COLUMNS))
              for name, row in result["stages"].items()]
    families = [(name, str(row["notes"]), *(cell(row[key]) for key in COLUMNS))
                for name, row in result["int8_student_by_family"].items()]
    probes = [(row["run"], "yes" if row["pitch_beside"] else "no", str(row["notes"]), cell(row["pitch_percent"]))
              for row in result["probe"]]
    return (f"The classifiers learned from {result['learned_notes']} notes; {result['tested_notes']} of other "
            "instruments are tested. Which of them a model has learned from, its own training tells. Qualities "
            f"{result['qualities']}. Within 20 cents counts the notes whose recording is heard at its pitch. In "
            "brackets 95 % intervals, bootstrapped over instruments.\n\n"
            + markdown(["", "notes", "instruments", *COLUMNS.values()], stages)
            + "\nThe int8 student by family:\n\n" + markdown(["", "notes", *COLUMNS.values()], families)
            + correlation_text(result["correlation"]) + "\nPitch read from embeddings by a linear probe:\n\n"
            + markdown(["run", "pitch beside the embedding", "notes", "pitch, %"], probes))


def correlation_text(correlation: dict) -> str:
    if correlation["octave"] is None:
        return ""
    return (f"\nEmbeddings of an instrument an octave apart correlate {cell(correlation['octave'])}; "
            f"{correlation['run']}, {correlation['instruments']} instruments.\n")


def draw_stages(stages: dict[str, dict], picture: Path) -> None:
    """Bars of what the classifier recognises at each stage, with their intervals."""
    shown = ("pitch_percent", "family_percent", "quality_percent")
    matplotlib.use("Agg")
    figure, axis = plt.subplots(figsize=(1.2 * len(stages) + 2, 3.2), layout="constrained")
    for number, key in enumerate(shown):
        values = np.array([[row[key][part] for part in ("value", "low", "high")] for row in stages.values()])
        errors = np.maximum(0, [values[:, 0] - values[:, 1], values[:, 2] - values[:, 0]])
        axis.bar(np.arange(len(stages)) + 0.27 * (number - 1), values[:, 0], 0.25, yerr=errors, label=COLUMNS[key],
                 error_kw={"elinewidth": 1})
    axis.set(xticks=range(len(stages)), ylim=(0, 100), ylabel="recognised, %")
    axis.set_xticklabels([f"{name}\n({row['notes']})" for name, row in stages.items()])
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)
    with files.atomic(picture) as file:
        figure.savefig(file, dpi=100, format="png")
    plt.close(figure)


def draw_histories(run: Path, picture: Path) -> None:
    """The loss by step of each `*history.csv` in a run's folder; a factory run holds its teacher's too."""
    histories = sorted(run.glob("*history.csv"))
    if not histories:
        return
    matplotlib.use("Agg")
    figure, axes = plt.subplots(1, len(histories), figsize=(5 * len(histories), 3), layout="constrained", squeeze=False)
    for axis, history in zip(axes[0], histories, strict=True):
        steps, losses = np.loadtxt(history, delimiter=",", skiprows=1, usecols=(0, 2), ndmin=2).T  # after wall_s
        axis.plot(steps, losses)
        axis.set(xlabel="step", ylabel="loss", title=history.stem)
    with files.atomic(picture) as file:
        figure.savefig(file, dpi=100, format="png")
    plt.close(figure)
