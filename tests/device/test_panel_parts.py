"""The table of parts: what is wrong with a table, and what derives from the one that is built."""

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

from device.panel import parts
from device.panel.parts import BUTTONS, ENCODERS, HEADER, KNOBS, LED, PARTS, config_lines, faults


def altered(name, **changes):
    return [replace(found, **changes) if found.name == name else found for found in PARTS]


def with_pin(name, pin, **changes):
    pins = tuple(replace(old, **changes) if old.name == pin else old for old in parts.part(name).pins)
    return altered(name, pins=pins)


def test_the_table_can_be_built():
    assert faults() == []


def test_the_header_agrees_with_rpi_lgpio(tmp_path):
    pytest.importorskip("lgpio")
    board = subprocess.run([sys.executable, "-c", "from RPi import GPIO; print(GPIO._BOARD_MAP)"], cwd=tmp_path,
                           env={**os.environ, "RPI_LGPIO_REVISION": "c03111"}, capture_output=True, text=True)
    assert board.returncode == 0, board.stderr
    theirs = {pin: f"GPIO{gpio}" for pin, gpio in eval(board.stdout).items()}
    ours = {pin: net for pin, net in HEADER.items() if net.startswith("GPIO") and net not in ("GPIO0", "GPIO1")}
    assert ours == theirs
    assert Counter(net for net in HEADER.values() if not net.startswith("GPIO")) == {"GND": 8, "3V3": 2, "5V": 2}


def test_every_contact_and_the_lamp_has_a_gpio_of_its_own():
    used = [*(pin for pair in ENCODERS for pin in pair), *BUTTONS.values(), LED]
    assert len(used) == 14 == len(set(used))
    assert not set(used) & {gpio for gpios in parts.RESERVED.values() for gpio in gpios}


def test_each_knob_has_a_pot_on_its_channel():
    nets = {pin.net: pin.name for pin in parts.part("adc").pins}
    for channel, name in enumerate(KNOBS):
        wiper = next(pin.net for pin in parts.part(f"pot_{name}").pins if pin.name == "wiper")
        assert nets[wiper] == f"CH{channel}"


def test_buses_are_where_the_kernel_has_them():
    assert (parts.SPI_BUS, parts.SPI_DEVICE, parts.I2C_BUS, parts.I2C_ADDRESS) == (0, 0, 1, 0x3C)
    assert [parts.gpio("oled", pin) for pin in ("SDA", "SCK")] == [2, 3]
    assert [parts.gpio("adc", pin) for pin in ("CS", "DOUT", "DIN", "CLK")] == [8, 9, 10, 11]
    assert [parts.gpio("dac", pin) for pin in ("BCK", "LRCK", "DIN")] == [18, 19, 21]
    assert parts.gpio("midi_coupler", "output") == 15


@pytest.mark.parametrize(("table", "line"), [
    (with_pin("encoder0", "A", net="GPIO4", header=7), "GPIO4 is used by encoder0 and shutdown"),
    (with_pin("led_series", "1", net="GPIO4", header=7), "GPIO4 is used by led_series and shutdown"),
    (with_pin("led_series", "1", net="GPIO2", header=3), "GPIO2 is used by led_series and oled"),
    (with_pin("led_series", "1", net="GPIO14", header=8), "led_series pin 1: GPIO14 is UART0's"),
    (with_pin("encoder0", "A", header=12), "encoder0 pin A: the header's pin 12 is GPIO18, not GPIO17"),
    (with_pin("encoder0", "A", header=41), "encoder0 pin A: the header has no pin 41"),
    (with_pin("encoder0", "A", net="GPIO28", header=0), "encoder0 pin A: the header has no GPIO28"),
    (with_pin("encoder0", "A", net="GPIO0", header=27), "encoder0 pin A: GPIO0 is EEPROM's"),
    (with_pin("encoder0", "A", net="GPIO20", header=38), "encoder0 pin A: GPIO20 is I2S's"),
    (with_pin("encoder0", "A", header=0), "nothing brings GPIO17 to the header"),
    (with_pin("oled", "GND", header=1), "oled pin GND: the header's pin 1 is 3V3, not GND"),
    (with_pin("adc", "CH3", net="NOWHERE"), "the net NOWHERE ends nowhere"),
    (with_pin("adc", "CH3", number=3), "adc has two pins 3"),
    (altered("oled", supply_v=5.0), "oled pin SDA: 5 V would reach GPIO2, which takes 3.3 V"),
    (altered("oled", supply_v=2.5), "oled takes 3.3 to 5 V, not 2.5 V"),
    (altered("dac", supply_v=5.0), "dac takes 3 to 3.6 V, not 5 V"),
    (altered("dac", typical_ma=99.0), "dac takes more typically than at most"),
    ([*PARTS, replace(parts.part("oled"), name="second", bus="I2C1 0x3C")], "second and oled are both I2C1 0x3C"),
    ([*PARTS, PARTS[0]], "two parts are called adc"),
])
def test_a_wrong_table_is_found(table, line):
    assert line in faults(table)


def test_a_second_display_may_share_the_bus_at_another_address():
    second = replace(parts.part("oled"), name="second", bus="I2C1 0x3D")
    assert faults([*PARTS, second]) == []


def test_every_part_can_be_ordered():
    for found in PARTS:
        assert found.kind, found.name
        assert found.order, found.name
        assert found.datasheet, found.name


def test_config_txt_switches_on_what_is_used_and_no_more():
    lines = config_lines()
    assert lines[:5] == ("dtparam=i2c_arm=on", "dtparam=i2c_arm_baudrate=400000", "dtparam=spi=on",
                         "dtoverlay=spi0-1cs", "dtoverlay=hifiberry-dac")  # one chip select leaves GPIO 7 free
    assert lines[5:] == ("[pi4]", "enable_uart=1", "dtoverlay=disable-bt", "[pi02]", "enable_uart=1",
                         "dtoverlay=disable-bt", "[pi5]", "dtparam=uart0=on", "[all]")
    assert config_lines(found for found in PARTS if found.bus == "SPI0 CE0") == ("dtparam=spi=on", "dtoverlay=spi0-1cs")
    assert config_lines([]) == ()
