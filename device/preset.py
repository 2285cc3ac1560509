"""Presets: four instruments as embeddings in one small file, `.tetrad`, that crosses a serial line in a second.

A zip of preset.json and corner0.npy .. corner3.npy, int8 [pitches, frames, 16]; embedding = int8 * the corner's scale.
Corners: 0 top left (x=0, y=0), 1 top right (x=1, y=0), 2 bottom left (x=0, y=1), 3 bottom right (x=1, y=1).
The same preset gives the same bytes; the digest covers all but itself.
"""

import hashlib
import io
import json
import zipfile
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path

import numpy as np

from device import console, files
from device.errors import TetradError

SAMPLE_RATE_HZ = 16_000  # NSynth's rate
HOP_SAMPLES = 512  # samples that one frame of an embedding stands for
FRAMES = 125  # frames of a note
DIMENSIONS = 16  # numbers a frame
NOTE_SAMPLES = FRAMES * HOP_SAMPLES  # 4 s

PITCHES = tuple(range(24, 85, 4))  # what `preset make` stores: 16 pitches, as many as 160 KB hold
CORNERS = 4
FORMAT, VERSION = "tetrad-preset", 1
LEVELS = 127  # of int8, either side of zero

MAX_JSON_BYTES = 16_384  # ten times what a preset's texts need
MAX_ARRAY_BYTES = 128 * FRAMES * DIMENSIONS + 1_024  # every MIDI pitch, and the header
MAX_FILE_BYTES = CORNERS * MAX_ARRAY_BYTES + MAX_JSON_BYTES + 4_096
MAX_SCALE = 1e6  # keeps int8 * scale far inside float32
AGAIN = "copy it again, or make it anew with `tetrad preset make`"


@dataclass(frozen=True)
class Synth:
    """The envelope that the box starts with. A decoded note has its own attack and decay: these only shape it."""

    attack_ms: float = 2.0
    decay_ms: float = 200.0
    sustain: float = 1.0
    release_ms: float = 250.0

    def __post_init__(self) -> None:
        files.number(self.attack_ms, 0, 10_000, "attack_ms")
        files.number(self.decay_ms, 0, 10_000, "decay_ms")
        files.number(self.sustain, 0, 1, "sustain")
        files.number(self.release_ms, 0, 20_000, "release_ms")


@dataclass(frozen=True, eq=False)
class Corner:
    """One instrument. `values` is int8 [pitches, FRAMES, DIMENSIONS], read-only; embedding = values * scale."""

    name: str
    scale: float
    values: np.ndarray

    def __post_init__(self) -> None:
        files.text(self.name, 64, "the name of a corner")
        files.number(self.scale, 0, MAX_SCALE, f"the scale of corner {self.name!r}")
        if self.scale == 0:
            raise TetradError(f"the scale of corner {self.name!r} is 0")
        shape = self.values.shape
        if self.values.dtype != np.int8 or len(shape) != 3 or shape[1:] != (FRAMES, DIMENSIONS):
            raise TetradError(f"corner {self.name!r} is {self.values.dtype} {list(shape)}, "
                              f"not int8 [pitches, {FRAMES}, {DIMENSIONS}]")


