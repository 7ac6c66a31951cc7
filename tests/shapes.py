"""Shapes of analytic tests, and engines that find them."""

import numpy as np


def circle(radius, centre, points=96):
    """A polygon on a circle, from +x to +y; ``centre`` is (x, y), or one number for both."""
    angle = np.linspace(0.0, 2.0 * np.pi, points, endpoint=False)
    return np.asarray(centre) + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


class RingEngine:
    """Finds the same ring in every image: cavity and wall around the centre, by their radii in pixels."""

    def __init__(self, inner=20, outer=28, name="ring"):
        self.name = name
        y, x = np.mgrid[:224, :224]
        radius = np.hypot(x - 111.5, y - 111.5)
        self._one = np.stack([radius >= outer, radius < inner, (radius >= inner) & (radius < outer)])

    def infer(self, images):
        return np.repeat(self._one[None].astype(np.float32), len(images), axis=0)


class Constant:
    """Returns one number for everything."""

    def __init__(self, name="constant", value=1 / 3, size=224):
        self.name, self._value, self._size = name, value, size

    def infer(self, images):
        return np.full((len(images), 3, self._size, self._size), self._value, np.float32)


class Raising:
    """Raises an error for every image."""

    name = "raising"

    def __init__(self, error=None):
        self._error = error or RuntimeError("no such kernel")

    def infer(self, images):
        raise self._error


class Clock:
    """Stands still at ``now``."""

    def __init__(self, now=0.0):
        self.now = now

    def __call__(self):
        return self.now


class Nothing:
    """Finds background."""

    name = "nothing"

    def infer(self, images):
        return np.tile(np.float32([1.0, 0.0, 0.0])[:, None, None], (len(images), 1, 224, 224))
