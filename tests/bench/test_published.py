"""Reference implementation against values known beforehand."""

import numpy as np
import pytest

from bench.reference.published import contours, fit_map


def test_maps_of_noiseless_images():
    times = np.array([100.0, 180.0, 1000.0, 1080.0, 1900.0, 2800.0, 3700.0])
    t1 = np.array([[600.0, 1000.0, 1400.0]])
    images = np.abs(1.0 - 1.9 * np.exp(-times[:, None, None] * 0.9 / t1)).astype(np.float32)
    assert fit_map(images, times, t1=True) == pytest.approx(t1, rel=1e-3)
    echoes, t2 = np.array([0.0, 25.0, 55.0]), np.array([[40.0, 60.0]])
    images = np.exp(-echoes[:, None, None] / t2).astype(np.float32)
    assert fit_map(images, echoes, t1=False) == pytest.approx(t2, rel=1e-3)


def test_contours_of_a_ring_and_of_nothing():
    rows, columns = np.indices((64, 64))
    rho = np.hypot(columns - 30, rows - 33)
    endo, epi = contours(np.where(rho < 10, 1, np.where(rho < 16, 2, 0)).astype(np.uint8))
    for contour, radius in ((endo, 10), (epi, 16)):
        assert np.hypot(*(contour - (30, 33)).T) == pytest.approx(radius, abs=1.5)
    assert contours(np.zeros((64, 64), np.uint8)) == [None, None]
