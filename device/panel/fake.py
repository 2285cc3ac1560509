"""The panel without its parts: a script turns knobs and presses buttons, by the same rules as the real ones.

    panel = FakePanel(Path("hands.txt"))    # docs/panel.md tells what stands in it
    panel.poll()                            # [KnobMoved("x", 0.75)], noise and bounce left behind
    panel.picture().save("now.png")         # what the display would show
"""

import random
import time
from collections.abc import Callable, Iterable, Iterator
from heapq import merge
from pathlib import Path

from PIL import Image

from device.panel.controls import READ_PERIOD_S, Controls
from device.panel.encoders import CLOCKWISE
from device.panel.events import Ended, Event, Light
from device.panel.knobs import FULL_SCALE
from device.panel.parts import BUTTONS, ENCODERS, KNOBS
from device.panel.script import Action, read_script
from device.panel.view import SIZE, View

NOISE_READINGS = 2  # either way
SPIKE_PROBABILITY = 0.002  # a reading's, of being anything: a supply that a motor or a relay shares
POT_ENDS = (6, 1016)  # readings between which the fake's pots turn: no pot reaches its rails
BOUNCES = 3  # of a contact at each change,
BOUNCE_S = 0.0002  # each so long, or shorter where a turn is quick
REST = CLOCKWISE.index(0b11)
CATCH_UP_S = 1.0  # of readings, where nobody polled for long

Change = tuple[float, str, int]  # time, "turn0" or a button, levels or whether it is closed


class FakePanel:
    """A panel played by a script, its time counted from the first poll; without a script nothing ever happens.

    A knob that the script names stands in the middle until it is turned; one that it does not name is not there.
    Raises TetradError where the script cannot be understood.
    """

    def __init__(self, script: Path | None = None, clock: Callable[[], float] = time.monotonic, seed: int = 0,
                 controls: Controls | None = None) -> None:
        actions = read_script(script) if script else []
        self._clock = clock
        self._started_s: float | None = None
        self._random = random.Random(seed)
        self._controls = controls or Controls()
        self._knobs = {name: Pot(found) for name in KNOBS if (found := _of(actions, name))}
        self._read_s = 0.0  # when the knobs are read next
        self._changes = merge(*_changes(actions))
        self._next = next(self._changes, None)
        self._end_s = next((action.start_s for action in actions if action.control == "end"), None)
        self._view = View()
        self.lamp = Light.OFF
        self.closed = False

    def poll(self) -> list[Event]:
        if self._started_s is None:
            self._started_s = self._clock()
        now_s = self._clock() - self._started_s
        self._read_s = max(self._read_s, now_s - CATCH_UP_S)
        while self._knobs and self._read_s <= now_s:
            for name, pot in self._knobs.items():
                self._controls.knob(name, self._noisy(pot.reading(self._read_s)))
            self._read_s += READ_PERIOD_S
        while self._next and self._next[0] <= now_s:
            time_s, control, level = self._next
            if control.startswith("turn"):
                self._controls.encoder(int(control[-1]), level, time_s)
            else:
                self._controls.button(control, bool(level), time_s)
            self._next = next(self._changes, None)
        events = self._controls.take(now_s)
        if self._end_s is not None and now_s >= self._end_s:
            self._end_s = None
            events.append(Ended())
        return events

    def show(self, view: View) -> None:
        self._view = view

    def light(self, state: Light) -> None:
        self.lamp = state

    def shows(self) -> bool:
        return not self.closed

    def problems(self) -> list[str]:
        return []

    def close(self) -> None:
        self.closed = True
        self.lamp, self._view = Light.OFF, View()

    def picture(self) -> Image.Image:
        """What the display shows, 128 x 64 pixels, black and white; black when the panel is closed."""
        from device.panel.display import draw  # a fake that nobody looks at needs no fonts

        return Image.new("1", SIZE) if self.closed else draw(self._view)

    def _noisy(self, reading: float) -> int:
        if self._random.random() < SPIKE_PROBABILITY:
            return self._random.randint(0, FULL_SCALE)
        return min(max(round(reading) + self._random.randint(-NOISE_READINGS, NOISE_READINGS), 0), FULL_SCALE)


class Pot:
    """Where a potentiometer stands: straight lines between what the script says."""

    def __init__(self, actions: list[Action]) -> None:
        self._actions = actions
        self._from = 0.5

    def reading(self, now_s: float) -> float:
        """The converter's, without noise, at a time that never goes back."""
        while self._actions and now_s >= self._actions[0].start_s + self._actions[0].length_s:
            self._from = self._actions.pop(0).value
        at = self._from
        if self._actions and now_s > self._actions[0].start_s:
            moving = self._actions[0]
            at += (moving.value - at) * (now_s - moving.start_s) / moving.length_s
        return POT_ENDS[0] + at * (POT_ENDS[1] - POT_ENDS[0])


def _of(actions: Iterable[Action], control: str) -> list[Action]:
    return [action for action in actions if action.control == control]


def _changes(actions: list[Action]) -> Iterator[Iterator[Change]]:
    """The contacts of each encoder and button that the script moves, in the order of time."""
    for number in range(len(ENCODERS)):
        if found := _of(actions, f"turn{number}"):
            yield _turn(found)
    for name in BUTTONS:
        if found := _of(actions, name):
            yield _press(found)


def _turn(actions: list[Action]) -> Iterator[Change]:
    place = REST
    yield 0.0, actions[0].control, CLOCKWISE[place]
    for action in actions:
        changes = 4 * abs(int(action.value))
        direction = 1 if action.value > 0 else -1
        for n in range(changes):
            before, place = place, (place + direction) % 4
            each_s = action.length_s / changes
            yield from _bounce(action.start_s + n * each_s, action.control, CLOCKWISE[before], CLOCKWISE[place],
                               min(BOUNCE_S, each_s / (4 * BOUNCES)))


def _press(actions: list[Action]) -> Iterator[Change]:
    yield 0.0, actions[0].control, 0
    for action in actions:
        yield from _bounce(action.start_s, action.control, 0, 1, BOUNCE_S)
        yield from _bounce(action.start_s + action.length_s, action.control, 1, 0, BOUNCE_S)


def _bounce(time_s: float, control: str, before: int, after: int, bounce_s: float) -> Iterator[Change]:
    for n in range(BOUNCES):
        yield time_s + 2 * n * bounce_s, control, after
        yield time_s + (2 * n + 1) * bounce_s, control, before
    yield time_s + 2 * BOUNCES * bounce_s, control, after
