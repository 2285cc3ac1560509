"""The carrier board: its files are the tables' wiring, its copper keeps its distances, and KiCad finds nothing."""

import dataclasses
import json
import math
import os
import random
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from device.panel.parts import HEADER, PARTS
from enclosure.board import library, outline
from enclosure.board.components import Component, components, nets
from enclosure.board.copper import BOTTOM, TOP, Pad, Track, Via, distance, faults
from enclosure.board.placement import BUSES, QUIET, turned
from enclosure.board.pour import Pour, UnreachedError
from enclosure.board.project import COMMITTED, make, run
from enclosure.board.router import Problem, RoutingError, route
from enclosure.board.schematic import sheet
from enclosure.board.sexpr import Node, Quoted, child, children, parse, text
from enclosure.harness import CABLES, CONNECTORS

needs_kicad = pytest.mark.skipif(shutil.which("kicad-cli") is None or not library.installed(),
                                 reason="there is no kicad-cli or none of its libraries: apt install kicad (9.0)")
BOARD = COMMITTED / "tetrad.kicad_pcb"


@pytest.fixture(scope="module")
def board() -> Node:
    return parse(BOARD.read_text())


def plain(name: str) -> str:
    """A net as the tables call it: KiCad puts a slash before those of one sheet."""
    return name.removeprefix("/")


def nets_of_pads(board: Node) -> dict[str, set[tuple[str, str]]]:
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for footprint in children(board, "footprint"):
        reference = next(str(node[2]) for node in children(footprint, "property") if node[1] == "Reference")
        for pad in children(footprint, "pad"):
            for net in children(pad, "net"):
                found[plain(str(net[2]))].add((reference, str(pad[1])))
    return found


def wired(found: dict[str, set[tuple[str, str]]]) -> dict[str, set[tuple[str, str]]]:
    """Without pins that nothing joins."""
    return {net: ends for net, ends in found.items() if not net.startswith("unconnected-")}


def copper(board: Node) -> tuple[list[Pad], list[Track], list[Via]]:
    """What conducts on a board, read from KiCad's file."""
    names = {str(net[1]): str(net[2]) for net in children(board, "net")}
    pads = []
    for footprint in children(board, "footprint"):
        at = [float(value) for value in child(footprint, "at")[1:]]
        place = (at[0], at[1], at[2] if len(at) > 2 else 0.0)
        for pad in children(footprint, "pad"):
            x, y = turned(place, *(float(value) for value in child(pad, "at")[1:3]))
            width, height = (float(value) for value in child(pad, "size")[1:3])
            if place[2] % 180:
                width, height = height, width
            ratio = next((float(node[1]) for node in children(pad, "roundrect_rratio")), 0.0)
            ratio = 0.5 if pad[3] in ("circle", "oval") else ratio
            net = next((str(node[2]) for node in children(pad, "net")), "")
            pads.append(Pad(f"pad {pad[1]} at ({x:g}, {y:g})", net, x, y, width, height, ratio * min(width, height),
                            (TOP,) if pad[2] == "smd" else (TOP, BOTTOM)))
    tracks = [Track(names[child(node, "net")[1]], ("F.Cu", "B.Cu").index(child(node, "layer")[1]),
                    _point(node, "start"), _point(node, "end"), float(child(node, "width")[1]))
              for node in children(board, "segment")]
    vias = [Via(names[child(node, "net")[1]], *_point(node, "at")) for node in children(board, "via")]
    return pads, tracks, vias


def _point(node: Node, key: str) -> tuple[float, float]:
    return float(child(node, key)[1]), float(child(node, key)[2])


def swapped(found: list[Component]) -> list[Component]:
    """A table in which two of the converter's lines are changed."""
    change = {"GPIO8": "GPIO11", "GPIO11": "GPIO8"}
    return [dataclasses.replace(item, nets={pin: change.get(net, net) for pin, net in item.nets.items()})
            if item.name == "adc" else item for item in found]


def test_the_boards_pads_lie_on_the_tables_nets(board: Node) -> None:
    assert wired(nets_of_pads(board)) == nets(components())
    assert wired(nets_of_pads(board)) != nets(swapped(components()))


def test_every_net_of_the_parts_list_that_reaches_the_board_is_on_it() -> None:
    on_board = set(nets(components()))
    assert {pin.net for part in PARTS for pin in part.pins} == on_board


