"""Direction of the septum from the image geometry, the insertion points and the user."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from inline.contouring.regions import measure
from inline.contouring.septum import angular_reference, insertion_reference, slice_reference
from inline.data.geometry import SliceGeometry
from inline.data.results import Contours, InsertionPoint, Insertions, SliceLevel
from tests.inline.contouring.rings import (
    COLUMNS,
    RING,
    ROWS,
    SHAPE,
    TO_APEX,
    UNORIENTED,
    by_name,
    points_at,
    ring_map,
    usual_short_axis,
)
from tests.shapes import circle

SECTORS = (
    (60, 120, "anterior"),
    (120, 180, "anteroseptal"),
    (180, 240, "inferoseptal"),
    (240, 300, "inferior"),
    (300, 360, "inferolateral"),
    (0, 60, "anterolateral"),
)
"""Segments of a basal or mid-ventricular slice in the usual view, degrees anticlockwise from the right, as
Cerqueira et al. draw them; the septum lies on the left between 120 and 240 degrees."""
QUARTERS = ((45, 135, "anterior"), (135, 225, "septal"), (225, 315, "inferior"), (-45, 45, "lateral"))


@given(st.floats(0.0, 360.0), st.floats(-80.0, 80.0), st.floats(0.0, 360.0), st.booleans())
def test_the_anterior_wall_lies_above_and_in_front_in_any_slice(around, up, turned, mirrored):
    """By the patient's own directions, of slices turned and mirrored at will."""
    around, up, turned = np.radians((around, up, turned))
    normal = np.array([np.cos(up) * np.cos(around), np.cos(up) * np.sin(around), np.sin(up)])
    first = np.cross(normal, (0.0, 0.0, 1.0)) / np.cos(up)
    second = np.cross(normal, first)
    row = np.cos(turned) * first + np.sin(turned) * second
    column = (np.cos(turned) * second - np.sin(turned) * first) * (-1.0 if mirrored else 1.0)
    reference = angular_reference(
        SliceGeometry((0.0, 0.0, 0.0), tuple(row), tuple(column), (1.5, 1.5), SHAPE)
    )
    assume(reference is not None)
    anterior = reference.septum + reference.turn * np.pi / 2.0
    height = (np.cos(anterior) * row + np.sin(anterior) * column) @ (0.0, -0.5, 1.0)
    assert height > -1e-6


def test_a_mirrored_or_turned_image_gives_the_same_segments():
    usual = usual_short_axis()
    mirrored = SliceGeometry(
        usual.position, tuple(-np.array(usual.row_direction)), usual.column_direction, (1.5, 1.5), SHAPE
    )
    turned = SliceGeometry(
        usual.position, usual.column_direction, tuple(-np.array(usual.row_direction)), (1.5, 1.5), SHAPE
    )
    values = COLUMNS + 2.0 * ROWS
    expected = measure(ring_map(values), RING, SliceLevel.MID, angular_reference(usual))
    seen = {
        "mirrored": (mirrored, COLUMNS[:, ::-1] + 2.0 * ROWS),
        "turned": (turned, COLUMNS[:, ::-1].T + 2.0 * ROWS[:, ::-1].T),
    }
    centre = Contours(circle(20, 59.5), circle(30, 59.5))
    expected = measure(ring_map(values), centre, SliceLevel.MID, angular_reference(usual))
    for name, (geometry, image) in seen.items():
        regions = measure(ring_map(image), centre, SliceLevel.MID, angular_reference(geometry))
        for ours, theirs in zip(regions, expected, strict=True):
            assert ours.median == pytest.approx(theirs.median, abs=1.0), (name, ours.name)


def test_the_user_may_state_the_septum():
    reference = angular_reference(usual_short_axis(), septum_degrees=180.0)
    geometric = angular_reference(usual_short_axis())
    assert np.isclose(np.cos(reference.septum - geometric.septum), 1.0, atol=1e-3)
    assert reference.turn == geometric.turn
    assert "user" in reference.source
    assert "geometry" in geometric.source


def test_a_slice_that_faces_the_septum_has_no_segments():
    facing = SliceGeometry((0.0, 0.0, 0.0), (0.7071, -0.7071, 0.0), (0.0, 0.0, -1.0), (1.5, 1.5), SHAPE)
    assert angular_reference(facing) is None
    assert [r.name for r in measure(ring_map(COLUMNS), RING, SliceLevel.MID, None)] == ["global"]


