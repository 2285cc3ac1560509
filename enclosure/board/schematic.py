"""The circuit's drawing: blocks with a title, KiCad's own symbols, a wire or a label on every pin.

Where a symbol stands and which wires are drawn is written down below by hand, in steps of 2.54 mm; what a pin is
connected to comes from the tables alone. A pin that no drawn wire touches gets a label, a power symbol, or the cross
of one that is open.
"""

import math
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

from enclosure.board import VERSION
from enclosure.board.components import Component
from enclosure.board.library import identifier, symbol, symbol_pins
from enclosure.board.sexpr import Node, Quoted, children

GRID_MM = 2.54
PROJECT = "tetrad"
ROOT = identifier("sheet")

Point = tuple[float, float]


@dataclass(frozen=True)
class Block:
    title: str
    box: tuple[float, float, float, float]  # left, top, right, bottom
    note: str = ""


@dataclass(frozen=True)
class Place:
    x: float
    y: float
    angle: int = 0
    mirror: bool = False  # left and right changed


BLOCKS = (
    Block("RASPBERRY PI HEADER", (5, 8, 34, 47), "The ribbon cable keeps pin n on pin n."),
    Block("KNOBS AND CONVERTER", (37, 8, 96, 47), "Eight potentiometers from GND to 3V3, in the order of the cable."),
    Block("CORNERS", (99, 8, 129, 47), "Encoders with switches to GND.\nThe Pi pulls up."),
    Block("DISPLAY, LAMP, BUTTON", (132, 8, 160, 47)),
    Block("AUDIO CONVERTER AND LINE OUT", (5, 50, 70, 83),
          "SCK at GND: the converter makes its clock from BCK. XSMT at 3V3: never muted."),
    Block("MIDI IN", (73, 50, 124, 83), "Floating: neither SOURCE nor SINK meets GND."),
    Block("MIDI OUT", (127, 50, 160, 83), "3.3 V signalling: 33 and 10 Ohm."),
)

PLACES = {
    "header": Place(19, 28),
    "knobs": Place(47, 26, mirror=True), "adc": Place(67, 27), "adc_pull_up": Place(84, 25.5, 180),
    "adc_decoupling": Place(91, 27),
    "corner0": Place(119, 16), "corner1": Place(119, 24), "corner2": Place(119, 32), "corner3": Place(119, 40),
    "display": Place(155, 16), "lamp": Place(155, 28), "led_series": Place(147.5, 28, 90), "shutdown": Place(155, 38),
    "dac": Place(22, 65), "dac_flying": Place(31, 65.5), "dac_negative": Place(33, 71.5), "dac_core": Place(38, 70.5),
    "line_left_series": Place(37.5, 57, 90), "line_left_filter": Place(43, 58.5),
    "line_right_series": Place(37.5, 62, 90), "line_right_filter": Place(48, 63.5), "line_out": Place(64, 61),
    "dac_analogue_decoupling": Place(46, 76.5), "dac_digital_decoupling": Place(52, 76.5),
    "dac_pump_decoupling": Place(58, 76.5), "dac_bulk": Place(64, 76.5),
    "midi_in": Place(77, 63, mirror=True), "midi_series": Place(87.5, 63, 90), "midi_diode": Place(94, 64.5, 270),
    "midi_coupler": Place(102, 64), "midi_pull_up": Place(110, 62.5, 180), "midi_decoupling": Place(119, 64),
    "midi_out": Place(156, 66), "midi_out_source": Place(139.5, 62, 90), "midi_out_sink": Place(139.5, 70, 90),
}

WIRES: tuple[tuple[Point, ...], ...] = (
    *(((49, 24 + n), (61, 24 + n)) for n in range(8)),  # knobs to channels
    ((73, 27), (84, 27), (86, 27)),  # DOUT and its pull-up
    ((21, 59), (22, 59), (23, 59)), ((22, 59), (22, 58)), ((21, 72), (22, 72), (23, 72)), ((22, 72), (22, 73)),
    ((27, 64), (31, 64)), ((27, 67), (31, 67)), ((27, 69), (38, 69)), ((27, 70), (33, 70)),
    ((27, 61), (29, 61), (29, 57), (36, 57)), ((39, 57), (43, 57), (52, 57), (52, 61), (62, 61)),
    ((27, 62), (36, 62)), ((39, 62), (48, 62), (62, 62)),
    ((46, 75), (52, 75), (58, 75), (64, 75)), ((46, 78), (52, 78), (58, 78), (64, 78)),
    ((79, 63), (86, 63)), ((89, 63), (94, 63), (99, 63)),
    ((79, 64), (81, 64), (81, 66), (94, 66), (97, 66), (97, 65), (99, 65)),
    ((105, 64), (110, 64), (113, 64)),
    ((149, 28), (153, 28)),
    ((138, 62), (135, 62)), ((141, 62), (149, 62), (149, 66), (154, 66)), ((141, 70), (149, 70), (149, 67), (154, 67)),
)

