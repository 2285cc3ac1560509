"""The board as KiCad's file: footprints, tracks, ground, print and edge."""

import copy
import math
from dataclasses import dataclass

from enclosure.board import VERSION, outline
from enclosure.board.components import Component
from enclosure.board.copper import CLEARANCE_MM, VIA_DRILL_MM, VIA_MM, Pad, Track, Via
from enclosure.board.library import footprint, identifier, symbol, symbol_pins
from enclosure.board.placement import BUSES, ISLANDS, PLACES, QUIET, net_names, pads, turned
from enclosure.board.placement import outline as room
from enclosure.board.pour import SPOKE_MM, THERMAL_GAP_MM, THINNEST_MM, Pour, Ring, UnreachedError
from enclosure.board.router import Problem, route
from enclosure.board.schematic import symbol_uuid
from enclosure.board.sexpr import Node, Quoted, child, children
from enclosure.board.silkscreen import TITLE, Print, cable_prints, designators, values

SUPPLY_MM = 0.5
LAYERS = (("F.Cu", "signal"), ("B.Cu", "signal"))
_OTHER_LAYERS = ((1, "F.Mask"), (3, "B.Mask"), (5, "F.SilkS"), (7, "B.SilkS"), (9, "F.Adhes"), (11, "B.Adhes"),
                 (13, "F.Paste"), (15, "B.Paste"), (17, "Dwgs.User"), (19, "Cmts.User"), (25, "Edge.Cuts"),
                 (27, "Margin"), (29, "B.CrtYd"), (31, "F.CrtYd"), (33, "B.Fab"), (35, "F.Fab"))
_HOLE = "MountingHole:MountingHole_3.2mm_M3"


@dataclass(frozen=True)
class Copper:
    """Everything on a board that conducts."""

    pads: list[Pad]
    tracks: list[Track]
    vias: list[Via]
    ground: list[list[Ring]]  # by layer


def route_board(components: list[Component]) -> Copper:
    """Tracks first, then the ground about them, with vias of its own; pads that it misses get a track after all."""
    found = pads(components)
    holes = [(x, y, outline.KEEP_OUT_MM) for x, y in outline.HOLES_MM]
    fine = [room(component) for component in components if "TSSOP" in component.footprint]
    size = (outline.WIDTH_MM, outline.HEIGHT_MM)
    names = net_names(components)
    kept = [(box, frozenset(names[net] for net in nets)) for box, nets in ISLANDS]
    kept.append((QUIET, frozenset(names.values()) - BUSES))
    tied: frozenset[str] = frozenset()
    while True:
        tracks, vias = route(Problem(*size, found, {"3V3": SUPPLY_MM}, fine, holes, "GND", tied,
                                      kept))
        try:
            ground = Pour(*size, outline.CORNER_RADIUS_MM, "GND", found, tracks, vias, holes,
                          [box for box, _ in ISLANDS])
        except UnreachedError as error:
            if error.pads <= tied:
                raise
            tied |= error.pads
        else:
            return Copper(found, tracks, [*vias, *ground.vias], ground.rings)


def board(components: list[Component], copper: Copper) -> Node:
    names = _net_table(components)
    numbers = {name: number for number, name in enumerate(names)}
    fixed = [*cable_prints(components), *TITLE, *values(components)]
    beside = designators(components, fixed)
    names_on_board = net_names(components)
    items = [_footprint(component, beside.get(component.name), numbers, names_on_board) for component in components]
    items += [_hole(number, x, y) for number, (x, y) in enumerate(outline.HOLES_MM, start=1)]
    items += _edge()
    items += [_print(item, f"print {number}") for number, item in enumerate(fixed)]
    for number, track in enumerate(copper.tracks):
        items.append(["segment", ["start", *track.start], ["end", *track.end], ["width", track.width],
                      ["layer", Quoted(LAYERS[track.layer][0])], ["net", numbers[track.net]],
                      ["uuid", identifier(f"track {number}")]])
    for number, via in enumerate(copper.vias):
        items.append(["via", ["at", via.x, via.y], ["size", VIA_MM], ["drill", VIA_DRILL_MM],
                      ["layers", Quoted("F.Cu"), Quoted("B.Cu")], ["net", numbers[via.net]],
                      ["uuid", identifier(f"via {number}")]])
    items += [_zone(layer, rings, numbers["GND"]) for layer, rings in enumerate(copper.ground)]
    items += [_bare(number, box) for number, (box, _) in enumerate(ISLANDS)]
    return ["kicad_pcb", ["version", "20241229"], ["generator", Quoted("tetrad")], ["generator_version", Quoted("9.0")],
            ["general", ["thickness", outline.THICKNESS_MM], ["legacy_teardrops", "no"]], ["paper", Quoted("A4")],
            ["title_block", ["title", Quoted("Tetrad: carrier board")], ["rev", Quoted(VERSION)],
             ["company", Quoted("Tetrad")]],
            ["layers", *([str(2 * n), Quoted(name), kind] for n, (name, kind) in enumerate(LAYERS)),
             *([str(number), Quoted(name), "user"] for number, name in _OTHER_LAYERS)],
            ["setup", ["pad_to_mask_clearance", "0"], ["allow_soldermask_bridges_in_footprints", "no"],
             ["tenting", "front", "back"]],
            *(["net", number, Quoted(name)] for number, name in enumerate(names)), *items, ["embedded_fonts", "no"]]


