from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inline.contouring.blood import BORDER_MM, blood_t1, enhancement_by_blood
from inline.data.results import BloodT1, ContourOffsets, Contours
from inline.data.series import Enhancement
from model.relaxometry.parametric_map import ParametricMap
from tests.shapes import circle

SHAPE = (80, 80)
SPACING = (1.5, 1.5)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
RADIUS = np.hypot(X - 40.0, Y - 40.0)


def contours(endo):
    return Contours(circle(endo, 40.0), circle(endo + 7.0, 40.0))


def parametric(values, sd=0.0):
    values = values.astype(np.float32)
    sds = np.full(SHAPE, sd, np.float32)
    return ParametricMap(values, sds, np.ones(SHAPE, np.float32), np.zeros(SHAPE, bool))


def cavity(blood, muscle, endo=16.0, lumps=((5.0, 6.0), (5.0, -6.0)), size=3.5):
    values = np.where(endo >= RADIUS, blood, muscle)
    for x, y in lumps:
        values = np.where(np.hypot(X - 40.0 - x, Y - 40.0 - y) <= size, muscle, values)
    return values


@pytest.mark.parametrize(("blood", "muscle"), [(1600.0, 1000.0), (320.0, 460.0)])
@settings(max_examples=25)
@given(st.integers(0, 2**31), st.floats(0.0, 0.06))
def test_papillary_muscles_are_left_out(blood, muscle, seed, noise):
    values = cavity(blood, muscle)
    values = values * (1.0 + noise * np.random.default_rng(seed).standard_normal(SHAPE))
    found = blood_t1(parametric(values, noise * blood), contours(16.0), SPACING)
    # Five standard errors of some 450 pixels.
    assert found.median_ms == pytest.approx(blood, rel=1e-4 + 5.0 * 1.2533 * noise / 20.0)
    assert found.standard_error_ms == pytest.approx(1.2533 * noise * blood / found.pixels**0.5, rel=1e-3)
    # 14 pixels of radius are 2 less than the cavity; two muscles of 38 pixels are not blood.
    assert found.pixels <= np.pi * 14.5**2


def test_the_border_of_the_wall_is_left_out_whatever_the_contour_convention():
    values = np.where(RADIUS <= 14.0, 1600.0, 1300.0)  # trabeculae up to 3 mm from a border at 16 pixels
    assert BORDER_MM == 3.0
    for endo_mm in (0.0, 1.5, -1.5):
        drawn = contours(16.0 + endo_mm / 1.5)
        found = blood_t1(parametric(values), drawn, SPACING, ContourOffsets(endo_mm, 0.0))
        assert (found.median_ms, found.sd_ms) == (1600.0, 0.0)
        assert found.pixels == pytest.approx(np.pi * 14.0**2, rel=0.03)


def test_of_a_small_cavity_the_middle_remains():
    found = blood_t1(parametric(cavity(1600.0, 1000.0, 4.5, ())), contours(4.5), SPACING)
    assert found.median_ms == 1600.0
    assert 12 <= found.pixels <= 30


def test_too_few_pixels_and_none_are_no_blood():
    values = parametric(cavity(1600.0, 1000.0, 3.0, ()))
    assert blood_t1(values, contours(3.0), SPACING) is None
    assert blood_t1(replace(values, failed=np.ones(SHAPE, bool)), contours(16.0), SPACING) is None
    outside = Contours(circle(5.0, 540.0), circle(9.0, 540.0))
    assert blood_t1(values, outside, SPACING) is None


def test_uncertain_pixels_do_not_count():
    values = parametric(np.full(SHAPE, 1600.0))
    noisy = values.sd_ms.copy()
    noisy[RADIUS < 5.0] = 1000.0
    wild = np.where(RADIUS < 5.0, np.float32(5000.0), values.values_ms)
    found = blood_t1(replace(values, sd_ms=noisy, values_ms=wild), contours(16.0), SPACING)
    assert found.median_ms == 1600.0
    assert found.pixels == pytest.approx(np.pi * (14.0**2 - 5.0**2), rel=0.05)


def test_a_scanners_map_has_no_standard_error():
    found = blood_t1(parametric(np.full(SHAPE, 1600.0)), contours(16.0), SPACING, scanner_made=True)
    assert found.standard_error_ms is None


@pytest.mark.parametrize(
    ("median", "expected"),
    [
        (1600.0, Enhancement.NATIVE),
        (1900.0, Enhancement.NATIVE),
        (400.0, Enhancement.POST_CONTRAST),
        (1000.0, None),
    ],
)
def test_blood_shows_contrast_agent_where_its_t1_leaves_no_doubt(median, expected):
    found, source = enhancement_by_blood(BloodT1(median, 20.0, 2.0, 200))
    assert found is expected
    assert f"{median:.0f} ms" in source
    assert source.startswith("unknown") == (expected is None)
