"""The cables between the carrier board and the parts in the panel: one table, beside that of the parts.

What is soldered to the carrier board and what sits in panel and walls is told apart here; nets, pins and order numbers
are device/panel/parts.py's. Board, wiring diagram and bill of materials follow from both.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from device.panel.parts import KNOBS, PARTS, Part, part


@dataclass(frozen=True)
class Cable:
    """From one connector of the board to parts in panel or walls."""

    name: str
    label: str  # on the board
    nets: tuple[str, ...]  # of the connector's pins, from pin 1 on
    parts: tuple[str, ...]  # that it goes to

    @property
    def pin_count(self) -> int:
        return len(self.nets)


def _cable(name: str, label: str, parts: Sequence[str], first: Sequence[str] = ()) -> Cable:
    """Its nets are those of the parts, in the order of their pins, each once; `first` go before."""
    nets = dict.fromkeys([*first, *(pin.net for name in parts for pin in part(name).pins)])
    return Cable(name, label, tuple(nets), tuple(parts))


CABLES = (
    _cable("knobs", "KNOBS", [f"pot_{name}" for name in KNOBS], ("3V3", "GND")),
    *(_cable(f"corner{n}", f"CORNER {n + 1}", [f"encoder{n}"]) for n in range(4)),
    _cable("display", "DISPLAY", ["oled"]),
    _cable("lamp", "LAMP", ["led"]),
    _cable("shutdown", "SHUTDOWN", ["shutdown"]),
    _cable("midi_in", "MIDI IN", ["midi_in"]),
    _cable("midi_out", "MIDI OUT", ["midi_out"]),
    _cable("line_out", "LINE OUT", ["line_out"]),
)
CONNECTORS = {pins: (f"B{pins}B-XH-A", f"XHP-{pins}") for pins in {cable.pin_count for cable in CABLES}}  # JST XH
RIBBON = ("40-way ribbon cable, 2 x 20 sockets, 2.54 mm", 0.15)  # from the Pi's header to the board's; its length in m


def in_panel() -> list[Part]:
    """What cables go to."""
    return [part(name) for cable in CABLES for name in cable.parts]


def on_board() -> list[Part]:
    """What is soldered to the carrier board, beside its connectors."""
    away = {found.name for found in in_panel()}
    return [found for found in PARTS if found.name not in away]


def wires() -> Iterator[tuple[Cable, int, Part, int]]:
    """Every wire: cable, index of the connector's pin, part, index of its pin."""
    for cable in CABLES:
        for name in cable.parts:
            found = part(name)
            for index, pin in enumerate(found.pins):
                yield cable, cable.nets.index(pin.net), found, index
