"""Presets: four instruments as embeddings in one small file, `.tetrad`, that crosses a serial line in a second.

A zip of preset.json and three arrays a corner, each [layers, pitches, ...]; a layer is a MIDI velocity. N = 0 .. 3:
    cornerN.npy           int8 [.., 125, 16]  embedding / the corner's scale
    cornerN.partials.npy  int16 [.., 100]     tenths of a cent that partial k lies off k times the fundamental
    cornerN.motion.npy    float32 [.., 4]     vibrato and decay, see MOTION
Corners: 0 top left (x=0, y=0), 1 top right (x=1, y=0), 2 bottom left (x=0, y=1), 3 bottom right (x=1, y=1).
The same preset gives the same bytes; the digest covers all but itself.
"""

import hashlib
import io
import json
import math
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np

from device import files
from device.errors import TetradError
from device.synth_settings import Synth, read_synth

FACTORY_PRESET = Path(__file__).parent / "factory" / "first.tetrad"

SAMPLE_RATE_HZ = 16_000  # NSynth's rate
HOP_SAMPLES = 512  # samples that one frame of an embedding stands for
FRAMES = 125  # frames of a note
DIMENSIONS = 16  # numbers a frame
PARTIALS = 100  # as many as a decoder has oscillators
NOTE_SAMPLES = FRAMES * HOP_SAMPLES  # 4 s

PITCHES = tuple(range(24, 85, 4))  # what `preset make` stores: 16 pitches, as many as 160 KB a layer hold
CORNERS = 4
MOST_LAYERS = 4
FORMAT, VERSION = "tetrad-preset", 2
CENTS_STEP = 0.1  # of the partials' int16: 5 cents are heard
# What moves in a held note: vibrato (frequency, peak deviation, time until it has come), and the level's fall.
MOTION = ("rate_hz", "depth_cents", "delay_s", "decay_db_per_s")
MOST_MOTION = (12.0, 200.0, 4.0, 200.0)  # all from 0 on: twice a singer's; a whole tone; a note's length; a click

MAX_JSON_BYTES = 16_384  # ten times what a preset's texts need
MAX_HEADER_BYTES = 1_024  # of an .npy
MAX_FILE_BYTES = (CORNERS * (MOST_LAYERS * 128 * (FRAMES * DIMENSIONS + 2 * PARTIALS + 4 * len(MOTION))
                             + 3 * MAX_HEADER_BYTES) + MAX_JSON_BYTES + 8_192)  # every MIDI pitch
MAX_SCALE = 1e6  # keeps int8 * scale far inside float32
AGAIN = "copy it again, or make it anew with `tetrad preset make`"


@dataclass(frozen=True, eq=False)
class Corner:
    """One instrument, its arrays as in the file and read-only: see the head of this module. embedding = values * scale.

    `values` int8 [layers, pitches, FRAMES, DIMENSIONS], `partials` int16 [layers, pitches, PARTIALS], `motion` float32
    [layers, pitches, 4].
    """

    name: str
    scale: float
    values: np.ndarray
    partials: np.ndarray
    motion: np.ndarray

    def __post_init__(self) -> None:
        files.text(self.name, 64, "the name of a corner")
        files.number(self.scale, 0, MAX_SCALE, f"the scale of corner {self.name!r}")
        if self.scale == 0:
            raise TetradError(f"the scale of corner {self.name!r} is 0")
        for (what, (kind, inner)), array in zip(MEMBERS.items(), self.arrays(), strict=True):
            if array.dtype != kind or array.ndim != 2 + len(inner) or array.shape[2:] != inner:
                sizes = ", ".join(map(str, ("layers", "pitches", *inner)))
                raise TetradError(f"{what} of corner {self.name!r} are {array.dtype} {list(array.shape)}, "
                                  f"not {kind.name} [{sizes}]")
        within = (self.motion >= 0) & (self.motion <= np.array(MOST_MOTION, np.float32))  # NaN is in no range
        if not within.all():
            worst = int(np.argmin(within.all(axis=(0, 1))))
            raise TetradError(f"the motion of corner {self.name!r} has a {MOTION[worst]} that is not a number from 0 "
                              f"to {MOST_MOTION[worst]:g}")

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.values, self.partials, self.motion


# What a corner has in a preset's file: type, and shape after [layers, pitches]. In the order of Corner.arrays.
MEMBERS: dict[str, tuple[np.dtype, tuple[int, ...]]] = {
    "values": (np.dtype("int8"), (FRAMES, DIMENSIONS)),
    "partials": (np.dtype("<i2"), (PARTIALS,)),
    "motion": (np.dtype("<f4"), (len(MOTION),)),
}


