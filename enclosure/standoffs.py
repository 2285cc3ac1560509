"""What boards stand on: tubes for M2.5 and M3 screws, and the cradle of the Coral stick, which gets air from below."""

from build123d import Box, Cylinder, Part, Pos

from enclosure.components import CLAMP_SCREW, CRADLE_SCREWS, STICK
from enclosure.dimensions import Dimensions

WALL_MM = 2.2
SHELF_MM = 3.0  # how far the stick lies on each corner
PLUG_MM = 16.0  # of a USB-C cable's plug, with fingers' room
EAR_MM = 7.0
RIM_MM = 4.0  # how high the cradle goes beside it


def standoff(height: float, screw: float) -> Part:
    """Around the z axis, from z = 0 up; `screw` is what goes through it."""
    made: Part = Pos(0, 0, height / 2) * (Cylinder(screw / 2 + WALL_MM, height) - Cylinder(screw / 2, height))
    return made


def cradle(dimensions: Dimensions, height: float) -> Part:
    """A frame on four legs, around the z axis; the stick lies in it, `height` above z = 0, and is tied down."""
    length, width = (side + 2 * dimensions.fit_mm for side in STICK[:2])
    outer = Pos(0, 0, (height + RIM_MM) / 2) * Box(length + 2 * WALL_MM, width + 2 * WALL_MM, height + RIM_MM)
    made = outer - Pos(0, 0, height + RIM_MM) * Box(length, width, 2 * RIM_MM)
    made -= Pos(0, 0, height / 2) * Box(length - 2 * SHELF_MM, width - 2 * SHELF_MM, 2 * height)
    made -= Pos(0, 0, (height - WALL_MM) / 2) * Box(length - 6 * SHELF_MM, 2 * width, height - WALL_MM)  # air
    made -= Pos(-length / 2, 0, height + RIM_MM) * Box(length / 2, PLUG_MM, 2 * RIM_MM + 2 * SHELF_MM)
    for x, y in CRADLE_SCREWS:
        ear = Pos(x, y, WALL_MM / 2) * Box(EAR_MM, EAR_MM, WALL_MM)
        made = made + ear - Pos(x, y, 0) * Cylinder(CLAMP_SCREW / 2, 4 * WALL_MM)
    result: Part = made
    return result
