"""Recognition of saturation recovery by its signal: no Look-Locker fit gives its T1.

After saturation the signal ``A - B exp(-t / T1)`` rises from nothing, so B is close to A; after inversion it
rises from near -A, so B is close to 2 A (SASHA: Chow et al. 2014, Magn Reson Med 71:2082).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_RATES: Final = 1.0 / np.geomspace(100.0, 4000.0, 24)
_BETWEEN: Final = (0.6, 1.35)
"""B / A of a saturation, with pulses of 65 to 110 degrees. MOLLI has 1.5 and more."""
_GOOD_FIT: Final = 0.9
"""R2 below which the signal is no recovery of any kind."""
_MOST_PIXELS: Final = 150
_BRIGHT: Final = 0.3
"""Share of the brightest signal that pixels must have which decide."""


def is_saturation_recovery(
    images: NDArray[np.float32], times_ms: NDArray[np.float64], *, signed: bool = False
) -> bool:
    """Return whether most bright pixels recover from saturation and not from inversion.

    Args:
        images: ``(n, rows, columns)``, times ascending; magnitudes unless ``signed``.
        times_ms: recovery time of each, ms ``(n,)``.
        signed: the images have their sign, and no polarity is sought.
    """
    y = _bright(images)
    if not y.shape[1]:
        return False
    n = len(y)
    best = np.full(y.shape[1], np.inf)
    ratio, variance = np.zeros_like(best), np.ones_like(best)
    for negative in range(1 if signed else n):
        if negative:
            y[negative - 1] *= -1.0
        mean = y.mean(axis=0)
        centred = y - mean
        total = np.square(centred).sum(axis=0)
        for rate in _RATES:
            decay = np.exp(-rate * times_ms)
            along = decay - decay.mean()
            slope = along @ centred / (along @ along)
            squares = total - slope**2 * (along @ along)
            better = squares < best
            a = mean - slope * decay.mean()
            best = np.where(better, squares, best)
            variance = np.where(better, total, variance)
            ratio = np.where(better, -slope / np.where(a == 0.0, np.inf, a), ratio)
    recovers = (best < (1.0 - _GOOD_FIT) * variance) & (ratio > _BETWEEN[0]) & (ratio < _BETWEEN[1])
    return bool(recovers.mean() > 0.5)


def _bright(images: NDArray[np.float32]) -> NDArray[np.float64]:
    """Signals ``(n, pixels)`` of some bright pixels, in units of each one's largest."""
    last = np.abs(images[-1])
    bright = np.flatnonzero(np.isfinite(images).all(axis=0) & (last > _BRIGHT * np.nanmax(last, initial=0.0)))
    few = bright[:: max(len(bright) // _MOST_PIXELS, 1)]
    signals: NDArray[np.float64] = images.reshape(len(images), -1)[:, few].astype(np.float64)
    signals /= np.abs(signals).max(axis=0)
    return signals
