"""What the player's hands do: knobs, encoders and buttons to what the box does, with a line for the display.

docs/box.md tells it to the player.
"""

import math
from dataclasses import dataclass, field
from typing import Protocol

from device.box.midi_map import Target, default_target
from device.box.settings import Settings
from device.box.state import CornerChoice
from device.panel.events import Event, KnobMoved, Pressed, Turned
from device.panel.knobs import Takeover
from device.synth_settings import WORDS

BLEND = ("x", "y")
MESSAGE_S = 1.5
SETTLE_S = 0.35  # an encoder has come to rest: what it chose is loaded
LOW_PASS = float(WORDS["filter_mode"].index("low"))
ARROWS = {1: " >", -1: " <", 0: ""}  # which way a pot is to be turned until it has its value
SHIFT_KEYS = ("corner0", "corner1", "corner2", "corner3")


@dataclass(frozen=True)
class Choice:
    """An instrument that a corner may have."""

    name: str
    of: CornerChoice


class Hand(Protocol):
    """What hands may do to the box."""

    def set(self, name: str, value: float) -> None: ...
    def blend(self, x: float, y: float) -> None: ...
    def value(self, name: str) -> float: ...
    def point(self) -> tuple[float, float]: ...
    def names(self) -> list[str]: ...
    def selected(self) -> str: ...
    def choices(self) -> list[Choice]: ...
    def corners(self) -> tuple[str, ...]: ...
    def choose(self, name: str) -> None: ...
    def choose_corner(self, number: int, choice: CornerChoice | None) -> None: ...
    def save(self) -> str: ...
    def learn(self, parameter: str) -> None: ...
    def panic(self) -> None: ...
    def power_off(self) -> None: ...
    def about(self) -> str: ...


def share_of(target: Target, value: float) -> float:
    """Where a knob stands that sets `value`, 0..1."""
    if target.exponential:
        share = math.log(max(value, target.low) / target.low) / math.log(target.high / target.low)
    else:
        share = (value - target.low) / (target.high - target.low)
    return min(max(share, 0.0), 1.0)


@dataclass
class _Wish:
    """Of an encoder, until it comes to rest."""

    choice: Choice
    due_s: float


@dataclass
class Menu:
    names: list[str] = field(default_factory=list)
    selected: int = 0


