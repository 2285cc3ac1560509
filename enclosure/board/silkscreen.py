"""What is printed on the board: the cables' labels and pins, each part's designator where there is room, the title."""

from dataclasses import dataclass

from device.errors import TetradError
from device.panel.parts import PARTS
from enclosure.board import VERSION
from enclosure.board.components import Component
from enclosure.board.copper import Pad
from enclosure.board.library import footprint
from enclosure.board.outline import HEIGHT_MM, HOLES_MM, KEEP_OUT_MM, WIDTH_MM
from enclosure.board.placement import PLACES, outline, pads, placed
from enclosure.board.sexpr import child, children
from enclosure.harness import CABLES, Cable

Box = tuple[float, float, float, float]
SMALL_MM = 0.8  # the smallest print that board houses promise
_WIDE = 0.98  # of a letter, as part of its height; KiCad's stroke font, generously
# Pins whose own names are too long beside a connector, or say less than the net.
_SHORT = {"anode": "+", "cathode": "-", "tip": "L", "ring": "R", "VDD": "3V3", "D": "SW", "1": "SW"}


@dataclass(frozen=True)
class Print:
    text: str
    x: float  # the middle, or the end that `justify` names
    y: float
    angle: int = 0
    size: float = SMALL_MM
    justify: str = ""
    bottom: bool = False

    def box(self) -> Box:
        lines = self.text.split("\n")
        width, height = max(map(len, lines)) * self.size * _WIDE, self.size * (1.25 + 1.62 * (len(lines) - 1))
        left = {"": -width / 2, "left": 0.0, "right": -width}[self.justify]
        if self.angle % 180:  # read from the right-hand side, upwards
            top = {"": -width / 2, "left": -width, "right": 0.0}[self.justify]
            return (self.x - height / 2, self.y + top, self.x + height / 2, self.y + top + width)
        return (self.x + left, self.y - height / 2, self.x + left + width, self.y + height / 2)


def pin_name(cable: Cable, index: int) -> str:
    """What stands beside a connector's pin."""
    net = cable.nets[index]
    if net in ("GND", "3V3"):
        return net
    part, pin = next((part, pin) for name in cable.parts for part in PARTS if part.name == name
                     for pin in part.pins if pin.net == net)
    return part.name.removeprefix("pot_").upper() if pin.name == "wiper" else _SHORT.get(pin.name, pin.name)


def cable_prints(components: list[Component]) -> list[Print]:
    """Each connector's label and its pins' names, on the side that looks into the board."""
    found = []
    for cable in CABLES:
        component = next(item for item in components if item.name == cable.name)
        angle = PLACES[cable.name][2]
        justify = {0: "", 90: "right", 270: "left"}[angle]
        for index in range(cable.pin_count):
            x, y = placed(component, 2.5 * index, -3.6 if angle == 0 else -3.2)
            found.append(Print(pin_name(cable, index), x, y, justify=justify))
        left, top, right, bottom = outline(component)
        words = f"{component.reference} {cable.label}"
        if angle == 0:
            found.append(Print(words, (left + right) / 2, top - 2.7, size=1.0))
        elif angle == 90:
            found.append(Print(words, WIDTH_MM - 1.2, bottom + (0.9 if cable.name == "knobs" else 2.2), size=1.0,
                               justify="right"))
        else:
            y = {"midi_out": top + 1.0, "midi_in": top - 1.8}.get(cable.name, (top + bottom) / 2)  # above the resistors
            found.append(Print(words, right + 3.3, y, size=1.0, justify="left"))
    return found


TITLE = (
    Print("TETRAD", 33, 20.5, size=3.2),
    Print("four corners, eight knobs, one synthesizer", 33, 24.2, size=0.9),
    Print(f"carrier board, version {VERSION}", 33, 28.6, size=1.2),
    Print("J1 RASPBERRY PI, pin n to pin n", 30, 12.2, size=1.0),
    Print("1", 9.7, 7.0), Print("2", 9.7, 4.46), Print("39", 70.35, 7.0), Print("40", 70.35, 4.46),
    Print(f"TETRAD\ncarrier board, version {VERSION}", 30, 30, size=2.0, bottom=True),
)


def _graphics(component: Component) -> list[Box]:
    """The lines that its footprint prints."""
    boxes = []
    for item in footprint(component.footprint):
        if not isinstance(item, list) or item[0] not in ("fp_line", "fp_rect", "fp_arc", "fp_circle", "fp_poly") \
                or child(item, "layer")[1] != "F.SilkS":
            continue
        ends = list(children(child(item, "pts"), "xy")) if item[0] == "fp_poly" else [
            node for key in ("start", "mid", "end", "center") for node in children(item, key)]
        points = [placed(component, float(end[1]), float(end[2])) for end in ends]
        xs, ys = zip(*points, strict=True)
        boxes.append((min(xs) - 0.1, min(ys) - 0.1, max(xs) + 0.1, max(ys) + 0.1))
    return boxes


def _meets(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _pad_box(pad: Pad) -> Box:
    across, along = pad.width / 2 + 0.2, pad.height / 2 + 0.2
    return (pad.x - across, pad.y - along, pad.x + across, pad.y + along)


def designators(components: list[Component], fixed: list[Print]) -> dict[str, Print]:
    """By name of the component: beside it, where nothing else is printed or soldered; TetradError without such room."""
    taken = [_pad_box(pad) for pad in pads(components)]
    taken += [box for component in components for box in _graphics(component)]
    taken += [(x - KEEP_OUT_MM, y - KEEP_OUT_MM, x + KEEP_OUT_MM, y + KEEP_OUT_MM) for x, y in HOLES_MM]
    taken += [item.box() for item in fixed if not item.bottom]
    found = {}
    for component in components:
        if component.reference[0] == "J":
            continue  # a connector's stands before its label
        others = [outline(other) for other in components if other is not component]
        for candidate in _around(component):
            box = candidate.box()
            inside = box[0] > 0.5 and box[1] > 0.5 and box[2] < WIDTH_MM - 0.5 and box[3] < HEIGHT_MM - 0.5
            if inside and not any(_meets(box, other) for other in [*taken, *others]):
                break
        else:
            raise TetradError(f"there is no room to print {component.reference}")
        taken.append(box)
        found[component.name] = candidate
    return found


def _around(component: Component) -> list[Print]:
    """Places for its designator, best first."""
    left, top, right, bottom = outline(component)
    x, y = (left + right) / 2, (top + bottom) / 2
    far = 0.55
    wide = len(component.reference) * SMALL_MM * _WIDE / 2 + 0.2
    spots = []
    for slide in (0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5):
        spots += [(x + slide, top - far, 0), (x + slide, bottom + far, 0), (left - wide, y + slide, 0),
                  (right + wide, y + slide, 0)]
    spots += [(edge, y + slide, 90) for slide in (0, 1, -1, 2, -2) for edge in (left - far, right + far)]
    return [Print(component.reference, round(px, 3), round(py, 3), angle) for px, py, angle in spots]


def values(components: list[Component]) -> list[Print]:
    """Resistors' values and chips' names, printed where the part will lie: they help whoever solders it."""
    found = []
    for component in components:
        left, top, right, bottom = outline(component)
        angle = 90 if bottom - top > right - left else 0
        if component.reference[0] == "R" or component.symbol.split(":")[0] in ("Analog_ADC", "Isolator"):
            size = 1.0 if component.reference[0] == "R" else 1.2 if component.name == "adc" else 0.9
            found.append(Print(component.value, (left + right) / 2, (top + bottom) / 2, angle, size))
    return found
