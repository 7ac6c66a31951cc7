"""Accuracy figures against what probability says they must be."""

import numpy as np
import pytest

from calibration.reliability import accuracy, calibration_error, reliability


def test_a_calibrated_confidence_has_no_calibration_error():
    random = np.random.default_rng(1)
    expected = random.uniform(0.0, 1.0, 40_000)
    hits = (random.uniform(size=40_000) < expected).astype(float)
    assert calibration_error(expected, hits) < 0.01
    found = reliability(expected, hits)
    assert sum(each["slices"] for each in found) == 40_000
    assert [each["low"] for each in found] == pytest.approx(np.arange(10) / 10)


def test_an_offset_is_the_error():
    dice = np.linspace(0.2, 0.9, 500)
    assert calibration_error(dice - 0.15, dice) == pytest.approx(0.15)
    found = accuracy(dice - 0.15, dice)
    assert found["mean_absolute_error"] == pytest.approx(0.15)
    assert found["mean_absolute_error_of_the_mean"] == pytest.approx(0.7 / 4, rel=0.01)
    assert found["auc"] == 1.0


def test_the_auc_is_the_share_of_pairs_in_the_right_order():
    expected, dice = np.array([0.2, 0.8, 0.5, 0.9]), np.array([0.1, 0.3, 0.8, 0.9])
    assert accuracy(expected, dice)["auc"] == 3 / 4
    assert accuracy(expected, np.ones(4))["auc"] is None
    assert accuracy(expected[:2], np.array([0.69, 0.7]))["auc"] == 1.0  # contours of 0.7 are of use


def test_thresholds_count_flagged_slices():
    expected = np.array([0.55, 0.65, 0.72, 0.95])
    dice = np.array([0.1, 0.9, 0.5, 0.9])
    by_threshold = {each["threshold"]: each for each in accuracy(expected, dice)["thresholds"]}
    at = by_threshold[0.7]
    assert (at["flagged"], at["poor_flagged"], at["good_flagged"]) == (0.5, 0.5, 0.5)
    assert (at["dice_flagged"], at["dice_others"]) == pytest.approx((0.5, 0.7))
    assert by_threshold[0.5]["dice_flagged"] is None
