"""What is soldered to the board: each part of the tables with its designator, symbol, footprint and nets."""

import re
from collections import Counter
from dataclasses import dataclass

from device.panel.parts import HEADER, PARTS, Part
from enclosure.harness import CABLES, CONNECTORS, Cable, on_board


@dataclass(frozen=True)
class Component:
    name: str  # in the tables of parts and cables
    reference: str
    value: str
    order: str
    datasheet: str
    symbol: str
    footprint: str
    nets: dict[str, str]  # of its pins, by number; a pin that nothing joins is not in it


# By the first words of a part's kind, or by its name: designator, symbol, footprint.
_KINDS = {
    "resistor":     ("R", "Device:R", "Resistor_THT:R_Axial_DIN0207_L6.3mm_D2.5mm_P10.16mm_Horizontal"),
    "GRM188":       ("C", "Device:C", "Capacitor_SMD:C_0603_1608Metric"),
    "GRM21B":       ("C", "Device:C", "Capacitor_SMD:C_0805_2012Metric"),
    "adc":          ("U", "Analog_ADC:MCP3008", "Package_DIP:DIP-16_W7.62mm"),
    "dac":          ("U", "Audio:PCM5102", "Package_SO:TSSOP-20_4.4x6.5mm_P0.65mm"),
    "midi_coupler": ("U", "Isolator:H11L1", "Package_DIP:DIP-6_W7.62mm"),
    "midi_diode":   ("D", "Diode:1N4148", "Diode_THT:D_DO-35_SOD27_P7.62mm_Horizontal"),
}
_HEADER_KIND = ("J", "Connector_Generic:Conn_02x20_Odd_Even", "Connector_IDC:IDC-Header_2x20_P2.54mm_Vertical")
HEADER_ORDER, HEADER_SHEET = "30340-6002HB", "3M 30300"  # shrouded, keyed, straight, 2 x 20, 2.54 mm


def _kind(part: Part) -> tuple[str, str, str]:
    for key in (part.name, part.order[:6], part.kind.split()[0]):
        if key in _KINDS:
            return _KINDS[key]
    raise KeyError(f"{part.name}: enclosure/board/components.py has no footprint for a {part.kind}")


def _value(part: Part) -> str:
    """470 Ohm is 470R on a circuit's drawing, 47 kOhm is 47k, 100 nF is 100n; other parts go by their numbers."""
    match = re.fullmatch(r"\w+ ([\d.]+) ([kMnpu]?)(Ohm|F)", part.kind)
    return f"{match[1]}{match[2] or 'R'}" if match else part.order


def _connector(number: int, cable: Cable) -> Component:
    pins = cable.pin_count
    order = CONNECTORS[pins][0]
    return Component(cable.name, f"J{number}", cable.label, order, "JST XH", f"Connector_Generic:Conn_01x{pins:02}",
                     f"Connector_JST:JST_XH_{order}_1x{pins:02}_P2.50mm_Vertical",
                     {str(pin): net for pin, net in enumerate(cable.nets, start=1)})


def components(parts: tuple[Part, ...] | None = None) -> list[Component]:
    """The header, the cables' connectors, then the parts in the table's order, which counts their designators."""
    parts = tuple(on_board()) if parts is None else parts
    used = {pin.net for part in PARTS for pin in part.pins}
    header = {str(pin): net for pin, net in HEADER.items() if net in used}
    found = [Component("header", "J1", "RASPBERRY PI", HEADER_ORDER, HEADER_SHEET, *_HEADER_KIND[1:], header)]
    found += [_connector(number, cable) for number, cable in enumerate(CABLES, start=2)]
    count: Counter[str] = Counter()
    for part in parts:
        letter, symbol, footprint = _kind(part)
        count[letter] += 1
        found.append(Component(part.name, f"{letter}{count[letter]}", _value(part), part.order, part.datasheet, symbol,
                               footprint, {str(pin.number): pin.net for pin in part.pins}))
    return found


def nets(found: list[Component]) -> dict[str, set[tuple[str, str]]]:
    """Every net with its ends, (designator, pin)."""
    ends: dict[str, set[tuple[str, str]]] = {}
    for component in found:
        for pin, net in component.nets.items():
            ends.setdefault(net, set()).add((component.reference, pin))
    return ends
