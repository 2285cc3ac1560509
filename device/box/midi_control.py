"""What the box does with MIDI beside playing it: it follows programs, clocks, controllers and keys.

The engine plays notes, bends, pedals and mapped controllers by itself (engine/keyboard.h). Copies of what was played
come here (device._alsa.Keyboard.poll), and actions for the daemon go out. Nothing here waits or speaks to a device.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from device import _engine
from device._alsa import HOST, LOWER, MESSAGE, PLUGGED, UNPLUGGED
from device.box.held_keys import HeldKeys, Key
from device.box.midi_clock import Clock
from device.box.midi_map import MidiMap
from device.synth_settings import PARAMETERS

CHANNELS = 16
BANK, BANK_FINE, TIMBRE = 0, 32, 74  # controllers
CONTROLLER, PROGRAM, REAL_TIME = 0xB0, 0xC0, 0xF8  # statuses
NAMES = {number: name for name, number in PARAMETERS.items()}


@dataclass(frozen=True)
class ChoosePreset:
    """By program change: 128 to a bank, as many banks as 14 bits count; there need be no such preset."""

    number: int


@dataclass(frozen=True)
class Tempo:
    """The clock's; None where it is silent, and the preset's own is due again."""

    bpm: float | None


@dataclass(frozen=True)
class BlendMoved:
    """Where the blend is; the engine has it there."""

    x: float
    y: float


@dataclass(frozen=True)
class ParameterMoved:
    """What a setting is by a mapped controller, mono and poly, or the master volume; the engine has it so."""

    name: str
    value: float


@dataclass(frozen=True)
class Learned:
    """A controller sets what was waited for from now on: the map is to be applied to the keyboard, and kept."""

    parameter: str
    controller: int


@dataclass(frozen=True)
class Plugged:
    name: str


@dataclass(frozen=True)
class Unplugged:
    name: str


Action = ChoosePreset | Tempo | BlendMoved | ParameterMoved | Learned | Plugged | Unplugged


class MidiControl:
    """Follows what keyboards say. `blend_ccs` and the map as the keyboard has them.

    programs, clock: whether program changes and the clock are heeded.
    """

    def __init__(self, mapping: MidiMap, blend_ccs: tuple[int, int] = (16, 17), programs: bool = True,
                 clock: bool = True) -> None:
        self.map = mapping
        self.clock = Clock()
        self._blend_ccs, self._heeds_programs, self._heeds_clock = blend_ccs, programs, clock
        self._blend = (0.5, 0.5)
        self._banks = [0] * CHANNELS
        self._keys = HeldKeys()
        self._midi = _engine.Midi()  # translates as the keyboard's thread does

    def take(self, polled: Iterable[tuple[int, int, bytes]], now_ns: int) -> list[Action]:
        """What Keyboard.poll gave, and time.monotonic_ns(): also where nothing was polled, as silence is heard, too."""
        actions: list[Action] = []
        for arrival_ns, kind, data in polled:
            if kind == PLUGGED:
                actions.append(Plugged(data.decode(errors="replace")))
            elif kind == UNPLUGGED:
                actions.append(Unplugged(data.decode(errors="replace")))
            elif kind in (MESSAGE, HOST) and data:
                actions += self._message(arrival_ns, data)
        if self.clock.check(now_ns):
            actions.append(Tempo(None))
        return actions

    def held(self) -> list[Key]:
        """Keys that fingers or pedals hold, the latest one first."""
        return self._keys.held()

    def recent(self) -> list[Key]:
        """The last 16 keys that were played, each once, the latest one first."""
        return self._keys.recent()

    def forget_held(self) -> None:
        """Where copies were lost (not_copied of the keyboard's meters), the ends of notes may be among them."""
        self._keys.clear()

    def set_blend(self, x: float, y: float) -> None:
        """Where other knobs have moved it, so that one coordinate by MIDI leaves the other; as Keyboard.set_blend."""
        self._blend = (x, y)

    def set_zone(self, zone: int, members: int) -> None:
        """As Keyboard.set_zone."""
        manager = CONTROLLER | (0 if zone == LOWER else CHANNELS - 1)
        configure = ((101, 0), (100, 6), (6, members), (101, 127), (100, 127))  # RPN 6, then none
        self._engine_hears(b"".join(bytes((manager, *change)) for change in configure))

    def _message(self, arrival_ns: int, data: bytes) -> list[Action]:
        status, channel = data[0], data[0] & 0x0F
        if status >= REAL_TIME:
            changed = self._heeds_clock and self.clock.take(arrival_ns, status)
            return [Tempo(self.clock.bpm)] if changed else []
        if status & 0xF0 == CONTROLLER and len(data) == 3:
            return self._controller(channel, data[1], data[2])
        if status & 0xF0 == PROGRAM and len(data) == 2:
            return [ChoosePreset(128 * self._banks[channel] + data[1])] if self._heeds_programs else []
        return self._engine_hears(data)

    def _controller(self, channel: int, controller: int, position: int) -> list[Action]:
        """In the order in which the keyboard's thread asks what a controller is for (engine/midi.c)."""
        if controller == BANK:
            self._banks[channel] = position << 7 | self._banks[channel] & 0x7F
        elif controller == BANK_FINE:
            self._banks[channel] = self._banks[channel] & ~0x7F | position
        data = bytes((CONTROLLER | channel, controller, position))
        if controller == TIMBRE and self._midi.receive(data):
            return []  # in a zone it is a key's third dimension
        target = self.map.get(controller)
        blends = target is None and controller in self._blend_ccs
        if target:
            found: list[Action] = [ParameterMoved(target.parameter, target.value(position))]
        elif blends:
            found = [self._turn(controller, position / 127)]
        else:
            found = self._engine_hears(data)
        if learned := self.map.hear(channel, controller, position, busy=blends):
            found.append(Learned(learned.parameter, controller))
        return found

    def _turn(self, controller: int, share: float) -> BlendMoved:
        x_cc, y_cc = self._blend_ccs
        x, y = self._blend
        self._blend = (share if controller == x_cc else x, share if controller == y_cc else y)
        return BlendMoved(*self._blend)

    def _engine_hears(self, data: bytes) -> list[Action]:
        actions: list[Action] = []
        for kind, channel, key, a, _ in self._midi.receive(data):
            if kind == _engine.PARAMETER:
                actions.append(ParameterMoved(NAMES[key], a))
            else:
                self._keys.take(kind, channel, key, a)
        return actions
