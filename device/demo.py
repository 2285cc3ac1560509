"""`make demo`: a short piece of several voices through the box's engine, the knobs going round the four corners."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import pyplot as plt

from device import _engine, console, files
from device.preset import FACTORY_PRESET, Preset
from device.recording import write_wav
from device.render import RATE_HZ, needed_pitches, render, song_bank
from device.song import Event, knob_path

BEAT_S = 60 / 96
BARS = 12
# Lydian fourths: a chord of four voices a bar, MIDI pitches; the melody walks over it.
CHORDS = ((48, 64, 67, 71), (50, 62, 66, 69), (45, 64, 67, 72), (43, 62, 67, 71))
MELODY = (3, 2, 3, 1, 2, 3, 3, 1)  # which voice of the chord sounds an octave up on each half beat
PATH = ((0, 0.0, 0.0), (2, 0.0, 0.0), (4, 1.0, 0.0), (5, 1.0, 0.0), (7, 0.0, 1.0), (8, 0.0, 1.0), (9.5, 1.0, 1.0),
        (10, 1.0, 1.0), (11, 0.5, 0.5), (12, 0.5, 0.5))  # (bar, x, y)


def note(start_s: float, length_s: float, key: int, velocity: float) -> list[Event]:
    return [Event(start_s, _engine.NOTE_ON, key=key, a=velocity), Event(start_s + length_s, _engine.NOTE_OFF, key=key)]


def piece() -> tuple[list[Event], list[tuple[float, float, float]]]:
    """The notes, and the knobs' breakpoints (time_s, x, y)."""
    bar_s = 4 * BEAT_S
    events: list[Event] = []
    for bar in range(BARS):
        chord, start_s = CHORDS[bar % len(CHORDS)], bar * bar_s
        events += note(start_s, 0.95 * bar_s, chord[0], 0.8)
        for voice in chord[1:]:
            events += note(start_s, 0.9 * bar_s, voice, 0.45)
        for step, voice in enumerate(MELODY):
            if (step + bar) % 4 != 3:  # a breath, elsewhere in each bar
                events += note(start_s + step * BEAT_S / 2, 0.45 * BEAT_S, chord[voice] + 12, 0.5 + 0.1 * (step % 2))
    return events, [(bar * bar_s, x, y) for bar, x, y in PATH]


def draw(path: Path, audio: np.ndarray, knobs: list[tuple[float, float, float]], preset: Preset) -> None:
    """The sound as a spectrogram, and under it the knobs' way over time and over the square."""
    matplotlib.use("Agg")
    mono = audio.mean(axis=1)
    figure = plt.figure(figsize=(12, 7), layout="constrained")
    axes = figure.subplot_mosaic([["sound", "square"], ["time", "square"]], height_ratios=(2, 1), width_ratios=(3, 1))
    with np.errstate(divide="ignore"):  # of silence
        axes["sound"].specgram(mono, NFFT=4096, Fs=RATE_HZ, noverlap=3072, cmap="magma", vmin=-130, vmax=-40)
    axes["sound"].set(yscale="log", ylim=(60, 8000), ylabel="frequency, Hz", title=preset.name)
    times_s, x, y = np.array(knobs).T
    axes["time"].plot(times_s, x, label="x")
    axes["time"].plot(times_s, y, label="y")
    axes["time"].set(xlabel="time, s", ylabel="knob", xlim=(0, len(mono) / RATE_HZ), ylim=(-0.05, 1.05))
    axes["time"].legend()
    axes["square"].plot(x, y, "-", color="grey")
    axes["square"].scatter(x, y, c=times_s, zorder=2)
    for corner, (cx, cy) in zip(preset.corners, ((0, 0), (1, 0), (0, 1), (1, 1)), strict=True):
        axes["square"].annotate(corner.name, (cx, cy - 0.06 if cy == 0 else cy + 0.06), ha="right" if cx else "left",
                                va="bottom" if cy == 0 else "top")
    axes["square"].set(xlim=(-0.1, 1.1), ylim=(1.2, -0.2), xlabel="x", ylabel="y", aspect="equal")
    with files.atomic(path) as file:
        figure.savefig(file, dpi=100, format="png")
    plt.close(figure)


def demo_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for demo.wav, demo.png and the bank")
    parser.add_argument("--preset", type=Path, default=FACTORY_PRESET)
    console.add_json_option(parser)

    def run(args: Namespace) -> None:
        preset = Preset.read(args.preset)
        notes, knobs = piece()
        files.make_folder(args.out)
        bank = song_bank(preset, needed_pitches(notes), args.out / f"bank-{preset.digest[:8]}")
        audio = render([*notes, *knob_path(knobs)], bank, preset.synth)
        frames, peak = write_wav(args.out / "demo.wav", [audio], RATE_HZ)
        draw(args.out / "demo.png", audio, knobs, preset)
        console.report(args, {"wav": str(args.out / "demo.wav"), "picture": str(args.out / "demo.png"),
                              "seconds": frames / RATE_HZ, "peak": peak})

    return run
