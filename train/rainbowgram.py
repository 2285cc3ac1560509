"""Rainbowgrams: sounds as NSynth's post shows them. Pitch upwards, loudness as brightness, phase as colour.

A constant-Q transform gives magnitude and phase of 40 bins an octave. How far the phase turns from frame to frame is
the hue, the level the brightness: a steady partial is a line of one colour, noise a confetti of all of them.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

import librosa
import matplotlib
import numpy as np
from matplotlib import pyplot as plt

from device import console, files
from device.encoder import Encoder
from device.errors import TetradError
from device.preset import HOP_SAMPLES, SAMPLE_RATE_HZ
from device.recording import as_sound, load_recording

STEP_SAMPLES = 256
OCTAVES = 6
BINS_AN_OCTAVE = 40
BINS = OCTAVES * BINS_AN_OCTAVE
LOWEST_NOTE = "C2"
FILTER_SCALE = 0.8  # of the filters' lengths: under 1 they are shorter, and blur less in time
RANGE_DB = 70.0  # under the loudest point; what is softer is black
SHORTEST_SAMPLES = 1 << 15  # what is shorter is padded with silence: the lowest filter is 0.7 s long
COLUMNS = 4
WIDTH_INCHES, IMAGE_INCHES, EMBEDDING_INCHES = 4.0, 2.6, 1.3
DOTS_AN_INCH = 100
MOST_PIXELS = 1 << 16  # that matplotlib draws along a side


def image(audio: np.ndarray) -> np.ndarray:
    """Audio float32 [T] at 16 kHz -> uint8 [BINS, 1 + T // STEP_SAMPLES, 3].

    Row 0 is the lowest pitch, so that it is shown with `origin="lower"`. Colours are matplotlib's `rainbow` over
    -pi to pi a frame, brightness falls in a line from the loudest point to black at RANGE_DB under it. Silence is
    black. Raises TetradError where there is no sound to draw.
    """
    audio = np.asarray(audio, np.float32)
    if audio.ndim != 1 or not audio.size:
        raise TetradError("an empty sound has no rainbowgram: give samples of one channel")
    if not np.isfinite(audio).all():
        raise TetradError("a sound with NaN or infinite samples has no rainbowgram: export it again")
    frames = 1 + len(audio) // STEP_SAMPLES
    padded = np.pad(audio, (0, max(0, SHORTEST_SAMPLES - len(audio))))
    transform = librosa.cqt(padded, sr=SAMPLE_RATE_HZ, hop_length=STEP_SAMPLES, fmin=librosa.note_to_hz(LOWEST_NOTE),
                            n_bins=BINS, bins_per_octave=BINS_AN_OCTAVE, filter_scale=FILTER_SCALE)
    phase = np.unwrap(np.angle(transform), axis=1)
    turn = np.diff(phase, axis=1, prepend=0) / np.pi  # [BINS, frames], -1 to 1
    hue = matplotlib.colormaps["rainbow"]((turn + 1) / 2)[..., :3]
    return np.rint(255 * hue * brightness(np.abs(transform))[..., None]).astype(np.uint8)[:, :frames]


def brightness(magnitude: np.ndarray) -> np.ndarray:
    """0 to 1 over RANGE_DB up to the largest magnitude: what a mask of black lets through."""
    loudest = magnitude.max()
    if not loudest > 0:
        return np.zeros_like(magnitude)
    level_db = 20 * np.log10(np.maximum(magnitude / loudest, 1e-30))
    return np.asarray(np.maximum(level_db / RANGE_DB + 1, 0))


def draw(audios: Sequence[np.ndarray], titles: Sequence[str], target: Path,
         embeddings: Sequence[np.ndarray | None] | None = None, columns: int = COLUMNS) -> None:
    """A PNG of rainbowgrams in a grid, row by row, each of a sound float32 [T] at 16 kHz under its title.

    Under each whose embedding [frames, 16] is given, not None, the 16 numbers are drawn over time. All share one
    axis of time, so that lengths can be compared. Raises TetradError naming the sound that cannot be drawn.
    """
    if not audios:
        raise TetradError(f"{target}: there is no sound to draw; give one or more")
    matplotlib.use("Agg")
    columns = min(columns, len(audios))
    given = list(embeddings) if embeddings is not None else [None] * len(audios)
    rows = [range(first, min(first + columns, len(audios))) for first in range(0, len(audios), columns)]
    # A row of the grid without embeddings has no band for them.
    bands = [[IMAGE_INCHES, EMBEDDING_INCHES] if any(given[i] is not None for i in row) else [IMAGE_INCHES]
             for row in rows]
    heights = [height for band in bands for height in band]
    if max(WIDTH_INCHES * columns, sum(heights)) * DOTS_AN_INCH >= MOST_PIXELS:
        raise TetradError(f"{target}: {len(audios)} sounds in {columns} columns: too many for a picture; give fewer")
    figure, axes = plt.subplots(len(heights), columns, figsize=(WIDTH_INCHES * columns, sum(heights)), squeeze=False,
                                layout="constrained", gridspec_kw={"height_ratios": heights})
    for axis in axes.flat:
        axis.set_axis_off()  # until it is drawn in
    longest_s = max(len(audio) for audio in audios) / SAMPLE_RATE_HZ
    below = 0
    for row, band in zip(rows, bands, strict=True):
        for column, i in enumerate(row):
            try:
                draw_image(axes[below, column], audios[i], titles[i])
            except TetradError as error:
                plt.close(figure)
                raise TetradError(f"{titles[i]}: {error}") from error
            lines = given[i]
            if lines is not None:
                draw_embedding(axes[below + 1, column], lines)
            for axis in axes[below : below + len(band), column]:
                axis.set_xlim(0, longest_s)
        below += len(band)
    with files.atomic(target) as file:
        figure.savefig(file, dpi=DOTS_AN_INCH, format="png")
    plt.close(figure)


def draw_image(axis: plt.Axes, audio: np.ndarray, title: str) -> None:
    pixels = image(audio)
    axis.set_axis_on()
    step_s = STEP_SAMPLES / SAMPLE_RATE_HZ
    # Frames are centred on their samples, bins on their pitches.
    extent = (-step_s / 2, (pixels.shape[1] - 0.5) * step_s, -0.5, BINS - 0.5)
    axis.imshow(pixels, origin="lower", aspect="auto", interpolation="nearest", extent=extent)
    octaves = range(OCTAVES + 1)
    names = [f"C{2 + octave}, {librosa.note_to_hz(f'C{2 + octave}'):.0f} Hz" for octave in octaves]
    axis.set_yticks([BINS_AN_OCTAVE * octave for octave in octaves], names, fontsize=7)
    axis.set_xlabel("time, s", fontsize=7)
    axis.tick_params(axis="x", labelsize=7)
    axis.set_title(title, fontsize=9, parse_math=False)  # a file's name may hold a $
    axis.set_facecolor("black")  # beside a shorter sound


def draw_embedding(axis: plt.Axes, embedding: np.ndarray) -> None:
    axis.set_axis_on()
    times_s = (np.arange(len(embedding)) + 0.5) * HOP_SAMPLES / SAMPLE_RATE_HZ
    for dimension, line in enumerate(np.asarray(embedding).T):
        axis.plot(times_s, line, linewidth=0.8, color=matplotlib.colormaps["tab20"](dimension))
    axis.set_xlabel("time, s", fontsize=7)
    axis.set_ylabel("embedding", fontsize=7)
    axis.tick_params(labelsize=7)


def rainbowgram_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("recordings", nargs="+", type=Path, metavar="WAV", help="sounds, up to ten minutes each")
    parser.add_argument("--out", type=Path, required=True, metavar="PNG", help="the picture: a grid of the sounds")
    parser.add_argument("--embeddings", action="store_true", help="each sound's embedding over time under it")
    parser.add_argument("--columns", type=console.whole_number(1, 100), default=COLUMNS, help="sounds in a row")
    parser.add_argument("--title", nargs="+", metavar="TEXT", help="a title for each sound, instead of its file's name")
    console.add_json_option(parser)

    def run(args: Namespace) -> None:
        titles = args.title or [path.stem for path in args.recordings]
        if len(titles) != len(args.recordings):
            raise TetradError(f"{len(args.recordings)} sounds and {len(titles)} titles: give one for each")
        audios = [load_recording(path) for path in args.recordings]
        embeddings = None
        if args.embeddings:
            encoder = Encoder()
            embeddings = [encoder.embed_whole(as_sound(audio)) for audio in audios]
        draw(audios, titles, args.out, embeddings, args.columns)
        console.report(args, {"picture": str(args.out), "sounds": len(audios)})

    return run