@dataclass(frozen=True, eq=False)
class Preset:
    """Four instruments at the same pitches. Equal presets have equal digests. Raises TetradError where it is no preset.

    `decoder` is the id of the decoder that it was made for; `velocities` holds one MIDI velocity.
    """

    name: str
    author: str
    licence: str
    corners: tuple[Corner, ...]
    pitches: tuple[int, ...]
    velocities: tuple[int, ...] = (100,)
    synth: Synth = field(default_factory=Synth)
    decoder: str = ""

    def __post_init__(self) -> None:
        for what, longest in (("name", 64), ("author", 200), ("licence", 200), ("decoder", 200)):
            files.text(getattr(self, what), longest, f"the {what}")
        files.items(self.corners, CORNERS, CORNERS, "`corners`")
        files.pitches(self.pitches, "the pitches")
        for velocity in files.items(self.velocities, 1, 1, "`velocities`"):
            files.whole_number(velocity, 1, 127, "the velocity")
        for corner in self.corners:
            if len(corner.values) != len(self.pitches):
                raise TetradError(f"corner {corner.name!r} has {len(corner.values)} pitches of {len(self.pitches)}")

    @cached_property
    def digest(self) -> str:
        """SHA-256, hex, over the JSON without the digest (keys sorted, no spaces, ASCII) and the arrays' values."""
        found = hashlib.sha256(json.dumps(self._manifest(), sort_keys=True, separators=(",", ":")).encode())
        for corner in self.corners:
            found.update(np.ascontiguousarray(corner.values).tobytes())
        return found.hexdigest()

    def embedding(self, x: float, y: float, pitch: float) -> np.ndarray:
        """The embedding at a point of the pad, float32 [FRAMES, DIMENSIONS].

        Bilinear over the corners (x, y in 0..1, clipped), linear between the preset's pitches, the nearest outside.
        """
        return np.tensordot(corner_weights(x, y), self._at(pitch), 1)  # (4) (4, F, D)

    def cells(self, pitch: float, grid: int) -> np.ndarray:
        """The embeddings of a grid over the whole pad, float32 [grid (y), grid (x), FRAMES, DIMENSIONS]; grid >= 2."""
        ticks = np.linspace(0, 1, grid)
        weights = np.array([[corner_weights(x, y) for x in ticks] for y in ticks])  # (G, G, 4)
        return np.tensordot(weights, self._at(pitch), 1)  # (G, G, F, D)

    def _at(self, pitch: float) -> np.ndarray:
        """The corners' embeddings at a pitch, float32 [4, FRAMES, DIMENSIONS]."""
        place = float(np.interp(pitch, self.pitches, np.arange(len(self.pitches))))
        low = int(place)
        high, share = min(low + 1, len(self.pitches) - 1), np.float32(place - low)
        values = np.stack([corner.values[[low, high]] * np.float32(corner.scale) for corner in self.corners])
        return (1 - share) * values[:, 0] + share * values[:, 1]

    def _manifest(self) -> dict[str, object]:
        return {
            "format": FORMAT, "version": VERSION, "name": self.name, "author": self.author, "licence": self.licence,
            "corners": [{"name": corner.name, "scale": corner.scale} for corner in self.corners],
            "pitches": list(self.pitches), "velocities": list(self.velocities),
            "synth": asdict(self.synth), "decoder": self.decoder,
        }

    def to_bytes(self) -> bytes:
        """The file's content: the same preset gives the same bytes."""
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            manifest = json.dumps({**self._manifest(), "digest": self.digest}, indent=1) + "\n"
            _add(archive, "preset.json", manifest.encode())
            for number, corner in enumerate(self.corners):
                array = io.BytesIO()
                np.lib.format.write_array(array, np.ascontiguousarray(corner.values), (1, 0), allow_pickle=False)
                _add(archive, f"corner{number}.npy", array.getvalue())
        return content.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, source: str) -> "Preset":
        """The preset in a file's content. Raises TetradError naming `source`; takes at most some MB, whatever it is."""
        try:
            return _parse(data)
        except _LaterVersion as error:
            raise TetradError(f"{source}: {error}") from error
        except TetradError as error:
            raise TetradError(f"{source} is not a whole preset: {error}; {AGAIN}") from error

    @classmethod
    def read(cls, path: Path | str) -> "Preset":
        """The preset in a file. Raises TetradError naming the file, what is wrong with it and what to do."""
        return cls.from_bytes(files.read_whole(Path(path), MAX_FILE_BYTES), str(path))

    def write(self, path: Path | str) -> None:
        """Writes the file whole or not at all. Raises TetradError where the disk refuses."""
        with files.atomic(Path(path)) as file:
            file.write(self.to_bytes())


def corner_weights(x: float, y: float) -> np.ndarray:
    """How much of each corner is in a point of the pad, float32 [4], sum 1; x and y are clipped to 0..1."""
    x, y = min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0)
    return np.array([(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y], np.float32)


class _LaterVersion(TetradError):
    """The file may be in order; this program is too old for it."""


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))  # no clock in the file: the same input gives the same bytes
    info.compress_type, info.create_system, info.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
    archive.writestr(info, data, compresslevel=9)


