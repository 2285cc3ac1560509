"""The figures of `tetrad bench sound` from what was measured, and how they stand against what was asked."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from train.notes import FAMILIES, Note
from train.partials import NEAR_CENTS, NEAR_DB
from train.tables import PITCHED_SEMITONES

PITCH_CENTS = 10.0
VIBRATO_SHARE = 0.1  # of rate and depth
RECOGNISED = {"family_percent": "family", "pitch_percent": "pitch", "quality_percent": "quality"}
BEATING_DB = 3.0  # more than in the corners is heard
SETS = ("factory", "unseen")


def share(hits: Sequence[bool] | np.ndarray) -> float | None:
    """In percent; None of nothing."""
    return 100 * float(np.mean(hits)) if len(hits) else None


def mean(values: Sequence[float] | np.ndarray) -> float | None:
    return float(np.mean(values)) if len(values) else None


def pitch_figures(asked: np.ndarray, recorded: np.ndarray, decoded: np.ndarray) -> dict[str, Any]:
    """Of MIDI pitches, NaN where none is heard: a note is pitched where its recording is heard near the asked pitch,
    and right where what was decoded is within 10 cents of it."""
    pitched = np.abs(recorded - asked) < PITCHED_SEMITONES
    cents = 100 * np.abs(decoded - asked)[pitched]
    return {"notes": int(pitched.sum()), "within_10_cents_percent": share(cents <= PITCH_CENTS),
            "median_cents": float(np.nanmedian(cents)) if np.isfinite(cents).any() else None}


def partial_figures(errors: Sequence[Mapping[str, Sequence[float | None]]]) -> dict[str, Any]:
    """Of each note's `train.partials.errors`, None where a partial is lost: how many partials are kept."""
    cents, db = (np.array([np.nan if value is None else value for note in errors for value in note[of]], float)
                 for of in ("cents", "db"))
    near, level = np.abs(cents) <= NEAR_CENTS, np.abs(db) <= NEAR_DB
    return {"notes": len(errors), "partials": len(cents), "within_10_cents_percent": share(near),
            "within_3_db_percent": share(level), "both_percent": share(near & level),
            "median_cents": median(cents), "median_db": median(db)}


def median(values: np.ndarray) -> float | None:
    """Of what is off; None of nothing."""
    return float(np.nanmedian(np.abs(values))) if np.isfinite(values).any() else None


def vibrato_figures(pairs: Sequence[Sequence[Sequence[float]] | None]) -> dict[str, Any]:
    """Of (rate, depth) of recordings and of what is played of them, None of notes without vibrato."""
    both = np.array([pair for pair in pairs if pair is not None], float).reshape(-1, 2, 2)
    off = both[:, 1] / np.maximum(both[:, 0], 1e-9) - 1
    near = np.abs(off) <= VIBRATO_SHARE
    return {"notes": len(both), "rate_percent": share(near[:, 0]), "depth_percent": share(near[:, 1]),
            "both_percent": share(near.all(axis=1)), "median_rate_off_percent": median(100 * off[:, 0]),
            "median_depth_off_percent": median(100 * off[:, 1])}


def log_mel(figures: Mapping[str, np.ndarray], teacher: np.ndarray, rows: np.ndarray | slice = slice(None),
            ) -> dict[str, Any]:
    """Mean log-mel distances of the stages, dB; the teacher's of its own fewer notes."""
    stages = {name: mean(figures[name][rows]) for name in ("mu-law", "baseline", "float student", "int8 student")}
    return {**stages, "teacher": mean(teacher)}


