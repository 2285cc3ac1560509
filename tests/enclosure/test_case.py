"""The case, measured on its solids: what is not to touch does not, holes line up, a printer and a laser can make it."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import ezdxf
import numpy as np
import pytest
import trimesh
from build123d import Part
from ezdxf import edgeminer, edgesmith

from device.errors import TetradError
from device.panel.parts import PARTS
from enclosure import assembly, drawings, layout, panel, solids
from enclosure.conflicts import check
from enclosure.dimensions import BED_MM, BOARDS, LEAST_LETTER_MM, LEAST_WALL_MM, SHEET_MM, Dimensions, changed
from enclosure.harness import in_panel
from enclosure.shapes import Shape, fused, rod

TOUCH_MM3 = 0.5  # of faces that lie on one another
KERF_MM = 0.2


@pytest.fixture(scope="module", params=BOARDS)
def dimensions(request) -> Dimensions:
    return Dimensions(board=request.param)


@pytest.fixture(scope="module")
def made(dimensions) -> dict[str, assembly.Made]:
    return smooth(dimensions)


def smooth(dimensions: Dimensions) -> dict[str, assembly.Made]:
    """All parts, the panel without its engraving, which takes away and makes every comparison slow."""
    found = {part.name: part for part in assembly.parts(dimensions)}
    return found | {"panel": replace(found["panel"], solid=panel.sheet(dimensions))}


def common_mm3(one: Part, other: Part) -> float:
    """The volume that two solids share; at once where their boxes do not meet."""
    first, second = one.bounding_box(), other.bounding_box()
    if any(getattr(first.max, axis) < getattr(second.min, axis) or getattr(second.max, axis) < getattr(first.min, axis)
           for axis in "XYZ"):
        return 0.0
    shared = one.intersect(other)
    return sum(found.volume for found in shared.solids()) if shared else 0.0


def test_nothing_is_where_something_else_is(dimensions, made):
    printed = [(f"{part.name} {n}", solid) for part in made.values() for n, solid in enumerate(part.in_place())]
    bought = [(name, part.solid()) for name, part in layout.placed(dimensions).items() if part.shapes]
    pairs = [*combinations(printed, 2), *((a, b) for a in printed for b in bought)]
    shared = [(name, other) for (name, one), (other, two) in pairs if common_mm3(one, two) > TOUCH_MM3]
    assert [pair for pair in shared if not is_cap_on_shaft(*pair)] == []


def is_cap_on_shaft(cap: str, component: str) -> bool:
    """A cap's bore has a flat, which the outlines of shafts have not."""
    return "cap" in cap and component.startswith(("pot_", "encoder"))


def test_components_keep_their_distance(dimensions):
    found = [(name, part) for name, part in layout.placed(dimensions).items() if part.shapes]
    for (name, one), (other, two) in combinations(found, 2):
        assert one.overlap_mm(two) <= -dimensions.clearance_mm, (name, other)
        assert common_mm3(one.solid(), two.solid()) == 0, (name, other)
    check(dimensions)


def test_all_that_is_wired_to_the_board_has_a_place(dimensions):
    assert {part.name for part in in_panel()} <= layout.placed(dimensions).keys()


def gauge(x: float, y: float, diameter: float, z: float, top: float) -> Part:
    return rod(x, y, diameter, z, top).solid()


def test_screws_go_through_panel_body_base_and_feet_into_their_posts(dimensions, made):
    top, under, sheet = dimensions.height_mm, dimensions.panel_underside_mm, dimensions.sheet_mm
    body = made["body"].solid
    for x, y in layout.screws(dimensions):
        assert common_mm3(gauge(x, y, 3.2, under - 1, top + 1), made["panel"].solid) == 0
        assert common_mm3(gauge(x, y, 3.9, under - 6.5, under), body) == 0  # the insert's hole
        assert common_mm3(gauge(x, y, 8.0, under - 6.5, under), body) > 6.4 * np.pi * (16 - 4.1)  # 2 mm round it
    for x, y in layout.screws_below(dimensions):
        for part in ("base", "foot"):
            assert all(common_mm3(gauge(x, y, 3.2, -20, sheet), solid) == 0 for solid in made[part].in_place())
        assert common_mm3(gauge(x, y, 3.9, sheet, sheet + 6.5), body) == 0
        assert common_mm3(gauge(x, y, 8.0, sheet, sheet + 6.5), body) > 6.4 * np.pi * (16 - 4.1)


def test_boards_screws_go_through_board_standoff_and_base(dimensions, made):
    for board, standoff, screw in ((dimensions.board, "pi_standoff", 2.5), ("carrier", "carrier_standoff", 3.0)):
        holes = [cut for cut in layout.placed(dimensions)[board].cuts if cut.axis == 2]
        assert len(holes) == len(made[standoff].places) == 4
        for hole in holes:
            pin = gauge(*hole.middle[:2], screw, -5, 30)
            assert common_mm3(pin, made["base"].solid) == 0
            assert all(common_mm3(pin, solid) == 0 for solid in made[standoff].in_place())