def _net_table(components: list[Component]) -> list[str]:
    """Every net as KiCad calls it, by number; 0 is none. An open pin is a net of its own."""
    names = list(dict.fromkeys(net_names(components).values()))
    opened = [_open_net(component, number) for component in components for number in symbol_pins(component.symbol)
              if number not in component.nets]
    return ["", *names, *opened]


def _pin_facts(component: Component, number: str) -> tuple[str, str]:
    """A pin's name and kind in the schematic."""
    for unit in children(symbol(component.symbol), "symbol"):
        for pin in children(unit, "pin"):
            if child(pin, "number")[1] == number:
                return str(child(pin, "name")[1]), str(pin[1])
    return "", ""


def _open_net(component: Component, number: str) -> str:
    name = _pin_facts(component, number)[0]
    middle = f"{name}-" if name not in ("", "~") else ""
    return f"unconnected-({component.reference}-{middle}Pad{number})"


def _footprint(component: Component, beside: Print | None, numbers: dict[str, int], names: dict[str, str]) -> Node:
    place = PLACES[component.name]
    node: Node = ["footprint", Quoted(component.footprint), ["layer", Quoted("F.Cu")],
                  ["uuid", identifier(f"footprint {component.name}")], ["at", *place]]
    library = copy.deepcopy(footprint(component.footprint))
    texts = {"Reference": component.reference, "Value": component.value, "Datasheet": component.datasheet,
             "Description": component.name, "Order": component.order}
    for key in ("descr", "tags"):
        node += list(children(library, key))
    back = turned((0, 0, -place[2]), beside.x - place[0], beside.y - place[1]) if beside else (0.0, 0.0)
    for key, words in texts.items():
        visible = key == "Reference" and beside is not None
        angle = beside.angle if visible and beside else 0
        node.append(["property", Quoted(key), Quoted(words), ["at", *(back if visible else (0.0, 0.0)), angle],
                     ["unlocked", "yes"], ["layer", Quoted("F.SilkS" if visible else "F.Fab")],
                     *([] if visible else [["hide", "yes"]]),
                     ["uuid", identifier(f"{key} {component.name}")], _effects(0.8)])
    node += [["path", Quoted(f"/{symbol_uuid(component)}")], ["sheetname", Quoted("/")],
             ["sheetfile", Quoted("tetrad.kicad_sch")], *children(library, "attr")]
    for number, item in enumerate(library):
        if not isinstance(item, list) or item[0] in ("version", "generator", "generator_version", "layer", "descr",
                                                     "tags", "property", "attr", "embedded_fonts"):
            continue
        if item[0] in ("pad", "fp_text"):
            _turn(item, place[2])
        if item[0] == "pad":
            pin = str(item[1])
            net = names[component.nets[pin]] if pin in component.nets else _open_net(component, pin)
            function, kind = _pin_facts(component, pin)
            item.append(["net", numbers[net], Quoted(net)])
            if function not in ("", "~"):
                item.append(["pinfunction", Quoted(function)])
            opened = pin not in component.nets and kind != "no_connect"
            item.append(["pintype", Quoted(f"{kind}+no_connect" if opened else kind)])
        if item[0] != "model":
            item.append(["uuid", identifier(f"{component.name} {number}")])
        node.append(item)
    node.append(["embedded_fonts", "no"])
    return node


def _turn(item: Node, angle: int) -> None:
    """In a board's file pads and texts carry the angle that one sees, not the one in their footprint."""
    at = child(item, "at")
    seen = (float(at[3]) if len(at) > 3 else 0.0) + angle
    at[3:] = [seen % 360] if seen % 360 else []


