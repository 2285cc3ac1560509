"""Which keys are held, by fingers and by pedals, and which were played last: what is decoded first."""

from collections import OrderedDict
from dataclasses import dataclass

from device import _engine

RECENT_KEYS = 16


@dataclass(frozen=True)
class Key:
    """A key as it was struck: MIDI's number, velocity 1..127 and channel 0..15."""

    key: int
    velocity: int
    channel: int


@dataclass
class _Held:
    key: Key
    down: bool = True  # else a pedal holds it
    caught: bool = False  # by sostenuto


class HeldKeys:
    """Fed with the engine's events (kinds of device/_engine.pyi), it holds what the engine's own player holds."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[int, int], _Held] = OrderedDict()  # by channel and key, the latest one last
        self._sustain: set[int] = set()  # channels whose pedal is down
        self._sostenuto: set[int] = set()
        self._recent: OrderedDict[int, Key] = OrderedDict()  # by MIDI's number, the latest one last

    def held(self) -> list[Key]:
        """The latest one first."""
        return [held.key for held in reversed(self._held.values())]

    def recent(self) -> list[Key]:
        """The last keys that were struck, each once, the latest one first; held or not."""
        return list(reversed(self._recent.values()))

    def take(self, kind: int, channel: int, key: int, a: float) -> None:
        """An event; those that neither strike nor hold a key are none of it."""
        match kind:
            case _engine.NOTE_ON:
                self._strike(Key(key, round(a * 127), channel))
            case _engine.NOTE_OFF:
                held = self._held.get((channel, key))
                self._lift([held] if held else [])
            case _engine.SUSTAIN:
                self._sustain = self._sustain | {channel} if a >= 0.5 else self._sustain - {channel}
                self._let_go(self._of(channel))
            case _engine.SOSTENUTO:
                self._catch(channel, a >= 0.5)
            case _engine.ALL_NOTES_OFF:
                self._lift(self._of(channel))
            case _engine.ALL_SOUND_OFF:
                for cut in self._of(channel):
                    self._forget(cut)

    def clear(self) -> None:
        """Nothing is held, as where messages were lost."""
        self._held.clear()

    def _of(self, channel: int) -> list[_Held]:
        return [held for (of, _), held in self._held.items() if of == channel]

    def _strike(self, key: Key) -> None:
        self._held.pop((key.channel, key.key), None)
        self._held[key.channel, key.key] = _Held(key)
        self._recent.pop(key.key, None)
        self._recent[key.key] = key
        if len(self._recent) > RECENT_KEYS:
            self._recent.popitem(last=False)

    def _lift(self, keys: list[_Held]) -> None:
        for held in keys:
            held.down = False
        self._let_go(keys)

    def _catch(self, channel: int, down: bool) -> None:
        if down != (channel in self._sostenuto):  # a pedal of many steps says so again on its way
            self._sostenuto ^= {channel}
            keys = self._of(channel)
            for held in keys:
                held.caught = down and held.down
            self._let_go(keys)

    def _let_go(self, keys: list[_Held]) -> None:
        """Forgets what neither a finger nor a pedal holds."""
        for held in keys:
            if not held.down and not held.caught and held.key.channel not in self._sustain:
                self._forget(held)

    def _forget(self, held: _Held) -> None:
        del self._held[held.key.channel, held.key.key]
