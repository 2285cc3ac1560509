"""The whole case: every part in its place, how often it is needed, and how it lies on a printer's bed."""

from dataclasses import dataclass
from functools import cache

from build123d import Location, Part, Pos, Rot

from device.panel.parts import KNOBS
from enclosure import base, body, caps, clamp, conflicts, feet, layout, panel, standoffs
from enclosure.dimensions import Dimensions
from enclosure.shapes import Shape

AS_IT_IS = Location()
UPSIDE_DOWN = Rot(180, 0, 0)


@dataclass(frozen=True)
class Made:
    """A part that is printed or cut: its solid around its own origin, where it goes in the case, how it is printed."""

    name: str
    solid: Part
    places: tuple[Location, ...] = (AS_IT_IS,)
    on_bed: Location = AS_IT_IS  # the turn that it is printed with
    lift: float = 0.0  # in the exploded picture, mm
    colour: str = "#d8d4c8"

    def in_place(self) -> list[Part]:
        return [place * self.solid for place in self.places]

    def printed(self) -> Part:
        """Standing on z = 0, in the middle of the bed."""
        turned = self.on_bed * self.solid
        low, high = turned.bounding_box().min, turned.bounding_box().max
        made: Part = Pos(-(low.X + high.X) / 2, -(low.Y + high.Y) / 2, -low.Z) * turned
        return made


@cache
def parts(dimensions: Dimensions) -> tuple[Made, ...]:
    """Raises TetradError where they do not go together."""
    conflicts.check(dimensions)
    found = layout.placed(dimensions)
    top, sheet = dimensions.height_mm, dimensions.sheet_mm
    pi_holes = [cut for cut in found[dimensions.board].cuts if cut.axis == 2]
    carrier_holes = found["carrier"].cuts
    tube = layout.BOARD_UNDERSIDE

    def cap(diameter: float, name: str, marked: bool = True) -> Part:
        """For the shaft of a part, which goes into it so far."""
        return caps.cap(dimensions, diameter, max(shape.high[2] for shape in found[name].shapes) - top - KNOB_GAP_MM,
                        marked)

    def knob_places(names: tuple[str, ...]) -> tuple[Location, ...]:
        return tuple(Pos(*layout.POTS[name], top + KNOB_GAP_MM) for name in names)

    pots = tuple(name for name in KNOBS if name not in ("x", "y"))
    corners = tuple(Pos(*layout.encoder_at(number), top + KNOB_GAP_MM) for number in range(4))
    return (
        Made("panel", panel.panel(dimensions), lift=125, colour="#30363c"),
        Made("body", body.body(dimensions), lift=55),
        Made("base", base.base(dimensions), colour="#30363c"),
        Made("knob_cap", cap(caps.KNOB, "pot_attack"), knob_places(pots), UPSIDE_DOWN, 150, "#e8e4da"),
        Made("blend_cap", cap(caps.BLEND, "pot_x"), knob_places(("x", "y")), UPSIDE_DOWN, 150, "#d0542c"),
        Made("encoder_cap", cap(caps.CORNER, "encoder0", False), corners, UPSIDE_DOWN, 150, "#8a9096"),
        Made("pi_standoff", standoffs.standoff(tube, PI_SCREW_MM), _above(pi_holes, sheet), lift=14),
        Made("carrier_standoff", standoffs.standoff(tube, panel.SCREW_MM), _above(carrier_holes, sheet), lift=14),
        Made("cradle", standoffs.cradle(dimensions, tube), (Pos(*layout.STICK, sheet),), lift=14),
        Made("clamp", clamp.clamp(), (Pos(*layout.OLED, dimensions.panel_underside_mm - CLAMP_DEPTH_MM),), lift=108),
        Made("foot", feet.foot(dimensions), tuple(Pos(x, y, 0) for x, y in layout.screws_below(dimensions)),
             UPSIDE_DOWN, -18),
    )


KNOB_GAP_MM = 3.0  # between panel and cap: the nut
PI_SCREW_MM = 2.9
CLAMP_DEPTH_MM = clamp.THICKNESS_MM + clamp.MODULE_THICKNESS_MM  # its feet do not quite reach the panel


def _above(holes: list[Shape] | tuple[Shape, ...], z: float) -> tuple[Location, ...]:
    return tuple(Pos(hole.middle[0], hole.middle[1], z) for hole in holes)
