"""Which controllers of a keyboard set which settings of the sound, and how they are learnt by moving them."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Protocol

from device import files
from device.errors import TetradError
from device.synth_settings import PARAMETERS, RANGES

CONTROLLERS = 128
# Controllers that keep to what MIDI has them do: bank select, data entry and its steps, NRPN and RPN, and the modes.
RESERVED = frozenset({0, 32, 6, 38, *range(96, 102), *range(120, 128)})
PEDALS = range(64, 70)  # a foot is no wish: they can be assigned, but are not learnt
FINE = range(32, 64)  # the second byte of controllers 0..31, where a keyboard sends two
MOST_VALUE = 1e6  # of a target's ends, either way

# Settings that are whole numbers, and what the engine adds before it cuts the fraction off.
WHOLE = {"mode": 0.5, "priority": 0.5, "unison": 0.5, "lfo_retrigger": 0.5, "keep_blend": 0.5, "delay_ping_pong": 0.5,
         "filter_mode": 0.0, "lfo_shape": 0.0}
# What a controller spans where the engine's range is wider than a hand wants.
SPANS = {
    "attack_ms":           (1, 10_000),
    "decay_ms":            (5, 20_000),
    "release_ms":          (5, 20_000),
    "filter_attack_ms":    (1, 10_000),
    "filter_decay_ms":     (5, 20_000),
    "filter_release_ms":   (5, 20_000),
    "volume":              (0, 1),  # as the master volume by SysEx
    "glide_ms":            (0, 2_000),
    "transpose_semitones": (-64, 63),  # so that a step is a semitone
    "lfo_rate_hz":         (0.05, 20),
    "lfo_delay_ms":        (0, 5_000),
    "lfo_beats":           (0, 16),
    "lfo_pitch_cents":     (0, 200),
    "delay_ms":            (10, 2_000),
}  # fmt: skip


class Mapped(Protocol):
    """What a map is applied to: device._alsa.Keyboard."""

    def map(self, controller: int, parameter: int | None, low: float = 0.0, high: float = 1.0,
            exponential: bool = False) -> None: ...


@dataclass(frozen=True)
class Target:
    """A setting by name: `low` at 0, `high` at 127; `exponential`: equal ratios for equal steps.

    Raises TetradError where there is no such setting, or the ends are no numbers that it can lie between.
    """

    parameter: str
    low: float
    high: float
    exponential: bool = False

    def __post_init__(self) -> None:
        check_parameter(self.parameter)
        for what in ("low", "high"):
            end = files.number(getattr(self, what), -MOST_VALUE, MOST_VALUE, f"`{what}` of {self.parameter}")
            if self.exponential and end < 1 / MOST_VALUE:
                raise TetradError(f"`{what}` of {self.parameter} is not above 0, as an exponential one has to be")
        if type(self.exponential) is not bool:
            raise TetradError(f"`exponential` of {self.parameter} is neither true nor false")

    def value(self, position: float) -> float:
        """What the setting is where the controller stands at 0..127, as the engine has it."""
        share = position / 127
        value = (self.low * (self.high / self.low) ** share if self.exponential
                 else self.low + share * (self.high - self.low))
        _, least, most = RANGES[self.parameter]
        value = min(max(value, least), most)
        return math.floor(value + WHOLE[self.parameter]) if self.parameter in WHOLE else value


def check_parameter(name: str) -> None:
    """Raises TetradError where there is no such setting."""
    if not isinstance(name, str) or name not in PARAMETERS:
        raise TetradError(f"there is no setting {name!r:.60}; there are {', '.join(PARAMETERS)}")


def default_target(parameter: str) -> Target:
    """How a controller moves a setting where nothing else is said."""
    check_parameter(parameter)
    _, least, most = RANGES[parameter]
    if parameter in WHOLE:  # as many positions for each
        return Target(parameter, least - WHOLE[parameter], most + 0.99 - WHOLE[parameter])
    low, high = SPANS.get(parameter, (least, most))
    if low < 0 and parameter not in SPANS:
        high = high * 63 / 64  # so that 64, which is the middle to MIDI, is 0
    return Target(parameter, low, high, exponential=parameter.endswith(("_hz", "_ms", "_s")) and low > 0)


class MidiMap(Mapping[int, Target]):
    """Targets by controller, on all channels; a setting has one controller."""

    def __init__(self, targets: Mapping[int, Target] | None = None) -> None:
        self._targets: dict[int, Target] = {}
        self.learning: str | None = None  # the setting that waits for a controller
        self._stood: dict[tuple[int, int], int] = {}  # where controllers were seen, by channel and number
        for controller, target in (targets or {}).items():
            self.assign(controller, target)

    def __getitem__(self, controller: int) -> Target:
        return self._targets[controller]

    def __iter__(self) -> Iterator[int]:
        return iter(self._targets)

    def __len__(self) -> int:
        return len(self._targets)

    def assign(self, controller: int, target: Target) -> None:
        """Has this controller alone set it; raises TetradError where the controller is none or has a duty in MIDI."""
        files.whole_number(controller, 0, CONTROLLERS - 1, "a controller")
        if controller in RESERVED:
            raise TetradError(f"controller {controller} has a duty of its own in MIDI: choose another")
        self.forget(target.parameter)
        self._targets[controller] = target

    def forget(self, parameter: str) -> None:
        """Has no controller set it."""
        self._targets = {controller: target for controller, target in self._targets.items()
                         if target.parameter != parameter}

    def learn(self, parameter: str) -> None:
        """Waits for the next controller that moves (hear); TetradError where there is no such setting."""
        check_parameter(parameter)
        self.learning = parameter

    def stop_learning(self) -> None:
        self.learning = None

    def hear(self, channel: int, controller: int, position: int, busy: bool = False) -> Target | None:
        """A controller's message. Where it was waited for, and it says another position than before: what it sets
        from now on. No answer are those that are reserved or busy elsewhere, pedals, and the second byte of two."""
        stood = self._stood.get((channel, controller), position)
        self._stood[channel, controller] = position
        second = controller in FINE and (channel, controller - 32) in self._stood
        taken = busy or controller in RESERVED or controller in PEDALS or second
        if self.learning is None or position == stood or taken:
            return None
        target = default_target(self.learning)
        self.learning = None
        self.assign(controller, target)
        return target

    def apply(self, keyboard: Mapped) -> None:
        """Has a keyboard do it, and nothing that it was told before."""
        for controller in range(CONTROLLERS):
            target = self.get(controller)
            if target is None:
                keyboard.map(controller, None)
            else:
                keyboard.map(controller, PARAMETERS[target.parameter], target.low, target.high, target.exponential)

    def to_json(self) -> dict[str, object]:
        return {str(controller): asdict(target) for controller, target in sorted(self.items())}


def read_map(value: object, what: str) -> MidiMap:
    """A map as to_json gives it. Raises TetradError that begins with `what`."""
    if not isinstance(value, dict):
        raise TetradError(f"{what} is not an object of controllers")
    targets = {}
    try:
        for controller, entry in value.items():
            if not (controller.isascii() and controller.isdecimal() and len(controller) <= 3):
                raise TetradError(f"{controller!r:.60} is no controller's number")
            found = files.entries(entry, ("parameter", "low", "high", "exponential"), f"controller {controller}")
            targets[int(controller)] = Target(**found)  # type: ignore[arg-type]
        return MidiMap(targets)
    except TetradError as error:
        raise TetradError(f"{what}: {error}") from error
