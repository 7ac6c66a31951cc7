from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from inline.contouring.aha import (
    RegionShares,
    angular_reference,
    distances,
    insertion_reference,
    measure,
    sample_of,
    segment_at_level,
    segment_names,
    segment_number,
    segments,
    wall_depths,
    wall_shares,
    weighted_quantiles,
    without_values,
)
from inline.data.flags import Flag
from inline.data.geometry import SliceGeometry
from inline.data.results import Contours, InsertionPoint, Insertions, SliceLevel
from model.relaxometry.molli import molli_map
from model.relaxometry.parametric_map import ParametricMap
from model.relaxometry.t2prep import t2_map
from tests.shapes import circle

SHAPE = (120, 120)
TO_APEX = np.array([0.62, -0.60, -0.50]) / np.linalg.norm([0.62, -0.60, -0.50])


def usual_short_axis():
    """A short axis as the reading software shows it: septum on the left, anterior wall on top."""
    septum = np.array([-1.0, -1.0, 0.0])
    septum -= (septum @ TO_APEX) * TO_APEX
    septum /= np.linalg.norm(septum)
    down = np.cross(TO_APEX, septum)
    return SliceGeometry((0.0, 0.0, 0.0), tuple(-septum), tuple(down), (1.5, 1.5), SHAPE)


def ring_map(values):
    return ParametricMap(
        values.astype(np.float32),
        np.zeros(SHAPE, np.float32),
        np.ones(SHAPE, np.float32),
        np.zeros(SHAPE, bool),
    )


RING = Contours(circle(20, 60.0), circle(30, 60.0))
ROWS, COLUMNS = np.mgrid[: SHAPE[0], : SHAPE[1]]


def by_name(regions):
    return {region.name: region for region in regions}


def test_segments_lie_where_the_usual_view_shows_them():
    reference = angular_reference(usual_short_axis())
    # The map holds the place itself: columns grow to the right, rows downwards.
    across = by_name(measure(ring_map(COLUMNS), RING, SliceLevel.BASAL, reference))
    down = by_name(measure(ring_map(ROWS), RING, SliceLevel.BASAL, reference))
    assert list(across) == [
        "global",
        "septum",
        "AHA 1 basal anterior",
        "AHA 2 basal anteroseptal",
        "AHA 3 basal inferoseptal",
        "AHA 4 basal inferior",
        "AHA 5 basal inferolateral",
        "AHA 6 basal anterolateral",
    ]
    assert across["septum"].mean == pytest.approx(60 - 25 * 0.827, abs=0.5)
    assert down["AHA 1 basal anterior"].mean == pytest.approx(60 - 25 * 0.955, abs=0.5)
    assert down["AHA 4 basal inferior"].mean == pytest.approx(60 + 25 * 0.955, abs=0.5)
    assert across["AHA 2 basal anteroseptal"].mean < 45
    assert down["AHA 2 basal anteroseptal"].mean < 55
    assert down["AHA 3 basal inferoseptal"].mean > 65
    assert across["AHA 5 basal inferolateral"].mean > 75
    assert down["AHA 5 basal inferolateral"].mean > 65
    assert across["AHA 6 basal anterolateral"].mean > 75
    assert down["AHA 6 basal anterolateral"].mean < 55


def test_a_region_has_the_quartiles_mean_and_deviation_of_an_even_distribution():
    """The angle around the centre is distributed evenly over the ring, from 0 to 360."""
    angle = np.degrees(np.arctan2(ROWS - 60.0, COLUMNS - 60.0)) % 360.0
    ring = measure(ring_map(angle), RING, SliceLevel.MID, None)[0]
    assert (ring.q1, ring.median, ring.q3) == pytest.approx((90.0, 180.0, 270.0), abs=2.0)
    assert (ring.mean, ring.sd) == pytest.approx((180.0, 360.0 / np.sqrt(12.0)), abs=2.0)


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


def test_apical_slices_have_four_segments():
    reference = angular_reference(usual_short_axis())
    across = by_name(measure(ring_map(COLUMNS), RING, SliceLevel.APICAL, reference))
    down = by_name(measure(ring_map(ROWS), RING, SliceLevel.APICAL, reference))
    assert across["AHA 14 apical septal"].mean < 40
    assert (
        across["AHA 14 apical septal"]
        == by_name(measure(ring_map(COLUMNS), RING, SliceLevel.APICAL, reference))["AHA 14 apical septal"]
    )
    assert across["AHA 16 apical lateral"].mean > 80
    assert down["AHA 13 apical anterior"].mean < 40
    assert down["AHA 15 apical inferior"].mean > 80


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