@dataclass(frozen=True, eq=False)
class Preset:
    """Four instruments at the same pitches. Equal presets have equal digests. Raises TetradError where it is no preset.

    `decoder` is the id of the decoder that it was made for; `velocities` are the layers', MIDI, ascending.
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
        layer_velocities(self.velocities)
        for corner in self.corners:
            for what, array in zip(MEMBERS, corner.arrays(), strict=True):
                if array.shape[:2] != (self.layers, len(self.pitches)):
                    raise TetradError(f"{what} of corner {corner.name!r} have {array.shape[0]} layers of {self.layers} "
                                      f"and {array.shape[1]} pitches of {len(self.pitches)}")

    @property
    def layers(self) -> int:
        return len(self.velocities)

    @cached_property
    def digest(self) -> str:
        """SHA-256, hex, over the JSON without the digest (keys sorted, no spaces, ASCII) and the arrays' values."""
        found = hashlib.sha256(json.dumps(self._manifest(), sort_keys=True, separators=(",", ":")).encode())
        for corner in self.corners:
            for array in corner.arrays():
                found.update(array.tobytes())
        return found.hexdigest()

    def embedding(self, x: float, y: float, pitch: float, velocity: float | None = None) -> np.ndarray:
        """The embedding at a point of the pad, float32 [FRAMES, DIMENSIONS].

        Bilinear over the corners (x, y in 0..1, clipped); linear between the preset's pitches and between its
        velocities, the nearest outside. Without a velocity: the loudest layer.
        """
        low, high, share = between(self.velocities, [self.velocities[-1] if velocity is None else velocity])
        corners = self.at(pitch)
        layer = corners[low[0]] + share[0] * (corners[high[0]] - corners[low[0]])
        return np.tensordot(corner_weights(x, y), layer, 1)  # (4) (4, F, D)

    def cells(self, pitch: float, grid: int) -> np.ndarray:
        """The embeddings of a grid over the whole pad, float32 [layers, grid (y), grid (x), FRAMES, DIMENSIONS]."""
        return np.einsum("yxc,lcfd->lyxfd", grid_weights(grid), self.at(pitch))

    def at(self, pitch: float) -> np.ndarray:
        """The corners' embeddings at a pitch, float32 [layers, 4, FRAMES, DIMENSIONS]."""
        low, high, share = (found[0] for found in between(self.pitches, [pitch]))
        values = np.stack([corner.values[:, [low, high]] * np.float32(corner.scale) for corner in self.corners], axis=1)
        return (1 - share) * values[:, :, 0] + share * values[:, :, 1]

    def partials(self, pitch: float) -> np.ndarray:
        """Cents that the corners' partials lie off the harmonics, float32 [layers, 4, PARTIALS], of the nearest stored
        pitch: a bell's partials belong to the bell, and half-way between two bells' there is no third one."""
        near = nearest(self.pitches, pitch)
        tenths = np.stack([corner.partials[:, near] for corner in self.corners], axis=1)
        return tenths.astype(np.float32) * np.float32(CENTS_STEP)

    def motion(self, pitch: float) -> np.ndarray:
        """The corners' motion (see MOTION), float32 [layers, 4, 4]; linear between the stored pitches."""
        low, high, share = (found[0] for found in between(self.pitches, [pitch]))
        motion = np.stack([corner.motion[:, [low, high]] for corner in self.corners], axis=1)  # (L, 4, 2, 4)
        return mix_motion(motion, np.array([1 - share, share]))

    def with_corner(self, number: int, other: "Preset", corner: int) -> "Preset":
        """With a corner of another preset in place of its own: of the other's pitches and layers those that are the
        nearest to its own."""
        layers = [nearest(other.velocities, velocity) for velocity in self.velocities]
        pitches = [nearest(other.pitches, pitch) for pitch in self.pitches]
        taken = other.corners[corner]
        arrays = (np.ascontiguousarray(array[np.ix_(layers, pitches)]) for array in taken.arrays())
        corners = list(self.corners)
        corners[number] = Corner(taken.name, taken.scale, *arrays)
        return replace(self, corners=tuple(corners))

    def _manifest(self) -> dict[str, object]:
        return {
            "format": FORMAT, "version": VERSION, "name": self.name, "author": self.author, "licence": self.licence,
            "corners": [{"name": corner.name, "scale": corner.scale} for corner in self.corners],
            "pitches": list(self.pitches), "velocities": list(self.velocities),
            "synth": dict(self.synth), "decoder": self.decoder,
        }

    def to_bytes(self) -> bytes:
        """The file's content: the same preset gives the same bytes."""
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            manifest = json.dumps({**self._manifest(), "digest": self.digest}, indent=1) + "\n"
            _add(archive, "preset.json", manifest.encode())
            for number, corner in enumerate(self.corners):
                for what, stored in zip(MEMBERS, corner.arrays(), strict=True):
                    array = io.BytesIO()
                    np.lib.format.write_array(array, np.ascontiguousarray(stored), (1, 0), allow_pickle=False)
                    _add(archive, _member_name(number, what), array.getvalue())
        return content.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, source: str) -> "Preset":
        """The preset in a file's content. Raises TetradError naming `source`; takes at most some MB, whatever it is."""
        try:
            return _parse(data)
        except _OtherVersion as error:
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


