"""The body: four walls with posts for the screws of panel and base, openings for plugs and slots for air. Printed as it
stands, without supports."""

from build123d import Part, Plane, Pos, Rectangle, RectangleRounded, Sketch, extrude, loft

from enclosure.dimensions import Dimensions
from enclosure.layout import POST, hung_post, placed, posts, screws, screws_below
from enclosure.shapes import Shape, box, cut, rod

INSERT_MM = 4.0  # hole for a brass insert M3 x 5.7, melted in
INSERT_DEPTH_MM = 7.0
SLOT_WIDTH_MM, SLOT_PITCH_MM, SLOTS = 3.0, 7.0, 7  # slots for air in the walls at the sides
SLOT_FROM_EDGE_MM = 10.0


def body(dimensions: Dimensions) -> Part:
    """In its place in the case."""
    low, high = dimensions.sheet_mm, dimensions.panel_underside_mm
    outside = extrude(Pos(0, 0, low) * _outline(dimensions, 0), high - low)
    inside = extrude(Pos(0, 0, low) * _outline(dimensions, dimensions.wall_mm), high - low)
    posts = [post & outside for post in _posts(dimensions)]
    holes = [shape for found in placed(dimensions).values() if "body" in found.held_by for shape in found.cuts]
    holes += [rod(x, y, INSERT_MM, high - INSERT_DEPTH_MM, high + 1) for x, y in screws(dimensions)]
    holes += [rod(x, y, INSERT_MM, low - 1, low + INSERT_DEPTH_MM) for x, y in screws_below(dimensions)]
    return cut((outside - inside).fuse(*posts), [*holes, *_slots(dimensions)])


def _outline(dimensions: Dimensions, within: float) -> Sketch:
    """The case's from above, or what is `within` mm behind it."""
    return RectangleRounded(dimensions.width_mm - 2 * within, dimensions.depth_mm - 2 * within,
                            max(dimensions.corner_radius_mm - within, 0.5))


def _posts(dimensions: Dimensions) -> list[Part]:
    made = [post.solid() for post in [*posts(dimensions).values(), *hung_post(dimensions).values()]]
    for post in hung_post(dimensions).values():
        corner = (post.low[0], post.high[1])
        made.append(loft([Plane.XY.offset(post.low[2]) * Pos(*post.middle[:2]) * Rectangle(POST, POST),
                          Plane.XY.offset(post.low[2] - POST) * Pos(*corner) * Rectangle(1, 1)]))
    return made


def _slots(dimensions: Dimensions) -> list[Shape]:
    """In the right wall from front to back, and in the front half of the left one."""
    x = dimensions.width_mm / 2
    low, high = dimensions.sheet_mm + SLOT_FROM_EDGE_MM, dimensions.panel_underside_mm - SLOT_FROM_EDGE_MM
    steps = [(number - (SLOTS - 1) / 2) * SLOT_PITCH_MM for number in range(SLOTS)]
    front = -dimensions.depth_mm / 4
    return ([box(x, step, 4 * dimensions.wall_mm, SLOT_WIDTH_MM, low, high) for step in steps]
            + [box(-x, front + step, 4 * dimensions.wall_mm, SLOT_WIDTH_MM, low, high) for step in steps])
