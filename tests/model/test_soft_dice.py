import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from model.soft_dice import soft_dice

MASKS = arrays(np.bool_, (6, 7))


@given(MASKS, MASKS)
def test_of_certain_probabilities_it_is_the_dice_coefficient_of_two_masks(first, second):
    """By the sizes of the sets."""
    sizes = int(first.sum()) + int(second.sum())
    expected = 2 * int((first & second).sum()) / sizes if sizes else 0.0
    assert soft_dice(first.astype(np.float64), second) == pytest.approx(expected)


def test_half_a_probability_counts_half():
    mask = np.array([True, True, False, False])
    assert soft_dice(np.array([1.0, 0.5, 0.5, 0.0]), mask) == pytest.approx(2 * 1.5 / 4)