# Labels and power symbols on those wires, beside what pins get by themselves: net, place, direction of the text.
ON_WIRES: tuple[tuple[str, float, float, int], ...] = (
    *((f"KNOB_{name}", 53, 24 + n, 0) for n, name in enumerate(
        ("X", "Y", "ATTACK", "DECAY", "SUSTAIN", "RELEASE", "FILTER", "VOLUME"))),
    ("GPIO9", 86, 27, 0),
    ("3V3", 22, 58, 0), ("GND", 22, 73, 0), ("3V3", 46, 75, 0), ("GND", 46, 78, 0),
    ("DAC_CAPP", 27, 64, 0), ("DAC_CAPM", 27, 67, 0), ("DAC_LDOO", 34, 69, 0), ("DAC_VNEG", 28, 70, 0),
    ("DAC_LEFT", 30, 57, 0), ("LINE_LEFT", 53, 61, 0), ("DAC_RIGHT", 30, 62, 0), ("LINE_RIGHT", 53, 62, 0),
    ("MIDI_SOURCE", 79.5, 63, 0), ("MIDI_ANODE", 89.2, 63, 0), ("MIDI_SINK", 82, 66, 0),
    ("GPIO15", 113, 64, 0),
    ("LED", 150, 28, 0), ("3V3", 135, 62, 0),
    ("MIDI_OUT_SOURCE", 142, 62, 0), ("MIDI_OUT_SINK", 142, 70, 0),
)
FLAGS = (("3V3", 13, 44), ("GND", 25, 44))  # where power comes in: ERC asks for a flag there
POWER = {"3V3": "power:+3V3", "GND": "power:GND"}
# Where a symbol's designator and value stand, from its centre, by the symbol; others: beside it.
FIELDS: dict[str, tuple[Point, Point]] = {
    "Analog_ADC:MCP3008": ((4.5, -6), (6, -5)), "Audio:PCM5102": ((4.5, -7), (6, -6)),
    "Isolator:H11L1": ((2.5, -3.2), (3.5, -2.4)), "Connector_Generic:Conn_02x20_Odd_Even": ((0.5, -11.2), (0.5, 12)),
}
ACROSS = ((0, -1.4), (0, 1.4))  # of what lies
BESIDE = ((1.1, -0.5), (1.1, 0.5))  # of what stands


def turned(x: float, y: float, angle: int, mirror: bool = False) -> Point:
    """A place in a symbol (y up) as one from its centre on the sheet (y down)."""
    x, y = x, -y
    radians = math.radians(angle)
    x, y = (round(x * math.cos(radians) + y * math.sin(radians), 4),
            round(y * math.cos(radians) - x * math.sin(radians), 4))
    return (-x if mirror else x), y


def sheet(components: list[Component]) -> Node:
    """The whole drawing as KiCad's list."""
    drawing = _Drawing(components)
    return drawing.node()


