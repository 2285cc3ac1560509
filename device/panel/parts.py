"""What the panel is made of and how it is wired: one table, from which the code, the wiring and the parts list derive.

A pin has the part's own name and number for it, the net that it lies on, and where that net reaches the Raspberry Pi
the physical pin of the 40-pin header. Nets called GPIOn, 3V3, 5V and GND are the header's; all others join parts. The
same wiring does for a Pi 4, a Pi 5 and a Zero 2 W.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

# The Raspberry Pi's 40-pin header, as one looks at it: odd pins left, even pins right, pin 1 at the top.
HEADER = dict(enumerate((
    "3V3",    "5V",
    "GPIO2",  "5V",
    "GPIO3",  "GND",
    "GPIO4",  "GPIO14",
    "GND",    "GPIO15",
    "GPIO17", "GPIO18",
    "GPIO27", "GND",
    "GPIO22", "GPIO23",
    "3V3",    "GPIO24",
    "GPIO10", "GND",
    "GPIO9",  "GPIO25",
    "GPIO11", "GPIO8",
    "GND",    "GPIO7",
    "GPIO0",  "GPIO1",
    "GPIO5",  "GND",
    "GPIO6",  "GPIO12",
    "GPIO13", "GND",
    "GPIO19", "GPIO16",
    "GPIO26", "GPIO20",
    "GND",    "GPIO21",
), start=1))

# GPIOs that have one use only. 7 is SPI0's second chip select, free with one chip on the bus (overlay spi0-1cs); 20 is
# claimed by every I2S overlay, also one that only plays.
RESERVED = {
    "EEPROM": (0, 1),  # read at boot, to know the board that is plugged on
    "I2C1": (2, 3),  # 3 also wakes a halted Pi
    "SPI0": (8, 9, 10, 11),
    "UART0": (14, 15),  # 14 tells the boot's messages where a console is on
    "I2S": (18, 19, 20, 21),
}
LOGIC_V = 3.3  # a GPIO takes no more


@dataclass(frozen=True)
class Pin:
    name: str  # as the datasheet calls it
    number: int  # on the part
    net: str
    header: int = 0  # physical pin of the Pi's header, 0: it does not go there by itself


@dataclass(frozen=True)
class Part:
    """One thing to buy. Currents are the whole part's, from its supply, in mA."""

    name: str
    kind: str
    order: str  # maker's order number
    datasheet: str
    supply_v: float  # 0: it has no supply
    range_v: tuple[float, float]  # what the datasheet allows
    typical_ma: float
    most_ma: float
    bus: str
    pins: tuple[Pin, ...]

    @property
    def passive(self) -> bool:
        """Whether it only pulls at lines that are another part's."""
        return self.kind.startswith(("resistor", "capacitor"))


def _pins(*rows: tuple[str, int, str] | tuple[str, int, str, int]) -> tuple[Pin, ...]:
    return tuple(Pin(*row) for row in rows)


def _pot(name: str) -> Part:
    """10 kOhm, linear: 0.33 mA from 3.3 V; at most 2.5 kOhm stand before the MCP3008, which samples that well."""
    return Part(f"pot_{name}", "potentiometer 10 kOhm linear", "RD901F-40-15F-B10K-00DL1", "Alpha RD901F-40", 3.3,
                (0, 20), 0.33, 0.42, "",
                _pins(("end", 1, "GND"), ("wiper", 2, f"KNOB_{name.upper()}"), ("end", 3, "3V3")))


def _encoder(number: int, a: tuple[str, int], b: tuple[str, int], push: tuple[str, int]) -> Part:
    """24 detents and 24 pulses a turn, contacts to ground; the Pi pulls up with 50 kOhm. Clockwise A closes first."""
    return Part(f"encoder{number}", "rotary encoder with push switch", "PEC11R-4220F-S0024", "Bourns PEC11R", 0,
                (0, 5), 0.2, 0.3, "GPIO", _pins(("A", 1, *a), ("C", 2, "GND"), ("B", 3, *b), ("D", 4, *push),
                                                ("E", 5, "GND")))


def _resistor(name: str, ohms: str, order: str, one: tuple[str, int] | tuple[str], other: str, bus: str = "") -> Part:
    return Part(name, f"resistor {ohms}", order, "Yageo MFR-25", 0, (0, 250), 0, 0, bus,
                (Pin("1", 1, *one), Pin("2", 2, other)))


def _capacitor(name: str, farads: str, order: str, one: str, other: str) -> Part:
    return Part(name, f"capacitor {farads}", order, "Murata GRM", 0, (0, 16), 0, 0, "",
                (Pin("1", 1, one), Pin("2", 2, other)))


