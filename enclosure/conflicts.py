"""What cannot be built is refused before anything is drawn, with the two things that are in each other's way."""

from itertools import combinations

from device.errors import TetradError
from enclosure.dimensions import LEAST_LETTER_MM, LEAST_WALL_MM, SHEET_MM, Dimensions
from enclosure.layout import Label, hung_post, labels, placed, posts, screws
from enclosure.shapes import Component, Shape, box, rod

NUT_ROOM_MM = 7.0  # diameter that a screw's head takes
LETTER_WIDTH = 0.85  # of a capital's height, at most on average


def check(dimensions: Dimensions) -> None:
    """Raises TetradError that names two things and by how many mm they are in conflict."""
    found = placed(dimensions)
    for one, other in combinations(found.values(), 2):
        if one.shapes and other.shapes:
            _apart(one.name, other.name, one.overlap_mm(other), dimensions.clearance_mm)
    for component in found.values():
        _inside(component, dimensions)
        for name, post in [*posts(dimensions).items(), *hung_post(dimensions).items()]:
            if component.shapes:
                _apart(component.name, name, max(shape.overlap_mm(post) for shape in component.shapes), 0.5)
    _check_panel(dimensions, found)
    _check_sheet(dimensions)


def _apart(one: str, other: str, overlap: float, clearance: float) -> None:
    if overlap > 0.005:
        raise TetradError(f"{one} and {other} overlap by {overlap:.1f} mm")
    if overlap + clearance > 0.005:
        raise TetradError(f"{one} and {other} are {-overlap:.1f} mm apart, {overlap + clearance:.1f} mm too near")


def _inside(component: Component, dimensions: Dimensions) -> None:
    """Between the walls, but for what goes through them."""
    limits = {"left wall": (0, -1, dimensions.inner_width_mm / 2), "right wall": (0, 1, dimensions.inner_width_mm / 2),
              "front wall": (1, -1, dimensions.inner_depth_mm / 2), "rear wall": (1, 1, dimensions.inner_depth_mm / 2),
              "base": (2, -1, -dimensions.sheet_mm), "panel": (2, 1, dimensions.panel_underside_mm)}
    own = {"panel": ("panel",), "body": ("left wall", "rear wall")}.get(component.held_by, ())
    for name, (axis, side, limit) in limits.items():
        if name in own or (component.held_by == "panel" and name != "base" and axis == 2):
            continue
        for shape in component.shapes:
            reach = shape.high[axis] if side > 0 else -shape.low[axis]
            if component.held_by == "panel" and shape.low[2] >= dimensions.panel_underside_mm - 0.01:
                continue  # above the panel
            _apart(component.name, f"the {name}", reach - limit, 0.0)


def _check_panel(dimensions: Dimensions, found: dict[str, Component]) -> None:
    """Holes leave walls between them, and letters stand where nothing else is."""
    top = dimensions.height_mm
    holes = [(component.name, cut) for component in found.values() if component.held_by == "panel"
             for cut in component.cuts]
    holes += [(f"panel screw {n + 1}", rod(x, y, NUT_ROOM_MM, 0, top)) for n, (x, y) in enumerate(screws(dimensions))]
    for (name, hole), (other, another) in combinations(holes, 2):
        _apart(f"the hole of {name}", f"that of {other}", hole.overlap_mm(another), LEAST_WALL_MM)
    for name, hole in holes:
        for axis, half in ((0, dimensions.width_mm / 2), (1, dimensions.depth_mm / 2)):
            reach = max(hole.high[axis], -hole.low[axis])
            _apart(f"the hole of {name}", "the panel's edge", reach - half, LEAST_WALL_MM)
    words = [(f"the label {label.text}", extent(label, top)) for label in labels()]
    for name, word in words:
        for axis, half in ((0, dimensions.width_mm / 2), (1, dimensions.depth_mm / 2)):
            _apart(name, "the panel's edge", max(word.high[axis], -word.low[axis]) - half, 1.0)
        for hole_name, hole in holes:
            _apart(name, f"the hole of {hole_name}", word.overlap_mm(hole), 0.5)
    for (name, word), (other, another) in combinations(words, 2):
        _apart(name, other, word.overlap_mm(another), 0.5)
    for label in labels():
        if label.height < LEAST_LETTER_MM:
            raise TetradError(f"the label {label.text} is {label.height:g} mm high, and a letter that can be read "
                              f"{LEAST_LETTER_MM - label.height:g} mm more")


def extent(label: Label, top: float) -> Shape:
    """A label's, a little larger than its letters."""
    return box(label.x, label.y, LETTER_WIDTH * label.height * len(label.text), label.height, 0, top)


def _check_sheet(dimensions: Dimensions) -> None:
    for name, size, limit in zip(("width", "depth"), (dimensions.width_mm, dimensions.depth_mm), SHEET_MM, strict=True):
        if size > limit:
            raise TetradError(f"the case's {name} of {size:g} mm and a laser sheet's of {limit:g} mm: "
                              f"{size - limit:g} mm too much")