def test_the_ribbon_headers_pins_are_the_raspberry_pis(board: Node) -> None:
    of_pad = {int(pin): net for net, ends in nets_of_pads(board).items() for reference, pin in ends
              if reference == "J1"}
    used = {pin.net for part in PARTS for pin in part.pins}
    assert sorted(of_pad) == sorted(HEADER)
    for pin, net in HEADER.items():
        assert of_pad[pin] == (net if net in used else f"unconnected-(J1-Pin_{pin}-Pad{pin})")


def test_each_cable_has_the_connector_that_its_table_orders() -> None:
    by_name = {item.name: item for item in components()}
    for cable in CABLES:
        assert by_name[cable.name].order == CONNECTORS[cable.pin_count][0]
        assert list(by_name[cable.name].nets.values()) == list(cable.nets)


def test_the_boards_copper_keeps_its_distances_and_joins_every_net(board: Node) -> None:
    assert faults(*copper(board), poured="GND") == []


def test_a_track_that_is_left_out_is_noticed(board: Node) -> None:
    pads, tracks, vias = copper(board)
    longest = max((track for track in tracks if track.net == "GPIO18"),
                  key=lambda track: math.dist(track.start, track.end))
    rest = [track for track in tracks if track != longest]
    assert faults(pads, rest, vias, poured="GND") == ["GPIO18 is in 2 pieces"]


def test_midis_input_has_its_corner_to_itself(board: Node) -> None:
    _, tracks, vias = copper(board)
    assert not [item for item in (*tracks, *vias) if "MIDI_S" not in item.net and "MIDI_ANODE" not in item.net
                and all(0.0 <= x <= 28.8 and 41.2 <= y <= 51.0 for x, y in
                        ([item.start, item.end] if isinstance(item, Track) else [(item.x, item.y)]))]


def test_no_bus_runs_beneath_the_line_out(board: Node) -> None:
    _, tracks, vias = copper(board)
    ends = [(track.net, *end) for track in tracks for end in (track.start, track.end)]
    left, top, right, bottom = QUIET
    assert not [net for net, x, y in (*ends, *((via.net, via.x, via.y) for via in vias))
                if net in BUSES and left <= x <= right and top <= y <= bottom]
    pads = [thing for thing in copper(board)[0] if thing.net.startswith(("/DAC_LEFT", "/DAC_RIGHT", "/LINE_"))
            and thing.x > left]
    assert pads
    assert not [track for track in tracks if track.net in BUSES
                and any(distance(track, dataclasses.replace(pad, layers=(TOP, BOTTOM))) < 0.5 for pad in pads)]


def test_the_supply_is_wide_but_for_the_audio_converters_pins(board: Node) -> None:
    tracks = [track for track in copper(board)[1] if track.net == "3V3"]
    narrow = [track for track in tracks if track.width < 0.5]
    assert len(narrow) < len(tracks)
    assert all(46 <= x <= 54 and 13 <= y <= 21 for track in narrow for x, y in (track.start, track.end))


def test_the_screw_holes_are_where_the_case_has_them(board: Node) -> None:
    holes = [_point(node, "at") for node in children(board, "footprint") if "MountingHole" in node[1]]
    assert sorted(holes) == sorted(outline.HOLES_MM)
    xs, ys = zip(*outline.HOLES_MM, strict=True)
    assert (max(xs) - min(xs), max(ys) - min(ys)) == (72, 52)


def pads_at_random(seed: int, count: int = 7) -> list[Pad]:
    """Pairs of pads on a board of 20 x 20 mm, some with a hole."""
    chance = random.Random(seed)
    spots = [(2.5 + 2.5 * column, 2.5 + 2.5 * row) for row in range(7) for column in range(7)]
    pads = []
    for n, (x, y) in enumerate(chance.sample(spots, 2 * count)):
        layers = (TOP, BOTTOM) if chance.random() < 0.6 else (TOP,)
        pads.append(Pad(f"pad {n}", f"net {n // 2}", x + chance.random() * 0.3, y, 1.6, 1.2, 0.3, layers))
    return pads


@pytest.mark.parametrize("seed", range(12))
def test_routed_nets_never_cross_and_keep_their_distance(seed: int) -> None:
    pads = pads_at_random(seed)
    tracks, vias = route(Problem(20, 20, pads, {"net 0": 0.5}))
    assert faults(pads, tracks, vias) == []