def seen(turned, mirrored):
    """Places of the usual view, as offsets (x, y) from the centre, for the pixels of another view."""
    x, y = COLUMNS - 60.0, ROWS - 60.0
    angle = np.radians(turned)
    usual_x, usual_y = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return (-usual_x if mirrored else usual_x), usual_y


def painted(sectors, turned, mirrored):
    """A map whose value is the number of the segment, from 1, in a turned or mirrored view."""
    x, y = seen(turned, mirrored)
    degrees = np.degrees(np.arctan2(-y, x)) % 360.0
    return sum(
        number * ((degrees - first) % 360.0 < last - first)
        for number, (first, last, _) in enumerate(sectors, 1)
    )


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("turned", [0, 40, 137, -90, 180])
@pytest.mark.parametrize(
    ("level", "sectors", "width"),
    [(SliceLevel.BASAL, SECTORS, 120), (SliceLevel.MID, SECTORS, 100), (SliceLevel.APICAL, QUARTERS, 130)],
)
def test_segments_follow_the_insertion_points_however_the_image_is_turned(
    level, sectors, width, turned, mirrored
):
    reference, objection = insertion_reference(
        points_at(180 - width / 2, 180 + width / 2, turned, mirrored), RING, UNORIENTED
    )
    assert (reference.source, objection) == ("RV insertion points", "")
    regions = measure(ring_map(painted(sectors, turned, mirrored)), RING, level, reference)
    segments_found = {each.name.split()[-1]: each for each in regions if "AHA" in each.name}
    for number, (_, _, name) in enumerate(sectors, 1):
        # Pixels on the border belong to one side.
        assert segments_found[name].median == number
        assert segments_found[name].mean == pytest.approx(number, abs=0.15)


@pytest.mark.parametrize(("anterior", "inferior"), [(110, 250), (130, 230), (100, 200), (140, 260)])
def test_the_septum_is_the_arc_between_the_points(anterior, inferior):
    degrees = np.degrees(np.arctan2(-(ROWS - 60.0), COLUMNS - 60.0)) % 360.0
    between = (degrees > anterior) & (degrees < inferior)
    reference, _ = insertion_reference(points_at(anterior, inferior), RING, UNORIENTED)
    for level in SliceLevel:
        septum = by_name(measure(ring_map(100.0 * between), RING, level, reference))["septum"]
        assert septum.mean > 99.0
        everything = measure(ring_map(degrees), RING, None, reference)[0]
        assert septum.pixels / everything.pixels == pytest.approx((inferior - anterior) / 360.0, abs=0.01)


def test_an_error_of_one_point_turns_the_segments_by_half_of_it():
    right, wrong = (insertion_reference(points_at(120 + by, 240), RING, UNORIENTED)[0] for by in (0, 20))
    assert np.degrees(right.septum - wrong.septum) == pytest.approx(10.0, abs=1e-6)


def test_the_usual_heart_is_kept_where_the_points_are_none_or_contradict_it():
    usual = angular_reference(usual_short_axis())
    assert "usual heart" in usual.source
    kept, objection = insertion_reference(Insertions(), RING, usual_short_axis())
    assert (kept, objection) == (usual, "")
    objected = points_at(120, 240)
    kept, objection = insertion_reference(
        Insertions(objected.anterior, None, "not found"), RING, usual_short_axis()
    )
    assert (kept, objection) == (usual, "not found")
    for points in (points_at(240, 120), points_at(60, -60, mirrored=False), points_at(-60, 60)):
        kept, objection = insertion_reference(points, RING, usual_short_axis())
        assert (kept, objection) == (usual, "they contradict the image directions")
    used, objection = insertion_reference(objected, RING, usual_short_axis())
    assert (used.source, objection) == ("RV insertion points", "")
    assert np.degrees(used.septum) % 360 == pytest.approx(180.0)
    assert used.turn == usual.turn
    assert used.width == pytest.approx(120.0)
    assert insertion_reference(Insertions(objection="not found"), RING, UNORIENTED)[0] is None


