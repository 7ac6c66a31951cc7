"""Weights of the pixels of a series in a fit of all its images."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.motion.signal_models import Linearised
from model.relaxometry.brightness import bright

Floats = NDArray[np.float32]

_FLOOR: Final = 0.25
"""Share of the bright signal in the unit of residuals, beside the pixel's own."""


def pixel_weights(images: Floats, found: Linearised, misfit: float, *, prior: bool = True) -> Floats:
    """Return the weight of each pixel: residuals relative to its brightness, less where the model fails.

    Args:
        images: ``(n, rows, columns)``.
        found: their fit.
        misfit: relative residual at which a pixel counts half.
        prior: the residual of the prior counts as one of an image. Fat off resonance follows the model with
            a B / A of its own. With full weight it would make early images of the other tissues look brighter
            than they are, and then displaced.

    Returns:
        ``(rows, columns)``; 0 where the fit failed.
    """
    brightest = np.abs(images).max(axis=0)
    unit = brightest + np.float32(_FLOOR * bright(brightest) + 1e-12)
    residuals = found.residuals if prior else found.residuals[:-1]
    squares = np.square(residuals).sum(axis=0) / (len(images) * np.square(unit))
    weights = 1.0 / (np.square(unit) * (1.0 + squares / np.float32(misfit**2)))
    return np.where(found.failed, np.float32(0.0), weights).astype(np.float32)