@pytest.mark.parametrize("level", [None, SliceLevel.UNKNOWN])
def test_without_a_level_no_segment_is_named_and_the_septum_is_septal_at_every_level(level):
    reference = angular_reference(usual_short_axis())
    regions = measure(ring_map(COLUMNS), RING, level, reference)
    assert [region.name for region in regions] == ["global", "septum"]
    apical = by_name(measure(ring_map(COLUMNS), RING, SliceLevel.APICAL, reference))
    mid = by_name(measure(ring_map(COLUMNS), RING, SliceLevel.MID, reference))
    assert regions[1] == apical["septum"]
    assert regions[1].pixels < mid["septum"].pixels


def test_the_inset_leaves_out_both_rims():
    radius = np.hypot(COLUMNS - 60, ROWS - 60)
    reference = angular_reference(usual_short_axis())
    (whole, *_), (inner, *_) = (
        measure(ring_map(radius), RING, SliceLevel.MID, reference, inset=inset) for inset in (0.0, 0.3)
    )
    assert whole.pixels > 2 * inner.pixels
    assert inner.q1 >= 23
    assert inner.q3 <= 27
    assert whole.pixels == pytest.approx(np.pi * (900 - 400), rel=0.03)
    with pytest.raises(ValueError, match="leaves no wall"):
        measure(ring_map(radius), RING, None, None, inset=0.5)


def test_failed_pixels_do_not_count_and_an_empty_region_has_no_value():
    failed = ring_map(np.full(SHAPE, 50.0))
    failed.failed[:, :60] = True
    regions = by_name(measure(failed, RING, SliceLevel.MID, angular_reference(usual_short_axis())))
    assert regions["septum"].pixels == 0
    septum = regions["septum"]
    assert (septum.median, septum.q1, septum.q3, septum.mean, septum.sd) == (None,) * 5
    assert regions["global"].median == 50.0


@pytest.mark.parametrize(("share", "kept"), [(0.3, True), (0.5, False)])
@pytest.mark.parametrize("scanner_made", [False, True])
def test_a_segment_with_too_many_poor_fits_has_no_value_but_the_ring_has(share, kept, scanner_made):
    poor = np.random.default_rng(2).random(SHAPE) < share
    ones = np.ones(SHAPE, np.float32)
    fitted = ParametricMap(
        950 * ones, 200 * ones, np.where(poor, np.float32(0.8), ones), np.zeros(SHAPE, bool)
    )
    scanner = ParametricMap.of_values(np.where(poor, np.float32(0.0), 950 * ones))
    reference = angular_reference(usual_short_axis())
    ring, *parts = measure(scanner if scanner_made else fitted, RING, SliceLevel.MID, reference)
    assert ring.median == 950.0
    assert all(each.median == (950.0 if kept else None) for each in parts)
    found = without_values([ring, *parts])
    assert [flag for flag, _ in found] == ([] if kept else [Flag.POOR_FIT])
    assert without_values([replace(ring, median=None), *parts]) == ()


def with_noise(signal, snr):
    """Magnitudes of one tissue, whose signal is in units of the image without decay or fully recovered."""
    along, across = np.random.default_rng(4).normal(size=(2, len(signal), *SHAPE)) / snr
    return (1000.0 * np.hypot(signal[:, None, None] + along, across)).astype(np.float32)


@pytest.mark.parametrize("preparations", [(0.0, 25.0, 55.0), tuple(np.arange(10.0, 100.0, 10.0))])
@pytest.mark.parametrize("t2", [45.0, 120.0])
@pytest.mark.parametrize("snr", [1e-3, 2.0, 3.0, 16.0, 25.0])
def test_t2_of_lost_signal_has_no_value_and_a_long_one_of_many_echoes_has(preparations, t2, snr):
    times = np.array(preparations)
    fitted = t2_map(with_noise(np.exp(-times / t2), snr), times)
    _, *parts = measure(fitted, RING, SliceLevel.MID, angular_reference(usual_short_axis()))
    if snr < 4.0:
        assert all(each.median is None for each in parts)
    else:
        assert [each.median for each in parts] == pytest.approx([t2] * len(parts), rel=0.08)


@pytest.mark.parametrize("t1", [270.0, 1000.0])
@pytest.mark.parametrize("snr", [1e-3, 2.0, 3.0, 10.0])
def test_t1_of_lost_signal_has_no_value_and_of_noisy_signal_has(t1, snr):
    times = np.array([100.0, 180.0, 1000.0, 1080.0, 1900.0, 1980.0, 2800.0, 3700.0])
    signal = np.abs(1.0 - 1.9 * np.exp(-times * 0.9 / t1))
    fitted = molli_map(with_noise(signal, snr), times)
    _, *parts = measure(fitted, RING, SliceLevel.MID, angular_reference(usual_short_axis()))
    if snr < 4.0:
        assert all(each.median is None for each in parts)
    else:
        assert [each.median for each in parts] == pytest.approx([t1] * len(parts), rel=0.08)


