from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.evaluation.cases import LabelledSlice
from model.evaluation.evaluate import (
    evaluate,
    moved_by,
    plain,
    readers_moved,
    summarise,
    systematic_offset,
    without_offset,
)


def labelled(name, value):
    labels = np.zeros((40, 40), np.uint8)
    labels[10:30, 10:30] = 2
    labels[15:25, 15:25] = 1
    image = np.where(labels == 2, np.float32(value), np.float32(200))
    return LabelledSlice(
        name, "case", "t2", image, np.empty((0, 40, 40), np.float32), (1.5, 1.5), {"a": labels}
    )


SLICES = [labelled("one", 50.0), labelled("two", 40.0), labelled("three", 45.0)]


def test_a_perfect_segmentation():
    outcomes, labels = evaluate(SLICES, lambda image, spacing: SLICES[0].labels)
    summary = summarise(outcomes)
    assert summary["dice"] == 1.0
    assert summary["bias"] == summary["limits_high"] == 0.0
    assert summary["without_contour"] == 0
    assert len(labels) == 3


def test_slices_without_a_contour_count_as_zero_and_have_no_distance():
    found = iter([SLICES[0].labels, np.zeros((40, 40), np.uint8), SLICES[0].labels])
    summary = summarise(evaluate(SLICES, lambda image, spacing: next(found))[0])
    assert summary["without_contour"] == 1
    assert summary["dice"] == pytest.approx(2 / 3)
    assert summary["hausdorff"] == 0.0


def test_limits_of_agreement():
    outcomes, _ = evaluate(SLICES, lambda image, spacing: SLICES[0].labels)
    apart = np.array([-2.0, 1.0, 0.0])
    moved = [replace(each, median=each.reader_median + d) for each, d in zip(outcomes, apart, strict=True)]
    summary = summarise(moved)
    assert summary["bias"] == pytest.approx(-1 / 3)
    assert summary["limits_high"] == pytest.approx(-1 / 3 + 1.96 * apart.std(ddof=1))
    assert summary["absolute_difference"] == pytest.approx(1.0)


def test_no_slices_at_all():
    assert summarise([]) == {"slices": 0}


def test_plain_values_have_no_nan():
    outcomes, _ = evaluate(SLICES[:1], lambda image, spacing: np.zeros((40, 40), np.uint8))
    (row,) = plain(outcomes)
    assert row["median"] is None
    assert row["agreement"]["hausdorff_endo"] is None


MANY = [labelled(f"slice {number}", 45.0) for number in range(8)]


def shifted(x, y):
    return np.roll(MANY[0].labels, (y, x), (0, 1))


def test_an_offset_that_all_slices_share_is_found_and_can_be_taken_out():
    found = iter([shifted(2 + number % 2, -1) for number in range(8)])
    outcomes, labels = evaluate(MANY, lambda image, spacing: next(found))
    assert systematic_offset(outcomes) == (pytest.approx(2.5 * 1.5), pytest.approx(-1.5))
    assert summarise(outcomes)["dice"] < 0.8
    aligned = summarise(without_offset(MANY, labels, outcomes))
    assert aligned["dice"] > 0.88
    assert abs(aligned["offset_x"]) < 0.1


@given(x=st.floats(-4, 4), y=st.floats(-4, 4))
@settings(max_examples=30, deadline=None)
def test_labels_move_by_parts_of_a_pixel(x, y):
    rows, columns = np.indices((64, 64))

    def disc(x, y):
        rho = np.hypot(columns - 31.3 - x, rows - 32.2 - y)
        return np.where(rho < 9, 1, np.where(rho < 16, 2, 0)).astype(np.uint8)

    moved = moved_by(disc(0, 0), x, y)
    for inside in (lambda labels: labels == 1, lambda labels: labels > 0):
        ours, theirs = inside(moved), inside(disc(x, y))
        assert 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()) > 0.94
        centre = np.argwhere(ours).mean(axis=0) - np.argwhere(theirs).mean(axis=0)
        assert np.abs(centre).max() < 0.3


def test_what_lies_right_reaches_no_more_than_the_displacement_of_the_labels_allows():
    moved = summarise(readers_moved(MANY, (3.0, -1.5)))
    following, _ = evaluate(MANY, lambda image, spacing: shifted(2, -1))
    assert moved["dice"] == pytest.approx(summarise(following)["dice"], abs=0.02)
    assert (moved["offset_x"], moved["offset_y"]) == (
        pytest.approx(3.0, abs=0.1),
        pytest.approx(-1.5, abs=0.1),
    )
    assert summarise(readers_moved(MANY, (0.0, 0.0)))["dice"] > 0.98


def test_chance_offsets_are_not_systematic():
    found = iter(
        [shifted(x, y) for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1), (2, 1), (-2, -1), (1, 1), (0, 0))]
    )
    outcomes, _ = evaluate(MANY, lambda image, spacing: next(found))
    assert systematic_offset(outcomes) is None
    assert systematic_offset(outcomes[:3]) is None


def test_a_slice_without_a_contour_does_not_spoil_the_offset():
    found = iter([np.zeros((40, 40), np.uint8), *[shifted(2, 1)] * 7])
    outcomes, labels = evaluate(MANY, lambda image, spacing: next(found))
    assert systematic_offset(outcomes) == (3.0, 1.5)
    aligned = without_offset(MANY, labels, outcomes)
    assert not aligned[0].contour
    assert aligned[1].agreement.dice > 0.97


def test_what_is_not_myocardium_widens_the_spread():
    outcomes, _ = evaluate(SLICES[:1], lambda image, spacing: shifted(3, 0))
    assert outcomes[0].reader_spread == 0.0
    assert outcomes[0].spread > 50.0
