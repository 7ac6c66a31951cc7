import numpy as np
import pytest

from model.evaluation.readers import Spread, draw, make_readers, signed_distance, smooth_offset

SPACING = (1.5, 1.5)


def ring(size=96, inner=16.0, outer=26.0):
    rows, columns = np.indices((size, size))
    rho = np.hypot(columns - 47.5, rows - 47.5)
    return np.where(rho < inner, 1, np.where(rho < outer, 2, 0)).astype(np.uint8)


def radius(mask):
    return np.sqrt(mask.sum() / np.pi)


def test_a_reader_without_spread_draws_the_truth():
    truth = ring()
    assert np.array_equal(draw(truth, SPACING, (0.0, 0.0), 0.0, np.random.default_rng(1)), truth)


@pytest.mark.parametrize(("endo", "epi"), [(3.0, 1.5), (-3.0, -4.5)])
def test_a_bias_moves_the_borders_by_its_millimetres(endo, epi):
    found = draw(ring(), SPACING, (endo, epi), 0.0, np.random.default_rng(1))
    assert radius(found == 1) == pytest.approx(16.0 + endo / 1.5, abs=0.3)
    assert radius(found > 0) == pytest.approx(26.0 + epi / 1.5, abs=0.3)


def test_a_wall_is_left_where_the_contours_would_cross():
    found = draw(ring(), SPACING, (15.0, -6.0), 0.0, np.random.default_rng(1))
    inner = signed_distance(found > 0)[found == 1]
    assert inner.max() < -0.5
    assert (found == 2).any()


def test_random_offsets_have_the_stated_spread_and_are_smooth():
    random = np.random.default_rng(4)
    angle = np.linspace(-np.pi, np.pi, 200)
    drawn = np.array([smooth_offset(angle, random) for _ in range(3000)])
    assert np.abs(drawn.std(axis=0) - 1.0).max() < 0.06
    assert np.abs(drawn.mean(axis=0)).max() < 0.06
    assert np.allclose(drawn[:, 0], drawn[:, -1])
    assert np.abs(np.diff(drawn, axis=1)).max() < 0.5


def test_biases_of_readers_have_the_stated_spread():
    made = make_readers(4000, Spread(bias_mm=0.7, random_mm=0.0), np.random.default_rng(5))
    assert np.std([endo for endo, _ in made.values()]) == pytest.approx(0.7, rel=0.05)
    assert len(made) == 4000
    assert "0.7 mm" in str(Spread(0.7, 0.2))
