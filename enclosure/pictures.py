"""Pictures of the case: assembled, exploded, and its panel from above. Drawn without a screen."""

import os
import tempfile
from pathlib import Path

if "DISPLAY" not in os.environ:  # else VTK looks for a screen first, and complains
    os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")

import pyvista as pv
from build123d import Part, Plane, Pos, export_stl, extrude

from enclosure.assembly import parts
from enclosure.dimensions import Dimensions
from enclosure.layout import placed
from enclosure.panel import drawing

SIZE = (1600, 1200)
CLOSE_UP = 0.95  # PyVista leaves a sphere round the scene; a case is flat, and drawn apart it is not
EDGE_DEGREES = 25.0  # between two faces, for their edge to be drawn
PAINT, PAINT_MM = "#f2efe6", 0.05  # in the engraving, a little below the panel's surface
COLOURS = {"oled": "#16324a", "led": "#7bd650", "shutdown": "#a8322a", "carrier": "#2b6a9b", "coral": "#f4f4f0",
           "midi_in": "#2c2c2c", "midi_out": "#2c2c2c", "line_out": "#2c2c2c"}
BOARD, METAL = "#3f8a4c", "#a9afb5"
LIFTS = {"panel": 125.0, "body": 62.0, "base": 26.0}  # of what is held by these, in mm, where the case is drawn apart


def draw(dimensions: Dimensions, folder: Path) -> list[Path]:
    """PNG files; their paths."""
    views = {"assembled": (0.0, (-0.75, -1.25, 1.1)), "exploded": (1.0, (-0.75, -1.35, 0.62)),
             "rear": (0.0, (-0.9, 1.25, 0.8)), "panel": (0.0, (0.0, 0.0, 1.0))}
    for name, (apart, seen_from) in views.items():
        _scene(dimensions, apart, seen_from, folder / f"{name}.png")
    _inside(dimensions, folder / "inside.png")
    return [folder / f"{name}.png" for name in (*views, "inside")]


def _scene(dimensions: Dimensions, apart: float, seen_from: tuple[float, float, float], file: Path) -> None:
    plotter = _plotter()
    for part in parts(dimensions):
        for solid in part.in_place():
            _add(plotter, solid, part.colour, part.lift * apart)
    paint = extrude(Plane.XY.offset(dimensions.height_mm - PAINT_MM) * drawing(), PAINT_MM / 2)
    _add(plotter, paint, PAINT, LIFTS["panel"] * apart, edges=False)
    for name, component in placed(dimensions).items():
        if component.shapes:
            held_by = component.held_by.split()[0]
            _add(plotter, component.solid(), _colour(name, dimensions), LIFTS[held_by] * apart)
    _shoot(plotter, seen_from, file)


def _inside(dimensions: Dimensions, file: Path) -> None:
    """The base with its boards."""
    plotter = _plotter()
    for part in parts(dimensions):
        if part.name in ("base", "pi_standoff", "carrier_standoff", "cradle", "foot"):
            for solid in part.in_place():
                _add(plotter, solid, "#d8d4c8", 0)
    for name, component in placed(dimensions).items():
        if component.shapes and "base" in component.held_by:
            _add(plotter, component.solid(), _colour(name, dimensions), 0)
    _shoot(plotter, (-0.6, -1.1, 1.2), file)


def _colour(name: str, dimensions: Dimensions) -> str:
    return BOARD if name == dimensions.board else COLOURS.get(name, METAL)


def _plotter() -> pv.Plotter:
    plotter = pv.Plotter(off_screen=True, window_size=SIZE, lighting="three lights")
    plotter.set_background("white")
    return plotter


def _shoot(plotter: pv.Plotter, seen_from: tuple[float, float, float], file: Path) -> None:
    plotter.camera_position = "xy" if seen_from[:2] == (0.0, 0.0) else [seen_from, (0, 0, 0), (0, 0, 1)]
    plotter.enable_parallel_projection()
    plotter.reset_camera()
    plotter.camera.zoom(CLOSE_UP)
    plotter.enable_anti_aliasing("ssaa")
    plotter.screenshot(str(file))
    plotter.close()


def _add(plotter: pv.Plotter, solid: Part, colour: str, lift: float, edges: bool = True) -> None:
    mesh = _mesh(Pos(0, 0, lift) * solid)
    plotter.add_mesh(mesh, color=colour, smooth_shading=True, split_sharp_edges=True, feature_angle=EDGE_DEGREES,
                     specular=0.1)
    lines = mesh.extract_feature_edges(EDGE_DEGREES, boundary_edges=False, manifold_edges=False,
                                       non_manifold_edges=False)
    if edges and lines.n_points:
        plotter.add_mesh(lines, color="#202428", line_width=1.5)


def _mesh(solid: Part) -> pv.PolyData:
    with tempfile.TemporaryDirectory() as folder:
        export_stl(solid, f"{folder}/part.stl", tolerance=0.05)
        mesh: pv.PolyData = pv.read(f"{folder}/part.stl")
    return mesh.clean()