def grid_weights(grid: int) -> np.ndarray:
    """The corners' weights in each cell of a grid over the whole pad, float32 [grid (y), grid (x), 4]; grid >= 2."""
    ticks = np.linspace(0, 1, grid)
    return np.array([[corner_weights(x, y) for x in ticks] for y in ticks])


def mix_motion(motion: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Motion float32 [..., n, 4] mixed by weights [n] -> [..., 4]. A rate counts by its depth: none has no rate."""
    weights = np.asarray(weights, np.float32)[:, None]
    mixed: np.ndarray = (motion * weights).sum(axis=-2)
    heard = motion[..., 1:2] * weights
    depth = heard.sum(axis=-2)
    rate = (motion[..., :1] * heard).sum(axis=-2)
    mixed[..., :1] = np.where(depth > 0, rate / np.where(depth > 0, depth, 1), mixed[..., :1])
    return np.clip(mixed, 0, np.array(MOST_MOTION, np.float32))  # float32 rounds over the edge


def layer_velocities(value: object) -> tuple[int, ...]:
    """`value` as the layers' MIDI velocities, 1 to 4 ascending, else TetradError."""
    found = [files.whole_number(velocity, 1, 127, "a velocity")
             for velocity in files.items(value, 1, MOST_LAYERS, "`velocities`")]
    if any(soft >= loud for soft, loud in pairwise(found)):
        raise TetradError("the velocities are not in ascending order")
    return tuple(found)


class _OtherVersion(TetradError):
    """The file may be in order; this program is too old for it, or too new."""


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
        velocities = layer_velocities(manifest["velocities"])
        listed = files.items(manifest["corners"], CORNERS, CORNERS, "`corners`")
        corners = []
        for number, entry in enumerate(listed):
            about = files.entries(entry, ("name", "scale"), f"corner {number}")
            arrays = [_array(archive, _member_name(number, what), kind, (len(velocities), len(pitches), *inner))
                      for what, (kind, inner) in MEMBERS.items()]
            corners.append(Corner(about["name"], about["scale"], *arrays))  # type: ignore[arg-type]
        if len(archive.infolist()) != 1 + CORNERS * len(MEMBERS):
            raise TetradError("it holds more than preset.json and four corners")
    synth = read_synth(manifest["synth"], "`synth`")
    texts = {what: manifest[what] for what in ("name", "author", "licence", "decoder")}
    preset = Preset(corners=tuple(corners), pitches=pitches, velocities=velocities, synth=synth, **texts)  # type: ignore[arg-type]
    if manifest["digest"] != preset.digest:
        raise TetradError("its digest is wrong, so it was changed or damaged")
    return preset


def _check_version(head: object) -> None:
    """Before all else: another version may have other keys and other members."""
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise TetradError("preset.json is not a preset's")
    version = head.get("version")
    if type(version) is int and 0 < version < 1_000_000 and version != VERSION:
        how = "update tetrad" if version > VERSION else "make it anew with `tetrad preset make`"
        raise _OtherVersion(f"it is a preset of version {version}, and this tetrad reads {VERSION}: {how}")
    files.whole_number(version, VERSION, VERSION, "its version")


def _member_name(number: int, what: str) -> str:
    return f"corner{number}.npy" if what == "values" else f"corner{number}.{what}.npy"


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


def _array(archive: zipfile.ZipFile, name: str, kind: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """A member's array of this type and shape; sizes and the header are checked before memory is taken."""
    size = kind.itemsize * math.prod(shape)
    data = _member(archive, name, size + MAX_HEADER_BYTES)
    file = io.BytesIO(data)
    try:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("a later .npy")
        found, fortran_order, dtype = np.lib.format.read_array_header_1_0(file, max_header_size=512)
    except Exception as error:  # the header is a Python literal: syntax, tokenizer, recursion and other errors
        raise TetradError(f"{name} is no .npy array") from error
    if dtype != kind or fortran_order or found != shape:
        raise TetradError(f"{name} does not hold {kind.name} {list(shape)}")
    if len(data) - file.tell() != size:
        raise TetradError(f"{name} is not as long as its header says")
    return np.frombuffer(data, kind, offset=file.tell()).reshape(shape)


def between(stored: Sequence[int], wanted: Iterable[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where wanted numbers lie among ascending stored ones: the indices below and above, and how much of the latter,
    float32; the nearest outside. Arrays [wanted]."""
    places = np.interp(np.fromiter(wanted, float), stored, np.arange(len(stored)))
    low = places.astype(int)
    return low, np.minimum(low + 1, len(stored) - 1), (places - low).astype(np.float32)


def nearest(stored: Sequence[int], wanted: float) -> int:
    """The index of the nearest of ascending numbers, the lower one of two."""
    return int(np.argmin(np.abs(np.array(stored) - wanted)))
