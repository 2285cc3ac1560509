"""The rules by which readings, contacts and edges become events: the same for the real panel and for the fake."""

from device.panel.buttons import Button
from device.panel.encoders import Encoder
from device.panel.events import Event, KnobMoved, Pressed, Turned
from device.panel.knobs import Knob
from device.panel.parts import BUTTONS, ENCODERS, KNOBS

READ_PERIOD_S = 0.005  # of the knobs; what they average over is counted in readings


class Controls:
    """Is fed with what the parts say, in the order in which it was; gives the events since they were last taken."""

    def __init__(self) -> None:
        self._knobs = {name: Knob() for name in KNOBS}
        self._encoders = [Encoder() for _ in ENCODERS]
        self._buttons = {name: Button(name) for name in BUTTONS}
        self._closed: dict[str, bool] = {}  # those that were seen
        self._moved: dict[str, float] = {}
        self._others: list[Turned | Pressed] = []

    def knob(self, name: str, reading: int) -> None:
        """A reading, 0..1023, one each READ_PERIOD_S."""
        value = self._knobs[name].feed(reading)
        if value is not None:
            self._moved[name] = value

    def encoder(self, number: int, levels: int, now_s: float, edge: int | None = None) -> None:
        """What the contacts of an encoder are: see Encoder.feed."""
        steps = self._encoders[number].feed(levels, now_s, edge)
        if not steps:
            return
        last = self._others[-1] if self._others else None
        if isinstance(last, Turned) and last.encoder == number:
            self._others[-1] = Turned(number, last.steps + steps)
        else:
            self._others.append(Turned(number, steps))

    def button(self, name: str, closed: bool, now_s: float) -> None:
        """Whether a button's contact is closed."""
        self._closed[name] = closed
        told = self._buttons[name].feed(closed, now_s)
        if told is not None:
            self._others.append(Pressed(name, told))

    def take(self, now_s: float) -> list[Event]:
        """The events until now, the knobs' newest values first."""
        for name, closed in self._closed.items():
            self.button(name, closed, now_s)
        events: list[Event] = [KnobMoved(name, value) for name, value in self._moved.items()]
        events += (other for other in self._others if not isinstance(other, Turned) or other.steps)
        self._moved.clear()
        self._others.clear()
        return events
