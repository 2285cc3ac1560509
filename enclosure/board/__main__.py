"""python -m enclosure.board --out DIR: the KiCad project, and what kicad-cli makes of it."""

import argparse
import shutil
import sys
from pathlib import Path

from device.errors import TetradError
from enclosure.board.pour import UnreachedError
from enclosure.board.project import export, make
from enclosure.board.router import RoutingError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m enclosure.board", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the project's files")
    folder = parser.parse_args().out
    try:
        files = make(folder)
        if shutil.which("kicad-cli"):
            export(folder)
        else:
            print("no kicad-cli: project only, no gerbers and drawings", file=sys.stderr)
    except (TetradError, RoutingError, UnreachedError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(*files, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