@pytest.mark.parametrize(("share", "measured"), [(0.0, False), (0.5, False), (0.7, True), (1.0, True)])
def test_a_segment_of_which_a_mask_leaves_too_little_has_no_value(share, measured):
    """An artefact that the scanner masks: AHA 11 keeps a sector of its 60 degrees, of 1900 ms."""
    reference = angular_reference(usual_short_axis(), septum_degrees=180.0)
    # Clockwise from the right of the image: AHA 11 has 0 to 60 degrees.
    angle = np.degrees(np.arctan2(ROWS - 60.0, COLUMNS - 60.0)) % 360.0
    map_ms = ring_map(np.where(angle < 60.0, 1900.0, 1000.0))
    map_ms.failed[(angle > 60.0 * share) & (angle < 60.0)] = True
    regions = by_name(measure(map_ms, RING, SliceLevel.MID, reference))
    inferolateral = regions["AHA 11 mid inferolateral"]
    assert (inferolateral.median is not None) is measured
    assert (inferolateral.pixels > 0) is measured
    assert regions["AHA 8 mid anteroseptal"].median == 1000.0


@pytest.mark.parametrize(("pixels", "enough"), [(9, False), (10, True)])
def test_a_tenth_of_the_usual_area_is_a_sample_of_a_region(pixels, enough):
    rows = np.arange(pixels)
    region = RegionShares("septum", rows, rows, np.ones(pixels), 100.0)
    found = sample_of(region, np.ones(SHAPE, bool), np.zeros(SHAPE, bool))
    assert (found is not None) is enough


def test_a_segment_in_a_gap_of_the_wall_has_no_value():
    """The wall ends at the outflow tract: both contours run together there, but for 0.01 pixels."""
    angle = np.arange(0.0, 360.0, 3.0)
    radius = np.where((angle > 110.0) & (angle < 250.0), 29.99, 20.0)  # the septum is at 180 degrees
    endo = 60.0 + radius[:, None] * np.stack([np.cos(np.radians(angle)), np.sin(np.radians(angle))], axis=1)
    reference = angular_reference(usual_short_axis(), septum_degrees=180.0)
    found = by_name(measure(ring_map(ROWS), Contours(endo, circle(30, 60.0)), SliceLevel.BASAL, reference))
    empty = {name for name, region in found.items() if region.median is None}
    assert empty == {"septum", "AHA 2 basal anteroseptal", "AHA 3 basal inferoseptal"}


@given(
    st.floats(-40, 160),
    st.floats(-40, 160),
    st.floats(0.1, 30),
    st.floats(0.1, 30),
    st.floats(0, 1),
    st.sampled_from([None, *SliceLevel]),
    st.floats(0, 1e38),
)
def test_a_region_has_finite_values_or_none(x, y, radius, thickness, failing, level, value):
    failed = ring_map(np.random.default_rng(0).random(SHAPE) * value)
    failed.failed[:] = np.random.default_rng(1).random(SHAPE) < failing
    contours = Contours(circle(radius, (x, y)), circle(radius + thickness, (x, y)))
    for region in measure(failed, contours, level, angular_reference(usual_short_axis())):
        values = (region.median, region.q1, region.q3, region.mean, region.sd)
        assert values == (None,) * 5 or np.isfinite(values).all()
        assert (region.pixels == 0) == (values == (None,) * 5)


@given(st.floats(0, 359.99), st.sampled_from([4, 6]))
def test_every_angle_has_one_segment(angle, number):
    (index,) = segments(np.array([angle]), number)
    assert 0 <= index < number


@pytest.mark.parametrize("inset", [0.0, 0.1, 0.3])
def test_a_pixel_counts_by_its_share_of_the_wall(inset):
    contours = Contours(circle(6.3, (20.2, 19.7)), circle(9.1, (20.2, 19.7)))
    depths = wall_depths(contours, (40, 40))
    drawn = np.zeros((40, 40))
    drawn[depths.rows, depths.columns] = wall_shares(depths, inset)
    fine = (np.arange(40 * 20) + 0.5) / 20 - 0.5
    rho = np.hypot(fine[None] - 20.2, fine[:, None] - 19.7)
    wall = (rho > 6.3 + 2.8 * inset) & (rho < 9.1 - 2.8 * inset)
    truth = wall.reshape(40, 20, 40, 20).mean(axis=(1, 3))
    assert np.abs(drawn - truth).max() < 0.15
    assert drawn.sum() == pytest.approx(truth.sum(), rel=0.02)


