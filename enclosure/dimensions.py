"""The case's measures, in mm, all of which may be given otherwise; everything else in the case follows from them."""

from dataclasses import dataclass, fields, replace
from typing import Any

from device.errors import TetradError

BED_MM = 220.0  # a printer's, square
SHEET_MM = (300.0, 200.0)  # a laser cutter's
LEAST_WALL_MM = 2.0
LEAST_LETTER_MM = 3.0
BOARDS = ("pi4", "pi5", "zero2w")


@dataclass(frozen=True)
class Dimensions:
    """Of the case. Raises TetradError where they cannot be."""

    board: str = "pi4"
    width_mm: float = 210.0
    depth_mm: float = 150.0
    height_mm: float = 50.0  # from the base's underside to the panel's top
    sheet_mm: float = 3.0  # panel and base
    wall_mm: float = 3.0
    corner_radius_mm: float = 8.0
    fit_mm: float = 0.2  # a side, between what goes into one another
    clearance_mm: float = 1.0  # around components
    engraving_mm: float = 0.6  # depth

    def __post_init__(self) -> None:
        if self.board not in BOARDS:
            raise TetradError(f"there is no board {self.board!r}: take one of {', '.join(BOARDS)}")
        least = {"width_mm": 60, "depth_mm": 60, "height_mm": 20, "sheet_mm": LEAST_WALL_MM, "wall_mm": LEAST_WALL_MM,
                 "fit_mm": 0, "corner_radius_mm": 1, "clearance_mm": 0, "engraving_mm": 0}
        for name, low in least.items():
            if not low <= (value := getattr(self, name)) < 1_000:
                raise TetradError(f"{name} is {value:g}, and has to be {low:g} mm at least and below 1000 mm")
        for name in ("width_mm", "depth_mm"):
            if (left := getattr(self, name) - 2 * self.wall_mm) <= 0:
                raise TetradError(f"the walls of {self.wall_mm:g} mm are {-left:g} mm thicker than the case's "
                                  f"{name[:-3]} of {getattr(self, name):g} mm has room for")
        if (left := self.height_mm - 2 * self.sheet_mm) <= 0:
            raise TetradError(f"panel and base of {self.sheet_mm:g} mm are {-left:g} mm thicker than the case's height "
                              f"of {self.height_mm:g} mm has room for")
        if (over := self.engraving_mm + LEAST_WALL_MM - self.sheet_mm) > 1e-9:
            raise TetradError(f"an engraving of {self.engraving_mm:g} mm leaves a panel of {self.sheet_mm:g} mm "
                              f"{over:g} mm short of {LEAST_WALL_MM:g} mm")

    @property
    def panel_underside_mm(self) -> float:
        return self.height_mm - self.sheet_mm

    @property
    def inner_width_mm(self) -> float:
        return self.width_mm - 2 * self.wall_mm

    @property
    def inner_depth_mm(self) -> float:
        return self.depth_mm - 2 * self.wall_mm


def changed(base: Dimensions, given: list[str]) -> Dimensions:
    """With what stands in `NAME=MM` each. Raises TetradError."""
    names = [entry.name for entry in fields(Dimensions)]
    values: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if name not in names or not equals:
            raise TetradError(f"{text!r} is no NAME=MM such as width_mm=220; the names are {', '.join(names)}")
        if name == "board":
            values[name] = value
            continue
        try:
            values[name] = float(value)
        except ValueError as error:
            raise TetradError(f"{name}: {value!r} is no number of mm") from error
    return replace(base, **values)
