"""Gain of each image of a series: one factor for all its pixels, apart from displacements."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.motion.equations import normal_equations
from model.motion.lattice import CELL
from model.motion.signal_models import SignalModel
from model.motion.weights import pixel_weights

Floats = NDArray[np.float32]

_MOST_STEPS: Final = 2
_LAST: Final = 0.08
"""Length of a Gauss-Newton step of logarithms after which no other follows: the error is half its square."""
_DETERMINED: Final = 0.03
"""Least determined combination of gains that is found, in shares of the best determined one. The model can
follow a common factor (0.005 at most in simulation) and, in three T2-prep images, every exponential in the
times (0.012); all other combinations have at least 0.06."""
_LONGEST: Final = 0.3
"""Longest step of the logarithm of a gain."""
_TREND_MS: Final = 1500.0
"""Time constant of the decay in which the gains that a model leaves are smooth, near the T1 of tissue."""


class OddGain(NamedTuple):
    """Image whose gain differs from the trend of all others.

    Attributes:
        image: its number.
        gain: its gain over that of the trend.
        certain: no other estimate names another image.
    """

    image: int
    gain: float
    certain: bool = True


def image_gains(
    model: SignalModel, images: Floats, times_ms: NDArray[np.float64], *, prior: bool = True
) -> NDArray[np.float64]:
    """Return the gain of each image with which the signal model describes all of them best, ``(n,)``.

    A gain is one number for the whole field of view. Displacements hardly change it: they change the signal
    at borders, in both directions. The median is 1.

    Args:
        model: of the signal.
        images: ``(n, rows, columns)``, finite, in units of the largest; both sizes are multiples of 2.
        times_ms: of each.
        prior: as of :func:`pixel_weights`.
    """
    logarithm = np.zeros(len(images))
    for _ in range(_MOST_STEPS):
        scaled = images * np.exp(-logarithm).astype(np.float32)[:, None, None]
        found = model.linearise(scaled, times_ms)
        weights = pixel_weights(scaled, found, model.misfit, prior=prior)
        sums = normal_equations((found.polarity * scaled)[None], found, weights, CELL // 2)
        total = sums.sum(axis=(0, 1), dtype=np.float64)
        values, vectors = np.linalg.eigh(total[:, :-1])
        known = values > _DETERMINED * max(float(values[-1]), 1e-12)
        step = vectors[:, known] @ (vectors[:, known].T @ total[:, -1] / values[known])
        logarithm += np.clip(step, -_LONGEST, _LONGEST)
        if np.abs(step).max() < _LAST:
            break
    return np.asarray(np.exp(logarithm - np.median(logarithm)), np.float64)


def odd_gain(model: SignalModel, gains: NDArray[np.float64], times_ms: NDArray[np.float64]) -> OddGain | None:
    """Return the image whose gain differs from the trend of the others; None within the model's limit.

    A signal model that is not exact leaves gains as well, smooth in time but for the earliest images. The
    trend is a polynomial in the decay, of the order that the model states, through the gains of all other
    images. The image is the one without which the others follow it best.

    Args:
        model: of the signal.
        gains: of the images, ``(n,)``.
        times_ms: of each.
    """
    count = model.gain_trend
    if len(gains) <= count + 1:
        return None
    logarithm = np.log(gains)
    terms = np.exp(-times_ms / _TREND_MS)[:, None] ** np.arange(count)
    best, found = np.inf, OddGain(0, 1.0)
    for image in range(len(gains)):
        others = np.arange(len(gains)) != image
        trend = terms @ np.linalg.lstsq(terms[others], logarithm[others], rcond=None)[0]
        apart = logarithm - trend
        if (rest := float(np.square(apart[others]).sum())) < best:
            best, found = rest, OddGain(image, float(np.exp(apart[image])))
    odd = times_ms[found.image] >= model.gain_from_ms and abs(np.log(found.gain)) > model.gain_limit
    return found if odd else None