def test_segments_have_equal_angles_in_the_patient_whatever_the_pixels():
    """Pixels three times as high as wide: segments by angles in pixels would differ in area."""
    aspect = 3.0
    square = (1.0, aspect)
    contours = Contours(*(circle(radius, 0.0) / square + 60.0 for radius in (36.0, 54.0)))
    anterior, inferior = (
        60.0 + 54.0 * np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees)) / aspect])
        for degrees in (240.0, 150.0)
    )
    points = Insertions(*(InsertionPoint(*place, 0.9) for place in (anterior, inferior)))
    reference, _ = insertion_reference(points, contours, SliceGeometry.unoriented((0.5, 0.5 * aspect), SHAPE))
    assert reference.width == pytest.approx(90.0)
    assert np.degrees(reference.septum) % 360.0 == pytest.approx(195.0)
    regions = measure(ring_map(1.0 + COLUMNS), contours, SliceLevel.BASAL, reference, inset=0.0)[3:]
    assert [region.pixels for region in regions] == pytest.approx([regions[0].pixels] * 6, rel=0.05)
    stretched = replace(usual_short_axis(), spacing=(0.5, 1.5))
    for usual in (angular_reference(stretched), angular_reference(stretched, 180.0)):
        regions = measure(ring_map(1.0 + COLUMNS), contours, SliceLevel.BASAL, usual, inset=0.0)[2:]
        assert [region.pixels for region in regions] == pytest.approx([regions[0].pixels] * 6, rel=0.05)


def test_without_trusted_insertion_points_there_is_no_mid_septum():
    points = replace(points_at(120, 240), objection="not at the angle of a septum")
    reference, objection = insertion_reference(points, RING, usual_short_axis())
    assert objection == "not at the angle of a septum"
    assert "mid-septum" not in by_name(measure(ring_map(COLUMNS), RING, SliceLevel.MID, reference))


def mirrored_heart(turned=0):
    """A short axis of a heart mirrored from left to right, which looks like a usual one, its image turned."""
    usual, angle = usual_short_axis(), np.radians(turned)
    row, column = (
        np.array(each) * (-1.0, 1.0, 1.0) for each in (usual.row_direction, usual.column_direction)
    )
    right, down = row * np.cos(angle) - column * np.sin(angle), row * np.sin(angle) + column * np.cos(angle)
    return replace(usual, row_direction=tuple(right), column_direction=tuple(down))


@pytest.mark.parametrize("turned", [0, 40, -90])
@pytest.mark.parametrize("width", [90, 130, 150])
def test_the_septum_of_a_mirrored_heart_follows_the_insertion_points(turned, width):
    points = points_at(180 - width / 2, 180 + width / 2, turned)
    reference, objection = slice_reference(mirrored_heart(turned), points, RING)
    assert (reference.source, objection) == ("RV insertion points", "")
    image = ring_map(painted(SECTORS, turned, mirrored=False))
    segments_found = measure(image, RING, SliceLevel.MID, reference)[3:]
    assert [each.median for each in segments_found] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    "points",
    [
        Insertions(),
        replace(points_at(120, 240), objection="not at the angle of a septum"),
        points_at(240, 120),  # the anterior point below and behind
    ],
)
def test_a_mirrored_heart_has_no_septum_without_trusted_points(points):
    """The usual heart's septum lies at its anterior wall."""
    reference, _ = slice_reference(mirrored_heart(), points, RING)
    assert reference is None
    assert [each.name for each in measure(ring_map(COLUMNS), RING, SliceLevel.MID, reference)] == ["global"]
    stated, objection = slice_reference(mirrored_heart(), points, RING, 180.0)
    assert (objection, np.degrees(stated.septum) % 360.0) == ("", pytest.approx(180.0))


def test_hearts_whose_axis_is_40_degrees_from_the_usual_one_keep_the_usual_septum():
    usual = usual_short_axis()
    row, column = np.array(usual.row_direction), np.array(usual.column_direction)
    cosine, sine = np.cos(np.radians(40.0)), np.sin(np.radians(40.0))
    for tilt in (-1.0, 1.0):
        of_row = replace(usual, row_direction=tuple(row * cosine + tilt * sine * TO_APEX))
        of_column = replace(usual, column_direction=tuple(column * cosine + tilt * sine * TO_APEX))
        for geometry in (of_row, of_column):
            for points in (Insertions(objection="not found"), points_at(240, 120)):
                reference, _ = slice_reference(geometry, points, RING)
                assert "usual heart" in reference.source
