"""Writes the KiCad project, and with kicad-cli what a board house and a reader want of it."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from device.errors import TetradError
from device.files import atomic
from enclosure.board import library
from enclosure.board.components import Component, components
from enclosure.board.copper import CLEARANCE_MM, VIA_DRILL_MM, VIA_MM
from enclosure.board.layout import SUPPLY_MM, board, route_board
from enclosure.board.router import SIGNAL_MM
from enclosure.board.schematic import PROJECT, embedded, sheet
from enclosure.board.sexpr import Node, Quoted, text

COMMITTED = Path(__file__).parent / PROJECT  # the project as it stands in the repository
_HOLES = "MountingHole"


def make(folder: Path) -> list[Path]:
    """Writes the project's files into a folder: schematic, board, settings, tables of libraries."""
    if not library.installed():
        raise TetradError(f"{library.SHARE} has no KiCad libraries: apt install kicad-libraries, or set KICAD_SHARE")
    found = components()
    drawing = sheet(found)
    files = {
        f"{PROJECT}.kicad_pro": json.dumps(_settings(), indent=2),
        f"{PROJECT}.kicad_sch": text(drawing),
        f"{PROJECT}.kicad_pcb": text(board(found, route_board(found))),
        "sym-lib-table": text(_table("sym", {name.split(":")[0] for name in embedded(drawing)})),
        "fp-lib-table": text(_table("fp", {*_footprint_libraries(found), _HOLES})),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, words in files.items():
        with atomic(folder / name) as file:
            file.write(f"{words}\n".encode())
    return [folder / name for name in files]


def _footprint_libraries(found: list[Component]) -> set[str]:
    return {component.footprint.split(":")[0] for component in found}


def _table(kind: str, names: set[str]) -> Node:
    """Which libraries the project was made of, so that KiCad can compare."""
    ending, variable = {"sym": (".kicad_sym", "KICAD9_SYMBOL_DIR"), "fp": (".pretty", "KICAD9_FOOTPRINT_DIR")}[kind]
    return [f"{kind}_lib_table", ["version", "7"],
            *(["lib", ["name", Quoted(name)], ["type", Quoted("KiCad")],
               ["uri", Quoted(f"${{{variable}}}/{name}{ending}")], ["options", Quoted("")], ["descr", Quoted("")]]
              for name in sorted(names))]


def _settings() -> dict[str, object]:
    """The rules that KiCad checks by; what is not said is KiCad's own, and stricter than board houses ask."""
    rules = {"min_clearance": CLEARANCE_MM, "min_track_width": SIGNAL_MM, "min_copper_edge_clearance": 0.5,
             "min_via_diameter": VIA_MM, "min_through_hole_diameter": VIA_DRILL_MM, "min_hole_to_hole": 0.25}
    wire = {"clearance": CLEARANCE_MM, "via_diameter": VIA_MM, "via_drill": VIA_DRILL_MM}
    classes = [{"name": "Default", "track_width": SIGNAL_MM, "priority": 2147483647, **wire},
               {"name": "Supply", "track_width": SUPPLY_MM, "priority": 0, **wire}]
    patterns = [{"netclass": "Supply", "pattern": net} for net in ("3V3", "GND")]
    return {"board": {"design_settings": {"rules": rules}},
            "meta": {"filename": f"{PROJECT}.kicad_pro", "version": 3},
            "net_settings": {"classes": classes, "meta": {"version": 4}, "netclass_patterns": patterns}}


def run(*arguments: str | Path, check: bool = True) -> "subprocess.CompletedProcess[str]":
    """kicad-cli with settings of its own, so that a user's never matter and are never touched."""
    tool = shutil.which("kicad-cli")
    if tool is None:
        raise TetradError("there is no kicad-cli: apt install kicad (9.0)")
    with tempfile.TemporaryDirectory() as settings:
        done = subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True,
                              env={**os.environ, "KICAD_CONFIG_HOME": settings})
    if check and done.returncode:
        raise TetradError(f"kicad-cli {' '.join(map(str, arguments[:3]))} failed: {(done.stderr + done.stdout)[-300:]}")
    return done


def export(folder: Path) -> None:
    """What is made of the project: gerbers, drill file, places of the parts, drawings."""
    drawing, copper = folder / f"{PROJECT}.kicad_sch", folder / f"{PROJECT}.kicad_pcb"
    gerbers = folder / "gerbers"
    gerbers.mkdir(exist_ok=True)
    run("pcb", "export", "gerbers", "-o", f"{gerbers}/", "-l",
        "F.Cu,B.Cu,F.Mask,B.Mask,F.SilkS,B.SilkS,F.Paste,Edge.Cuts", copper)
    run("pcb", "export", "drill", "--format", "excellon", "--excellon-separate-th", "-o", f"{gerbers}/", copper)
    run("pcb", "export", "pos", "--format", "csv", "--units", "mm", "-o", folder / "places.csv", copper)
    run("sch", "export", "pdf", "-o", folder / "schematic.pdf", drawing)
    run("sch", "export", "netlist", "-o", folder / "tetrad.net", drawing)
    for side, layers in (("top", "F.Cu,F.Mask,F.SilkS,Edge.Cuts"), ("bottom", "B.Cu,B.Mask,B.SilkS,Edge.Cuts")):
        mirror = ["--mirror"] if side == "bottom" else []
        run("pcb", "export", "svg", "--mode-single", "--page-size-mode", "2", "--exclude-drawing-sheet", *mirror, "-l",
            layers, "-o", folder / f"board-{side}.svg", copper)
