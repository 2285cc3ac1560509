"""The top panel: a sheet with a hole for everything that sits in it, and words engraved. Cut by laser, or printed."""

from build123d import FontStyle, Part, Plane, Pos, Rectangle, RectangleRounded, Sketch, Text, extrude

from enclosure.dimensions import Dimensions
from enclosure.fonts import CAPITAL, FONT
from enclosure.layout import PAD, PAD_SIDE, Label, labels, placed, screws
from enclosure.shapes import cut, rod

LINE_MM = 0.8  # of the pad's drawing: two tracks of a printer
SCREW_MM = 3.4  # M3, free


def panel(dimensions: Dimensions) -> Part:
    """In its place in the case; the engraving is cut into it."""
    engraving = extrude(Plane.XY.offset(dimensions.height_mm - dimensions.engraving_mm) * drawing(),
                        dimensions.engraving_mm + 1)
    made: Part = sheet(dimensions) - engraving
    return made


def sheet(dimensions: Dimensions) -> Part:
    """Without its engraving."""
    plate = extrude(Pos(0, 0, dimensions.panel_underside_mm)
                    * RectangleRounded(dimensions.width_mm, dimensions.depth_mm, dimensions.corner_radius_mm),
                    dimensions.sheet_mm)
    holes = [shape for found in placed(dimensions).values() if "panel" in found.held_by for shape in found.cuts]
    holes += [rod(x, y, SCREW_MM, 0, 2 * dimensions.height_mm) for x, y in screws(dimensions)]
    return cut(plate, holes)


def drawing() -> Sketch:
    """All that is engraved: the pad with its axes, and the words."""
    side, thin = PAD_SIDE, LINE_MM
    pad = Rectangle(side, side) - Rectangle(side - 2 * thin, side - 2 * thin)
    pad = pad + Rectangle(side, thin) + Rectangle(thin, side)
    made: Sketch = Pos(*PAD) * pad + [word(label) for label in labels()]
    return made


def word(label: Label) -> Sketch:
    text = Text(label.text, font_size=label.height / CAPITAL, font_path=str(FONT), font_style=FontStyle.BOLD)
    made: Sketch = Pos(label.x, label.y) * text
    return made
