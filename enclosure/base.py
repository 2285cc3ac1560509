"""The base: a sheet on which the boards stand, with slots for air beneath them. Cut by laser, or printed."""

from build123d import Part, RectangleRounded, extrude

from enclosure.dimensions import Dimensions
from enclosure.layout import VENTS, placed, screws_below
from enclosure.panel import SCREW_MM
from enclosure.shapes import box, cut, rod

SLOT_MM, PITCH_MM = 3.0, 6.0


def base(dimensions: Dimensions) -> Part:
    """In its place in the case."""
    plate = extrude(RectangleRounded(dimensions.width_mm, dimensions.depth_mm, dimensions.corner_radius_mm),
                    dimensions.sheet_mm)
    holes = [shape for found in placed(dimensions).values() if "base" in found.held_by for shape in found.cuts]
    holes += [rod(x, y, SCREW_MM, -1, dimensions.sheet_mm + 1) for x, y in screws_below(dimensions)]
    for x, y, width, depth in VENTS:
        count = int(width / PITCH_MM)
        holes += [box(x + (number - (count - 1) / 2) * PITCH_MM, y, SLOT_MM, depth, -1, dimensions.sheet_mm + 1)
                  for number in range(count)]
    return cut(plate, holes)
