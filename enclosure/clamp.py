"""The bar that holds the display against the panel: displays have their holes in as many places as there are makers."""

from build123d import Box, Cylinder, Part, Pos

from enclosure.components import CLAMP_SCREW, CLAMP_SCREWS, MODULE

WIDTH_MM, THICKNESS_MM = 8.0, 4.0
MODULE_THICKNESS_MM = 4.1
PRESS_MM = 0.2  # by which its feet are shorter than the module is thick


def clamp() -> Part:
    """As it lies: z = 0 is its back; its two feet are towards the panel, its middle presses on the module."""
    half = CLAMP_SCREWS + WIDTH_MM / 2
    made = Pos(0, 0, THICKNESS_MM / 2) * Box(2 * half, WIDTH_MM, THICKNESS_MM)
    foot = half - MODULE[0] / 2 - 0.5
    for side in (-1, 1):
        made += Pos(side * (half - foot / 2), 0, THICKNESS_MM + (MODULE_THICKNESS_MM - PRESS_MM) / 2) * Box(
            foot, WIDTH_MM, MODULE_THICKNESS_MM - PRESS_MM)
        made -= Pos(side * CLAMP_SCREWS, 0) * Cylinder(CLAMP_SCREW / 2, 40)
    result: Part = made
    return result
