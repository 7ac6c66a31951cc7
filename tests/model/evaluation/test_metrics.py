"""Hand-made cases: expected values are counted by hand."""

import math
import warnings

import numpy as np
import pytest
import torch
from monai.metrics import compute_dice, compute_iou

from model.evaluation.metrics import agreement, dice


def square(top, left, outer=20, wall=4, size=64):
    labels = np.zeros((size, size), np.uint8)
    labels[top : top + outer, left : left + outer] = 2
    labels[top + wall : top + outer - wall, left + wall : left + outer - wall] = 1
    return labels


def test_the_same_labels_agree_perfectly():
    labels = square(10, 10)
    same = agreement(labels, labels, (1.5, 1.5))
    assert same.dice == same.iou == 1.0
    assert same.hausdorff == same.surface == 0.0


def test_warnings_that_a_user_cannot_act_on_are_not_shown():
    labels = square(10, 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert agreement(labels, labels, (1.5, 1.5)).hausdorff == 0.0


def test_a_shift_by_three_columns():
    found = agreement(square(10, 13), square(10, 10), (1.5, 1.0))
    # Cavity 12 x 12: 9 columns in common of 12. Whole 20 x 20: 17 in common.
    assert found.dice_cavity == pytest.approx(2 * 9 * 12 / (2 * 144))
    assert found.iou_cavity == pytest.approx(9 / 15)
    ring = 400 - 144
    # In common: the overlap of both squares (17 x 20) less either's cavity (9 x 12 shared, 3 x 12 each).
    common = 17 * 20 - (12 * 12 + 3 * 12)
    assert found.dice_myocardium == pytest.approx(2 * common / (2 * ring))
    # Columns are 1.5 mm wide: the borders are 4.5 mm apart at most.
    assert found.hausdorff_endo == pytest.approx(4.5)
    assert found.hausdorff_epi == pytest.approx(4.5)
    assert 0 < found.surface_epi < 4.5


def test_rows_count_with_their_own_size():
    found = agreement(square(13, 10), square(10, 10), (1.5, 1.0))
    assert found.hausdorff_epi == pytest.approx(3.0)


def test_a_larger_ring_around_the_same_cavity():
    larger = square(8, 8, outer=24, wall=6)
    found = agreement(larger, square(10, 10), (1.0, 1.0))
    assert found.dice_cavity == 1.0
    assert found.hausdorff_endo == 0.0
    assert found.hausdorff_epi == pytest.approx(math.hypot(2, 2))
    assert found.surface_epi == pytest.approx(2.0, abs=0.1)


def test_no_contour_has_no_distance():
    found = agreement(np.zeros((64, 64), np.uint8), square(10, 10), (1.5, 1.5))
    assert found.dice == 0.0
    assert math.isnan(found.hausdorff)
    assert math.isnan(found.surface)


def test_the_mean_dice_needs_no_distances():
    found, expert = square(10, 13), square(10, 10)
    assert dice(found, expert) == agreement(found, expert, (1.0, 1.0)).dice
    nothing = np.zeros((64, 64), np.uint8)
    assert dice(nothing, nothing) == 1.0
    assert dice(nothing, expert) == 0.0


def test_overlap_is_that_of_monai():
    random = np.random.default_rng(3)
    found, expert = (random.integers(0, 3, (40, 50)).astype(np.uint8) for _ in range(2))
    classes = [
        torch.from_numpy(np.stack([each == 1, each == 2])[None].astype(np.float32))
        for each in (found, expert)
    ]
    same = agreement(found, expert, (1.0, 1.0))
    expected = compute_dice(*classes)[0].tolist() + compute_iou(*classes)[0].tolist()
    ours = [same.dice_cavity, same.dice_myocardium, same.iou_cavity, same.iou_myocardium]
    assert ours == pytest.approx(expected, rel=1e-6)