def test_values_move_as_little_as_the_contours_do():
    """A tiny apical slice with noise: pixels counted whole would jump by several ms."""
    random = np.random.default_rng(4)
    noisy = ring_map(random.normal(1000.0, 60.0, SHAPE))
    moved = [
        measure(noisy, Contours(*(circle(r + d, (60.0 + d, 60.0)) for r in (4.0, 7.5))), None, None)[0].median
        for d in np.linspace(0.0, 0.5, 51)
    ]
    assert np.abs(np.diff(moved)).max() < 2.0


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=40), st.floats(0.1, 10.0))
def test_quantiles_of_equal_weights_are_those_of_numpy(values, weight):
    at = (0.25, 0.5, 0.75)
    found = weighted_quantiles(np.array(values), np.full(len(values), weight), at)
    assert found == pytest.approx(np.quantile(values, at, method="hazen"), abs=1e-6, rel=1e-9)


def test_a_value_that_weighs_more_draws_the_median_to_itself():
    assert weighted_quantiles(np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.0, 8.0]), (0.5,))[0] > 2.7


def test_distances_against_circles():
    points = np.array([[60.0, 82.0], [60.0, 88.0], [35.0, 60.0]])
    assert distances(points, RING.endo) == pytest.approx([2.0, 8.0, 5.0], abs=0.02)


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


def seen(turned, mirrored):
    """Places of the usual view, as offsets (x, y) from the centre, for the pixels of another view."""
    x, y = COLUMNS - 60.0, ROWS - 60.0
    angle = np.radians(turned)
    usual_x, usual_y = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return (-usual_x if mirrored else usual_x), usual_y


def shown(degrees, turned, mirrored, radius=30.0):
    """Pixel (x, y) in another view of a place of the usual one, degrees anticlockwise from the right."""
    x, y = radius * np.cos(np.radians(degrees)), -radius * np.sin(np.radians(degrees))
    x = -x if mirrored else x
    angle = np.radians(turned)
    return 60.0 + x * np.cos(angle) - y * np.sin(angle), 60.0 + x * np.sin(angle) + y * np.cos(angle)


def points_at(anterior, inferior, turned=0, mirrored=False):
    return Insertions(
        InsertionPoint(*shown(anterior, turned, mirrored), 0.9),
        InsertionPoint(*shown(inferior, turned, mirrored), 0.8),
    )


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
    reference, note = insertion_reference(
        points_at(180 - width / 2, 180 + width / 2, turned, mirrored), RING, None
    )
    assert (reference.source, note) == ("RV insertion points", "")
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
    reference, _ = insertion_reference(points_at(anterior, inferior), RING, None)
    for level in SliceLevel:
        septum = by_name(measure(ring_map(100.0 * between), RING, level, reference))["septum"]
        assert septum.mean > 99.0
        everything = measure(ring_map(degrees), RING, None, reference)[0]
        assert septum.pixels / everything.pixels == pytest.approx((inferior - anterior) / 360.0, abs=0.01)


def test_an_error_of_one_point_turns_the_segments_by_half_of_it():
    right, wrong = (insertion_reference(points_at(120 + by, 240), RING, None)[0] for by in (0, 20))
    assert np.degrees(right.septum - wrong.septum) == pytest.approx(10.0, abs=1e-6)


def test_the_usual_heart_is_kept_where_the_points_are_none_or_contradict_it():
    usual = angular_reference(usual_short_axis())
    assert "usual heart" in usual.source
    kept, note = insertion_reference(Insertions(), RING, usual)
    assert (kept, note) == (usual, "")
    objected = points_at(120, 240)
    kept, note = insertion_reference(Insertions(objected.anterior, None, "not found"), RING, usual)
    assert kept is usual
    assert "insertion points of the right ventricle: not found. There is no mid-septal" in note
    for points in (points_at(240, 120), points_at(60, -60, mirrored=False), points_at(-60, 60)):
        kept, note = insertion_reference(points, RING, usual)
        assert kept is usual
        assert "contradict the image directions" in note
    used, note = insertion_reference(objected, RING, usual)
    assert (used.source, note) == ("RV insertion points", "")
    assert np.degrees(used.septum) % 360 == pytest.approx(180.0)
    assert used.turn == usual.turn
    assert used.width == pytest.approx(120.0)
    assert insertion_reference(Insertions(objection="not found"), RING, None)[0] is None


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
    reference, _ = insertion_reference(points, contours, None, aspect)
    assert reference.width == pytest.approx(90.0)
    assert np.degrees(reference.septum) % 360.0 == pytest.approx(195.0)
    regions = measure(ring_map(1.0 + COLUMNS), contours, SliceLevel.BASAL, reference, inset=0.0)[3:]
    assert [region.pixels for region in regions] == pytest.approx([regions[0].pixels] * 6, rel=0.05)
    stretched = replace(usual_short_axis(), spacing=(0.5, 1.5))
    for usual in (angular_reference(stretched), angular_reference(stretched, 180.0)):
        regions = measure(ring_map(1.0 + COLUMNS), contours, SliceLevel.BASAL, usual, inset=0.0)[2:]
        assert [region.pixels for region in regions] == pytest.approx([regions[0].pixels] * 6, rel=0.05)


