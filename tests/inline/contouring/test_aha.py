import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inline.contouring.aha import (
    angular_reference,
    distances,
    measure,
    segments,
    wall_shares,
    weighted_quantiles,
)
from inline.data.geometry import SliceGeometry
from inline.data.results import Contours, SliceLevel
from model.relaxometry.parametric_map import ParametricMap

SHAPE = (120, 120)
TO_APEX = np.array([0.62, -0.60, -0.50]) / np.linalg.norm([0.62, -0.60, -0.50])


def usual_short_axis():
    """A short axis as the reading software shows it: septum on the left, anterior wall on top."""
    septum = np.array([-1.0, -1.0, 0.0])
    septum -= (septum @ TO_APEX) * TO_APEX
    septum /= np.linalg.norm(septum)
    down = np.cross(TO_APEX, septum)
    return SliceGeometry((0.0, 0.0, 0.0), tuple(-septum), tuple(down), (1.5, 1.5), SHAPE)


def circle(radius, x=60.0, y=60.0):
    angle = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    return np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1)


def ring_map(values):
    return ParametricMap(
        values.astype(np.float32),
        np.zeros(SHAPE, np.float32),
        np.ones(SHAPE, np.float32),
        np.zeros(SHAPE, bool),
    )


RING = Contours(circle(20), circle(30))
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
    centre = Contours(circle(20, 59.5, 59.5), circle(30, 59.5, 59.5))
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


@settings(deadline=None)
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
    contours = Contours(circle(radius, x, y), circle(radius + thickness, x, y))
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
    contours = Contours(circle(6.3, 20.2, 19.7), circle(9.1, 20.2, 19.7))
    pixels, shares = wall_shares(contours, (40, 40), inset)
    drawn = np.zeros((40, 40))
    drawn[tuple(pixels.T)] = shares
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
        measure(noisy, Contours(circle(4.0 + d, 60.0 + d), circle(7.5 + d, 60.0 + d)), None, None)[0].median
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
