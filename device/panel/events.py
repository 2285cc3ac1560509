"""What a panel tells the box, and what every panel can do."""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from device.panel.view import View


@dataclass(frozen=True)
class KnobMoved:
    """A knob of device.panel.parts.KNOBS, 0..1. The first event of a knob tells where it stands."""

    name: str
    value: float


@dataclass(frozen=True)
class Turned:
    """An encoder, 0..3 as the corners, by so many steps: clockwise is positive, and quicker turns count more."""

    encoder: int
    steps: int


@dataclass(frozen=True)
class Pressed:
    """A button, "corner0" to "corner3" or "shutdown". A long press comes after its time, a short one on release."""

    button: str
    long: bool


@dataclass(frozen=True)
class Ended:
    """The fake's script is over and asks the box to stop."""


Event = KnobMoved | Turned | Pressed | Ended


class Light(Enum):
    """What the lamp shows: how long it is lit and dark in turn, in s; the value also tells the states apart."""

    OFF = (0.0, 1.0)
    READY = (1.0, 0.0)
    BUSY = (0.5, 0.5)
    FAULT = (0.125, 0.125)
    STOPPING = (0.05, 0.95)

    def lit(self, time_s: float) -> bool:
        lit_s, dark_s = self.value
        return time_s % (lit_s + dark_s) < lit_s


class Panel(Protocol):
    """All of it belongs to one thread, and nothing of it waits for a part."""

    def poll(self) -> list[Event]:
        """What happened since it was last called. To be called 200 times a second; takes less than 1 ms."""

    def show(self, view: View) -> None:
        """Puts `view`, which nobody changes from here on, on the display, soon."""

    def light(self, state: Light) -> None:
        """Has the lamp show `state`."""

    def shows(self) -> bool:
        """Whether the display has taken a picture."""

    def problems(self) -> list[str]:
        """The parts that do not answer now, a line each; the others work."""

    def close(self) -> None:
        """Lets go of the parts, display and lamp dark."""
