"""What goes into the case, as it is drawn by its makers: outlines with the room that nuts, plugs and wires need, in mm.

Things of the panel have z = 0 at its underside, those of a wall at its inner side, seen from outside, and outwards is
up. Boards have z = 0 at their upper side and x = y = 0 at the corner from which their makers count. docs/enclosure.md
tells which number was read in a datasheet and which is from elsewhere.
"""

from dataclasses import dataclass
from math import sqrt

from device.errors import TetradError
from enclosure.board.outline import HEIGHT_MM, HOLES_MM, THICKNESS_MM, WIDTH_MM
from enclosure.dimensions import Dimensions
from enclosure.shapes import Component, Shape, box, rod

THROUGH = 40.0  # longer than any sheet or wall is thick, and shorter than what lies behind them
WIRES = 8.0  # behind lugs, with their bend
PI_THICKNESS = 1.4
PINS_BELOW = 2.5  # a board's, soldered
RIBBON = 12.0  # a socket on a header, and the ribbon that leaves it


def potentiometer(dimensions: Dimensions) -> Component:
    """9 mm, with a bushing M7 x 0.75 of 5 mm. z = 0 is where it bears on the panel."""
    return _with_bushing("potentiometer", "Alpha RD901F-40", box(0, -1.8, 9.5, 11.4, -10.3 - WIRES, 0), 5.0, 15.0,
                         dimensions)


def encoder(dimensions: Dimensions) -> Component:
    """That of a 20 mm shaft, whose bushing is 7 mm long; with shorter ones it is 5 mm."""
    return _with_bushing("encoder", "Bourns PEC11R", box(0, 0, 13.4, 12.5, -10.2 - WIRES, 0), 7.0, 20.0, dimensions)


def button(dimensions: Dimensions) -> Component:
    return _with_bushing("button", "PBS-110", box(0, 0, 12.0, 12.0, -15.4 - WIRES, 0), 6.8, 12.4, dimensions)


def _with_bushing(name: str, reference: str, body: Shape, bushing: float, shaft: float,
                  dimensions: Dimensions) -> Component:
    """M7: nuts are 10 mm across flats and 2 mm high. Raises TetradError where no nut finds hold."""
    panel = dimensions.sheet_mm
    if (short := panel + 2.0 - bushing) > 1e-9:
        raise TetradError(f"the {name}'s bushing of {bushing:g} mm is {short:g} mm too short for a panel of {panel:g} "
                          "mm and its nut: make sheet_mm smaller")
    return Component(name, reference, (
        body, rod(0, 0, 7.0, 0, bushing), rod(0, 0, 10.0 * 2 / sqrt(3), panel, panel + 2.0),
        rod(0, 0, 6.0, bushing, shaft)), (_hole(7.0 + 2 * dimensions.fit_mm),))


def lamp(dimensions: Dimensions) -> Component:
    """Pushed in from below as far as its rim goes."""
    return Component("lamp", "Kingbright WP7113GD", (rod(0, 0, 5.8, -1.0, 0), rod(0, 0, 5.0, 0, 7.6),
                                                     rod(0, 0, 5.0, -4.0 - WIRES, -1.0)),
                     (_hole(5.0 + dimensions.fit_mm),))


MODULE = (27.4, 28.0)  # the largest of those that are sold as 0.96 inch
WINDOW = (24.0, 14.0)
CLAMP_SCREWS = 19.0  # left and right of the display's middle


def display(dimensions: Dimensions) -> Component:
    """Its glass touches the panel. Its holes are elsewhere on every make, so a clamp with two screws holds it."""
    width, depth = MODULE
    return Component("display", "SSD1306 module, 0.96 inch", (
        box(0, 0, width, depth, -4.1, 0), box(0, depth / 2 - 2, 11.0, 4.0, -4.1 - 3.0 - WIRES, -4.1)), (
        box(0, 1.75, *WINDOW, -THROUGH, THROUGH),
        *(_hole(CLAMP_SCREW, side * CLAMP_SCREWS) for side in (-1, 1))))


CLAMP_SCREW = 2.9  # M2.5


def din_socket(dimensions: Dimensions) -> Component:
    """From outside, with two screws M3. Makes have them half a millimetre elsewhere, and no wall is left between hole
    and screws, so both are one opening, which the flange covers."""
    wall = dimensions.wall_mm
    return Component("DIN socket", "CUI SD-50SN", (
        rod(0, 0, 15.1, -19.4 + wall - WIRES, wall), box(0, 0, 28.4, 19.2, wall, wall + 2.2)),
        (_hole(15.1 + 2 * dimensions.fit_mm), box(0, 0, 2 * 12.6, 3.4, -THROUGH, THROUGH)), "body")


def jack(dimensions: Dimensions) -> Component:
    """Its thread is 4.6 mm long and its nut 2 mm high, so the wall is thinner around it."""
    wall = 2.4
    return Component("jack", "PJ-392", (
        box(0, 0, 9.0, 9.0, dimensions.wall_mm - wall - 10.0 - WIRES, dimensions.wall_mm - wall),
        rod(0, 0, 5.85, dimensions.wall_mm - wall, dimensions.wall_mm - wall + 4.6),
        rod(0, 0, 9.3, dimensions.wall_mm, dimensions.wall_mm + 2.0)),
        (_hole(5.85 + 2 * dimensions.fit_mm), box(0, 0, 14.0, 14.0, -THROUGH, dimensions.wall_mm - wall)), "body")


def cable_hole(dimensions: Dimensions) -> Component:
    """For the stick's cable, whose USB-A plug goes through it and comes back into a socket beside."""
    return Component("cable hole", "USB-A plug", (), (box(0, 0, 18.0, 10.0, -THROUGH / 2, THROUGH / 2),), "body")


