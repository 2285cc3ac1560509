"""What the box remembers when it is switched off, by its switch or by the plug: state.json in the state folder.

It is written whole, and so seldom that a card of flash memory outlives the box. What is damaged is kept aside; nothing
that stands in the file stops the box.
"""

import contextlib
import json
import logging
import math
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from pathlib import Path

from device import files
from device.box.midi_map import MidiMap, read_map
from device.errors import TetradError
from device.preset import CORNERS
from device.synth_settings import RANGES

FILE, DAMAGED = "state.json", "state.json.damaged"
FORMAT, VERSION = "tetrad-state", 1
MAX_FILE_BYTES = 1 << 18  # ten times what all controllers and settings need
MOST_NAME = 255  # characters of a preset's name: of a file's, as one from the command line may be in the store or not
SAVE_EVERY_S = 2.0  # while something moves; so much is lost with the plug

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CornerChoice:
    """An instrument: a corner 0..3 of a preset."""

    preset: str
    corner: int


@dataclass
class State:
    """All of it; the daemon changes it as things happen. Names of presets need not be of any that there are."""

    preset: str = ""  # none was chosen
    x: float = 0.5  # the blend, 0..1
    y: float = 0.5
    volume: float = 1.0  # as the engine's setting
    pots: dict[str, float] = field(default_factory=dict)  # settings as the pots said last
    changes: dict[str, float] = field(default_factory=dict)  # settings that are not as the preset has them
    corners: tuple[CornerChoice | None, ...] = (None,) * CORNERS  # the player's own in place of the preset's
    controllers: MidiMap = field(default_factory=MidiMap)

    def to_bytes(self) -> bytes:
        """As JSON. Raises TetradError where a value cannot be written so."""
        corners = [choice and {"preset": choice.preset, "corner": choice.corner} for choice in self.corners]
        values = {"format": FORMAT, "version": VERSION, "preset": self.preset, "x": self.x, "y": self.y,
                  "volume": self.volume, "pots": dict(self.pots), "changes": dict(self.changes), "corners": corners,
                  "controllers": self.controllers.to_json()}
        try:
            return (json.dumps(values, indent=1, sort_keys=True) + "\n").encode()
        except (TypeError, ValueError) as error:
            raise TetradError(f"it has what is no JSON: {error}") from error


def parse(data: bytes) -> State:
    """Raises TetradError where it is none, or of another version."""
    return _read(files.parse_json(data, FILE))


def load(folder: Path) -> State:
    """What was saved last; as at first where nothing was. What cannot be read is kept as state.json.damaged, and a
    warning says so. What a save that was cut short left behind is removed."""
    path = folder / FILE
    _sweep(folder)
    try:
        if not os.path.lexists(path):
            return State()
        return parse(files.read_whole(path, MAX_FILE_BYTES))
    except TetradError as error:
        aside = f"it is kept as {DAMAGED}"
        try:
            os.replace(path, folder / DAMAGED)
        except OSError as problem:
            aside = f"and it cannot be kept as {DAMAGED}: {problem.strerror}"
        log.warning("%s: %s; %s, and the box is as at first", path, error, aside)
        return State()


def save(folder: Path, data: bytes) -> None:
    """Puts State.to_bytes in place, on the disk when this returns. Raises TetradError where it could not be read again,
    and where the disk refuses."""
    parse(data)
    with files.atomic(folder / FILE) as file:
        file.write(data)


class Keeper:
    """Saves a state now and then, by a thread of its own: a card may take seconds to write."""

    def __init__(self, folder: Path, state: State) -> None:
        """`state` is as it was loaded."""
        self._folder, self._state = folder, state
        self._saved = state.to_bytes()
        self._next_s = -math.inf  # when it is looked at again
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="state")
        self._saving: Future[bytes] | None = None
        self._told = ""  # the problem that was warned of

    def tick(self, now_s: float) -> None:
        """To be called often, with time.monotonic(); takes no longer than the making of some JSON, each 2 s."""
        if now_s < self._next_s or (self._saving and not self._saving.done()):
            return
        self._next_s = now_s + SAVE_EVERY_S
        self._finish()
        with self._warned():
            data = self._state.to_bytes()
            if data != self._saved:
                self._saving = self._thread.submit(self._save, data)

    def close(self) -> None:
        """Saves what is not saved yet, and waits for it; a problem is a warning."""
        self._finish()
        with self._warned():
            data = self._state.to_bytes()
            if data != self._saved:
                self._saved = self._save(data)
        self._thread.shutdown()

    def _save(self, data: bytes) -> bytes:
        save(self._folder, data)
        return data

    def _finish(self) -> None:
        """Takes what became of the last save, once it is over."""
        with self._warned():
            if self._saving:
                saving, self._saving = self._saving, None
                self._saved = saving.result()
                self._told = ""

    @contextlib.contextmanager
    def _warned(self) -> Iterator[None]:
        """The same problem is warned of once: it is tried again each 2 s."""
        try:
            yield
        except TetradError as error:
            if str(error) != self._told:
                log.warning("the box's state is not saved: %s", error)
            self._told = str(error)


def _sweep(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for path in folder.glob(f".{FILE}.*{files.TEMPORARY}"):
            path.unlink()


def _read(value: object) -> State:
    if isinstance(value, dict) and value.get("format") == FORMAT:
        files.whole_number(value.get("version"), VERSION, VERSION, "its version")  # another one may have other keys
    found = files.entries(value, {"format", "version", *(entry.name for entry in fields(State))}, "the state")
    if found["format"] != FORMAT:
        raise TetradError("it is no state of the box")
    corners = files.items(found["corners"], CORNERS, CORNERS, "`corners`")
    return State(
        preset=files.text(found["preset"], MOST_NAME, "`preset`"),
        x=files.number(found["x"], 0, 1, "`x`"),
        y=files.number(found["y"], 0, 1, "`y`"),
        volume=files.number(found["volume"], *RANGES["volume"][1:], "`volume`"),
        pots=_settings(found["pots"], "`pots`"),
        changes=_settings(found["changes"], "`changes`"),
        corners=tuple(None if choice is None else _choice(choice) for choice in corners),
        controllers=read_map(found["controllers"], "`controllers`"))


def _choice(value: object) -> CornerChoice:
    found = files.entries(value, ("preset", "corner"), "a choice in `corners`")
    return CornerChoice(files.text(found["preset"], MOST_NAME, "a preset in `corners`"),
                        files.whole_number(found["corner"], 0, CORNERS - 1, "a corner in `corners`"))


def _settings(value: object, what: str) -> dict[str, float]:
    if not isinstance(value, dict):
        raise TetradError(f"{what} is not an object of settings")
    for name, number in value.items():
        if name not in RANGES:
            raise TetradError(f"{what}: there is no setting {name!r}")
        files.number(number, *RANGES[name][1:], f"{what}: {name}")
    return dict(value)
