"""How long a full pad takes to bake: sixteen pitches of 9 x 9 cells, as Open NSynth Super's pipeline made them."""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from device import console
from device.bake import timed_bake, warn_of_decoder
from device.decoder import Decoder
from device.preset import FACTORY_PRESET, PITCHES, Corner, Preset

GRID = 9  # Open NSynth Super's
# What its pipeline made, of 60,000 samples each, and how long that took on 8 K80 GPUs: the figures of its makers
THEIR_NOTES, THEIR_HOURS = 118_016, 36


def loudest_layer(preset: Preset) -> Preset:
    """A preset of the last of the layers alone."""
    corners = tuple(Corner(corner.name, corner.scale, *(array[-1:] for array in corner.arrays()))
                    for corner in preset.corners)
    return replace(preset, corners=corners, velocities=preset.velocities[-1:])


def measure(preset: Preset, decoder: Decoder, jobs: int) -> dict[str, object]:
    """Bakes a layer's full pad into a temporary folder. By the same speed: the hours for THEIR_NOTES."""
    with TemporaryDirectory(prefix="tetrad-") as folder:
        baked = timed_bake(loudest_layer(preset), decoder, Path(folder) / "bank", PITCHES, GRID, jobs)
    result = {key: baked[key] for key in ("notes", "audio_s", "wall_s", "x_realtime", "jobs")}
    hours = float(str(baked["wall_s"])) / int(str(baked["notes"])) * THEIR_NOTES / 3600
    return result | {"load_average": os.getloadavg()[0], "nsynth_super_notes": THEIR_NOTES,
                     "nsynth_super_notes_hours": hours, "their_hours_on_8_gpus": THEIR_HOURS}


def bench_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("--preset", type=Path, default=FACTORY_PRESET, metavar="P.tetrad",
                        help="a preset instead of a shipped one; its loudest layer is baked")
    parser.add_argument("--decoder", type=Path, help="a decoder instead of the shipped one")
    parser.add_argument("--jobs", type=console.whole_number(1, 256), default=os.cpu_count() or 1,
                        help="processes (one a core)")
    console.add_json_option(parser)

    def run(args: Namespace) -> None:
        preset, decoder = Preset.read(args.preset), Decoder(args.decoder)
        warn_of_decoder(preset, decoder)
        console.report(args, measure(preset, decoder, args.jobs))

    return run
