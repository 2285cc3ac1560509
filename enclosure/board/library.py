"""Symbols and footprints of the installed KiCad libraries, as KiCad embeds them in a project's files."""

import copy
import os
import uuid
from functools import cache
from pathlib import Path

from enclosure.board.sexpr import Node, Quoted, child, children, parse

SHARE = Path(os.environ.get("KICAD_SHARE", "/usr/share/kicad"))
_SPACE = uuid.UUID("7e7ad000-0000-4000-8000-000000000001")  # ours: the same name gives the same identifier for ever


def identifier(name: str) -> Quoted:
    return Quoted(uuid.uuid5(_SPACE, name))


def installed() -> bool:
    return (SHARE / "symbols").is_dir() and (SHARE / "footprints").is_dir()


@cache
def _symbol(library: str, name: str) -> Node:
    """As the library has it. Its files are long, so only the lines of one symbol are read as lists."""
    text = (SHARE / "symbols" / f"{library}.kicad_sym").read_text()
    start = text.index(f'\n\t(symbol "{name}"\n')
    return parse(text[start:text.index("\n\t)\n", start) + 3])


@cache
def symbol(lib_id: str) -> Node:
    """One that another extends is filled in, as KiCad does it, and all are called by library and name."""
    library, name = lib_id.split(":")
    found = copy.deepcopy(_symbol(library, name))
    base = [str(node[1]) for node in children(found, "extends")]
    if base:
        own = {node[1]: node for node in children(found, "property")}
        found_base = copy.deepcopy(_symbol(library, base[0]))
        merged: Node = []
        for item in found_base:
            if isinstance(item, list) and item[0] == "property":
                merged.append(own.pop(item[1], item))
            elif isinstance(item, list) and item[0] == "symbol":
                merged += [*own.values(), ["symbol", Quoted(item[1].replace(base[0], name, 1)), *item[2:]]]
                own = {}
            else:
                merged.append(item)
        found = merged
    found[1] = Quoted(lib_id)
    return found


def symbol_pins(lib_id: str) -> dict[str, tuple[float, float, int]]:
    """Each pin's outer end (mm, y up) and the direction in degrees in which the pin points from there to the body."""
    pins = {}
    for unit in children(symbol(lib_id), "symbol"):
        for pin in children(unit, "pin"):
            x, y, angle = (float(value) for value in child(pin, "at")[1:4])
            pins[str(child(pin, "number")[1])] = (x, y, int(angle))
    return pins


@cache
def footprint(lib_id: str) -> Node:
    library, name = lib_id.split(":")
    return parse((SHARE / "footprints" / f"{library}.pretty" / f"{name}.kicad_mod").read_text())
