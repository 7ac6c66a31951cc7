import numpy as np
import pytest

from model.evaluation.outlines import smooth_outline
from model.polygons import area


def disc(x, y, radius, size=64):
    rows, columns = np.indices((size, size))
    return np.hypot(columns - x, rows - y) < radius


@pytest.mark.parametrize("radius", [6.3, 11.0, 17.4])
def test_a_smooth_outline_lies_on_the_discs_border(radius):
    outline = smooth_outline(disc(31.3, 30.6, radius))
    off = np.hypot(*(outline - (31.3, 30.6)).T) - radius
    assert np.abs(off).max() < 0.5


def test_outlines_of_discs_are_neither_too_large_nor_too_small():
    found = []
    for x, y in np.random.default_rng(2).uniform(30.5, 31.5, (30, 2)):
        found.append(np.sqrt(area(smooth_outline(disc(x, y, 12.0))) / np.pi))
    assert np.mean(found) == pytest.approx(12.0, abs=0.03)


def test_an_empty_mask_has_no_outline():
    with pytest.raises(ValueError, match="empty"):
        smooth_outline(np.zeros((8, 8), bool))