KNOBS = ("x", "y", "attack", "decay", "sustain", "release", "filter", "volume")  # on the converter's channels 0 to 7

PARTS = (
    Part("adc", "analogue-digital converter, 8 channels, 10 bits", "MCP3008-I/P", "Microchip DS21295D", 3.3, (2.7, 5.5),
         0.4, 0.55, "SPI0 CE0", _pins(
             *((f"CH{n}", 1 + n, f"KNOB_{name.upper()}") for n, name in enumerate(KNOBS)),
             ("DGND", 9, "GND", 20), ("CS", 10, "GPIO8", 24), ("DIN", 11, "GPIO10", 19), ("DOUT", 12, "GPIO9", 21),
             ("CLK", 13, "GPIO11", 23), ("AGND", 14, "GND", 25), ("VREF", 15, "3V3"), ("VDD", 16, "3V3", 17))),
    # Where no converter drives DOUT it reads as ones; the null bit in each answer then tells that there is none.
    _resistor("adc_pull_up", "47 kOhm", "MFR-25FBF52-47K", ("GPIO9",), "3V3"),
    _capacitor("adc_decoupling", "100 nF", "GRM188R71C104KA01D", "3V3", "GND"),
    *map(_pot, KNOBS),
    _encoder(0, ("GPIO17", 11), ("GPIO27", 13), ("GPIO22", 15)),  # in the order of a preset's corners
    _encoder(1, ("GPIO23", 16), ("GPIO24", 18), ("GPIO25", 22)),
    _encoder(2, ("GPIO5", 29), ("GPIO6", 31), ("GPIO13", 33)),
    _encoder(3, ("GPIO12", 32), ("GPIO16", 36), ("GPIO7", 26)),
    Part("oled", "display 128 x 64, SSD1306, 0.96 inch", "SBC-OLED01", "Solomon Systech SSD1306", 3.3, (3.3, 5.0), 12,
         25, "I2C1 0x3C", _pins(("GND", 1, "GND", 6), ("VDD", 2, "3V3", 1), ("SCK", 3, "GPIO3", 5),
                                ("SDA", 4, "GPIO2", 3))),
    Part("dac", "I2S audio converter with line output", "PCM5102APWR", "Texas Instruments SLAS859", 3.3, (3.0, 3.6), 18,
         44, "I2S", _pins(
             ("CPVDD", 1, "3V3"), ("CAPP", 2, "DAC_CAPP"), ("CPGND", 3, "GND"), ("CAPM", 4, "DAC_CAPM"),
             ("VNEG", 5, "DAC_VNEG"), ("OUTL", 6, "DAC_LEFT"), ("OUTR", 7, "DAC_RIGHT"),
             ("AVDD", 8, "3V3"), ("AGND", 9, "GND"), ("DEMP", 10, "GND"), ("FLT", 11, "GND"),
             ("SCK", 12, "GND"),  # grounded: it makes its clock of BCK
             ("BCK", 13, "GPIO18", 12), ("DIN", 14, "GPIO21", 40), ("LRCK", 15, "GPIO19", 35), ("FMT", 16, "GND"),
             ("XSMT", 17, "3V3"), ("LDOO", 18, "DAC_LDOO"), ("DGND", 19, "GND", 39), ("DVDD", 20, "3V3"))),
    _capacitor("dac_flying", "2.2 uF", "GRM21BR71C225KA12L", "DAC_CAPP", "DAC_CAPM"),
    _capacitor("dac_negative", "2.2 uF", "GRM21BR71C225KA12L", "DAC_VNEG", "GND"),
    _capacitor("dac_core", "100 nF", "GRM188R71C104KA01D", "DAC_LDOO", "GND"),
    *(_capacitor(f"dac_{supply}_decoupling", "100 nF", "GRM188R71C104KA01D", "3V3", "GND")
      for supply in ("analogue", "digital", "pump")),  # each beside its pin
    _capacitor("dac_bulk", "10 uF", "GRM21BR61C106KE15L", "3V3", "GND"),
    _resistor("line_left_series", "470 Ohm", "MFR-25FBF52-470R", ("DAC_LEFT",), "LINE_LEFT"),
    _resistor("line_right_series", "470 Ohm", "MFR-25FBF52-470R", ("DAC_RIGHT",), "LINE_RIGHT"),
    _capacitor("line_left_filter", "2.2 nF", "GRM1885C1H222JA01D", "LINE_LEFT", "GND"),
    _capacitor("line_right_filter", "2.2 nF", "GRM1885C1H222JA01D", "LINE_RIGHT", "GND"),
    Part("line_out", "stereo jack 3.5 mm, with nut", "PJ-392", "PJ-392", 0, (0, 12), 0, 0, "", _pins(
        ("sleeve", 1, "GND"), ("tip", 2, "LINE_LEFT"), ("ring", 3, "LINE_RIGHT"))),
    Part("midi_in", "DIN socket, 5 pins, with flange", "SD-50SN", "CUI SD-SN", 0, (0, 100), 0, 0, "", _pins(
        ("4", 4, "MIDI_SOURCE"), ("5", 5, "MIDI_SINK"))),
    _resistor("midi_series", "220 Ohm", "MFR-25FBF52-220R", ("MIDI_SOURCE",), "MIDI_ANODE"),
    Part("midi_diode", "diode against reversed cables", "1N4148", "onsemi 1N914", 0, (0, 100), 0, 0, "", _pins(
        ("cathode", 1, "MIDI_ANODE"), ("anode", 2, "MIDI_SINK"))),
    # An H11L1 does with 3.3 V, where a 6N138 wants 4.5 V and more.
    Part("midi_coupler", "optocoupler with Schmitt trigger", "H11L1M", "onsemi H11L1M", 3.3, (3.0, 15.0), 1.6, 5.0,
         "UART0", _pins(("anode", 1, "MIDI_ANODE"), ("cathode", 2, "MIDI_SINK"), ("output", 4, "GPIO15", 10),
                        ("GND", 5, "GND", 14), ("VCC", 6, "3V3"))),
    # As MIDI's specification of 2014 has it for 3.3 V. 220 Ohm of the receiver's behind it: 5 mA.
    _resistor("midi_out_source", "33 Ohm", "MFR-25FBF52-33R", ("3V3",), "MIDI_OUT_SOURCE"),
    _resistor("midi_out_sink", "10 Ohm", "MFR-25FBF52-10R", ("GPIO14", 8), "MIDI_OUT_SINK", "UART0"),
    Part("midi_out", "DIN socket, 5 pins, with flange", "SD-50SN", "CUI SD-SN", 0, (0, 100), 0, 0, "", _pins(
        ("2", 2, "GND"), ("4", 4, "MIDI_OUT_SOURCE"), ("5", 5, "MIDI_OUT_SINK"))),
    _capacitor("midi_decoupling", "100 nF", "GRM188R71C104KA01D", "3V3", "GND"),
    _resistor("midi_pull_up", "1 kOhm", "MFR-25FBF52-1K", ("GPIO15",), "3V3"),
    # 2.5 mA: (3.3 V - 2.1 V) / 470 Ohm. GPIO 26 is pulled down from reset on, so the lamp is dark until it is driven.
    _resistor("led_series", "470 Ohm", "MFR-25FBF52-470R", ("GPIO26", 37), "LED"),
    Part("led", "lamp, green, 5 mm", "WP7113GD", "Kingbright WP7113GD", 2.1, (1.8, 2.5), 2.5, 3.2, "GPIO", _pins(
        ("anode", 1, "LED"), ("cathode", 2, "GND"))),
    Part("shutdown", "push button, with nut", "PBS-110", "PBS-110", 0, (0, 24), 0.1, 0.1, "GPIO", _pins(
        ("1", 1, "GPIO4", 7), ("2", 3, "GND", 9))),
)