class _Drawing:
    def __init__(self, components: list[Component]) -> None:
        self.components = components
        self.items: list[Node] = []
        self.symbols: dict[str, Node] = {}
        self.count: Counter[str] = Counter()
        # A net that leaves its block is labelled for the whole sheet; KiCad calls the others /NAME.
        self.local = local_nets(components)
        self.touched = {point for wire in WIRES for point in wire}

    def node(self) -> Node:
        for block in BLOCKS:
            self._block(block)
        for component in self.components:
            self._component(component)
        for wire in WIRES:
            for start, end in pairwise(wire):
                self._wire(start, end)
        for net, x, y, angle in ON_WIRES:
            self._name(net, (x, y), angle, power=True)
        for net, x, y in FLAGS:
            self._flag(net, (x, y))
        self._junctions()
        return ["kicad_sch", ["version", "20250114"], ["generator", Quoted("tetrad")],
                ["generator_version", Quoted("9.0")], ["uuid", ROOT], ["paper", Quoted("A3")],
                ["title_block", ["title", Quoted("Tetrad: carrier board")], ["rev", Quoted(VERSION)],
                 ["company", Quoted("Tetrad")],
                 ["comment", "1", Quoted("Generated from device/panel/parts.py and enclosure/harness.py")],
                 ["comment", "2", Quoted("Apache License 2.0")]],
                ["lib_symbols", *self.symbols.values()], *self.items,
                ["sheet_instances", ["path", Quoted("/"), ["page", Quoted("1")]]], ["embedded_fonts", "no"]]

    def _id(self, kind: str) -> Node:
        self.count[kind] += 1
        return ["uuid", identifier(f"{kind} {self.count[kind]}")]

    def _block(self, block: Block) -> None:
        left, top, right, bottom = block.box
        self.items.append(["rectangle", ["start", *_mm((left, top))], ["end", *_mm((right, bottom))],
                           ["stroke", ["width", 0.2], ["type", "dash"], ["color", "0", "90", "140", "1"]],
                           ["fill", ["type", "none"]], self._id("block")])
        self._text(block.title, (left + 1, top + 1.5), 2.2, bold=True)
        if block.note:
            self._text(block.note, (left + 1, bottom - 1.5), 1.5)

    def _text(self, words: str, at: Point, size: float, bold: bool = False) -> None:
        font: Node = ["font", ["size", size, size]] + ([["bold", "yes"]] if bold else [])
        self.items.append(["text", Quoted(words), ["exclude_from_sim", "no"], ["at", *_mm(at), "0"],
                           ["effects", font, ["justify", "left"]], self._id("text")])

    def _component(self, component: Component) -> None:
        place = PLACES[component.name]
        self.symbols.setdefault(component.symbol, symbol(component.symbol))
        reference, value = _fields(component, place)
        hidden = {"Footprint": component.footprint, "Datasheet": component.datasheet, "Description": component.name,
                  "Order": component.order}
        flat = place.angle % 180
        node: Node = ["symbol", ["lib_id", Quoted(component.symbol)], ["at", *_mm((place.x, place.y)), place.angle]]
        if place.mirror:
            node.append(["mirror", "y"])
        justify = _justify(component, place)
        node += [["unit", "1"], ["exclude_from_sim", "no"], ["in_bom", "yes"], ["on_board", "yes"], ["dnp", "no"],
                 ["uuid", symbol_uuid(component)],
                 _property("Reference", component.reference, reference, flat, justify=justify),
                 _property("Value", component.value, value, flat, justify=justify),
                 *(_property(name, words, (place.x, place.y), 0, hide=True) for name, words in hidden.items())]
        pins = symbol_pins(component.symbol)
        node += [["pin", Quoted(number), ["uuid", identifier(f"pin {component.name} {number}")]] for number in pins]
        node.append(_instance(component.reference))
        self.items.append(node)
        for number, (x, y, angle) in pins.items():
            dx, dy = turned(x, y, place.angle, place.mirror)
            at = (place.x + dx / GRID_MM, place.y + dy / GRID_MM)
            ax, ay = turned(-math.cos(math.radians(angle)), -math.sin(math.radians(angle)), place.angle, place.mirror)
            self._pin(component, number, at, (round(ax), round(ay)))

    def _pin(self, component: Component, number: str, at: Point, outward: tuple[int, int]) -> None:
        at = (round(at[0], 3), round(at[1], 3))
        net = component.nets.get(number)
        if at in self.touched:
            return
        if net is None:
            if (component.symbol, number) != ("Isolator:H11L1", "3"):  # its symbol says itself that this one is open
                self.items.append(["no_connect", ["at", *_mm(at)], self._id("open")])
            return
        end = (at[0] + outward[0], at[1] + outward[1]) if net not in POWER or outward[0] else at
        if end != at:
            self._wire(at, end)
        self._name(net, end, {(1, 0): 0, (-1, 0): 180, (0, -1): 90, (0, 1): 270}[outward], power=not outward[0])

    def _name(self, net: str, at: Point, angle: int, power: bool) -> None:
        if net in POWER and power:
            self._power(POWER[net], net, at)
            return
        side = ["justify", "right" if angle == 180 else "left", *(["bottom"] if net in self.local else [])]
        effects = ["effects", ["font", ["size", 1.27, 1.27]], side]
        if net in self.local:
            self.items.append(["label", Quoted(net), ["at", *_mm(at), angle], effects, self._id("label")])
        else:
            self.items.append(["global_label", Quoted(net), ["shape", "passive"], ["at", *_mm(at), angle], effects,
                               self._id("label")])

    def _power(self, lib_id: str, net: str, at: Point) -> None:
        self.symbols.setdefault(lib_id, symbol(lib_id))
        flag = lib_id == "power:PWR_FLAG"
        self.count["power"] += 1
        reference = f"#{'FLG' if flag else 'PWR'}{self.count['power']:02}"
        offset = -1.5 if net != "GND" else 1.5
        self.items.append(
            ["symbol", ["lib_id", Quoted(lib_id)], ["at", *_mm(at), "0"], ["unit", "1"], ["exclude_from_sim", "no"],
             ["in_bom", "yes"], ["on_board", "yes"], ["dnp", "no"], self._id("power symbol"),
             _property("Reference", reference, at, 0, hide=True),
             _property("Value", net, (at[0], at[1] + offset), 0),
             *(_property(name, "", at, 0, hide=True) for name in ("Footprint", "Datasheet", "Description")),
             ["pin", Quoted("1"), ["uuid", identifier(f"pin {reference}")]], _instance(reference)])

    def _flag(self, net: str, at: Point) -> None:
        beside = (at[0] + 4, at[1])
        self._power("power:PWR_FLAG", "PWR_FLAG", at)
        self._power(POWER[net], net, beside)
        self._wire(at, beside)

    def _wire(self, start: Point, end: Point) -> None:
        self.items.append(["wire", ["pts", ["xy", *_mm(start)], ["xy", *_mm(end)]],
                           ["stroke", ["width", "0"], ["type", "default"]], self._id("wire")])

    def _junctions(self) -> None:
        """A dot where more than two ends meet."""
        ends = Counter(point for wire in WIRES for pair in pairwise(wire) for point in pair)
        for component in self.components:
            place = PLACES[component.name]
            for x, y, _ in symbol_pins(component.symbol).values():
                dx, dy = turned(x, y, place.angle, place.mirror)
                ends[round(place.x + dx / GRID_MM, 3), round(place.y + dy / GRID_MM, 3)] += 1
        self.items += [["junction", ["at", *_mm(point)], ["diameter", "0"], ["color", "0", "0", "0", "0"],
                        self._id("junction")] for point, count in ends.items() if count > 2]


