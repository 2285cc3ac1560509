"""`tetrad enclosure`: everything that is needed to print, cut, wire and buy the box."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path

from device import console, files
from device.errors import TetradError
from enclosure.dimensions import BOARDS, Dimensions, changed

KERF_MM = 0.15
MOST_KERF_MM = 1.0


def enclosure_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="the folder to write")
    parser.add_argument("--board", choices=BOARDS, default=BOARDS[0], help="the Raspberry Pi inside (%(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=MM",
                        help="another measure of the case, as width_mm=220; may be repeated, see docs/enclosure.md")
    parser.add_argument("--kerf", type=float, default=KERF_MM, metavar="MM",
                        help="what the laser burns away (%(default)s)")
    console.add_json_option(parser)

    def run(args: Namespace) -> None:
        if not 0 <= args.kerf <= MOST_KERF_MM:
            raise TetradError(f"a kerf is from 0 to {MOST_KERF_MM:g} mm, not {args.kerf:g}")
        dimensions = changed(Dimensions(board=args.board), args.set)
        from enclosure import bom, conflicts, drawings, pictures, solids, wiring

        conflicts.check(dimensions)
        steps: dict[str, Callable[[Dimensions, Path], list[Path]]] = {
            "solids": solids.write, "laser": partial(drawings.draw, kerf_mm=args.kerf), "pictures": pictures.draw,
            "wiring": wiring.write, "parts": bom.write}
        written: list[Path] = []
        with console.progress("drawing", len(steps)) as bar:
            for name, step in steps.items():
                bar.note(name)
                files.make_folder(args.out / name)
                written += step(dimensions, args.out / name)
                bar.advance()
        console.report(args, {"folder": str(args.out), "files": len(written)})

    return run