class Hands:
    """Turns events into doings; `message` and `menu` are for the display."""

    def __init__(self, box: Hand, settings: Settings) -> None:
        self._box = box
        self._pots = {knob: default_target(parameter) for knob, parameter in vars(settings.knobs).items() if parameter}
        mode = "jump" if settings.panel.takeover == "jump" else "pickup"
        # Loudness is where its knob is, whatever was stored: to turn it down must help at once.
        jumping = {knob: "jump" for knob, target in self._pots.items() if target.parameter == "volume"}
        self._takeover = Takeover(mode, jumping)  # type: ignore[arg-type]
        self._message, self._message_until_s = "", 0.0
        self._wishes: dict[int, _Wish] = {}  # by corner
        self._touched = "cutoff_hz"  # what a controller would learn
        self.menu: Menu | None = None

    def placed(self) -> None:
        """Values are others than the knobs say, as of another preset."""
        for target in self._pots.values():
            self.set_elsewhere(target.parameter)

    def set_elsewhere(self, parameter: str) -> None:
        """One of them was set, by MIDI."""
        for knob, target in self._pots.items():
            if target.parameter == parameter:
                self._takeover.place(knob, share_of(target, self._box.value(parameter)))

    def moved_elsewhere(self) -> None:
        """The blend was moved, by MIDI, or is where it was before the box was switched off."""
        for axis, value in zip(BLEND, self._box.point(), strict=True):
            self._takeover.place(axis, value)

    def take(self, events: list[Event], now_s: float) -> None:
        for event in events:
            match event:
                case KnobMoved(name, at):
                    self._knob(name, at, now_s)
                case Turned(encoder, steps):
                    self._turn(encoder, steps, now_s)
                case Pressed(button, long):
                    self._press(button, long, now_s)
        for corner, wish in list(self._wishes.items()):
            if now_s >= wish.due_s:
                del self._wishes[corner]
                self._box.choose_corner(corner, wish.choice.of)

    def message(self, now_s: float) -> str:
        """What is to be read now, or nothing."""
        return self._message if now_s < self._message_until_s else ""

    def say(self, text: str, now_s: float) -> None:
        self._message, self._message_until_s = text, now_s + MESSAGE_S

    def _knob(self, name: str, at: float, now_s: float) -> None:
        value = self._takeover.move(name, at)
        if name in BLEND:
            if value is None:
                self.say(f"Blend {name}{ARROWS[self._takeover.turn(name)]}", now_s)
            else:
                x, y = self._box.point()
                self._box.blend(*((value, y) if name == "x" else (x, value)))
        elif target := self._pots.get(name):
            self._touched = target.parameter
            if value is not None:
                if target.parameter == "cutoff_hz" and self._box.value("filter_mode") == 0 and value < 1:
                    self._box.set("filter_mode", LOW_PASS)  # else the knob would do nothing
                self._box.set(target.parameter, target.value(value * 127))
            self.say(words(target.parameter, self._box.value(target.parameter)) + ARROWS[self._takeover.turn(name)],
                     now_s)

    def _turn(self, encoder: int, steps: int, now_s: float) -> None:
        if self.menu:
            self.menu.selected = (self.menu.selected + steps) % len(self.menu.names)
            return
        choices = self._box.choices()
        if not choices:
            return
        wish = self._wishes.get(encoder)
        at = choices.index(wish.choice) if wish and wish.choice in choices else next(
            (n for n, choice in enumerate(choices) if choice.name == self._box.corners()[encoder]), 0)
        choice = choices[(at + steps) % len(choices)]
        self._wishes[encoder] = _Wish(choice, now_s + SETTLE_S)
        self.say(f"{choice.name} ({choice.of.preset})", now_s)

    def _press(self, button: str, long: bool, now_s: float) -> None:
        match button, long:
            case "shutdown", True:
                self._box.power_off()
            case "shutdown", False:
                self.say(self._box.about(), now_s)
            case "corner0", False:
                self._browse()
            case "corner1", False:
                self._box.learn(self._touched)
                self.say(f"Move a controller for {words(self._touched)}", now_s)
            case "corner2", False:
                self.say(self._box.save(), now_s)
            case "corner3", False:
                self._box.panic()
                self.say("All sound off", now_s)
            case _, True:
                self._box.choose_corner(SHIFT_KEYS.index(button), None)
                self.say("The preset's own", now_s)

    def _browse(self) -> None:
        """The list of presets: opened, or left with the one that is selected."""
        if self.menu:
            name = self.menu.names[self.menu.selected]
            self.menu = None
            if name != self._box.selected():
                self._box.choose(name)
            return
        names = self._box.names()
        if names:
            self.menu = Menu(names, names.index(self._box.selected()) if self._box.selected() in names else 0)


UNITS = {"hz": "Hz", "ms": "ms", "s": "s", "db": "dB", "bpm": "bpm", "cents": "cents", "semitones": "semitones"}


def words(parameter: str, value: float | None = None) -> str:
    """A setting and its value, to be read: `cutoff_hz`, 1200 -> `Cutoff 1200 Hz`."""
    parts = parameter.split("_")
    unit = UNITS.get(parts[-1], "")
    name = " ".join(parts[:-1] if unit else parts).capitalize().replace("Lfo", "LFO")
    if value is None:
        return name
    if choices := WORDS.get(parameter):
        return f"{name} {choices[int(value)]}"
    shown = f"{value:.0f}" if abs(value) >= 100 or (unit == "ms" and value >= 10) else f"{value:.3g}"
    return f"{name} {shown} {unit}".rstrip()
