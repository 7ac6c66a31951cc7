"""Reasons of a low confidence: the signal that was made bad is named, with its value."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inline.contouring.confidence import SIGNALS, Calibration, load_calibration, signals
from inline.contouring.explanation import SignalPart, explain
from inline.data.results import Contours
from model.weights import DEFAULT
from tests.shapes import circle

NO_SIGNAL = "no signal stands out"


def parts(**contributions):
    return [SignalPart(name, 0.5, 0.25, contributions.get(name, 0.0)) for name in SIGNALS]


def test_the_signal_with_the_lowest_contribution_is_named_alone():
    text = explain(parts(entropy=-1.0, off_centre=-0.3, without_fit=5.0), 0.654, 0.8)
    assert text == (
        "The expected Dice of 0.654 is below 0.8: the entropy of the class probabilities in and around the "
        "heart is high (0.50, mean of the calibration 0.25)."
    )


def test_a_confidence_just_below_the_threshold_is_shown_below_it():
    assert explain(parts(), 0.79999, 0.8).startswith("The expected Dice of 0.799 is below 0.8: ")


def test_a_second_one_is_named_from_half_of_the_first_on():
    text = explain(parts(without_fit=-0.5, off_centre=-1.0, entropy=-0.49), 0.6, 0.8)
    assert text.index("centres in radii") < text.index("without a certain fit is high (50%")
    assert "entropy" not in text


def test_a_signal_on_its_better_side_is_not_named():
    """Its weight has the opposite sign: it rises together with another one."""
    better = SignalPart("soft_dice_cavity", 4.5, 3.5, -0.8)
    assert NO_SIGNAL in explain([better], 0.8, 0.84)
    text = explain([better, SignalPart("entropy", 0.3, 0.1, -0.2)], 0.8, 0.84)
    assert "LV cavity" not in text
    assert "the entropy of the class probabilities in and around the heart is high (0.30" in text


def test_a_diameter_is_named_in_millimetres():
    each = [SignalPart("diameter", math.log(18.0), math.log(56.0), -1.0)]
    assert "the diameter of the heart is low (18 mm, mean of the calibration 56 mm)." in explain(
        each, 0.6, 0.8
    )


def test_small_contributions_are_not_named():
    assert NO_SIGNAL in explain(parts(entropy=-0.09, off_centre=-0.05), 0.78, 0.8)
    assert NO_SIGNAL in explain(parts(entropy=0.5), 0.78, 0.8)


def test_agreement_is_stated_as_a_dice_coefficient():
    part = SignalPart("soft_dice_myocardium", math.log(0.75 / 0.25), math.log(0.95 / 0.05), -2.0)
    text = explain([part, *parts()], 0.5, 0.8)
    assert "probability of myocardium is low (0.750, mean of the calibration 0.950)" in text


@given(st.lists(st.floats(-9.0, 9.0), min_size=len(SIGNALS), max_size=len(SIGNALS)))
def test_contributions_add_up_to_the_score(found):
    n = len(SIGNALS)
    made = Calibration("w", (0.5,) * n, (2.0,) * n, tuple(range(-3, n - 3)), 0.75, (0.0,), (0.5,))
    values = np.array(found)
    assert made.contributions(values).sum() + 0.75 == pytest.approx(float(made.score(values)))
    assert made.contributions(np.full(n, 0.5)).tolist() == [0.0] * n


def test_the_distributed_calibration_names_undecided_probabilities():
    """Equal probabilities in and around contours that are otherwise those of a plain ring."""
    calibration, source = load_calibration(DEFAULT)
    assert calibration is not None, source
    ring = Contours(circle(20.0, 111.5), circle(28.0, 111.5))
    y, x = np.mgrid[:224, :224]
    image = np.where(np.hypot(x - 111.5, y - 111.5) < 28, 1.0, 0.0).astype(np.float32)
    found = signals(np.full((3, 224, 224), 1 / 3, np.float32), image, ring)
    made = [
        SignalPart(*each)
        for each in zip(
            SIGNALS, found.tolist(), calibration.centre, calibration.contributions(found), strict=True
        )
    ]
    text = explain(made, float(calibration.expected_dice(found)), 0.8)
    assert "the probability of myocardium is low (0." in text