def symbol_uuid(component: Component) -> Quoted:
    return identifier(f"symbol {component.name}")


def local_nets(components: list[Component]) -> set[str]:
    """Nets whose ends all stand in one block."""
    blocks: dict[str, set[str]] = {}
    for component in components:
        place = PLACES[component.name]
        for net in component.nets.values():
            blocks.setdefault(net, set()).add(next(
                block.title for block in BLOCKS
                if block.box[0] < place.x < block.box[2] and block.box[1] < place.y < block.box[3]))
    return {net for net, found in blocks.items() if len(found) == 1 and net not in POWER}


def _mm(point: Point) -> tuple[float, float]:
    return round(point[0] * GRID_MM, 4), round(point[1] * GRID_MM, 4)


def _property(name: str, value: str, at: Point, angle: int, hide: bool = False, justify: str = "") -> Node:
    effects: Node = ["effects", ["font", ["size", 1.27, 1.27]]]
    if justify:
        effects.append(["justify", justify])
    if hide:
        effects.append(["hide", "yes"])
    return ["property", Quoted(name), Quoted(value), ["at", *_mm(at), angle], effects]


def _instance(reference: str) -> Node:
    return ["instances", ["project", Quoted(PROJECT),
                          ["path", Quoted(f"/{ROOT}"), ["reference", Quoted(reference)], ["unit", "1"]]]]


def _fields(component: Component, place: Place) -> tuple[Point, Point]:
    if component.symbol in FIELDS:
        offsets = FIELDS[component.symbol]
    elif component.symbol.startswith("Connector"):
        top = min(turned(0, y, 0)[1] for _, y, _ in symbol_pins(component.symbol).values()) / GRID_MM
        offsets = ((0, top - 2), (0, top - 1.2))
    elif component.reference[0] == "D":
        offsets = ((1.2, -0.5), (1.2, 0.5))
    else:
        offsets = ACROSS if place.angle % 180 else BESIDE
    return ((place.x + offsets[0][0], place.y + offsets[0][1]), (place.x + offsets[1][0], place.y + offsets[1][1]))


def _justify(component: Component, place: Place) -> str:
    stands = component.reference[0] in "RC" and not place.angle % 180
    if stands and place.angle == 180:
        return "right"  # turned with its symbol, it still runs to the right
    return "left" if stands or component.reference[0] in "DU" else ""


def embedded(node: Node) -> set[str]:
    """The library symbols that a sheet carries."""
    return {str(found[1]) for part in children(node, "lib_symbols") for found in children(part, "symbol")}
