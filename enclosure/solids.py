"""The parts as files: STL for a printer, each as it lies on the bed, and STEP for other CAD programs."""

from pathlib import Path

from build123d import Compound, export_step, export_stl

from enclosure.assembly import parts
from enclosure.dimensions import Dimensions

TOLERANCE_MM, ANGLE = 0.02, 0.1  # of the triangles from the true surface, and in radians


def write(dimensions: Dimensions, folder: Path) -> list[Path]:
    """<part>.stl, <part>.step, and tetrad.step, in which all stand in their places."""
    made = []
    for part in parts(dimensions):
        made += [folder / f"{part.name}.stl", folder / f"{part.name}.step"]
        export_stl(part.printed(), str(made[-2]), tolerance=TOLERANCE_MM, angular_tolerance=ANGLE)
        export_step(part.printed(), str(made[-1]))
    made.append(folder / "tetrad.step")
    export_step(Compound(children=[solid for part in parts(dimensions) for solid in part.in_place()]), str(made[-1]))
    return made