def _hole(number: int, x: float, y: float) -> Node:
    """No part of the circuit, so the schematic has none."""
    library = copy.deepcopy(footprint(_HOLE))
    node: Node = ["footprint", Quoted(_HOLE), ["layer", Quoted("F.Cu")], ["uuid", identifier(f"hole {number}")],
                  ["at", x, y], *children(library, "descr"), *children(library, "tags"),
                  ["property", Quoted("Reference"), Quoted(f"H{number}"), ["at", 0.0, 0.0, 0],
                   ["layer", Quoted("F.Fab")], ["hide", "yes"], ["uuid", identifier(f"hole {number} reference")],
                   _effects(0.8)],
                  ["property", Quoted("Value"), Quoted("M3"), ["at", 0.0, 0.0, 0], ["layer", Quoted("F.Fab")],
                   ["hide", "yes"], ["uuid", identifier(f"hole {number} value")], _effects(0.8)],
                  ["attr", "board_only", "exclude_from_pos_files", "exclude_from_bom"]]
    for index, item in enumerate(library):
        if isinstance(item, list) and item[0] in ("fp_circle", "fp_text", "pad"):
            node.append([*item, ["uuid", identifier(f"hole {number} {index}")]])
    return [*node, ["embedded_fonts", "no"]]


def _effects(size: float, justify: str = "", mirror: bool = False) -> Node:
    sides = [side for side in (justify, "mirror" if mirror else "") if side]
    return ["effects", ["font", ["size", size, size], ["thickness", round(0.15 * size, 3)]],
            *([["justify", *sides]] if sides else [])]


def _print(item: Print, name: str) -> Node:
    layer = "B.SilkS" if item.bottom else "F.SilkS"
    return ["gr_text", Quoted(item.text), ["at", item.x, item.y, item.angle], ["layer", Quoted(layer)],
            ["uuid", identifier(name)], _effects(item.size, item.justify, item.bottom)]


def _edge() -> list[Node]:
    """A box with round corners."""
    width, height, radius = outline.WIDTH_MM, outline.HEIGHT_MM, outline.CORNER_RADIUS_MM
    half = radius * (1 - math.sqrt(0.5))  # of a corner's arc, its middle from both edges
    style: Node = [["stroke", ["width", 0.1], ["type", "default"]], ["layer", Quoted("Edge.Cuts")]]
    lines = (((radius, 0.0), (width - radius, 0.0)), ((width, radius), (width, height - radius)),
             ((width - radius, height), (radius, height)), ((0.0, height - radius), (0.0, radius)))
    arcs = (((0.0, radius), (half, half), (radius, 0.0)),
            ((width - radius, 0.0), (width - half, half), (width, radius)),
            ((width, height - radius), (width - half, height - half), (width - radius, height)),
            ((radius, height), (half, height - half), (0.0, height - radius)))
    return [*(["gr_line", ["start", *start], ["end", *end], *style, ["uuid", identifier(f"edge {n}")]]
              for n, (start, end) in enumerate(lines)),
            *(["gr_arc", ["start", *start], ["mid", *mid], ["end", *end], *style, ["uuid", identifier(f"corner {n}")]]
              for n, (start, mid, end) in enumerate(arcs))]


def _zone(layer: int, rings: list[Ring], net: int) -> Node:
    name = Quoted(LAYERS[layer][0])
    width, height = outline.WIDTH_MM, outline.HEIGHT_MM
    frame = ((0.0, 0.0), (width, 0.0), (width, height), (0.0, height))
    return ["zone", ["net", net], ["net_name", Quoted("GND")], ["layer", name], ["uuid", identifier(f"ground {layer}")],
            ["hatch", "edge", 0.5], ["connect_pads", "thru_hole_only", ["clearance", CLEARANCE_MM]],
            ["min_thickness", THINNEST_MM], ["filled_areas_thickness", "no"],
            ["fill", "yes", ["thermal_gap", THERMAL_GAP_MM], ["thermal_bridge_width", SPOKE_MM]],
            ["polygon", ["pts", *(["xy", x, y] for x, y in frame)]],
            *(["filled_polygon", ["layer", name], ["pts", *(["xy", x, y] for x, y in ring)]] for ring in rings)]


def _bare(number: int, box: tuple[float, float, float, float]) -> Node:
    """Where KiCad shall not pour either, when someone edits the board."""
    left, top, right, bottom = box
    frame = ((left, top), (right, top), (right, bottom), (left, bottom))
    allowed = [[kind, "allowed"] for kind in ("tracks", "vias", "pads")]
    return ["zone", ["net", 0], ["net_name", Quoted("")], ["layers", Quoted("F.Cu"), Quoted("B.Cu")],
            ["uuid", identifier(f"bare {number}")], ["name", Quoted("MIDI IN floats")], ["hatch", "edge", 0.5],
            ["connect_pads", ["clearance", "0"]], ["min_thickness", THINNEST_MM], ["filled_areas_thickness", "no"],
            ["keepout", *allowed, ["copperpour", "not_allowed"], ["footprints", "allowed"]],
            ["fill", ["thermal_gap", THERMAL_GAP_MM], ["thermal_bridge_width", SPOKE_MM]],
            ["polygon", ["pts", *(["xy", x, y] for x, y in frame)]]]
