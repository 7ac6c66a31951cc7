"""Shapes of analytic tests."""

import numpy as np


def circle(radius, centre, points=96):
    """A polygon on a circle, from +x to +y; ``centre`` is (x, y), or one number for both."""
    angle = np.linspace(0.0, 2.0 * np.pi, points, endpoint=False)
    return np.asarray(centre) + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