@pytest.mark.parametrize("width", [90, 120])
def test_mid_septum_is_the_middle_of_the_septum_and_of_the_wall(width):
    reference, _ = insertion_reference(points_at(180 - width / 2, 180 + width / 2), RING, None)
    radius = by_name(measure(ring_map(np.hypot(COLUMNS - 60.0, ROWS - 60.0)), RING, None, reference))
    # A wall from 20 to 30 pixels: half of it is from 22.5 to 27.5.
    middle = radius["mid-septum"]
    assert middle.median == pytest.approx(25.0, abs=0.15)
    assert middle.pixels == pytest.approx(np.radians(width / 2) * (27.5**2 - 22.5**2) / 2, rel=0.03)
    angle = np.degrees(np.arctan2(ROWS - 60.0, COLUMNS - 60.0)) % 360.0
    turned = by_name(measure(ring_map(angle), RING, None, reference))["mid-septum"]
    assert turned.median == pytest.approx(180.0, abs=0.5)
    # Evenly spread over half of the septum's angle.
    assert turned.sd == pytest.approx(width / 2 / np.sqrt(12), rel=0.03)


def test_a_larger_inset_holds_for_mid_septum_too():
    reference, _ = insertion_reference(points_at(120, 240), RING, None)
    narrow = by_name(measure(ring_map(COLUMNS), RING, None, reference, inset=0.4))["mid-septum"]
    assert narrow.pixels == pytest.approx(np.radians(60) * (26**2 - 24**2) / 2, rel=0.05)


def test_without_trusted_insertion_points_there_is_no_mid_septum():
    usual = angular_reference(usual_short_axis())
    points = replace(points_at(120, 240), objection="not at the angle of a septum")
    reference, note = insertion_reference(points, RING, usual)
    assert "There is no mid-septal value." in note
    assert "mid-septum" not in by_name(measure(ring_map(COLUMNS), RING, SliceLevel.MID, reference))


@pytest.mark.parametrize(
    ("name", "level", "expected"),
    [
        ("AHA 8 mid anteroseptal", "basal", "AHA 2 basal anteroseptal"),
        ("AHA 6 basal anterolateral", "mid", "AHA 12 mid anterolateral"),
        ("AHA 6 basal anterolateral", "basal", "AHA 6 basal anterolateral"),
        ("AHA 6 basal anterolateral", "apical", None),
        ("AHA 14 apical septal", "mid", None),
        ("AHA 14 apical septal", "unknown", None),
        ("mid-septum", "apical", "mid-septum"),
        ("global", "unknown", "global"),
    ],
)
def test_segments_of_basal_and_mid_slices_are_the_same_parts_of_the_wall(name, level, expected):
    assert segment_at_level(name, SliceLevel(level)) == expected


def test_segments_are_numbered_from_base_to_apex():
    names = [name for level in ("basal", "mid", "apical") for name in segment_names(SliceLevel(level))]
    assert [segment_number(name) for name in names] == list(range(1, 17))


@pytest.mark.parametrize(
    "name", ["global", "mid-septum", "AHA 0 mid anterior", "AHA 17 apical apex", "AHA 7"]
)
def test_other_regions_have_no_number_of_a_segment(name):
    assert segment_number(name) is None


def test_the_names_at_another_level_are_those_that_are_measured_there():
    reference = angular_reference(usual_short_axis())
    measured = {level: measure(ring_map(COLUMNS), RING, level, reference) for level in SliceLevel}
    for one, other in ((SliceLevel.BASAL, SliceLevel.MID), (SliceLevel.MID, SliceLevel.BASAL)):
        names = [segment_at_level(each.name, other) for each in measured[one]]
        assert names == [each.name for each in measured[other]]