def part(name: str) -> Part:
    return next(found for found in PARTS if found.name == name)


def gpio(part_name: str, pin_name: str) -> int:
    """The GPIO (BCM number) that a part's pin is wired to."""
    return _gpio(next(pin.net for pin in part(part_name).pins if pin.name == pin_name))


def _gpio(net: str) -> int:
    """A net's GPIO, -1 where it is none."""
    return int(net.removeprefix("GPIO")) if re.fullmatch(r"GPIO\d+", net) else -1


ENCODERS = tuple((gpio(f"encoder{n}", "A"), gpio(f"encoder{n}", "B")) for n in range(4))
BUTTONS = {**{f"corner{n}": gpio(f"encoder{n}", "D") for n in range(4)}, "shutdown": gpio("shutdown", "1")}
LED = gpio("led_series", "1")
SPI_BUS, SPI_DEVICE = (int(number) for number in re.findall(r"\d", part("adc").bus))
I2C_BUS, I2C_ADDRESS = 1, int(part("oled").bus.split()[1], 16)
MODEL_FILE = Path("/proc/device-tree/model")  # what a Raspberry Pi says of itself
DIN_PORT = "/dev/ttyAMA0"  # UART0 of all three Pis, with config_lines(); a Pi 5's /dev/serial0 is another


