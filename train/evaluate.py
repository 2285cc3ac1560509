"""What reconstruction costs at each stage: mu-law, teacher, float student, int8 student, against the recordings."""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable
from pathlib import Path

import keras
import matplotlib
import numpy as np
from matplotlib import pyplot as plt

from device import conditioning, console, files, synth
from device.decoder import Decoder
from device.errors import TetradError
from device.preset import NOTE_SAMPLES
from train import mulaw
from train.crops import Notes, is_held_back
from train.distil import Trained, embed, load_trained
from train.measure import heard_pitch, log_mel_distance_db
from train.notes import Note
from train.sampler import generate

FACTORY_RUN = Path(__file__).parent / "factory"
PITCHES = range(36, 85)
PITCHED_SEMITONES = 0.5  # a note is pitched where the tracker hears the asked pitch in the recording, to a quarter tone
NEAR_SEMITONES = 0.2  # 20 cents
STAGES = ("mu-law", "teacher", "float student", "int8 student")


def float_student(student: keras.Model, embedding: np.ndarray, pitch: float) -> np.ndarray:
    """What `Decoder.decode` does for one note, without int8: [125, 16] -> [64000]."""
    track = conditioning.channels(embedding, pitch)
    controls = keras.ops.convert_to_numpy(student(conditioning.to_tensors(track)))
    return synth.synthesize(synth.level(conditioning.from_tensors(controls, len(track)))[None], pitch)[0]


def evaluate_note(note: Note, recording: np.ndarray, trained: Trained, decoder: Decoder,
                  teacher: np.ndarray | None) -> dict[str, object]:
    embedding = embed(trained.autoencoder, recording)
    stages = {"mu-law": mulaw.decode(mulaw.encode(recording)), "teacher": teacher,
              "float student": float_student(trained.student, embedding, note.pitch),
              "int8 student": decoder.decode(embedding[None], note.pitch)[0]}
    return {"note": note.note_str, "program": note.program_name, "pitch": note.pitch,
            "held_back": is_held_back(note.note_str), "pitch_recorded": heard_pitch(recording),
            "pitch_decoded": heard_pitch(stages["int8 student"]),
            "log_mel_db": {name: log_mel_distance_db(audio, recording)
                           for name, audio in stages.items() if audio is not None}}


def summary(rows: list[dict]) -> dict[str, object]:
    """Means over notes, with their numbers; the pitch figure counts pitched notes alone."""
    pitched = [r for r in rows if r["pitch_recorded"] is not None
               and abs(r["pitch_recorded"] - r["pitch"]) < PITCHED_SEMITONES]
    near = [r for r in pitched if r["pitch_decoded"] is not None
            and abs(r["pitch_decoded"] - r["pitch"]) <= NEAR_SEMITONES]
    result: dict[str, object] = {"notes": len(rows), "pitched_notes": len(pitched),
                                 "within_20_cents_percent": 100 * len(near) / max(1, len(pitched))}
    for stage in STAGES:
        distances = [r["log_mel_db"][stage] for r in rows if stage in r["log_mel_db"]]
        if distances:
            result[f"{stage} log-mel dB"] = float(np.mean(distances))
            result[f"{stage} notes"] = len(distances)
    return result


def table(groups: dict[str, dict]) -> str:
    """Markdown: a line a group of notes."""
    head = ["", "notes", "pitched", "within 20 cents", *(f"{stage}, dB" for stage in STAGES)]
    lines = [head, ["---"] + ["---:"] * (len(head) - 1)]
    for name, group in groups.items():
        distances = [f"{group[f'{s} log-mel dB']:.2f} ({group[f'{s} notes']})" if f"{s} notes" in group else "-"
                     for s in STAGES]
        lines.append([name, str(group["notes"]), str(group["pitched_notes"]),
                      f"{group['within_20_cents_percent']:.1f} %", *distances])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def chosen(notes: Notes, programs: Iterable[int] | None, velocity: int, most: int | None,
           held_back: bool) -> list[Note]:
    wanted = None if programs is None else set(programs)
    picked = [n for n in notes.source.notes if n.pitch in PITCHES and n.velocity == velocity
              and (wanted is None or n.program in wanted) and (is_held_back(n.note_str) or not held_back)]
    if not picked:
        raise TetradError(f"{notes.source.folder}: no notes at velocity {velocity} and pitches 36 to 84 "
                          "of what was asked for; see `tetrad notes info`")
    return picked if most is None else picked[:: max(1, -(-len(picked) // most))]


def teacher_notes(notes: Notes, picked: list[Note], trained: Trained, count: int) -> dict[str, np.ndarray]:
    """The teacher's reconstructions of `count` of the notes, evenly chosen, by note_str."""
    some = picked[:: max(1, -(-len(picked) // count))] if count else []
    if not some:
        return {}
    embeddings = np.stack([embed(trained.autoencoder, notes.audio(note)) for note in some])
    with console.progress("the teacher plays", NOTE_SAMPLES) as bar:
        codes = generate(trained.autoencoder, embeddings, np.array([n.pitch for n in some]), NOTE_SAMPLES,
                         advance=bar.advance)
    return {note.note_str: mulaw.decode(c) for note, c in zip(some, codes, strict=True)}


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


def programs(argument: str) -> list[int]:
    """`9,19,33` of a command line, as argparse's type."""
    return [console.whole_number(0, 127)(part) for part in argument.split(",")]


def evaluate_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("--notes", type=Path, required=True, help="jsonwav folder")
    parser.add_argument("--run", type=Path, default=FACTORY_RUN, help="run of a student instead of the shipped one")
    parser.add_argument("--decoder", type=Path, help="its int8 decoder instead of the shipped one")
    parser.add_argument("--out", type=Path, required=True, help="folder for evaluation.json and evaluation.md")
    parser.add_argument("--programs", type=programs,
                        help="General MIDI programs to take, e.g. 9,19,33; all unless given")
    parser.add_argument("--velocity", type=console.whole_number(1, 127), default=100)
    parser.add_argument("--held-back", action="store_true", help="only notes that no training has seen")
    parser.add_argument("--most", type=console.whole_number(1, 1_000_000), help="at most so many notes, evenly chosen")
    parser.add_argument("--teacher-notes", type=console.whole_number(0, 1000), default=32,
                        help="of them the teacher plays, sample by sample")
    console.add_json_option(parser)

    def run(args: Namespace) -> None:
        notes, trained, decoder = Notes(args.notes), load_trained(args.run), Decoder(args.decoder)
        picked = chosen(notes, args.programs, args.velocity, args.most, args.held_back)
        teacher = teacher_notes(notes, picked, trained, args.teacher_notes)
        rows: list[dict] = []
        with console.progress("evaluating", len(picked)) as bar:
            for note in picked:
                rows.append(evaluate_note(note, notes.audio(note), trained, decoder, teacher.get(note.note_str)))
                bar.advance()
        groups = {"all": summary(rows)}
        if any(row["held_back"] for row in rows):
            groups["held back from training"] = summary([row for row in rows if row["held_back"]])
        for name in sorted({str(row["program"]) for row in rows}):
            groups[name] = summary([row for row in rows if str(row["program"]) == name])
        files.make_folder(args.out)
        for name, text in (("evaluation.json", json.dumps({"groups": groups, "notes": rows}, indent=1) + "\n"),
                           ("evaluation.md", table(groups))):
            with files.atomic(args.out / name) as file:
                file.write(text.encode())
        draw_histories(args.run, args.out / "loss.png")
        console.report(args, groups["all"])

    return run