def test_the_same_board_gets_the_same_tracks() -> None:
    assert route(Problem(20, 20, pads_at_random(3))) == route(Problem(20, 20, pads_at_random(3)))


def test_a_pad_that_is_walled_in_is_an_error() -> None:
    wall = [Pad(f"wall {n}", "", x, y, width, height, 0, (TOP, BOTTOM))
            for n, (x, y, width, height) in enumerate(((5, 3, 5, 0.5), (5, 7, 5, 0.5), (3, 5, 0.5, 5), (7, 5, 0.5, 5)))]
    ends = [Pad(f"end {n}", "one", x, 5, 1, 1, 0, (TOP, BOTTOM)) for n, x in enumerate((5, 15))]
    with pytest.raises(RoutingError, match="one: no way"):
        route(Problem(20, 20, [*wall, *ends]))


def test_nothing_but_its_own_nets_enters_an_island() -> None:
    box = (8.0, 4.0, 12.0, 16.0)
    pads = [Pad(f"end {n}", "one", x, 10, 1, 1, 0, (TOP, BOTTOM)) for n, x in enumerate((4, 16))]
    tracks, vias = route(Problem(20, 20, pads, islands=[(box, frozenset())]))
    assert faults(pads, tracks, vias) == []
    assert not any(box[0] <= x <= box[2] and box[1] <= y <= box[3] for track in tracks
                   for x, y in (track.start, track.end))


def test_faults_sees_what_is_too_near_and_what_is_in_pieces() -> None:
    pads = [Pad("a", "one", 2, 2, 1, 1, 0, (TOP,)), Pad("b", "one", 8, 2, 1, 1, 0, (TOP,))]
    across = Track("one", TOP, (2, 2), (8, 2), 0.25)
    assert faults(pads, [across], []) == []
    assert faults(pads, [], []) == ["one is in 2 pieces"]
    assert "apart" in faults(pads, [across, Track("two", TOP, (5, 1), (5, 3), 0.25)], [])[0]
    assert faults(pads, [across, Track("two", BOTTOM, (5, 1), (5, 3), 0.25)], []) == []
    assert "0.150 mm apart" in faults(pads, [across, Track("two", TOP, (4, 2.4), (6, 2.4), 0.25)], [])[0]
    assert "apart" in faults(pads, [across], [Via("two", 5, 2.5)])[0]


def test_the_ground_keeps_off_and_reaches_its_pads() -> None:
    ground = [Pad("ground", "GND", 10, 10, 1.6, 1.6, 0.8, (TOP, BOTTOM))]
    track = Track("one", TOP, (4, 4), (4, 16), 0.25)
    pour = Pour(20, 20, 1.0, "GND", ground, [track], [], [])
    points = [point for ring in pour.rings[TOP] for point in ring if 3.5 < point[0] < 4.5 and 4 <= point[1] <= 16]
    assert points
    assert min(abs(x - 4) for x, _ in points) > 0.125 + 0.2
    assert pour.vias
    around = [Track("one", layer, *ends, 0.25) for layer in (TOP, BOTTOM)
              for ends in (((8.9, 8.9), (11.1, 8.9)), ((11.1, 8.9), (11.1, 11.1)), ((11.1, 11.1), (8.9, 11.1)),
                           ((8.9, 11.1), (8.9, 8.9)))]
    with pytest.raises(UnreachedError, match="ground"):
        Pour(20, 20, 1.0, "GND", ground, around, [], [])


def test_kicads_lists_come_back_as_they_were_written() -> None:
    node: Node = ["a", Quoted('with "quotes" and \\ and (brackets)'), ["b", "1.5"], ["c", ["d", Quoted("")]]]
    assert parse(text(node)) == node
    with pytest.raises(ValueError, match="brackets"):
        parse("(a (b)")


@pytest.mark.skipif(not library.installed(), reason=f"{library.SHARE} has no KiCad libraries")
def test_kicads_symbols_number_the_pins_as_the_parts_list_does() -> None:
    for item in components():
        part = next((part for part in PARTS if part.name == item.name), None)
        if part is None or item.reference[0] not in "DU":
            continue
        symbol = library.symbol(item.symbol)
        names = {str(child(pin, "number")[1]): str(child(pin, "name")[1]).upper()
                 for unit in children(symbol, "symbol") for pin in children(unit, "pin")}
        for pin in part.pins:
            assert names[str(pin.number)] in ("~", pin.name.upper(), pin.name.upper()[0], f"~{{{pin.name}}}/SHDN") \
                or (pin.name, names[str(pin.number)]) == ("cathode", "K")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tetrad")
    make(folder)
    return folder


