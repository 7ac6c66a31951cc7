import numpy as np
import pytest

from model.evaluation.readers import (
    Spread,
    draw_labels,
    find_borders,
    make_readers,
    signed_distance,
    smooth_offset,
)

SPACING = (1.5, 1.5)


def ring(size=96, inner=16.0, outer=26.0, x=0.0, y=0.0):
    rows, columns = np.indices((size, size))
    rho = np.hypot(columns - 47.5 - x, rows - 47.5 - y)
    return np.where(rho < inner, 1, np.where(rho < outer, 2, 0)).astype(np.uint8)


def radius(mask):
    return np.sqrt(mask.sum() / np.pi)


def drawn(truth, endo, epi):
    """Labels of a reader of these offsets (mm) without random ones."""
    return draw_labels(find_borders(truth, SPACING), (endo, epi), 0.0, np.random.default_rng(1))


def test_a_reader_without_spread_draws_the_truth():
    truth = ring()
    # Pixels on the border itself may fall to either side.
    assert np.count_nonzero(drawn(truth, 0.0, 0.0) != truth) <= 0.01 * np.count_nonzero(truth)


def test_a_reader_draws_nothing_without_a_heart():
    assert not drawn(np.zeros((20, 24), np.uint8), 1.0, 1.0).any()
    assert drawn(np.zeros((20, 24), np.uint8), 1.0, 1.0).shape == (20, 24)


def test_a_heart_without_a_cavity_stays_without_one():
    found = drawn((ring() > 0).astype(np.uint8) * 2, 3.0, 0.0)
    assert (found == 2).any()
    assert not (found == 1).any()


@pytest.mark.parametrize("cut", [np.s_[:, 40:], np.s_[44:, 36:], np.s_[:, 60:]])
def test_a_heart_that_the_image_cuts_is_drawn_up_to_its_edge(cut):
    truth = ring()[cut]
    found = drawn(truth, 0.0, 0.0)
    assert np.count_nonzero(found != truth) <= 0.02 * np.count_nonzero(truth)
    assert np.count_nonzero(found[:, 0] != truth[:, 0]) <= 2


def test_every_part_of_a_heart_is_drawn():
    truth = ring()
    truth[:, 46:50][truth[:, 46:50] == 1] = 2
    found = drawn(truth, 0.0, 0.0)
    assert np.count_nonzero(found != truth) <= 0.02 * np.count_nonzero(truth)


@pytest.mark.parametrize("offset", [-4.5, -1.5, -0.75, -0.4, -0.2, 0.2, 0.4, 0.75, 1.5, 3.0])
def test_a_bias_moves_the_borders_by_its_millimetres(offset):
    """Also by less than half a pixel of 1.5 mm, on average over places of the heart between the pixels."""
    moved = []
    for x, y in np.random.default_rng(3).uniform(-0.5, 0.5, (12, 2)):
        found = drawn(ring(x=x, y=y), offset, offset)
        moved.append((radius(found == 1) - 16.0, radius(found > 0) - 26.0))
    assert 1.5 * np.mean(moved, axis=0) == pytest.approx([offset, offset], abs=0.12)


def test_a_wall_is_left_where_the_contours_would_cross():
    found = drawn(ring(), 15.0, -6.0)
    inner = signed_distance(found > 0)[found == 1]
    assert inner.max() < -0.5
    assert (found == 2).any()


def test_random_offsets_have_the_stated_spread_and_are_smooth():
    random = np.random.default_rng(4)
    angle = np.linspace(-np.pi, np.pi, 200)
    offsets = np.array([smooth_offset(angle, random) for _ in range(3000)])
    assert np.abs(offsets.std(axis=0) - 1.0).max() < 0.06
    assert np.abs(offsets.mean(axis=0)).max() < 0.06
    assert np.allclose(offsets[:, 0], offsets[:, -1])
    assert np.abs(np.diff(offsets, axis=1)).max() < 0.5


def test_biases_of_readers_have_the_stated_spread():
    made = make_readers(4000, Spread(bias_mm=0.7, random_mm=0.0), np.random.default_rng(5))
    assert np.std([endo for endo, _ in made.values()]) == pytest.approx(0.7, rel=0.05)
    assert len(made) == 4000
    assert "0.7 mm" in str(Spread(0.7, 0.2))
