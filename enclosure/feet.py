"""Feet: one under each of the base's screws, whose heads they hold."""

from build123d import Axis, Cone, Cylinder, Part, Pos, chamfer

from enclosure.dimensions import Dimensions
from enclosure.panel import SCREW_MM

DIAMETER_MM, HEIGHT_MM = 16.0, 6.0
HEAD_MM, HEAD_HEIGHT_MM = 6.4, 3.4  # of an M3, sunk


def foot(dimensions: Dimensions) -> Part:
    """Around the z axis, beneath z = 0."""
    made = Pos(0, 0, -HEIGHT_MM / 2) * Cylinder(DIAMETER_MM / 2, HEIGHT_MM)
    made = chamfer(made.faces().sort_by(Axis.Z)[0].edges(), 1.0)
    head = Pos(0, 0, -HEIGHT_MM + HEAD_HEIGHT_MM / 2) * Cylinder(HEAD_MM / 2, HEAD_HEIGHT_MM)
    cone = Pos(0, 0, -HEIGHT_MM + HEAD_HEIGHT_MM + 0.75) * Cone(HEAD_MM / 2, SCREW_MM / 2, 1.5)  # no bridge to print
    result: Part = made - head - cone - Cylinder(SCREW_MM / 2, 4 * HEIGHT_MM)
    return result
