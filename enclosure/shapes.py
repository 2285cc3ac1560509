"""Outlines of things that are bought: boxes and cylinders along the axes, in mm; solids on demand.

The case's coordinates: x to the right, y to the back, z upwards; the middle of the case is x = y = 0, and z = 0 is the
underside of its base.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # takes seconds to load
    from build123d import Part

Vector = tuple[float, float, float]

# Turns by quarters: what x, y and z of a thing become. Things of a panel and of boards are described as they lie, those
# of a wall as if it lay, seen from outside, with its upper edge at the back.
AS_IT_LIES = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
HALF_ROUND = ((-1, 0, 0), (0, -1, 0), (0, 0, 1))
QUARTER_ROUND = ((0, -1, 0), (1, 0, 0), (0, 0, 1))  # anticlockwise, from above
IN_REAR_WALL = ((-1, 0, 0), (0, 0, 1), (0, 1, 0))
IN_LEFT_WALL = ((0, 0, -1), (-1, 0, 0), (0, 1, 0))


@dataclass(frozen=True)
class Shape:
    """A box, or a cylinder along an axis that just fits into it."""

    low: Vector
    high: Vector
    axis: int | None = None  # of a cylinder: 0, 1, 2

    def moved(self, turn: tuple[Vector, Vector, Vector], to: Vector) -> "Shape":
        """Turned about the origin by a row of above, then moved by `to`."""
        matrix = np.array(turn)
        one, other = matrix @ np.array(self.low), matrix @ np.array(self.high)
        axis = None if self.axis is None else int(np.flatnonzero(matrix[:, self.axis])[0])
        return Shape(_vector(np.minimum(one, other) + to), _vector(np.maximum(one, other) + to), axis)

    def grown(self, by: float) -> "Shape":
        """Larger on all sides."""
        return replace(self, low=_vector(np.array(self.low) - by), high=_vector(np.array(self.high) + by))

    def overlap_mm(self, other: "Shape") -> float:
        """How far one would have to move along an axis to be clear of the other; 0 or less where they are. Cylinders
        along one axis are taken for the circles that they are, others for their boxes."""
        deep = np.minimum(self.high, other.high) - np.maximum(self.low, other.low)
        if self.axis is not None and self.axis == other.axis:
            across = [axis for axis in range(3) if axis != self.axis]
            away = (np.array(self.middle) - other.middle)[across]
            deep = np.array([self.radius + other.radius - float(np.hypot(*away)), deep[self.axis]])
        return float(deep.min())

    @property
    def middle(self) -> Vector:
        return _vector((np.array(self.low) + self.high) / 2)

    @property
    def radius(self) -> float:
        """Of a cylinder."""
        return min(high - low for axis, (low, high) in enumerate(zip(self.low, self.high, strict=True))
                   if axis != self.axis) / 2

    def solid(self) -> "Part":
        from build123d import Box, Cylinder, Pos, Rot

        size = [high - low for low, high in zip(self.low, self.high, strict=True)]
        if self.axis is None:
            made = Box(*size)
        else:
            made = (Rot(0, 90, 0), Rot(90, 0, 0), Rot())[self.axis] * Cylinder(self.radius, size[self.axis])
        return Pos(*self.middle) * made


def box(x: float, y: float, width: float, depth: float, z: float, top: float) -> Shape:
    """Around x, y, from z up to top."""
    return Shape((x - width / 2, y - depth / 2, z), (x + width / 2, y + depth / 2, top))


def rod(x: float, y: float, diameter: float, z: float, top: float) -> Shape:
    """An upright cylinder around x, y, from z up to top."""
    return replace(box(x, y, diameter, diameter, z, top), axis=2)


@dataclass(frozen=True)
class Component:
    """A thing that is bought: what it fills, and what must be cut out for it from the part that holds it."""

    name: str
    reference: str  # the datasheet that the outline is from
    shapes: tuple[Shape, ...]
    cuts: tuple[Shape, ...] = ()
    held_by: str = "panel"  # or body, base

    def moved(self, turn: tuple[Vector, Vector, Vector], to: Vector) -> "Component":
        return replace(self, shapes=tuple(shape.moved(turn, to) for shape in self.shapes),
                       cuts=tuple(cut.moved(turn, to) for cut in self.cuts))

    def overlap_mm(self, other: "Component", clearance_mm: float = 0) -> float:
        """As of shapes: of that pair which overlaps most, with `clearance_mm` between them."""
        return max(one.grown(clearance_mm / 2).overlap_mm(two.grown(clearance_mm / 2))
                   for one in self.shapes for two in other.shapes)

    def solid(self) -> "Part":
        return fused(self.shapes)


def fused(shapes: Iterable[Shape]) -> "Part":
    """One solid of all."""
    first, *others = (shape.solid() for shape in shapes)
    return first.fuse(*others) if others else first


def cut(part: "Part", shapes: Iterable[Shape]) -> "Part":
    """Without them."""
    made: Part = part.cut(*(shape.solid() for shape in shapes))
    return made


def _vector(array: np.ndarray) -> Vector:
    x, y, z = (float(value) for value in array)
    return x, y, z
