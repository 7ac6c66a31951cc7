import numpy as np
import pytest

from model.evaluation.displacement import best_shift


def heart(x, y):
    rows, columns = np.indices((96, 96))
    return np.hypot(columns - 48 - x, rows - 48 - y)


@pytest.mark.parametrize(("x", "y"), [(0.0, 0.0), (1.4, -2.2), (-3.0, 0.6)])
def test_labels_move_to_where_the_image_says(x, y):
    rho = heart(x, y)
    # A blurred heart beside fat of its own brightness.
    image = 50.0 + 70.0 / (1.0 + np.exp(2.0 * (rho - 14.0))) + 30.0 * (rho > 24.0)
    image += np.random.default_rng(0).normal(size=image.shape) * 4.0
    drawn = heart(0.0, 0.0)
    labels = np.where(drawn < 14, 1, np.where(drawn < 22, 2, 0)).astype(np.uint8)
    found = best_shift(image.astype(np.float32), labels)
    np.testing.assert_allclose(found, (x, y), atol=0.35)


def test_beyond_its_reach_it_says_the_furthest():
    image = (heart(9.0, 0.0) < 14).astype(np.float32)
    labels = np.where(heart(0.0, 0.0) < 14, 1, np.where(heart(0.0, 0.0) < 22, 2, 0)).astype(np.uint8)
    assert best_shift(image, labels)[0] == 5.0


def test_without_a_wall_it_says_nothing():
    labels = (heart(0.0, 0.0) < 14).astype(np.uint8)
    assert np.isnan(best_shift(np.zeros((96, 96), np.float32), labels)).all()


def test_labels_at_the_border_stay_in_the_image():
    image = np.random.default_rng(0).normal(size=(20, 20)).astype(np.float32)
    labels = np.full((20, 20), 2, np.uint8)
    labels[:3] = 1
    assert np.isfinite(best_shift(image, labels)).all()