def test_everything_of_the_panel_sits_in_a_hole_of_its_own(dimensions, made):
    """The panel is there around each bushing, and nowhere in it."""
    sheet = made["panel"].solid
    for name, part in layout.placed(dimensions).items():
        if part.held_by != "panel":
            continue
        through = [shape for shape in part.shapes if shape.low[2] < dimensions.height_mm - 0.5
                   and shape.high[2] > dimensions.panel_underside_mm + 0.5 and name != "oled"]
        for shape in through:
            x, y, _ = shape.middle
            ring = gauge(x, y, 2 * shape.radius + 3, dimensions.panel_underside_mm, dimensions.height_mm)
            assert common_mm3(shape.solid(), sheet) == 0, name
            assert common_mm3(ring, sheet) > 0.5 * (ring.volume - np.pi * shape.radius**2 * dimensions.sheet_mm), name
        assert through or name == "oled"


def test_plugs_go_through_the_walls(dimensions, made):
    body = made["body"].solid
    ways = [(name, cut) for name, part in layout.placed(dimensions).items() if "body" in part.held_by
            for cut in part.cuts if cut.axis != 2]
    assert len(ways) >= 4 + 2
    for name, cut in ways:
        assert common_mm3(cut.grown(-0.05).solid(), body) == 0, name
        assert common_mm3(cut.grown(2.0).solid(), body) > 10, name  # a wall is around it


def test_every_part_is_one_whole_solid_for_the_bed(dimensions, made, tmp_path):
    files = solids.write(dimensions, tmp_path)
    assert {path.stem for path in files} == {*made, "tetrad"}
    for part in made.values():
        mesh = trimesh.load_mesh(tmp_path / f"{part.name}.stl")
        assert mesh.is_watertight
        assert mesh.is_winding_consistent
        assert mesh.is_volume
        assert len(mesh.split()) == 1
        assert mesh.volume == pytest.approx(part.solid.volume, rel=0.01)
        assert mesh.bounds[0][2] == pytest.approx(0, abs=1e-3)
        assert (mesh.extents[:2] <= BED_MM).all()
        # it stands: a part of it lies on the bed, under its middle
        flat = mesh.triangles_center[:, 2] < 0.01
        assert mesh.area_faces[flat].sum() > 10
        assert (tmp_path / f"{part.name}.step").read_text().startswith("ISO-10303-21")


def test_walls_are_two_millimetres_thick(dimensions, made):
    """From points of every face straight through the part to the face behind it."""
    for name in ("panel", "body", "base", "foot", "clamp", "cradle", "pi_standoff", "carrier_standoff", "knob_cap"):
        mesh = mesh_of(made[name].solid)
        points, faces = trimesh.sample.sample_surface_even(mesh, 1_500, seed=1)
        normals = mesh.face_normals[faces]
        inward = points - 1e-3 * normals
        hits, rays, behind = mesh.ray.intersects_location(inward, -normals, multiple_hits=False)
        facing = np.einsum("ij,ij->i", mesh.face_normals[behind], normals[rays]) < -0.9  # not an edge that is broken
        thick = np.linalg.norm(hits - inward[rays], axis=1)[facing]
        assert thick.min() > LEAST_WALL_MM - 0.05, name
        assert len(thick) > 300


def mesh_of(solid: Part) -> trimesh.Trimesh:
    corners, triangles = solid.tessellate(0.05)
    return trimesh.Trimesh([tuple(corner) for corner in corners], triangles)


def test_the_drawings_are_closed_and_as_large_as_the_sheet(dimensions, tmp_path):
    for path in drawings.draw(dimensions, tmp_path, KERF_MM):
        if path.suffix == ".svg":
            assert path.read_text().count("<svg") == 1
            continue
        drawing = ezdxf.readfile(path)
        assert drawing.audit().errors == []
        assert drawing.units == ezdxf.units.MM
        loops = {layer: closed_loops(drawing, layer) for layer in (drawings.CUT, drawings.ENGRAVE)}
        size = [max(point[axis] for loop in loops[drawings.CUT] for point in loop)
                - min(point[axis] for loop in loops[drawings.CUT] for point in loop) for axis in (0, 1)]
        assert size == pytest.approx([dimensions.width_mm + KERF_MM, dimensions.depth_mm + KERF_MM], abs=0.01)
        assert size[0] <= SHEET_MM[0]
        assert size[1] <= SHEET_MM[1]
        assert bool(loops[drawings.ENGRAVE]) == (path.stem == "panel")


def closed_loops(drawing, layer: str) -> list[list[tuple[float, float]]]:
    """Of a layer, every edge of which belongs to one; circles as points on them."""
    entities = list(drawing.modelspace().query(f'*[layer=="{layer}"]'))
    circles = [entity for entity in entities if entity.dxftype() == "CIRCLE"]
    edges = list(edgesmith.edges_from_entities_2d([entity for entity in entities if entity not in circles]))
    loops = edgeminer.find_all_loops(edgeminer.Deposit(edges)) if edges else []
    assert sum(map(len, loops)) == len(edges)
    return [[(edge.start.x, edge.start.y) for edge in loop] for loop in loops] + [
        [(circle.dxf.center.x + side * circle.dxf.radius, circle.dxf.center.y + side * circle.dxf.radius)
         for side in (-1, 1)] for circle in circles]


