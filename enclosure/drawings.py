"""Panel and base for a laser cutter: DXF and SVG, cuts and engraving on layers of their own."""

from pathlib import Path

from build123d import ExportDXF, ExportSVG, Face, Kind, Part, Plane, Unit, offset

from enclosure import base, panel
from enclosure.dimensions import Dimensions

CUT, ENGRAVE = "CUT", "ENGRAVE"
KERF_MM = 0.15  # what a laser burns away


def draw(dimensions: Dimensions, folder: Path, kerf_mm: float = KERF_MM) -> list[Path]:
    """panel.dxf, panel.svg, base.dxf, base.svg in mm, seen from above. Lines lie half the kerf outside what is kept."""
    middle = dimensions.sheet_mm / 2
    sheets = {"panel": (panel.sheet(dimensions), dimensions.panel_underside_mm + middle, panel.drawing()),
              "base": (base.base(dimensions), middle, None)}
    made = []
    for name, (sheet, z, engraving) in sheets.items():
        outline = contour(sheet, z, kerf_mm)
        for kind, exporter in (("dxf", _dxf()), ("svg", _svg())):
            exporter.add_shape(outline, layer=CUT)
            if engraving:
                exporter.add_shape(engraving.faces(), layer=ENGRAVE)
            made.append(folder / f"{name}.{kind}")
            exporter.write(str(made[-1]))
    return made


def contour(sheet: Part, z: float, kerf_mm: float) -> Face:
    """A sheet's outline at a height, on the plane, with half the kerf added to all that stays."""
    face = (sheet & Face.make_rect(1_000, 1_000, Plane.XY.offset(z))).faces()[0]
    flat = Plane.XY.offset(z).to_local_coords(face)
    grown: Face = offset(flat, kerf_mm / 2, kind=Kind.INTERSECTION).faces()[0]
    return grown


def _dxf() -> ExportDXF:
    exporter = ExportDXF(unit=Unit.MM)
    exporter.add_layer(CUT)
    exporter.add_layer(ENGRAVE)
    return exporter


def _svg() -> ExportSVG:
    exporter = ExportSVG(unit=Unit.MM)
    exporter.add_layer(CUT, line_weight=0.1)
    exporter.add_layer(ENGRAVE, line_weight=0.1)
    return exporter