def _parse(data: bytes) -> Preset:
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except Exception as error:  # zipfile raises struct, Unicode, overflow and other errors on damaged files
        raise TetradError("it is cut or no zip") from error
    with archive:
        head = files.parse_json(_member(archive, "preset.json", MAX_JSON_BYTES), "preset.json")
        _check_version(head)
        keys = {"format", "version", "digest", *(entry.name for entry in fields(Preset))}
        manifest = files.entries(head, keys, "preset.json")
        pitches = files.pitches(manifest["pitches"], "the pitches")
        listed = files.items(manifest["corners"], CORNERS, CORNERS, "`corners`")
        corners = []
        for number, entry in enumerate(listed):
            about = files.entries(entry, ("name", "scale"), f"corner {number}")
            values = _array(_member(archive, f"corner{number}.npy", MAX_ARRAY_BYTES), len(pitches), number)
            corners.append(Corner(about["name"], about["scale"], values))  # type: ignore[arg-type]
        if len(archive.infolist()) != 1 + CORNERS:
            raise TetradError("it holds more than preset.json and four corners")
    velocities = tuple(files.items(manifest["velocities"], 1, 1, "`velocities`"))
    synth = Synth(**files.entries(manifest["synth"], [f.name for f in fields(Synth)], "`synth`"))  # type: ignore[arg-type]
    texts = {what: manifest[what] for what in ("name", "author", "licence", "decoder")}
    preset = Preset(corners=tuple(corners), pitches=pitches, velocities=velocities, synth=synth, **texts)  # type: ignore[arg-type]
    if manifest["digest"] != preset.digest:
        raise TetradError("its digest is wrong, so it was changed or damaged")
    return preset


def _check_version(head: object) -> None:
    """Before all else: a later version may have other keys and other members."""
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise TetradError("preset.json is not a preset's")
    version = head.get("version")
    if type(version) is int and VERSION < version < 1_000_000:
        raise _LaterVersion(f"it is a preset of version {version}, and this tetrad reads {VERSION}: update tetrad")
    files.whole_number(version, VERSION, VERSION, "its version")


def _member(archive: zipfile.ZipFile, name: str, limit_bytes: int) -> bytes:
    """One member's bytes, never more than `limit_bytes`, whatever it would unpack to."""
    try:
        info = archive.getinfo(name)
    except KeyError as error:
        raise TetradError(f"it lacks {name}") from error
    if info.file_size > limit_bytes:
        raise TetradError(f"{name} would take {info.file_size} bytes, more than any preset's")
    try:
        with archive.open(info) as member:
            data = member.read(limit_bytes + 1)
    except Exception as error:  # zipfile, zlib and bz2 raise a dozen kinds of errors on damaged members
        raise TetradError(f"{name} is damaged") from error
    if len(data) > limit_bytes or len(data) != info.file_size:
        raise TetradError(f"{name} is not as long as the zip says")
    return data


def _array(data: bytes, pitches: int, number: int) -> np.ndarray:
    """int8 [pitches, FRAMES, DIMENSIONS] of an .npy's bytes; the header is checked before memory is taken."""
    file = io.BytesIO(data)
    try:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("a later .npy")
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file, max_header_size=512)
    except Exception as error:  # the header is a Python literal: syntax, tokenizer, recursion and other errors
        raise TetradError(f"corner{number}.npy is no .npy array") from error
    wanted = (pitches, FRAMES, DIMENSIONS)
    if dtype != np.int8 or fortran_order or shape != wanted:
        raise TetradError(f"corner{number}.npy does not hold int8 {list(wanted)}")
    if len(data) - file.tell() != pitches * FRAMES * DIMENSIONS:
        raise TetradError(f"corner{number}.npy is not as long as its header says")
    return np.frombuffer(data, np.int8, offset=file.tell()).reshape(wanted)


def at_pitches(embeddings: Mapping[int, np.ndarray], pitches: Iterable[int]) -> np.ndarray:
    """Embeddings at any pitches, float32 [pitches, frames, 16], from those of the recorded ones ([frames, 16] each).

    Linear between the two nearest recorded pitches, the nearest outside of them.
    """
    recorded = sorted(embeddings)
    stack = np.stack([np.asarray(embeddings[pitch], np.float32) for pitch in recorded])  # (R, F, D)
    places = np.interp(np.fromiter(pitches, float), recorded, np.arange(len(recorded)))
    low = places.astype(int)
    high, share = np.minimum(low + 1, len(recorded) - 1), (places - low).astype(np.float32)[:, None, None]
    return (1 - share) * stack[low] + share * stack[high]