@dataclass(frozen=True)
class Pi:
    """A Raspberry Pi and how far its edges are from the case's walls, which its sockets do not touch."""

    component: Component
    length: float  # along its sockets for power
    from_left: float
    from_rear: float
    stick_outside: bool  # the stick's plug goes into a socket in the left wall


def pi(board: str) -> Pi:
    return {"pi4": _pi4, "pi5": _pi5, "zero2w": _zero2w}[board]()


def _pi4() -> Pi:
    return _large("Raspberry Pi 4", "RP-008343-DS-1", ((9.0, 13.2, 16.0, 3.0), (27.0, 13.2, 16.0, 3.0),
                                                       (45.75, 16.0, 13.5, 3.0)),
                  ((11.2, 8.9, 3.2, 1.3), (26.0, 7.2, 3.0, 1.4), (39.5, 7.2, 3.0, 1.4), (54.0, 6.0, 6.0, 2.5)))


def _pi5() -> Pi:
    return _large("Raspberry Pi 5", "RP-008347-DS-1", ((10.2, 16.0, 14.0, 3.0), (29.1, 13.2, 16.0, 2.9),
                                                       (47.0, 13.2, 16.0, 2.9)),
                  ((11.2, 8.9, 3.2, 1.4), (25.8, 7.2, 3.4, 1.8), (39.2, 7.2, 3.4, 1.8)))


Socket = tuple[float, float, float, float]  # where its middle is along the edge, width, height, how far it stands out


def _large(name: str, reference: str, right: tuple[Socket, ...], front: tuple[Socket, ...]) -> Pi:
    """85 x 56 mm; sockets at its right edge and at its front, of which the first is for power."""
    shapes = [box(42.5, 28.0, 85.0, 56.0, -PI_THICKNESS, 0),
              box(32.5, 28.0, 50.0, 50.0, -PI_THICKNESS - PINS_BELOW, -PI_THICKNESS),
              box(32.5, 52.5, 51.0, 5.1, 0, 2.5 + RIBBON), box(29.0, 24.0, 16.0, 16.0, 0, 5.0)]
    cuts = [_hole(2.9, x, y) for x in (3.5, 61.5) for y in (3.5, 52.5)]
    for y, width, height, out in right:
        shapes.append(box(85.0 + out - 9.0, y, 18.0, width, 0, height))
    # One opening for all of them: plugs leave no room for walls between.
    low, high = (extreme(y + side * (width / 2 + 2.0) for y, width, _, _ in right)
                 for side, extreme in ((-1, min), (1, max)))
    cuts.append(Shape((85.0, low, -2.0), (85.0 + THROUGH, high, 18.0)))
    for x, width, height, out in front:
        shapes.append(box(x, 3.75 - out, width, 7.5, 0, height))
    power, width, height, _ = front[0]
    cuts.append(_plug(power, height / 2, 13.4, 7.6))
    return Pi(Component(name, reference, tuple(shapes), tuple(cuts), "base and body"), 85.0, 3.6, 3.6, True)


def _zero2w() -> Pi:
    shapes = [box(32.5, 15.0, 65.0, 30.0, -PI_THICKNESS, 0),
              box(32.5, 15.0, 50.0, 24.0, -PI_THICKNESS - PINS_BELOW, -PI_THICKNESS),
              box(32.5, 26.5, 51.0, 5.1, 0, 2.5 + RIBBON),
              box(12.4, 3.4, 10.9, 8.0, 0, 3.2), box(41.4, 2.0, 8.0, 6.6, 0, 3.0), box(54.0, 2.0, 8.0, 6.6, 0, 3.0)]
    cuts = [_hole(2.9, x, y) for x in (3.5, 61.5) for y in (3.5, 26.5)]
    cuts.append(_plug((41.4 + 54.0) / 2, 1.5, 54.0 - 41.4 + 12.0, 8.0))  # one opening, for there is no room for a wall
    return Pi(Component("Raspberry Pi Zero 2 W", "RP-008358-DS-1", tuple(shapes), tuple(cuts), "base and body"),
              65.0, 23.6, 3.6, False)


def _plug(x: float, z: float, width: float, height: float) -> Shape:
    """The way of a plug's grip through the wall before a board's front edge."""
    return Shape((x - width / 2, -THROUGH / 2, z - height / 2), (x + width / 2, 0.0, z + height / 2))


def carrier() -> Component:
    """enclosure/board: the ribbon's header stands along its rear edge, connectors along the others."""
    cuts = tuple(_hole(3.4, x, y) for x, y in HOLES_MM)
    return Component("carrier board", "enclosure/board", (
        box(WIDTH_MM / 2, HEIGHT_MM / 2, WIDTH_MM, HEIGHT_MM, -THICKNESS_MM, 0),
        box(WIDTH_MM / 2, HEIGHT_MM / 2, WIDTH_MM - 2, HEIGHT_MM - 2, 0, RIBBON)), cuts, "base")


STICK = (65.0, 30.0, 8.0)
CRADLE_SCREWS = ((-22.0, -20.0), (22.0, -20.0), (-22.0, 20.0), (22.0, 20.0))  # from the stick's middle


def coral() -> Component:
    """On its cradle; its plug and the cable's bend need as much again."""
    length, width, height = STICK
    return Component("Coral USB Accelerator", "Coral USB Accelerator datasheet 1.4", (
        box(0, 0, length, width, 0, height), box(-length / 2 - 15.0, 0, 30.0, 13.0, 0, 7.0)),
        tuple(_hole(CLAMP_SCREW, x, y) for x, y in CRADLE_SCREWS), "base")


def _hole(diameter: float, x: float = 0, y: float = 0) -> Shape:
    return rod(x, y, diameter, -THROUGH / 2, THROUGH / 2)
