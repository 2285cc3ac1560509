"""sound.md: the figures of `tetrad bench sound` as tables."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from train.sound_figures import RECOGNISED, SETS
from train.tables import markdown

STAGES = ("mu-law", "teacher", "baseline", "float student", "int8 student")


def told(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}" if abs(value) >= 10 else f"{value:.3g}"
    return str(value)


def table(head: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    return markdown(head, [[told(value) for value in row] for row in rows])


def text(result: Mapping[str, Any]) -> str:
    sets = result["sets"]
    counts = ", ".join(f"{own['notes']} notes of {own['instruments']} instruments ({name})"
                       for name, own in sets.items())
    head = (f"{counts}. The listener learned from {result['learned_notes']} notes of other instruments; the qualities "
            f"{sets['factory']['recognised']['qualities']}.\n")
    columns = ("what", "goal", *SETS, "reached")
    goals = table(columns, ([row[key] for key in columns] for row in result["goals"]))
    return "\n".join([head, goals, distances(sets), recognised(sets), kept(sets), onsets(sets),
                      presets(result["presets"]), speed(result["speed"]),
                      *(f"By instrument, {name}:\n\n{instruments(own)}" for name, own in sets.items())])


def distances(sets: Mapping[str, Any]) -> str:
    """Without the teacher over all notes, which it does not play; and over those that it does."""
    rows: list[list[object]] = []
    for name, own in sets.items():
        every, some = own["log_mel_db"], own["where_the_teacher_plays_db"]
        rows += [[name, own["notes"], *(None if stage == "teacher" else every[stage] for stage in STAGES)],
                 [f"{name}, some", some["notes"], *(some[stage] for stage in STAGES)]]
    return ("Mean log-mel distance to the recording, dB; of all notes, and of those that the teacher plays:\n\n"
            + table(["", "notes", *STAGES], rows))


def recognised(sets: Mapping[str, Any]) -> str:
    head = ["", *(f"{what}, {of}" for what in RECOGNISED.values() for of in ("recording", "int8"))]
    return "Recognised, %, of recordings and of what int8 makes of them:\n\n" + table(head, (
        [name, *(own["recognised"][of][key]["value"] for key in RECOGNISED for of in ("recordings", "int8 student"))]
        for name, own in sets.items()))


def kept(sets: Mapping[str, Any]) -> str:
    head = ["", "struck notes", "partials", "within 10 cents, %", "within 3 dB, %", "median, cents", "median, dB",
            "notes with vibrato", "rate, %", "depth, %", "worst SNR, dB"]
    of_partials = ("notes", "partials", "within_10_cents_percent", "within_3_db_percent", "median_cents", "median_db")
    of_vibrato = ("notes", "rate_percent", "depth_percent")
    return "The five strongest partials of bells, mallets and tines; vibrato; int8 against float:\n\n" + table(head, (
        [name, *(own["partials"][key] for key in of_partials), *(own["vibrato"][key] for key in of_vibrato),
         own["int8"]["worst_snr_db"]] for name, own in sets.items()))


def onsets(sets: Mapping[str, Any]) -> str:
    keys = ("notes", "first_100_ms_db", "at_1_s_db", "noise_off_db")
    rows: list[list[object]] = []
    for name, own in sets.items():
        families = {"all": {"notes": own["notes"], **own["onset"]}, **own["onset_by_family"]}
        rows += [[f"{name}, {family}", *(of[key] for key in keys)] for family, of in families.items()]
    return ("Onsets: log-mel distance of the first 100 ms and of 100 ms from 1 s on, in windows of 16 ms; and by how "
            "much the first 50 ms are too loud or too soft between 3 and 8 kHz:\n\n"
            + table(["", "notes", "first 100 ms, dB", "at 1 s, dB", "noise, dB"], rows))


def presets(pads: Mapping[str, Any]) -> str:
    columns = {"level_worst_db": "level, worst, dB", "level_mean_db": "mean, dB", "seam_worst_db": "seam, worst, dB",
               "within_10_cents_percent": "within 10 cents, %", "centroid_between_percent": "centroid between, %",
               "bands_outside_db": "bands outside, dB", "beating_median_db": "flutter, median, dB",
               "beating_worst_db": "worst, dB"}
    return (f"Presets at pitches {', '.join(map(str, pads['pitches']))}, the loudest layer: the level along edges and "
            "diagonals against what lies bilinearly between the corners; the loops' seams in all cells; and of the "
            "middles of the edges and the pad their pitch, their spectra against the corners', and how much more their "
            "level flutters between 2 and 15 Hz than that of the worst corner:\n\n"
            + table(["", *columns.values()], ([name, *(one[key] for key in columns)] for name, one in (
                ("all", pads), *pads["by_preset"].items()))))


def speed(timed: Mapping[str, Any]) -> str:
    pad = timed["pad"]
    return (f"Decoded {told(timed['x_realtime'])} x real time on one thread; the reference generator makes "
            f"{told(timed['reference_samples_per_s'])} samples a second at batch 1. A full pad of {pad['notes']} cells "
            f"took {told(pad['wall_s'])} s by {pad['jobs']} processes; {pad['nsynth_super_notes']} notes would take "
            f"{told(pad['nsynth_super_notes_hours'])} hours.\n")


def instruments(own: Mapping[str, Any]) -> str:
    head = ["", "notes", "int8, dB", "float, dB", "baseline, dB", "SNR, dB", "onset, dB", "noise, dB", "pitched",
            "within 10 cents, %", "partials kept, %", "vibrato kept, %"]
    keys = ("notes", "int8 student", "float student", "baseline", "snr_db", "onset_db", "noise_off_db")
    return table(head, ([f"{one['program']} ({one['instrument']})", *(one[key] for key in keys),
                         one["pitch"]["notes"], one["pitch"]["within_10_cents_percent"],
                         one["partials"]["both_percent"], one["vibrato"]["both_percent"]]
                        for one in own["by_instrument"]))
