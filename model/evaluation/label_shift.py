"""Shift of labels estimated from image intensities alone, without a network."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.evaluation.metrics import Labels

_REACH: Final = 5
"""Largest shift, pixels."""


def estimate_shift(image: NDArray[np.float32], labels: Labels) -> tuple[float, float]:
    """Return the shift (x, y), pixels, after which the intensities within cavity and myocardium scatter
    least.

    Displaced labels have blood in the wall and wall in the blood. The scatter within the two classes is
    smallest where both lie right (the criterion of Otsu 1979, IEEE Trans Syst Man Cybern 9:62). A parabola
    interpolates between whole pixels.

    Args:
        image: ``(rows, columns)``.
        labels: 1 cavity, 2 myocardium, likewise.

    Returns:
        NaN where either class is missing, or has no finite value.
    """
    masks = [np.argwhere(labels == value) for value in (1, 2)]
    if not all(len(mask) for mask in masks):
        return float("nan"), float("nan")
    steps = range(-_REACH, _REACH + 1)
    scatter = np.array([[_scatter(image, masks, x, y) for x in steps] for y in steps])
    if not np.isfinite(scatter).any():
        return float("nan"), float("nan")
    row, column = np.unravel_index(scatter.argmin(), scatter.shape)
    return _minimum(scatter[row], int(column)), _minimum(scatter[:, column], int(row))


def _scatter(image: NDArray[np.float32], masks: list[NDArray[np.intp]], x: int, y: int) -> float:
    """Return the sum of squares of the values within each class from its mean, after a shift by whole pixels.

    Pixels shifted out of the image stay at its border. Those that are not finite count as the average of the
    others; infinite where a class has no finite value.
    """
    last = np.array(image.shape) - 1
    values = [image[tuple(np.clip(mask + np.array([y, x]), 0, last).T)] for mask in masks]
    finite = [each[np.isfinite(each)] for each in values]
    if not all(len(each) for each in finite):
        return float("inf")
    return float(
        sum(
            np.square(known - known.mean()).sum() * (len(each) / len(known))
            for each, known in zip(values, finite, strict=True)
        )
    )


def _minimum(values: NDArray[np.float64], at: int) -> float:
    """Return the position of the minimum around the smallest of values at whole pixels, -5 to 5."""
    if not 0 < at < len(values) - 1:
        return float(at - _REACH)
    before, here, after = values[at - 1 : at + 2]
    bend = before - 2.0 * here + after
    return float(at - _REACH + (0.5 * (before - after) / bend if 0 < bend < np.inf else 0.0))
