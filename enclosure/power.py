"""What the box draws, against what its supply gives: on the Pi's 3.3 V, which feeds board and panel, and on its 5 V."""

from dataclasses import dataclass

from device.panel.parts import PARTS

RAIL_3V3_MA = 500.0  # what the header's 3.3 V may give, of the Pi's own regulator, beside the Pi
CORAL_MA = 900.0  # Coral USB Accelerator, at most, at its full clock

# The board's own, under load, and what its supply gives; USB: what its sockets may give with that supply, in mA.
BOARDS = {
    "pi4": (1_250.0, 3_000.0, 1_200.0),
    "pi5": (2_400.0, 5_000.0, 1_600.0),  # on a supply of 3 A its sockets give 600 mA, too little for a Coral stick
    "zero2w": (700.0, 2_500.0, 2_500.0),
}


@dataclass(frozen=True)
class Budget:
    """In mA; `rail` of 3.3 V, `whole` of 5 V with a Coral stick and a keyboard."""

    rail: float
    whole: float
    supply: float
    usb: float


KEYBOARD_MA = 100.0  # a USB keyboard of the smallest class


def budget(board: str) -> Budget:
    """Of what every part takes at most at the same time."""
    rail = sum(found.most_ma for found in PARTS if found.supply_v)
    own, supply, _ = BOARDS[board]
    return Budget(rail, own + rail + CORAL_MA + KEYBOARD_MA, supply, CORAL_MA + KEYBOARD_MA)


def faults(board: str) -> list[str]:
    """What the supply is too weak for, a line each."""
    found, usb = budget(board), BOARDS[board][2]
    lines = []
    for what, takes, gives in (("board and panel, of 3.3 V", found.rail, RAIL_3V3_MA),
                               ("everything, of 5 V", found.whole, found.supply), ("USB", found.usb, usb)):
        if takes > gives:
            lines.append(f"{what}: takes {takes:.0f} mA, {takes - gives:.0f} mA more than there are")
    return lines
