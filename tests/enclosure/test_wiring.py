"""Cables, pins, supply and shopping list, which all follow from the table of parts."""

import csv
from pathlib import Path

import pytest
import yaml

from device.panel.parts import HEADER, PARTS, config_lines, faults, part
from enclosure import bom, power, wiring
from enclosure.dimensions import BOARDS, Dimensions
from enclosure.harness import CABLES, CONNECTORS, in_panel, on_board, wires

DOCS = Path(__file__).parents[2] / "docs"


def test_the_table_of_parts_can_be_built():
    assert faults() == []


def test_every_part_is_on_the_board_or_at_the_end_of_one_cable():
    assert len(in_panel()) == len({found.name for found in in_panel()})
    assert {found.name for found in [*in_panel(), *on_board()]} == {found.name for found in PARTS}


def test_every_pin_of_the_panels_parts_has_a_wire_of_its_net():
    wired = {(found.name, found.pins[pin].name, found.pins[pin].number) for _, _, found, pin in wires()}
    assert wired == {(found.name, pin.name, pin.number) for found in in_panel() for pin in found.pins}
    assert all(cable.nets[index] == found.pins[pin].net for cable, index, found, pin in wires())


def test_a_net_of_a_cable_reaches_the_board():
    """The Pi's header, or something that is soldered."""
    there = {pin.net for found in on_board() for pin in found.pins} | set(HEADER.values())
    assert {net for cable in CABLES for net in cable.nets} <= there


def test_the_ribbon_lists_forty_pins_and_all_users():
    rows = list(wiring.ribbon())
    assert [pin for pin, _, _ in rows] == list(range(1, 41))
    for found in PARTS:
        for pin in found.pins:
            if pin.header:
                assert f"{found.name} {pin.name}" in rows[pin.header - 1][2]


def test_no_two_wires_of_a_cable_look_alike_but_for_supply_and_ground():
    for cable in CABLES:
        own = [wiring.colour(cable, index) for index in range(cable.pin_count)]
        assert len(set(own)) == len(own), cable.name


def test_cables_are_long_enough():
    for found in in_panel():
        assert 100 <= wiring.length_mm(found, Dimensions()) <= 400


def test_the_harness_says_what_the_table_says(tmp_path):
    files = wiring.write(Dimensions(), tmp_path)
    harness = yaml.safe_load((tmp_path / "tetrad.yml").read_text())
    assert len(harness["connectors"]) == len(CABLES) + len(in_panel())
    joined = set()
    for ends in harness["connections"]:
        (board, pins), (_, cores), (name, others) = (next(iter(end.items())) for end in ends)
        labels = harness["connectors"][board]["pinlabels"]
        assert len(pins) == len(cores) == len(others)
        joined |= {(labels[pin - 1], name, other) for pin, other in zip(pins, others, strict=True)}
    assert joined == {(pin.net, found.name, pin.number) for found in in_panel() for pin in found.pins}
    with open(tmp_path / "cables.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(joined)
    if (tmp_path / "tetrad.svg") in files:  # Graphviz is there
        assert "pot_volume" in (tmp_path / "tetrad.svg").read_text()


@pytest.mark.parametrize("board", BOARDS)
def test_the_supply_is_enough(board):
    assert power.faults(board) == []
    assert power.budget(board).rail == pytest.approx(sum(found.most_ma for found in PARTS if found.supply_v))


def test_a_supply_that_is_too_weak_is_told(monkeypatch):
    monkeypatch.setitem(power.BOARDS, "pi5", (2_400.0, 3_000.0, 600.0))
    assert power.faults("pi5")[-1] == "USB: takes 1000 mA, 400 mA more than there are"


def test_what_the_overlays_switch_on_is_what_the_parts_need():
    buses = {found.bus.split()[0] for found in PARTS if found.bus}
    assert buses == {"SPI0", "GPIO", "I2C1", "I2S", "UART0"}
    lines = config_lines()
    assert "dtoverlay=spi0-1cs" in lines
    assert "dtparam=i2c_arm=on" in lines
    assert "dtoverlay=hifiberry-dac" in lines
    assert part("led").supply_v < 3.3


@pytest.mark.parametrize("board", BOARDS)
def test_everything_is_bought_as_often_as_it_is_needed(board, tmp_path):
    dimensions = Dimensions(board=board)
    found = bom.lines(dimensions)
    for order in {one.order for one in PARTS}:
        assert sum(line.quantity for line in found if line.order == order) == sum(one.order == order for one in PARTS)
    assert sum(line.quantity for line in found if line.part.startswith("housing")) == len(CABLES)
    contacts = next(line.quantity for line in found if line.order == "SXH-001T-P0.6")
    assert contacts >= sum(cable.pin_count for cable in CABLES)
    bare, whole = bom.totals_eur(found)
    assert whole - bare == pytest.approx(next(line.supplier.price_eur for line in found if line.group == "option"))
    assert all(line.supplier.price_eur > 0 and len(line.supplier.sources) == 2 and all(line.supplier.sources)
               for line in found)
    bom.write(dimensions, tmp_path)
    with open(tmp_path / "bom.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    total = sum(int(row["quantity"]) * float(row["unit price in EUR"]) for row in rows)
    assert total == pytest.approx(whole, abs=0.05)
    assert f"{bare:.0f} EUR, with the Coral stick {whole:.0f} EUR" in (tmp_path / "bom.md").read_text()


def test_the_pages_are_what_the_tables_say():
    assert (DOCS / "wiring.md").read_text() == wiring.page(Dimensions())
    assert (DOCS / "bom.md").read_text() == bom.page(Dimensions())
    assert set(CONNECTORS) == {cable.pin_count for cable in CABLES}
