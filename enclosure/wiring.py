"""Who is wired to whom: a harness for WireViz, and tables of the ribbon's and the cables' pins. All follow from the
table of parts, and lengths from where the parts are."""

import csv
import math
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from device import console
from device.panel.parts import HEADER, PARTS, Part, part
from enclosure.dimensions import Dimensions
from enclosure.harness import CABLES, CONNECTORS, Cable, wires
from enclosure.layout import placed

COLOURS = ("YE", "GN", "BU", "VT", "OG", "WH", "GY", "BN")  # of WireViz, for what is neither supply nor ground
SUPPLY_COLOURS = {"3V3": "RD", "GND": "BK"}
SQUARE_MM = 0.14
SLACK_MM, STEP_MM = 80.0, 50.0  # for a bend at both ends; cables are cut in whole steps


def write(dimensions: Dimensions, folder: Path) -> list[Path]:
    """tetrad.yml, ribbon.csv, cables.csv, and the drawing tetrad.svg and .png where Graphviz is installed."""
    harness = folder / "tetrad.yml"
    harness.write_text(document(dimensions))
    made = [harness]
    for name, heads, rows in (("ribbon.csv", RIBBON_HEADS, ribbon()), ("cables.csv", CABLE_HEADS, cables(dimensions))):
        made.append(folder / name)
        with open(made[-1], "w", newline="") as file:
            csv.writer(file).writerows([heads, *rows])
    if shutil.which("dot") is None:
        console.note("no drawing of the wiring: it needs Graphviz, sudo apt-get install graphviz")
        return made
    from wireviz.wireviz import parse

    parse(harness, output_formats=("svg", "png"), output_dir=folder, output_name="tetrad")
    return [*made, folder / "tetrad.svg", folder / "tetrad.png"]


RIBBON_HEADS = ("pin", "name", "goes to")
CABLE_HEADS = ("connector", "pin", "part", "its pin", "net", "colour", "length in mm")


def ribbon() -> Iterator[tuple[int, str, str]]:
    """The 40 pins of the Raspberry Pi's header, and what is wired to each; nothing where it is free."""
    for pin, net in HEADER.items():
        users = [f"{found.name} {its.name}" for found in PARTS for its in found.pins if its.header == pin]
        yield pin, net, ", ".join(users)


def cables(dimensions: Dimensions) -> Iterator[tuple[str, int, str, str, str, str, int]]:
    """Every wire of the cables to panel and walls."""
    for cable, index, found, pin in wires():
        yield (cable.label, index + 1, found.name, found.pins[pin].name, cable.nets[index], colour(cable, index),
               length_mm(found, dimensions))


def colour(cable: Cable, index: int) -> str:
    own = [net for net in cable.nets if net not in SUPPLY_COLOURS]
    net = cable.nets[index]
    return SUPPLY_COLOURS.get(net) or COLOURS[own.index(net) % len(COLOURS)]


def length_mm(found: Part, dimensions: Dimensions) -> int:
    """From the carrier board's middle to the part, along the case's sides."""
    places = placed(dimensions)
    board, end = places["carrier"].shapes[0].middle, places[found.name].shapes[0].middle
    straight = sum(abs(one - other) for one, other in zip(board, end, strict=True))
    return int(math.ceil((straight + SLACK_MM) / STEP_MM) * STEP_MM)


def document(dimensions: Dimensions) -> str:
    """WireViz's input, https://github.com/wireviz/WireViz: YAML, of which it takes JSON's form as well."""
    lines = ["# Made by `tetrad enclosure`, of the table of parts.", "connectors:"]
    for cable in CABLES:
        header, housing = CONNECTORS[cable.pin_count]
        lines.append(f"  {cable.label}: {{type: JST XH, subtype: {housing}, notes: on the board {header}, "
                     f"pinlabels: [{', '.join(cable.nets)}]}}")
        for name in cable.parts:
            found = part(name)
            lines.append(f"  {name}: {{type: {found.kind!r}, subtype: {found.order!r}, "
                         f"pins: [{', '.join(str(pin.number) for pin in found.pins)}], "
                         f"pinlabels: [{', '.join(repr(pin.name) for pin in found.pins)}]}}")
    lines.append("cables:")
    joins = ["connections:"]
    for cable in CABLES:
        for name in cable.parts:
            found = part(name)
            indices = [cable.nets.index(pin.net) for pin in found.pins]
            lines.append(f"  to {name}: {{wirecount: {len(indices)}, gauge: {SQUARE_MM} mm2, "
                         f"length: {length_mm(found, dimensions) / 1000:g}, "
                         f"colors: [{', '.join(colour(cable, index) for index in indices)}]}}")
            joins += [f"  - - {cable.label}: [{', '.join(str(index + 1) for index in indices)}]",
                      f"    - to {name}: [{', '.join(str(n + 1) for n in range(len(indices)))}]",
                      f"    - {name}: [{', '.join(str(pin.number) for pin in found.pins)}]"]
    return "\n".join([*lines, *joins]) + "\n"


def page(dimensions: Dimensions) -> str:
    """docs/wiring.md."""
    lines = ["# Wiring", "",
             "The parts are `device/panel/parts.py`'s, the cables `enclosure/harness.py`'s; this page is made of both",
             "by `python -m enclosure.wiring > docs/wiring.md`, and the drawing by `tetrad enclosure`.", "",
             "![cables from the carrier board to panel and walls](build/wiring.svg)", "",
             "## The Raspberry Pi's header", "",
             "Pin n of the Pi goes to pin n of the carrier board. Without the board, solder by this table and the",
             "next.", "",
             _table(RIBBON_HEADS, ribbon()), "", "## Cables", "",
             "Lengths are for the Pi 4's case. Knobs share their 3V3 and GND: one wire from knob to knob does.", "",
             _table(CABLE_HEADS, cables(dimensions)), "", "## On the board", "",
             _table(("part", "kind", "order", "pins"), (
                 (found.name, found.kind, found.order, ", ".join(f"{pin.name} = {pin.net}" for pin in found.pins))
                 for found in PARTS if not any(found.name in cable.parts for cable in CABLES)))]
    return "\n".join(lines) + "\n"


def _table(heads: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    return "\n".join([f"| {' | '.join(heads)} |", "|" + "---|" * len(heads),
                      *(f"| {' | '.join(map(str, row))} |" for row in rows)])


if __name__ == "__main__":
    sys.stdout.write(page(Dimensions()))
