"""Figures of a confidence against what probability says they must be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.reliability import calibration_error, figures, plot, reliability, retention


def test_a_calibrated_confidence_has_no_error():
    random = np.random.default_rng(1)
    expected = random.uniform(0.0, 1.0, 40_000)
    hits = (random.uniform(size=40_000) < expected).astype(float)
    assert calibration_error(expected, hits) < 0.01
    found = reliability(expected, hits)
    assert sum(each.slices for each in found) == 40_000
    assert [each.low for each in found] == pytest.approx(np.arange(10) / 10)


def test_an_offset_is_the_error():
    dice = np.linspace(0.2, 0.9, 500)
    assert calibration_error(dice - 0.15, dice) == pytest.approx(0.15)
    found = figures(dice - 0.15, dice)
    assert found["mean_absolute_error"] == pytest.approx(0.15)
    assert found["mean_absolute_error_of_the_mean"] == pytest.approx(0.7 / 4, rel=0.01)


def test_retention_of_a_perfect_order_and_of_none():
    dice = np.array([0.2, 0.8, 0.4, 1.0])
    assert retention(dice, dice) == pytest.approx([1.0, 0.9, 2.2 / 3, 0.6])
    assert retention(np.zeros(4), dice) == pytest.approx([0.6] * 4)
    assert retention(-dice, dice) == pytest.approx([0.2, 0.3, 1.4 / 3, 0.6])


shares = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=40)


@given(pairs=shares)
def test_no_order_beats_knowing(pairs):
    expected, dice = np.array(pairs).T
    curve, best = retention(expected, dice), retention(dice, dice)
    assert (curve <= best + 1e-9).all()
    assert curve[-1] == pytest.approx(dice.mean())
    assert calibration_error(expected, dice) <= figures(expected, dice)["mean_absolute_error"] + 1e-9


def test_thresholds_count_what_they_flag():
    expected = np.array([0.55, 0.65, 0.72, 0.95])
    dice = np.array([0.1, 0.9, 0.5, 0.9])
    by_threshold = {each["threshold"]: each for each in figures(expected, dice)["thresholds"]}
    at = by_threshold[0.7]
    assert (at["flagged"], at["poor_found"], at["good_flagged"]) == (0.5, 0.5, 0.5)
    assert (at["dice_flagged"], at["dice_kept"]) == pytest.approx((0.5, 0.7))
    assert by_threshold[0.5]["dice_flagged"] is None


def test_plots_are_written(tmp_path):
    random = np.random.default_rng(2)
    expected = random.uniform(size=50)
    plot(tmp_path / "plots", expected, np.clip(expected + 0.1 * random.standard_normal(50), 0, 1))
    for name in ("reliability.png", "retention.png"):
        assert (tmp_path / "plots" / name).read_bytes().startswith(b"\x89PNG")
