"""What the checks of the self-test work with: the panel with a probe in it, and the person before it.

A check is a function of a Bench that gives a Verdict, or None where there is nothing to say. Who talks to the person,
and how, is not its business.
"""

import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from device.box.settings import Settings
from device.panel.controls import READ_PERIOD_S, Controls
from device.panel.events import Event, Panel
from device.panel.knobs import END_READINGS, FULL_SCALE, MEDIAN
from device.panel.parts import ENCODERS, KNOBS, part

OK, FAILED, NOT_HERE, SKIPPED = "ok", "FAILED", "not here", "skipped"
PATIENCE_S = 30.0  # for a hand, and for who walks round the table to listen
BREAK_READINGS = 200  # from a median to the next: no hand turns so fast, five readings would be the whole way

T = TypeVar("T")


@dataclass(frozen=True)
class Verdict:
    state: str  # OK, FAILED, NOT_HERE or SKIPPED
    text: str  # what is there, or what to do
    part: str = ""

    def __str__(self) -> str:
        return f"{self.state:<8}  {self.part}: {self.text}"


def ok(text: str) -> Verdict:
    return Verdict(OK, text)


def failed(text: str) -> Verdict:
    return Verdict(FAILED, text)


def not_here(text: str) -> Verdict:
    return Verdict(NOT_HERE, text)


class Skipped(Exception):
    """The person does not want this step."""


class Person(Protocol):
    """Who is asked. Nothing of it waits."""

    def say(self, text: str) -> None:
        """What is to be done now. What was typed before is no answer to it."""

    def live(self, text: str) -> None:
        """What is seen of it, in place of what was seen before."""

    def line(self) -> str | None:
        """What was typed since, once it ended with Enter."""


def wire(part_name: str, *names: str) -> str:
    """A part's pins, all or those named, as a maker looks for them: `A (GPIO23, header pin 16) and C (GND)`."""
    pins = part(part_name).pins
    found = [next(pin for pin in pins if pin.name == name) for name in names] or list(pins)
    words = [f"{pin.name} ({pin.net}{f', header pin {pin.header}' if pin.header else ''})" for pin in found]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


class Sweep:
    """How far a knob went, by medians of its readings: which ends it came to, and where it broke off."""

    def __init__(self) -> None:
        self.readings: list[int] = []
        self.least, self.most = FULL_SCALE, 0
        self.ends = ""  # each end it came to: l for the left, h for the right one, as "lh"
        self.since_end = 0  # readings
        self.breaks = 0
        self.at: int | None = None
        self._recent: deque[int] = deque(maxlen=MEDIAN)

    @property
    def span(self) -> int:
        return max(self.most - self.least, 0)

    def feed(self, reading: int) -> None:
        self.readings.append(reading)
        self._recent.append(reading)
        if len(self._recent) < MEDIAN:
            return
        middle = sorted(self._recent)[MEDIAN // 2]
        if self.at is not None and abs(middle - self.at) > BREAK_READINGS:
            self.breaks += 1
        self.at = middle
        self.least, self.most = min(self.least, middle), max(self.most, middle)
        end = "l" if middle <= END_READINGS else "h" if middle >= FULL_SCALE - END_READINGS else ""
        self.since_end += 1
        if end and not self.ends.endswith(end):
            self.ends += end
            self.since_end = 0


class Probe(Controls):
    """Keeps what the parts say, on its way to the rules by which it becomes events."""

    def __init__(self) -> None:
        super().__init__()
        self.levels: dict[int, int] = {}  # of the encoders' contacts now, A 2 and B 1, set where they are open
        self.closed: dict[str, bool] = {}
        self.begin()

    def begin(self) -> None:
        """Forgets what it saw, but not how contacts are."""
        self.sweeps = {name: Sweep() for name in KNOBS}
        self.changed = dict.fromkeys(range(len(ENCODERS)), 0)  # the contacts of each that changed, as levels
        self.pushed: set[str] = set()  # buttons that closed

    def knob(self, name: str, reading: int) -> None:
        self.sweeps[name].feed(reading)
        super().knob(name, reading)

    def encoder(self, number: int, levels: int, now_s: float, edge: int | None = None) -> None:
        self.changed[number] |= levels ^ self.levels.get(number, levels)
        self.levels[number] = levels
        super().encoder(number, levels, now_s, edge)

    def button(self, name: str, closed: bool, now_s: float) -> None:
        if closed and not self.closed.get(name, True):
            self.pushed.add(name)
        self.closed[name] = closed
        super().button(name, closed, now_s)


class Bench:
    """`faked`: the panel is played by a script; `has_panel`: it is expected to be there. `close` lets all go."""

    def __init__(self, settings: Settings, folder: Path, panel: Panel, probe: Probe, person: Person,
                 faked: bool = False, has_panel: bool = True, patience_s: float = PATIENCE_S,
                 clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep) -> None:
        self.settings, self.folder, self.panel, self.probe = settings, folder, panel, probe
        self.faked, self.has_panel = faked, has_panel
        self.clock = clock
        self.closing = ExitStack()
        self.closing.callback(panel.close)
        self._person, self._sleep, self._patience_s = person, sleep, patience_s
        self._made: dict[Any, Any] = {}

    def once(self, make: Callable[["Bench"], T]) -> T:
        """What `make` gives, made once: several checks look at it."""
        if make not in self._made:
            self._made[make] = make(self)
        found: T = self._made[make]
        return found

    def poll(self) -> list[Event]:
        self._sleep(READ_PERIOD_S)
        return self.panel.poll()

    def watch(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Lets so much time go by, or less."""
        end_s = self.clock() + seconds
        while self.clock() < end_s and not until():
            self.poll()

    def wait(self, todo: str, done: Callable[[list[Event]], bool], live: Callable[[], str] = lambda: "") -> bool:
        """Asks for something and waits until it is done; False where it is not in time. Raises Skipped."""
        self._person.say(f"{todo} (Enter skips it)")
        end_s = self.clock() + self._patience_s
        while self.clock() < end_s:
            if done(self.poll()):
                return True
            self._person.live(live())
            if self._person.line() is not None:
                raise Skipped
        return False

    def ask(self, question: str, meanwhile: Callable[[], None] = lambda: None) -> bool | None:
        """Yes or no; None where nobody says. `meanwhile` is called now and then. Raises Skipped."""
        self._person.say(f"{question} y or n (Enter skips it)")
        end_s = self.clock() + self._patience_s
        while self.clock() < end_s:
            self.poll()
            meanwhile()
            line = self._person.line()
            if line is None:
                continue
            word = line.strip().lower()
            if not word:
                raise Skipped
            if word in ("y", "yes", "n", "no"):
                return word[0] == "y"
            self._person.say(f"{question} y or n, not {word[:20]!r}")
        return None

    def asked(self, question: str, todo: str, seen: str, meanwhile: Callable[[], None] = lambda: None) -> Verdict:
        """A question as a verdict: `seen` where the person says yes, `todo` where not."""
        answer = self.ask(question, meanwhile)
        if answer is None:
            return failed(f"nobody answered within {self._patience_s:g} s: run it again, or --quick")
        return ok(seen) if answer else failed(todo)

    def problem(self, *starts: str) -> str:
        """What the panel says of a part that does not answer; empty where it does."""
        return next((line for line in self.panel.problems() if line.startswith(starts)), "")