def set_figures(own: Mapping[str, Any]) -> dict[str, Any]:
    """What `train.bench_sound.Bench.note_set` found, summed up."""
    notes: Sequence[Note] = own["part"].notes
    figures: Mapping[str, np.ndarray] = own["figures"]
    some, played = own["teacher"]
    taken = [i for i, note in enumerate(notes) if note in some.notes]
    asked = np.array([note.pitch for note in notes], float)
    return {
        "notes": len(notes), "instruments": len({note.instrument_str for note in notes}),
        "pitch": pitch_figures(asked, figures["recorded_pitch"], figures["decoded_pitch"]),
        "log_mel_db": log_mel(figures, played),
        "where_the_teacher_plays_db": log_mel(figures, played, np.array(taken, int)) | {"notes": len(some.notes)},
        "int8": {"more_db": mean(figures["int8 student"] - figures["float student"]),
                 "snr_db": mean(figures["snr_db"]), "worst_snr_db": float(figures["snr_db"].min())},
        "partials": partial_figures(own["partials"][1]), "vibrato": vibrato_figures(own["vibratos"][1]),
        "onset": {"first_100_ms_db": mean(figures["onset_db"]), "at_1_s_db": mean(figures["later_db"]),
                  "noise_off_db": mean(np.abs(figures["noise_db"])), "noise_more_db": mean(figures["noise_db"])},
        "onset_by_family": {family: onset_of(figures, of) for family, of in by_family(notes).items()},
        "by_instrument": instruments(own),
    }


def by_family(notes: Sequence[Note]) -> dict[str, list[int]]:
    return {name: rows for number, name in enumerate(FAMILIES)
            if (rows := [i for i, note in enumerate(notes) if note.instrument_family == number])}


def onset_of(figures: Mapping[str, np.ndarray], rows: list[int]) -> dict[str, Any]:
    return {"notes": len(rows), "first_100_ms_db": mean(figures["onset_db"][rows]),
            "at_1_s_db": mean(figures["later_db"][rows]), "noise_off_db": mean(np.abs(figures["noise_db"][rows]))}