def make_preset(corners: Mapping[str, Mapping[int, np.ndarray]], *, name: str, author: str = "", licence: str = "",
                velocity: int = 100, synth: Synth | None = None, decoder: str = "",
                pitches: tuple[int, ...] = PITCHES) -> Preset:
    """A preset of four instruments, in the corners' order, each the embeddings (float [125, 16]) of recorded pitches.

    One scale a corner, its largest value / 127, so an int8 step is 0.4 % of it. Raises TetradError on bad embeddings.
    """
    quantized = []
    for corner, embeddings in corners.items():
        if not embeddings:
            raise TetradError(f"corner {corner!r} has no recording")
        for pitch, embedding in embeddings.items():
            if np.shape(embedding) != (FRAMES, DIMENSIONS) or not np.isfinite(embedding).all():
                raise TetradError(f"corner {corner!r}, pitch {pitch}: an embedding is [{FRAMES}, {DIMENSIONS}] "
                                  f"numbers, not {list(np.shape(embedding))} or NaN: embed the recording again")
        exact = at_pitches(embeddings, pitches)
        scale = float(np.abs(exact).max()) / LEVELS or 1.0  # an instrument that is 0 throughout has no scale
        quantized.append(Corner(corner, scale, np.rint(exact / scale).astype(np.int8)))
    return Preset(name, author, licence, tuple(quantized), tuple(pitches), (velocity,), synth or Synth(), decoder)


def make_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    from device.corner import embed_corners, named_source

    parser.add_argument("--corner", action="append", required=True, type=named_source, metavar="NAME=PATH", help=(
        "given four times: top left, top right, bottom left, bottom right. PATH is a folder of recordings "
        "<name>_<pitch>.wav, one recording, a folder or file of embeddings (.npy, from `tetrad embed`), "
        "or an NSynth folder (PATH#INSTRUMENT where it has several)"))
    parser.add_argument("--out", required=True, type=Path, help="the preset to write, P.tetrad")
    parser.add_argument("--name", help="the preset's name; the file's unless given")
    parser.add_argument("--author", default="", help="who made it")
    parser.add_argument("--licence", default="", help="under which licence the sounds may be used")
    parser.add_argument("--velocity", type=int, default=100, help="which velocity to take from an NSynth folder (100)")
    parser.add_argument("--encoder", type=Path, help="an encoder instead of the shipped one")
    parser.add_argument("--decoder", type=Path, help="the decoder that it is made for, instead of the shipped one")
    for entry in fields(Synth):
        parser.add_argument(f"--{entry.name.replace('_', '-')}", type=float, default=entry.default, metavar="X",
                            help=f"of the envelope ({entry.default})")
    console.add_json_option(parser)

    def run(args: Namespace) -> None:
        sources = dict(args.corner)
        if len(sources) != CORNERS or len(args.corner) != CORNERS:
            names = [name for name, _ in args.corner]
            twice = sorted({name for name in names if names.count(name) > 1})
            said = f"{twice[0]} is there twice" if twice else f"here {len(names)} times"
            parser.error(f"--corner is given {CORNERS} times, each with a name of its own; {said}")
        synth = Synth(**{entry.name: getattr(args, entry.name) for entry in fields(Synth)})
        from device.decoder import Decoder
        from device.encoder import Encoder

        decoder = Decoder(args.decoder).id
        embeddings = embed_corners(sources, Encoder(args.encoder), args.velocity)
        preset = make_preset(embeddings, name=args.name or args.out.stem, author=args.author, licence=args.licence,
                             velocity=args.velocity, synth=synth, decoder=decoder)
        preset.write(args.out)
        taken = {f"{name} from": sorted(notes) for name, notes in embeddings.items()}  # pitches, found or named
        console.report(args, describe(preset, args.out) | taken)
    return run


def info_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("preset", type=Path)
    console.add_json_option(parser)

    def run(args: Namespace) -> None:
        console.report(args, describe(Preset.read(args.preset), args.preset))
    return run


def describe(preset: Preset, path: Path) -> dict[str, object]:
    """What `preset info` prints."""
    return {"file": str(path), "bytes": path.stat().st_size, "name": preset.name, "author": preset.author,
            "licence": preset.licence, "corners": [corner.name for corner in preset.corners],
            "pitches": list(preset.pitches), "velocities": list(preset.velocities), **asdict(preset.synth),
            "decoder": preset.decoder, "digest": preset.digest}
