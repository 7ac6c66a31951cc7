import numpy as np
import pytest

from bench.tables.outlines import hausdorff, lower_bounds, through_mask


def circle(x, y, radius, points=400):
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1)


def test_distance_of_two_circles():
    assert hausdorff([circle(0, 0, 10)], circle(0, 0, 12), (1.5, 1.5)) == pytest.approx(3.0, abs=0.02)
    assert hausdorff([circle(0, 0, 10)], circle(3, 0, 10), (1.0, 1.0)) == pytest.approx(3.0, abs=0.02)
    far = [circle(0, 0, 10), circle(40, 0, 1)]
    assert hausdorff(far, circle(0, 0, 10), (1.0, 1.0)) == pytest.approx(31.0, abs=0.02)


@pytest.mark.parametrize("pixel", [0.5, 1.0, 2.0, 3.0])
def test_a_circles_mask_keeps_it_to_a_pixel(pixel):
    """The outermost pixel centres inside lie within a pixel of the circle, measured along a row or column."""
    centres, borders = through_mask(circle(0.17, 0.31, 25.0, 4000), pixel)
    assert 0.5 * pixel < centres < 1.2 * pixel
    assert 0.3 * pixel < borders < 0.8 * pixel


def test_the_lower_bound_grows_with_the_pixels():
    found = lower_bounds([circle(0.1 * i, 0.07 * i, 20 + i) for i in range(8)], (0.5, 1.0, 2.0))
    medians = [float(np.median(each[:, 0])) for each in found.values()]
    assert medians == sorted(medians)
    assert medians[2] / medians[0] == pytest.approx(4.0, rel=0.25)
