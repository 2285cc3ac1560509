"""Scripts for the fake panel: what a player's hands do, a line each, `time_s control value`; # begins a comment.

    0.5 x 0.75               the knob x stands at 0.75 from 0.5 s on
    1.0 x 0.2 over 0.5       it is turned to 0.2 in half a second
    1.2 corner0 +3           three detents clockwise, each in 80 ms
    1.4 corner2 -12 over 0.3
    1.5 corner1 press        a tenth of a second
    2.0 shutdown hold 2.5    that many seconds
    3.0 end                  asks the box to stop
"""

import re
from dataclasses import dataclass
from pathlib import Path

from device import files
from device.errors import TetradError
from device.panel.parts import BUTTONS, ENCODERS, KNOBS

MAX_BYTES = 1_000_000
MOST_S = 86_400.0
MOST_DETENTS = 1_000
DETENT_S = 0.08  # a slow hand's
QUICKEST_DETENT_S = 0.002  # no hand's: the fake's edges come each 1/4 of it
PRESS_S = 0.1


@dataclass(frozen=True)
class Action:
    """From `start_s` for `length_s`: a knob to `value`, an encoder's so many detents, or a button that is pressed."""

    start_s: float
    length_s: float
    control: str  # a knob, a button, "turn0" to "turn3", or "end"
    value: float


def read_script(path: Path) -> list[Action]:
    """The actions of a script, in order. Raises TetradError naming file and line."""
    actions: list[Action] = []
    busy_s: dict[str, float] = {}
    try:
        text = files.read_whole(path, MAX_BYTES).decode()
    except UnicodeDecodeError as error:
        raise TetradError(f"{path} is no text: give a script as docs/panel.md tells") from error
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            action = _action(words)
            if actions and action.start_s < actions[-1].start_s:
                raise TetradError(f"{words[0]} s is before the line above, {actions[-1].start_s:g} s")
            if actions and actions[-1].control == "end":
                raise TetradError("nothing comes behind `end`")
            if action.start_s < busy_s.get(action.control, 0):
                raise TetradError(f"{words[1]} is still moving until {busy_s[action.control]:g} s")
        except TetradError as error:
            raise TetradError(f"{path}, line {number}: {error}") from error
        busy_s[action.control] = action.start_s + action.length_s
        actions.append(action)
    return actions


def _action(words: list[str]) -> Action:
    start_s = _number(words[0], 0, MOST_S, "the time")
    match words[1:]:
        case ["end"]:
            return Action(start_s, 0, "end", 0)
        case [name, value, *over] if name in KNOBS:
            length_s = _over(over)
            return Action(start_s, length_s or 0.0, name, _number(value, 0, 1, f"what {name} is turned to"))
        case [name, "press"] if name in BUTTONS:
            return Action(start_s, PRESS_S, name, 1)
        case [name, "hold", seconds] if name in BUTTONS:
            return Action(start_s, _number(seconds, 0, MOST_S, "how long it is held"), name, 1)
        case [name, detents, *over] if name in BUTTONS and re.fullmatch(r"[+-]\d+", detents) and name != "shutdown":
            count = int(_number(detents, -MOST_DETENTS, MOST_DETENTS, "the number of detents"))
            length_s = _over(over)
            if length_s is None:
                length_s = abs(count) * DETENT_S
            elif length_s < abs(count) * QUICKEST_DETENT_S:
                raise TetradError(f"{abs(count)} detents take {abs(count) * QUICKEST_DETENT_S:g} s at least")
            return Action(start_s, length_s, f"turn{name.removeprefix('corner')}", count)
        case [name, *_] if name in KNOBS:
            raise TetradError(f"say where {name} is turned to, such as `{words[0]} {name} 0.5`")
        case [name, *rest] if name in BUTTONS:
            turns = "" if name == "shutdown" else ", or a number of detents such as +3"
            raise TetradError(f"{' '.join(rest)!r} is nothing that {name} does: say press, hold 2.5{turns}")
        case [name, *_]:
            others = f"corner0 to corner{len(ENCODERS) - 1}, shutdown and end"
            raise TetradError(f"there is no control {name!r}; there are {', '.join(KNOBS)}, {others}")
    raise TetradError("say `time_s control value`, such as `0.5 x 0.75`")


def _over(words: list[str]) -> float | None:
    if not words:
        return None
    if len(words) != 2 or words[0] != "over":
        raise TetradError(f"{' '.join(words)!r} is not understood: say `over 0.5` or nothing")
    return _number(words[1], 0, MOST_S, "how long it takes")


def _number(word: str, low: float, high: float, what: str) -> float:
    try:
        return files.number(float(word), low, high, what)
    except ValueError:
        raise TetradError(f"{what}, {word!r}, is no number") from None