def instruments(own: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row an instrument."""
    parts = {"notes": own["part"].notes, "partials": own["partials"][0].notes, "vibrato": own["vibratos"][0].notes}
    names = {note.instrument_str: note.program_name or "" for notes in parts.values() for note in notes}
    figures, rows = own["figures"], []
    for name, program in sorted(names.items()):
        mine = {part: [i for i, note in enumerate(notes) if note.instrument_str == name]
                for part, notes in parts.items()}
        at = mine["notes"]
        asked = np.array([parts["notes"][i].pitch for i in at], float)
        rows.append({
            "instrument": name, "program": program, "notes": len(at),
            "int8 student": mean(figures["int8 student"][at]), "float student": mean(figures["float student"][at]),
            "baseline": mean(figures["baseline"][at]), "snr_db": mean(figures["snr_db"][at]),
            "pitch": pitch_figures(asked, figures["recorded_pitch"][at], figures["decoded_pitch"][at]),
            "onset_db": mean(figures["onset_db"][at]), "noise_off_db": mean(np.abs(figures["noise_db"][at])),
            "partials": partial_figures([own["partials"][1][i] for i in mine["partials"]]),
            "vibrato": vibrato_figures([own["vibratos"][1][i] for i in mine["vibrato"]])})
    return rows


def pad_figures(pads: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What `train.pad_figures` found of presets, summed up; and a row a preset."""
    names = list(dict.fromkeys(pad["preset"] for pad in pads))
    every = pads_of(pads)
    return {**every, "by_preset": {name: pads_of([pad for pad in pads if pad["preset"] == name]) for name in names}}


def pads_of(pads: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    levels, seams, morphs = ([one for pad in pads for one in pad[of]]
                             for of in ("path_errors_db", "seams_db", "morphs"))
    pitched = [row for row in morphs if row["is_pitched"]]
    beating = np.array([row["beating_db"] for row in morphs])
    return {
        "pitches": sorted({pad["pitch"] for pad in pads}), "level_worst_db": float(np.abs(levels).max()),
        "level_mean_db": mean(np.abs(levels)), "seam_worst_db": max(seams), "seams": len(seams),
        "pitched": len(pitched), "morphs": len(morphs),
        "within_10_cents_percent": share([row["cents"] is not None and abs(row["cents"]) <= PITCH_CENTS
                                          for row in pitched]),
        "centroid_between_percent": share([row["is_between"] for row in morphs]),
        "bands_outside_db": mean([row["outside_db"] for row in morphs]),
        "beating_median_db": float(np.median(beating)), "beating_worst_db": float(beating.max()),
        "no_beating_percent": share(beating <= BEATING_DB)}


def summary(found: Mapping[str, Mapping[str, Any]], recognised: Mapping[str, Any], pads: Sequence[Mapping[str, Any]],
            timed: Mapping[str, Any]) -> dict[str, Any]:
    """All of it, as sound.json has it."""
    sets = {name: set_figures(own) | {"recognised": recognised[name]} for name, own in found.items()}
    between = pad_figures(pads)
    return {"goals": goals(sets, between, timed), "learned_notes": recognised["learned_notes"], "sets": sets,
            "presets": between, "speed": timed}


def goals(sets: Mapping[str, Mapping[str, Any]], pads: Mapping[str, Any], timed: Mapping[str, Any]) -> list[dict]:
    """The rows of the first table: what was asked, what there is, and whether that is reached; None: not measured."""
    rows: list[dict[str, Any]] = []

    def row(what: str, goal: str, values: Sequence[float | None], limits: Sequence[float], at_least: bool) -> None:
        reached = [None if value is None else bool(value >= limit if at_least else value <= limit)
                   for value, limit in zip(values, limits, strict=True)]
        known = [one for one in reached if one is not None]
        rows.append({"what": what, "goal": goal, **dict(zip(SETS, [*values, None][:2], strict=True)),
                     "reached": all(known) if known else None})

    def of(*keys: str) -> list[Any]:
        found = []
        for name in SETS:
            value: Any = sets[name]
            for key in keys:
                value = value[key]
            found.append(value)
        return found

    row("pitch within 10 cents, % of pitched notes", "≥ 98, ≥ 95", of("pitch", "within_10_cents_percent"), (98, 95),
        at_least=True)
    for key, name in RECOGNISED.items():
        recordings, decoded = of("recognised", "recordings", key), of("recognised", "int8 student", key)
        lost = [before["value"] - after["value"] for before, after in zip(recordings, decoded, strict=True)]
        row(f"{name} recognised, points lost", "≤ 2", lost, (2, 2), at_least=False)
    distances = of("log_mel_db")
    mine = [distance["int8 student"] for distance in distances]
    row("log-mel distance, dB", "≤ 1.3, ≤ 2.2", mine, (1.3, 2.2), at_least=False)
    row("the same, over the baseline's", "< 0", [distance["int8 student"] - distance["baseline"]
                                                  for distance in distances], (0, 0), at_least=False)
    row("the same, over the teacher's", "< 0", [None if same["teacher"] is None else
                                                 same["int8 student"] - same["teacher"]
                                                 for same in of("where_the_teacher_plays_db")], (0, 0), at_least=False)
    row("strongest partials within 10 cents and 3 dB, %", "all", of("partials", "both_percent"), (100, 100),
        at_least=True)
    row("vibrato's rate and depth within 10 %, % of notes", "all", of("vibrato", "both_percent"), (100, 100),
        at_least=True)
    row("int8 over float student, dB log-mel", "≤ 0.1", of("int8", "more_db"), (0.1, 0.1), at_least=False)
    row("SNR of their difference, mean, dB", "≥ 30", of("int8", "snr_db"), (30, 30), at_least=True)
    row("level along paths between corners, worst, dB", "≤ 1.5", [pads["level_worst_db"]], (1.5,), at_least=False)
    row("loop seam, worst, dB", "≤ -80", [pads["seam_worst_db"]], (-80,), at_least=False)
    row("pitch half-way between corners within 10 cents, %", "all", [pads["within_10_cents_percent"]], (100,),
        at_least=True)
    row("spectral centroid between those of the corners, %", "all", [pads["centroid_between_percent"]], (100,),
        at_least=True)
    row("no more than 3 dB more flutter than in the corners, %", "all", [pads["no_beating_percent"]], (100,),
        at_least=True)
    row("decoding, one thread, x real time", "≥ 100", [timed["x_realtime"]], (100,), at_least=True)
    row("the same, x the reference generator", "≥ 54,000", [timed["reference_ratio"]], (54_000,), at_least=True)
    row("a full pad (16 x 81 cells) baked, s", "≤ 60", [timed["pad"]["wall_s"]], (60,), at_least=False)
    return rows
