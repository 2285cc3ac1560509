"""Where the parts are sold, for about how much, and what does instead. Prices in EUR for one piece, tax included.

"estimate": from what such parts have cost, not off a page of a day. A number with a ? follows a shop's pattern.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Supplier:
    price_eur: float
    sources: tuple[str, str]
    instead: str = ""
    dated: str = "estimate"


def _yageo(order: str) -> Supplier:
    return Supplier(0.10, (f"Mouser 603-{order}?", f"Digi-Key {order}?"), "any 1/4 W metal film resistor")


def _murata(order: str, size: str) -> Supplier:
    return Supplier(0.15, (f"Mouser 81-{order}?", f"Digi-Key {order}?"),
                    f"any X7R or C0G, {size}; with leads for hand wiring")


def _jst(price_eur: float, order: str) -> Supplier:
    return Supplier(price_eur, (f"Mouser 306-{order.replace('-', '')}?", f"Digi-Key {order}?"), "XH of another maker")


SUPPLIERS = {
    "MCP3008-I/P": Supplier(3.50, ("Mouser 579-MCP3008-I/P?", "Digi-Key MCP3008-I/P-ND?")),
    "RD901F-40-15F-B10K-00DL1": Supplier(1.80, ("Mouser RD901F-40-15F-B10K-00DL1", "Thonk, Alpha 9 mm, D shaft, B10K"),
                                         "Bourns PTD901-1015F-B103; a shaft of 6 mm with a flat and a bushing M7"),
    "PEC11R-4220F-S0024": Supplier(2.60, ("Mouser 652-PEC11R-4220F-S0024?", "Digi-Key PEC11R-4220F-S0024-ND?"),
                                   "with 15 mm shaft for panels of 2.5 mm at most"),
    "SBC-OLED01": Supplier(8.00, ("Reichelt SBC-OLED01?", "Conrad SBC-OLED01?"),
                           "any SSD1306, 0.96 inch, I2C; mind the order of VCC and GND"),
    "PCM5102APWR": Supplier(4.00, ("Mouser 595-PCM5102APWR?", "LCSC C107671"), "module GY-PCM5102, for hand wiring"),
    "H11L1M": Supplier(1.00, ("Mouser 512-H11L1M", "Digi-Key H11L1M-ND?")),
    "1N4148": Supplier(0.10, ("Mouser 78-1N4148-TAP?", "Digi-Key 1N4148-TAPCT-ND"), "1N914"),
    "SD-50SN": Supplier(2.50, ("Mouser 490-SD-50SN?", "Digi-Key CP-1250-ND?"), "REAN NYS325"),
    "PJ-392": Supplier(0.60, ("AliExpress PJ-392", "Adafruit 3692"), "Lumberg KLB 4"),
    "WP7113GD": Supplier(0.20, ("Mouser 604-WP7113GD?", "Digi-Key WP7113GD?"), "any green LED, 5 mm"),
    "PBS-110": Supplier(0.80, ("AliExpress PBS-110", "Amazon PBS-110"), "any push button, normally open, 7 mm hole"),
    **{f"MFR-25FBF52-{value}": _yageo(f"MFR-25FBF52-{value}") for value in ("47K", "470R", "220R", "1K", "33R", "10R")},
    "GRM188R71C104KA01D": _murata("GRM188R71C104KA01D", "0603"),
    "GRM21BR71C225KA12L": _murata("GRM21BR71C225KA12L", "0805"),
    "GRM1885C1H222JA01D": _murata("GRM1885C1H222JA01D", "0603"),
    "GRM21BR61C106KE15L": _murata("GRM21BR61C106KE15L", "0805"),
    **{f"B{pins}B-XH-A": _jst(0.10 + 0.05 * pins, f"B{pins}B-XH-A") for pins in (2, 3, 4, 10)},
    **{f"XHP-{pins}": _jst(0.05 + 0.02 * pins, f"XHP-{pins}") for pins in (2, 3, 4, 10)},
}
BOARD_PRICE_EUR = 4.00  # of five, with postage more


def _pi(board: str, order: str, price_eur: float, supply: str, supply_order: str,
        supply_eur: float) -> tuple[tuple[str, str, Supplier], ...]:
    return (
        (board, order, Supplier(price_eur, (f"Mouser 358-{order}?", f"berrybase {order}?"))),
        (f"power supply, {supply}", supply_order, Supplier(supply_eur, (f"Mouser 358-{supply_order}?",
                                                                       f"berrybase {supply_order}?"))),
        ("microSD card, 16 GB or more, A1", "SC1628", Supplier(9.00, ("Mouser 358-SC1628?", "berrybase SC1628?"),
                                                              "any A1 card of a known maker")),
    )


PI = {
    "pi4": _pi("Raspberry Pi 4 Model B, 2 GB", "SC0193", 45.00, "USB-C, 5.1 V 3 A", "SC0213", 8.50),
    "pi5": _pi("Raspberry Pi 5, 2 GB", "SC1110", 55.00, "USB-C, 5.1 V 5 A", "SC1153", 13.00),
    "zero2w": _pi("Raspberry Pi Zero 2 W", "SC0510", 18.00, "micro-USB, 5.1 V 2.5 A", "SC0620", 9.00),
}

# group, part, order number, how many (or of what as many), supplier
FITTINGS: tuple[tuple[str, str, str, int | str, Supplier], ...] = (
    ("carrier board", "box header, 2 x 20, 2.54 mm", "2x20 shrouded", 1,
     Supplier(0.80, ("Mouser box header 2x20", "Reichelt WSL 40G?"), "any shrouded header")),
    ("cables", "crimp contact, JST XH", "SXH-001T-P0.6", 60,
     Supplier(0.05, ("Mouser 306-SXH001TP06?", "Digi-Key SXH-001T-P0.6?"), "ready-made cables")),
    ("cables", "ribbon cable, 40 ways, 15 cm, sockets at both ends", "GPIO ribbon cable", 1,
     Supplier(3.00, ("Adafruit 1988?", "Pimoroni GPIO ribbon cable"))),
    ("cables", "wire, 0.14 mm2, ten colours, in m", "LiY 0.14", 15, Supplier(0.15, ("Reichelt LITZE 0.14?", "any"))),
    ("case", "filament, PLA or PETG, in kg", "1.75 mm", 1, Supplier(20.00, ("any", "any"))),
    ("case", "brass insert, M3 x 5.7", "RX-M3x5.7", "case", Supplier(0.15, ("ruthex M3", "CNC Kitchen M3"))),
    ("case", "screw, M3 x 10", "ISO 7380 M3x10", "case", Supplier(0.05, ("any", "any"), "M3 x 12 through feet")),
    ("case", "screw and nut, M3 x 16", "ISO 7380 M3x16", "carrier_standoff", Supplier(0.08, ("any", "any"))),
    ("case", "screw and nut, M2.5 x 16", "ISO 7380 M2.5x16", "pi_standoff", Supplier(0.08, ("any", "any"))),
    ("case", "screw and nut, M2.5 x 12, for display and cradle", "ISO 7380 M2.5x12", 6, Supplier(0.08, ("any", "any"))),
    ("case", "screw and nut, M3 x 8, for DIN sockets", "ISO 7380 M3x8", 4, Supplier(0.06, ("any", "any"))),
    ("option", "Coral USB Accelerator", "G950-01456-01", 1, Supplier(65.00, ("Mouser 212-842776110077?",
                                                                            "berrybase Coral USB"))),
)
