"""Knobs: readings of a potentiometer, 0..1023, to 0..1; and how a knob takes over a value that moved without it."""

from collections import deque
from typing import Literal

FULL_SCALE = 1023  # the converter's highest reading, 10 bits
# A pot of 10 kOhm ends up to 1 % short of its rails, 10 readings; 2 are noise and 5 what a knob at rest hides.
END_READINGS = 17
MEDIAN = 5  # readings; spikes of up to two in a row vanish. At 200 Hz a step is 15 ms late
JUMP_READINGS = 8.0  # a median so far off is a turn and followed at once; the nearer, the more it is averaged
SLACK_READINGS = 1.0  # the value follows the average this far behind, so that what is left of the noise turns nothing
TURNING_CHANGE = 1.0  # readings, that are told while a knob turns: some 990 steps, nearly ten bits
REST_CHANGE = 4.5  # readings, that begin a turn: noise of +-2 never comes so far, from one end of it to the other
REST_AFTER = 20  # readings without a change, 0.1 s


class Knob:
    """One potentiometer: a median against spikes, an average against noise, and hysteresis against what is left."""

    def __init__(self) -> None:
        self._recent: deque[int] = deque(maxlen=MEDIAN)
        self._mean = self._held = self._told = 0.0
        self._still = 0  # readings since the last change
        self.value: float | None = None  # None: not yet known

    def feed(self, reading: int) -> float | None:
        """Takes a reading, 200 a second, and gives the knob's value where that is new."""
        self._recent.append(reading)
        if len(self._recent) < MEDIAN:
            return None
        middle = sorted(self._recent)[MEDIAN // 2]
        if self.value is None:
            self._mean = self._held = float(middle)
        off = middle - self._mean
        self._mean += off * min(abs(off) / JUMP_READINGS, 1.0)
        self._held = min(max(self._held, self._mean - SLACK_READINGS), self._mean + SLACK_READINGS)
        self._still += 1
        least = REST_CHANGE if self._still > REST_AFTER else TURNING_CHANGE
        if self.value is not None and abs(self._held - self._told) < least:
            return None
        self._told, self._still = self._held, 0
        value = min(max((self._held - END_READINGS) / (FULL_SCALE - 2 * END_READINGS), 0.0), 1.0)
        if value == self.value:
            return None
        self.value = value
        return value


Mode = Literal["pickup", "jump"]
CAUGHT = 1 / 64  # so near to its value a knob has it: less is hard to turn, and hardly heard


class Takeover:
    """Soft takeover. A value that moved without its knob is the knob's again once the knob reaches or passes it.

    With "jump" a value follows its knob from wherever it is; `modes` says which knobs do otherwise than `mode`.
    """

    def __init__(self, mode: Mode = "pickup", modes: dict[str, Mode] | None = None) -> None:
        self._mode, self._modes = mode, modes or {}
        self._knobs: dict[str, float] = {}
        self._values: dict[str, float] = {}  # of those that do not have theirs

    def place(self, name: str, value: float) -> None:
        """The value of knob `name` is now `value`, by a preset, an encoder or MIDI."""
        self._values.pop(name, None)
        at = self._knobs.get(name)
        if self._modes.get(name, self._mode) == "pickup" and (at is None or abs(at - value) > CAUGHT):
            self._values[name] = value

    def move(self, name: str, at: float) -> float | None:
        """The knob is at `at`: what its value becomes, or None where it does not have it."""
        before, self._knobs[name] = self._knobs.get(name), at
        value = self._values.get(name)
        if value is not None:
            passed = before is not None and (before - value) * (at - value) <= 0
            if not passed and abs(at - value) > CAUGHT:
                return None
            del self._values[name]
        return at

    def turn(self, name: str) -> int:
        """Which way to turn the knob to its value: 1 up, -1 down, 0 where it has it or where the knob is not known."""
        value, at = self._values.get(name), self._knobs.get(name)
        return 0 if value is None or at is None else 1 if value > at else -1