@needs_kicad
def test_the_committed_project_is_what_the_generator_makes(made: Path) -> None:
    for path in made.iterdir():
        assert path.read_bytes() == (COMMITTED / path.name).read_bytes(), \
            f"{path.name} is old: python -m enclosure.board --out enclosure/board/tetrad"


def netlist(drawing: Path, folder: Path) -> dict[str, set[tuple[str, str]]]:
    run("sch", "export", "netlist", "-o", folder / "netlist", drawing)
    found = child(parse((folder / "netlist").read_text()), "nets")
    return {plain(str(child(net, "name")[1])): {(str(child(node, "ref")[1]), str(child(node, "pin")[1]))
                                               for node in children(net, "node")} for net in children(found, "net")}


@needs_kicad
def test_the_schematics_netlist_is_the_tables(tmp_path: Path) -> None:
    assert wired(netlist(COMMITTED / "tetrad.kicad_sch", tmp_path)) == nets(components())


@needs_kicad
def test_nets_that_are_swapped_in_the_table_are_noticed(tmp_path: Path) -> None:
    shutil.copytree(COMMITTED, tmp_path, dirs_exist_ok=True)
    (tmp_path / "tetrad.kicad_sch").write_text(text(sheet(swapped(components()))))
    assert wired(netlist(tmp_path / "tetrad.kicad_sch", tmp_path)) != nets(components())
    assert drc(tmp_path)["schematic_parity"]


@needs_kicad
def test_kicads_electrical_rules_find_nothing(tmp_path: Path) -> None:
    report = tmp_path / "erc.json"
    run("sch", "erc", "--severity-all", "--format", "json", "-o", report, COMMITTED / "tetrad.kicad_sch")
    assert [fault for found in json.loads(report.read_text())["sheets"] for fault in found["violations"]] == []


def drc(folder: Path) -> dict[str, list[object]]:
    run("pcb", "drc", "--schematic-parity", "--severity-all", "--format", "json", "-o", folder / "drc.json",
        folder / "tetrad.kicad_pcb")
    found: dict[str, list[object]] = json.loads((folder / "drc.json").read_text())
    return found


@needs_kicad
def test_kicads_design_rules_find_nothing(tmp_path: Path) -> None:
    shutil.copytree(COMMITTED, tmp_path, dirs_exist_ok=True)
    report = drc(tmp_path)
    assert (report["violations"], report["unconnected_items"], report["schematic_parity"]) == ([], [], [])


@needs_kicad
def test_kicad_notices_a_track_that_is_left_out(tmp_path: Path, board: Node) -> None:
    shutil.copytree(COMMITTED, tmp_path, dirs_exist_ok=True)
    dropped = max((n for n, item in enumerate(board) if item[0] == "segment"),
                  key=lambda n: math.dist(_point(board[n], "start"), _point(board[n], "end")))
    (tmp_path / "tetrad.kicad_pcb").write_text(text([item for n, item in enumerate(board) if n != dropped]))
    assert drc(tmp_path)["unconnected_items"]


POUR_ANEW = """import sys, pcbnew
board = pcbnew.LoadBoard(sys.argv[1])
pcbnew.ZONE_FILLER(board).Fill(board.Zones())
pcbnew.SaveBoard(sys.argv[1], board)"""


def _has_pcbnew() -> bool:
    return Path("/usr/bin/python3").exists() and not subprocess.run(
        ["/usr/bin/python3", "-c", "import pcbnew"], capture_output=True).returncode


@needs_kicad
def test_the_board_stays_right_where_kicad_pours_the_ground_anew(tmp_path: Path) -> None:
    if not _has_pcbnew():
        pytest.skip("there is no pcbnew for the system's Python")
    shutil.copytree(COMMITTED, tmp_path, dirs_exist_ok=True)
    subprocess.run(["/usr/bin/python3", "-c", POUR_ANEW, tmp_path / "tetrad.kicad_pcb"], check=True,
                   capture_output=True, env={**os.environ, "KICAD_CONFIG_HOME": str(tmp_path)})
    report = drc(tmp_path)
    assert (report["violations"], report["unconnected_items"], report["schematic_parity"]) == ([], [], [])