def is_raspberry_pi() -> bool:
    try:
        return MODEL_FILE.read_text(errors="replace").startswith("Raspberry Pi")
    except OSError:
        return False


def config_lines(parts: Iterable[Part] = PARTS) -> tuple[str, ...]:
    """What /boot/firmware/config.txt needs for these parts, for a Pi 4, a Pi 5 and a Zero 2 W."""
    buses = Counter(found.bus.split()[0] for found in parts if found.bus)
    lines = []
    if buses["I2C1"]:
        lines += ["dtparam=i2c_arm=on", "dtparam=i2c_arm_baudrate=400000"]
    if buses["SPI0"]:
        lines += ["dtparam=spi=on", f"dtoverlay=spi0-{buses['SPI0']}cs"]
    if buses["I2S"]:
        lines += ["dtoverlay=hifiberry-dac"]
    if buses["UART0"]:  # on the older ones Bluetooth has the good UART, on a Pi 5 nobody
        for board in ("pi4", "pi02"):
            lines += [f"[{board}]", "enable_uart=1", "dtoverlay=disable-bt"]
        lines += ["[pi5]", "dtparam=uart0=on", "[all]"]
    return tuple(lines)


def faults(parts: Sequence[Part] = PARTS) -> list[str]:
    """What is wrong with a table of parts, a line each; an empty list where it can be built."""
    lines = []
    names = Counter(found.name for found in parts)
    lines += [f"two parts are called {name}" for name, count in names.items() if count > 1]
    taken: dict[int, set[str]] = defaultdict(set)
    ends: Counter[str] = Counter()
    addresses: dict[str, str] = {}
    for found in parts:
        if found.supply_v and not found.range_v[0] <= found.supply_v <= found.range_v[1]:
            lines.append(f"{found.name} takes {found.range_v[0]:g} to {found.range_v[1]:g} V, not {found.supply_v:g} V")
        if found.typical_ma > found.most_ma:
            lines.append(f"{found.name} takes more typically than at most")
        if found.bus.startswith(("I2C", "SPI")):
            if found.bus in addresses:
                lines.append(f"{found.name} and {addresses[found.bus]} are both {found.bus}")
            addresses[found.bus] = found.name
        numbers = Counter(pin.number for pin in found.pins)
        lines += [f"{found.name} has two pins {number}" for number, count in numbers.items() if count > 1]
        for pin in found.pins:
            ends[pin.net] += 1
            lines += _wrong_pin(found, pin)
            number = _gpio(pin.net)
            if number >= 0 and _uses(found, pin):
                taken[number].add(found.name)
    for number, users in sorted(taken.items()):
        buses = {found.bus.split(" ")[0] for found in parts if found.name in users}
        if len(users) > 1 and not buses <= {"I2C1", "SPI0"}:
            lines.append(f"GPIO{number} is used by {' and '.join(sorted(users))}")
    lines += [f"the net {net} ends nowhere" for net, count in ends.items()
              if count < 2 and net not in HEADER.values()]
    reached = Counter(pin.net for found in parts for pin in found.pins if pin.header)
    lines += [f"nothing brings {net} to the header" for net in ends if net in HEADER.values() and not reached[net]]
    return lines


def _uses(found: Part, pin: Pin) -> bool:
    """Whether a part has its pin's line for itself, and does not only pull at it."""
    return bool(pin.header) or not found.passive


def _wrong_pin(found: Part, pin: Pin) -> list[str]:
    where = f"{found.name} pin {pin.name}"
    lines = []
    if pin.header and pin.header not in HEADER:
        lines.append(f"{where}: the header has no pin {pin.header}")
    elif pin.header and HEADER[pin.header] != pin.net:
        lines.append(f"{where}: the header's pin {pin.header} is {HEADER[pin.header]}, not {pin.net}")
    number = _gpio(pin.net)
    if number < 0:
        return lines
    if pin.net not in HEADER.values():
        lines.append(f"{where}: the header has no {pin.net}")
    if found.supply_v > LOGIC_V:
        lines.append(f"{where}: {found.supply_v:g} V would reach {pin.net}, which takes {LOGIC_V:g} V")
    owner = next((bus for bus, numbers in RESERVED.items() if number in numbers), "")
    if owner == "EEPROM" or (owner and _uses(found, pin) and found.bus.split(" ")[0] != owner):
        lines.append(f"{where}: {pin.net} is {owner}'s")
    return lines
