"""Caps for shafts of 6 mm with a flat: a mark on top and side shows where a knob stands. Printed upside down."""

from build123d import Axis, Box, Cone, Cylinder, Part, Pos, chamfer

from enclosure.dimensions import Dimensions

SHAFT_MM = 6.0
FLAT_MM = 4.5  # from the flat to the other side
TIP_MM = 0.5  # between a shaft's end and the bottom of its bore
MARK_MM = 1.2
# Diameters: the blend's are the largest; the encoders' turn without end and have no mark.
KNOB, BLEND, CORNER = 17.0, 22.0, 14.0
ROOF_MM = 3.5  # above the bore


def cap(dimensions: Dimensions, diameter: float, shaft: float, marked: bool) -> Part:
    """Upright around the z axis, its underside at z = 0; `shaft` goes into it so far, its flat at the front."""
    depth = shaft + TIP_MM
    height = depth + ROOF_MM
    outside = Pos(0, 0, height / 2) * Cylinder(diameter / 2, height)
    outside = chamfer(outside.faces().sort_by(Axis.Z)[-1].edges(), 1.0)
    bore = SHAFT_MM + 2 * dimensions.fit_mm
    hollow = Pos(0, 0, depth / 2) * Cylinder(bore / 2, depth)
    flat = SHAFT_MM / 2 - FLAT_MM - dimensions.fit_mm  # y of the flat
    hollow = hollow - Pos(0, flat - SHAFT_MM, depth / 2) * Box(2 * SHAFT_MM, 2 * SHAFT_MM, depth)
    hollow = hollow + Pos(0, 0, 0.4) * Cone(bore / 2 + 0.8, bore / 2, 0.8)  # a first layer spreads
    made: Part = outside - hollow
    if marked:
        made = made - Pos(0, diameter / 2, height) * Box(MARK_MM, diameter, 2 * MARK_MM)
        made = made - Pos(0, diameter / 2, height / 2) * Box(MARK_MM, 2 * MARK_MM, 2 * height)
    return made
