"""Many presets at once, of one NSynth folder of notes, by a list: how the factory's are made.

The list is a JSON object of `author`, `licence`, `velocities` (the layers') and `presets`; each of these has `name`,
`file` (such as first.tetrad), four `corners` of `name` and `instrument` (an instrument_str of the folder), and `synth`,
those of the envelope's settings that are others than Synth's.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path, PurePath

from device import console, files
from device.corner import Encoder, Source, embed_corners, make_preset
from device.errors import TetradError
from device.preset import CORNERS, layer_velocities
from device.synth_settings import Synth, read_synth

MAX_BYTES = 1 << 20  # of a list
MAX_PRESETS = 1_000
SUFFIX = ".tetrad"


@dataclass(frozen=True)
class Entry:
    """A preset of a list."""

    name: str
    file: str
    corners: dict[str, str]  # instrument_str by the corner's name, in the corners' order
    synth: Synth


@dataclass(frozen=True)
class Library:
    author: str
    licence: str
    velocities: tuple[int, ...]
    presets: tuple[Entry, ...]

    @property
    def instruments(self) -> list[str]:
        """Each once, in the order in which they first come."""
        return list(dict.fromkeys(one for preset in self.presets for one in preset.corners.values()))


def read_library(path: Path) -> Library:
    """The list in a file. Raises TetradError naming the file and what is wrong with it."""
    data = files.read_whole(path, MAX_BYTES)
    try:
        told = files.entries(files.parse_json(data, "it"), [field.name for field in fields(Library)], "it")
        presets = tuple(map(_entry, files.items(told["presets"], 1, MAX_PRESETS, "`presets`")))
        files.refuse_twins([preset.file for preset in presets], "presets")
        return Library(files.text(told["author"], 200, "`author`"), files.text(told["licence"], 200, "`licence`"),
                       layer_velocities(told["velocities"]), presets)
    except TetradError as error:
        raise TetradError(f"{path} is no list of presets: {error}") from error


def _entry(value: object) -> Entry:
    about = files.entries(value, [field.name for field in fields(Entry)], "a preset")
    name = files.text(about["name"], 64, "the name of a preset")
    file = files.text(about["file"], 64, f"`file` of {name}")
    if PurePath(file).name != file or not file.endswith(SUFFIX):
        raise TetradError(f"`file` of {name} is {file!r}, and no name such as first{SUFFIX}")
    corners: dict[str, str] = {}
    for corner in files.items(about["corners"], CORNERS, CORNERS, f"`corners` of {name}"):
        both = files.entries(corner, ("name", "instrument"), f"a corner of {name}")
        corners[files.text(both["name"], 64, f"a corner of {name}")] = files.text(both["instrument"], 64, "instrument")
    if len(corners) < CORNERS:
        raise TetradError(f"two corners of {name} have one name")
    return Entry(name, file, corners, read_synth(about["synth"], f"`synth` of {name}"))


def make_library(library: Library, notes: Path, out: Path, encoder: Encoder, decoder: str) -> Sequence[Path]:
    """Writes every preset to the folder `out`, for a decoder of this id, and returns the files.

    All instruments are embedded first, each once: nothing is written where one cannot be. Raises TetradError.
    """
    sources = {instrument: Source(notes, instrument) for instrument in library.instruments}
    velocities, heard = embed_corners(sources, encoder, library.velocities)
    files.make_folder(out)
    written = []
    for entry in library.presets:
        corners = {name: heard[instrument] for name, instrument in entry.corners.items()}
        preset = make_preset(corners, name=entry.name, author=library.author, licence=library.licence,
                             velocities=velocities, synth=entry.synth, decoder=decoder)
        preset.write(out / entry.file)
        written.append(out / entry.file)
    return written


def library_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("list", type=Path, metavar="LIST.json", help="such as device/factory/library.json")
    parser.add_argument("--notes", required=True, type=Path, metavar="DIR",
                        help="the NSynth folder that has the instruments, from `tetrad notes render`")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the presets")
    parser.add_argument("--encoder", type=Path, help="an encoder instead of the shipped one")
    parser.add_argument("--decoder", type=Path, help="the decoder that they are made for, instead of the shipped one")
    console.add_json_option(parser)

    def run(args: Namespace) -> None:
        from device.decoder import Decoder
        from device.encoder import Encoder as LiteEncoder

        library = read_library(args.list)
        written = make_library(library, args.notes, args.out, LiteEncoder(args.encoder), Decoder(args.decoder).id)
        console.report(args, {"folder": str(args.out), "presets": [path.name for path in written],
                              "instruments": len(library.instruments), "layers": len(library.velocities),
                              "bytes": sum(path.stat().st_size for path in written)})

    return run
