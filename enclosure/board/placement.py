"""Where each component stands on the board, and where its pads come to lie.

Millimetres from the board's upper left corner, y down; the place is that of the footprint's origin (pin 1, or a small
part's middle), the angle turns it against the clock. Ribbon at the top, display and MIDI left, corners at the bottom,
knobs and line out right. The audio converter's digital side looks left, its analogue side to the line out; each
decoupling capacitor stands beside the pins that it serves.
"""

import math
from collections.abc import Iterator

from device.panel.parts import RESERVED
from enclosure.board.components import Component
from enclosure.board.copper import BOTTOM, TOP, Pad
from enclosure.board.library import footprint
from enclosure.board.schematic import POWER, local_nets
from enclosure.board.sexpr import Node, child, children

PLACES: dict[str, tuple[float, float, int]] = {
    "header": (15.87, 7.0, 90),
    # left edge, from the top: pins downwards, the housing's deep side outwards
    "display": (4.5, 10.45, 270), "shutdown": (4.5, 25.15, 270), "midi_out": (4.5, 34.85, 270),
    "midi_in": (4.5, 47.05, 270),
    # bottom edge
    "corner0": (10.45, 55.5, 0), "corner1": (24.6, 55.5, 0), "corner2": (38.75, 55.5, 0), "corner3": (52.9, 55.5, 0),
    "lamp": (67.05, 55.5, 0),
    # right edge: pins upwards
    "line_out": (75.5, 15.45, 90), "knobs": (75.5, 48.05, 90),

    "adc": (65.0, 43.25, 180), "adc_decoupling": (54.6, 42.0, 90), "adc_pull_up": (53.0, 35.5, 90),

    "dac": (50, 17.0, 180), "dac_flying": (55.8, 19.6, 90), "dac_negative": (58.4, 18.9, 270),
    "dac_pump_decoupling": (52.2, 21.6, 180), "dac_digital_decoupling": (47.8, 21.6, 0), "dac_core": (43.6, 18.9, 180),
    "dac_analogue_decoupling": (55.4, 14.3, 90), "dac_bulk": (43.2, 21.6, 180),
    "line_left_series": (58.4, 15.4, 0), "line_right_series": (58.4, 12.3, 0),
    "line_left_filter": (69.4, 18.6, 270), "line_right_filter": (70.6, 9.3, 90),

    "midi_out_source": (23.2, 35.5, 180), "midi_out_sink": (23.2, 39.0, 180),
    "midi_series": (12.8, 44.8, 0), "midi_diode": (22.5, 47.7, 180), "midi_coupler": (25.4, 42.4, 0),
    "midi_decoupling": (36.4, 43.6, 270), "midi_pull_up": (39.2, 47.0, 90),
    "led_series": (56.5, 47.6, 0),
}

# MIDI's input floats: its nets have a corner of the board for themselves, without ground or anything else.
ISLANDS = (((0.0, 41.2, 28.8, 51.0), frozenset({"MIDI_SOURCE", "MIDI_SINK", "MIDI_ANODE"})),)
# No bus crosses the line out on either side. The lines of corners and lamp may: they stand still while nobody turns.
QUIET = (57.6, 11.2, 72.3, 20.2)
BUSES = frozenset(f"GPIO{number}" for name in ("I2C1", "SPI0", "UART0", "I2S") for number in RESERVED[name])


def placed(component: Component, x: float, y: float) -> tuple[float, float]:
    """A point of a component's footprint as one of the board."""
    return turned(PLACES[component.name], x, y)


def turned(place: tuple[float, float, float], x: float, y: float) -> tuple[float, float]:
    radians = math.radians(place[2])
    return (round(place[0] + x * math.cos(radians) + y * math.sin(radians), 4),
            round(place[1] + y * math.cos(radians) - x * math.sin(radians), 4))


def pad_nodes(component: Component) -> Iterator[Node]:
    return children(footprint(component.footprint), "pad")


def pads(components: list[Component]) -> list[Pad]:
    """Every pad on the board, with the net it lies on as KiCad calls it."""
    names = net_names(components)
    found = []
    for component in components:
        for node in pad_nodes(component):
            x, y = placed(component, *(float(value) for value in child(node, "at")[1:3]))
            width, height = (float(value) for value in child(node, "size")[1:3])
            if PLACES[component.name][2] % 180:
                width, height = height, width
            ratio = next((float(part[1]) for part in children(node, "roundrect_rratio")), 0.0)
            ratio = 0.5 if node[3] in ("circle", "oval") else ratio
            layers = (TOP, BOTTOM) if node[2] == "thru_hole" else (TOP,)
            number = str(node[1])
            found.append(Pad(f"{component.reference} pad {number}", names.get(component.nets.get(number, ""), ""),
                             x, y, width, height, ratio * min(width, height), layers))
    return found


def net_names(components: list[Component]) -> dict[str, str]:
    """What KiCad calls the tables' nets: those that stay in one block of the drawing have a slash before them."""
    local = local_nets(components)
    every = {net for component in components for net in component.nets.values()} | set(POWER)
    return {net: f"/{net}" if net in local else net for net in sorted(every)}


def outline(component: Component) -> tuple[float, float, float, float]:
    """The room it needs on the board, its courtyard: left, top, right, bottom."""
    points = []
    for item in footprint(component.footprint):
        if isinstance(item, list) and item[0] in ("fp_line", "fp_rect", "fp_poly") \
                and child(item, "layer")[1] == "F.CrtYd":
            ends = children(child(item, "pts"), "xy") if item[0] == "fp_poly" else (child(item, "start"),
                                                                                    child(item, "end"))
            points += [placed(component, float(end[1]), float(end[2])) for end in ends]
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)
