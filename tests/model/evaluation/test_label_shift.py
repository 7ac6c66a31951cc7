import numpy as np
import pytest

from model.evaluation.label_shift import estimate_shift


def heart(x, y):
    rows, columns = np.indices((96, 96))
    return np.hypot(columns - 48 - x, rows - 48 - y)


@pytest.mark.parametrize(("x", "y"), [(0.0, 0.0), (1.4, -2.2), (-3.0, 0.6)])
def test_the_shift_of_a_heart_is_found(x, y):
    rho = heart(x, y)
    # A blurred heart beside fat of its own brightness.
    image = 50.0 + 70.0 / (1.0 + np.exp(2.0 * (rho - 14.0))) + 30.0 * (rho > 24.0)
    image += np.random.default_rng(0).normal(size=image.shape) * 4.0
    drawn = heart(0.0, 0.0)
    labels = np.where(drawn < 14, 1, np.where(drawn < 22, 2, 0)).astype(np.uint8)
    found = estimate_shift(image.astype(np.float32), labels)
    np.testing.assert_allclose(found, (x, y), atol=0.35)


def test_a_larger_shift_gives_the_largest():
    image = (heart(9.0, 0.0) < 14).astype(np.float32)
    labels = np.where(heart(0.0, 0.0) < 14, 1, np.where(heart(0.0, 0.0) < 22, 2, 0)).astype(np.uint8)
    assert estimate_shift(image, labels)[0] == 5.0


def test_without_a_wall_there_is_no_estimate():
    labels = (heart(0.0, 0.0) < 14).astype(np.uint8)
    assert np.isnan(estimate_shift(np.zeros((96, 96), np.float32), labels)).all()


def test_labels_at_the_border_stay_in_the_image():
    image = np.random.default_rng(0).normal(size=(20, 20)).astype(np.float32)
    labels = np.full((20, 20), 2, np.uint8)
    labels[:3] = 1
    assert np.isfinite(estimate_shift(image, labels)).all()