def test_a_laser_leaves_holes_of_the_right_size(tmp_path):
    """Cut lines of holes are smaller by the kerf, of the outline larger."""
    with_kerf, without = ([entity.dxf.radius for entity in circles(tmp_path, kerf_mm)] for kerf_mm in (KERF_MM, 0.0))
    assert np.subtract(sorted(without), sorted(with_kerf)) == pytest.approx(KERF_MM / 2)


def circles(folder: Path, kerf_mm: float) -> list:
    drawings.draw(Dimensions(), folder, kerf_mm)
    return list(ezdxf.readfile(folder / "base.dxf").modelspace().query("CIRCLE"))


def test_words_are_within_the_panel_clear_of_holes_and_large_enough(dimensions):
    names = {label.text for label in layout.labels()}
    assert {part.name.removeprefix("pot_").upper() for part in PARTS if part.name.startswith("pot_")} <= names
    letters = panel.drawing()
    sheet = panel.sheet(dimensions).bounding_box()
    for label in layout.labels():
        box = panel.word(label).bounding_box()
        assert box.size.Y >= LEAST_LETTER_MM
        assert sheet.min.X + 2 < box.min.X
        assert box.max.X < sheet.max.X - 2
        assert sheet.min.Y + 2 < box.min.Y
        assert box.max.Y < sheet.max.Y - 2
    engraved = panel.sheet(dimensions).volume - panel.panel(dimensions).volume
    assert engraved == pytest.approx(letters.area * dimensions.engraving_mm, rel=1e-3)  # no letter lies in a hole


@pytest.mark.parametrize(("name", "moved"), [
    ("SCREW_FROM_EDGE", 11.0), ("OLED", (-60.0, 42.0)), ("CARRIER", (6.0, -18.0)), ("STICK", (52.0, -46.0)),
    ("SOCKET_HEIGHT", 27.0)])
def test_a_hole_that_is_elsewhere_is_found(monkeypatch, name, moved):
    """Parts that were made before something moved by 2 mm do not fit what it has become."""
    before = smooth(Dimensions())
    monkeypatch.setattr(layout, name, moved)
    checks = (test_screws_go_through_panel_body_base_and_feet_into_their_posts, test_plugs_go_through_the_walls,
              test_boards_screws_go_through_board_standoff_and_base, test_nothing_is_where_something_else_is)

    def finds(this) -> bool:
        try:
            this(Dimensions(), before)
        except AssertionError:
            return True
        return False

    assert any(map(finds, checks))


@pytest.mark.parametrize(("given", "said"), [
    ("wall_mm=80", "the walls of 80 mm are 10 mm thicker than the case's depth of 150 mm has room for"),
    ("width_mm=180", "encoder1 and the right wall overlap by 3.7 mm"),
    ("depth_mm=120", "encoder0 and midi_in overlap by 3.7 mm"),
    ("height_mm=35", "and Coral USB Accelerator overlap by"),
    ("sheet_mm=4", "the potentiometer's bushing of 5 mm is 1 mm too short for a panel of 4 mm"),
    ("engraving_mm=2", "an engraving of 2 mm leaves a panel of 3 mm 1 mm short of 2 mm"),
    ("width_mm=320", "a laser sheet's of 300 mm: 20 mm too much"),
    ("width_mm=nan", "width_mm is nan"),
    ("width=3", "is no NAME=MM such as width_mm=220"),
    ("width_mm=wide", "'wide' is no number of mm"),
    ("board=pi3", "there is no board 'pi3'"),
])
def test_what_cannot_be_is_refused_with_the_two_things_and_the_millimetres(given, said):
    with pytest.raises(TetradError) as error:
        check(changed(Dimensions(), [given]))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_labels_and_holes_in_one_anothers_way_are_named(monkeypatch):
    monkeypatch.setitem(layout.POTS, "attack", (-54.0, -9.0))
    with pytest.raises(TetradError, match=r"pot_attack and pot_decay overlap by \d"):
        check(Dimensions())


def test_shapes_know_how_far_they_overlap():
    one = Shape((0, 0, 0), (10, 10, 10))
    assert one.overlap_mm(Shape((8, 0, 0), (20, 10, 10))) == 2
    assert one.overlap_mm(Shape((13, 0, 0), (20, 10, 10))) == -3
    assert rod(0, 0, 10, 0, 5).overlap_mm(rod(3, 4, 2, 0, 5)) == pytest.approx(1)
    assert fused([one, rod(0, 0, 4, 0, 10)]).volume == pytest.approx(1000 + np.pi * 40 * 0.75)


def test_other_measures_make_another_case():
    wide = replace(Dimensions(), width_mm=216.0)
    assert pytest.approx(216) == assembly.parts(wide)[0].solid.bounding_box().size.X
