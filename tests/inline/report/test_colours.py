"""Scale and colours of the maps."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inline.report.colours import (
    MAP_WINDOWS,
    SEGMENT_WINDOWS,
    Window,
    colour_map,
    norm,
    processed,
    unprocessed,
)
from inline.report.maps import Kind

WINDOWS = [Window(0.0, 2000.0), Window(800.0, 1500.0), Window(500.0, 2000.0)]


@pytest.mark.parametrize("window", WINDOWS)
def test_the_window_spans_all_colours_once(window):
    shares = processed(np.linspace(*window, 500), window)
    assert shares[0] == pytest.approx(0.0)
    assert shares[-1] == pytest.approx(1.0)
    assert (np.diff(shares) > 0).all()


def test_equal_ratios_are_equal_steps_where_the_scale_is_logarithmic():
    window = Window(0.0, 2000.0)
    steps = np.diff(processed([800.0, 1000.0, 1250.0, 1562.5], window))
    assert steps == pytest.approx(np.full(3, 0.5 * math.log(1.25)))


def test_the_linear_part_goes_on_with_the_slope_of_the_logarithm():
    window = Window(0.0, 2000.0)
    knee = 2000.0 / math.e
    below, at, above = processed([knee - 1.0, knee, knee + 1.0], window)
    assert at - below == pytest.approx(above - at, rel=2e-3)
    assert processed(0.5 * knee, window) == pytest.approx(0.5 * at)


@given(st.sampled_from(WINDOWS), st.floats(0.0, 1.0))
def test_the_inverse_gives_the_share_back(window, share):
    assert processed(unprocessed(share, window), window) == pytest.approx(share, abs=1e-9)


@pytest.mark.parametrize("kind", Kind)
def test_colours_get_lighter_with_the_value_and_none_is_that_of_no_value(kind):
    red, green, blue, _ = colour_map(kind)(np.linspace(0.0, 1.0, 64)).T
    light = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    assert (np.diff(light) > -1e-3).all()
    assert tuple(colour_map(kind)(np.ma.masked_all(1))[0]) == (0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize("kind", Kind)
def test_values_beyond_the_window_have_the_colour_of_its_end(kind):
    window = MAP_WINDOWS[kind]
    scale = norm(kind, window)
    assert float(scale(2.0 * window.high)) == pytest.approx(1.0)
    assert float(scale(window.low - 5.0)) == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("kind", "usual"), [(Kind.T1_NATIVE, (950, 1250)), (Kind.T2, (42, 55)), (Kind.ECV, (20, 30))]
)
def test_usual_myocardium_lies_well_within_the_colours_of_a_bulls_eye(kind, usual):
    low, high = norm(kind, SEGMENT_WINDOWS[kind])(np.array(usual, float))
    assert 0.1 < low < high < 0.8


def test_a_partition_coefficient_has_the_colours_of_its_ecv_at_a_usual_haematocrit():
    low, high = MAP_WINDOWS[Kind.PARTITION]
    assert (100 * (1 - 0.43) * low, 100 * (1 - 0.43) * high) == pytest.approx(MAP_WINDOWS[Kind.ECV], abs=0.5)
