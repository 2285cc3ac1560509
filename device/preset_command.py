"""`tetrad preset make`, `edit` and `info`: recordings to a preset, its settings, and what is in one."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from device import console
from device.corner import embed_corners, make_preset, named_source, velocity_list
from device.preset import CENTS_STEP, CORNERS, MOTION, Corner, Preset, mix_motion
from device.synth_settings import Synth, add_synth_option

INHARMONIC_CENTS, LOW_PARTIALS = 10.0, 16  # a low partial so far off is heard as off


def make_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("--corner", action="append", required=True, type=named_source, metavar="NAME=PATH", help=(
        "given four times: top left, top right, bottom left, bottom right. PATH is a folder of recordings "
        "<name>_<pitch>.wav or <name>_<pitch>_v<velocity>.wav, one recording, a folder or file of embeddings (.npy, "
        "from `tetrad embed`; they tell no vibrato, partials and decay), "
        "or an NSynth folder (PATH#INSTRUMENT where it has several)"))
    parser.add_argument("--out", required=True, type=Path, help="the preset to write, P.tetrad")
    parser.add_argument("--name", help="the preset's name; the file's unless given")
    parser.add_argument("--author", default="", help="who made it")
    parser.add_argument("--licence", default="", help="under which licence the sounds may be used")
    parser.add_argument("--velocities", type=velocity_list, metavar="V,V", help=(
        "the layers, at most 4, such as 50,100: of each the recordings of the nearest velocity; the softest and the "
        "loudest that all corners have unless given, one layer where recordings tell none"))
    parser.add_argument("--encoder", type=Path, help="an encoder instead of the shipped one")
    parser.add_argument("--decoder", type=Path, help="the decoder that it is made for, instead of the shipped one")
    add_synth_option(parser)
    console.add_json_option(parser)

    def run(args: Namespace) -> None:
        sources = dict(args.corner)
        if len(sources) != CORNERS or len(args.corner) != CORNERS:
            names = [name for name, _ in args.corner]
            twice = sorted({name for name in names if names.count(name) > 1})
            said = f"{twice[0]} is there twice" if twice else f"here {len(names)} times"
            parser.error(f"--corner is given {CORNERS} times, each with a name of its own; {said}")
        from device.decoder import Decoder
        from device.encoder import Encoder

        decoder = Decoder(args.decoder).id
        velocities, notes = embed_corners(sources, Encoder(args.encoder), args.velocities)
        preset = make_preset(notes, name=args.name or args.out.stem, author=args.author, licence=args.licence,
                             velocities=velocities, synth=Synth(**dict(args.synth)), decoder=decoder)
        preset.write(args.out)
        taken = {f"{name} from": sorted(set().union(*layers)) for name, layers in notes.items()}  # pitches
        console.report(args, describe(preset, args.out) | taken)
    return run


def edit_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("preset", type=Path)
    parser.add_argument("--out", required=True, type=Path, help="the preset to write; may be the same file")
    parser.add_argument("--name", help="another name")
    add_synth_option(parser)
    console.add_json_option(parser)

    def run(args: Namespace) -> None:
        preset = Preset.read(args.preset)
        edited = replace(preset, name=args.name or preset.name, synth=Synth(**{**preset.synth, **dict(args.synth)}))
        edited.write(args.out)
        console.report(args, describe(edited, args.out))
    return run


def info_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("preset", type=Path)
    console.add_json_option(parser)

    def run(args: Namespace) -> None:
        console.report(args, describe(Preset.read(args.preset), args.preset))
    return run


def describe(preset: Preset, path: Path) -> dict[str, object]:
    """What `preset info` prints. Vibrato is the mean of layers and pitches; lists are in the corners' order."""
    moved = np.stack([corner.motion.reshape(-1, len(MOTION)) for corner in preset.corners])  # (4, L * P, 4)
    vibrato = mix_motion(moved, np.full(moved.shape[1], 1 / moved.shape[1]))
    return {"file": str(path), "bytes": path.stat().st_size, "name": preset.name, "author": preset.author,
            "licence": preset.licence, "corners": [corner.name for corner in preset.corners],
            "vibrato_hz": [round(float(rate_hz), 1) for rate_hz in vibrato[:, 0]],
            "vibrato_cents": [round(float(depth_cents), 1) for depth_cents in vibrato[:, 1]],
            "inharmonic": [is_inharmonic(corner) for corner in preset.corners],
            "pitches": list(preset.pitches), "layers": preset.layers, "velocities": list(preset.velocities),
            **preset.synth, "decoder": preset.decoder, "digest": preset.digest}


def is_inharmonic(corner: Corner) -> bool:
    """Whether a low partial lies off its harmonic, at half of the pitches or more."""
    off = np.abs(corner.partials[..., :LOW_PARTIALS].astype(np.int32)).max(axis=-1) * CENTS_STEP
    return bool(np.median(off) > INHARMONIC_CENTS)
