"""Values of the regions of the wall, and their pixels."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inline.contouring.regions import (
    RegionShares,
    measure,
    sample_of,
    wall_depths,
    wall_shares,
    weighted_quantiles,
    without_values,
)
from inline.contouring.septum import angular_reference, insertion_reference
from inline.data.flags import Flag
from inline.data.results import Contours, SliceLevel
from model.polygons import distances
from model.relaxometry.molli import molli_map
from model.relaxometry.parametric_map import ParametricMap
from model.relaxometry.t2prep import t2_map
from tests.inline.contouring.rings import (
    COLUMNS,
    RING,
    ROWS,
    SHAPE,
    UNORIENTED,
    by_name,
    points_at,
    ring_map,
    usual_short_axis,
)
from tests.shapes import circle


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


@pytest.mark.parametrize("width", [90, 120])
def test_mid_septum_is_the_middle_of_the_septum_and_of_the_wall(width):
    reference, _ = insertion_reference(points_at(180 - width / 2, 180 + width / 2), RING, UNORIENTED)
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
    reference, _ = insertion_reference(points_at(120, 240), RING, UNORIENTED)
    narrow = by_name(measure(ring_map(COLUMNS), RING, None, reference, inset=0.4))["mid-septum"]
    assert narrow.pixels == pytest.approx(np.radians(60) * (26**2 - 24**2) / 2, rel=0.05)
