"""Check of a T1 series by its signal: inversion or saturation recovery, and one scale for all images.

After saturation the signal ``A - B exp(-t / T1)`` rises from nothing, so B is close to A; after inversion it
rises from near -A, so B is close to 2 A (SASHA: Chow et al. 2014, Magn Reson Med 71:2082). The Look-Locker
corrected fit of the former gives a wrong T1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.relaxometry.brightness import bright

_RATES: Final = 1.0 / np.geomspace(100.0, 4000.0, 24)
_SATURATION: Final = (0.6, 1.35)
"""B / A of a saturation, with pulses of 65 to 110 degrees. MOLLI has 1.5 and more."""
_GOOD_FIT: Final = 0.9
"""Smallest R2 of a recovery."""
_OFF: Final = 0.1
"""Median relative deviation of one image from the recovery above which it is reported."""
_MOST_PIXELS: Final = 150
_BRIGHT: Final = 0.3
"""Share of the signal of bright tissue above which a pixel counts as bright."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """Finding in most bright pixels of a series.

    Attributes:
        saturation: they recover from saturation, not from inversion.
        off: number of the image that deviates most from the recovery, where that is too much; else None.
        by: its deviation, as a share of the fully recovered signal.
    """

    saturation: bool = False
    off: int | None = None
    by: float = 0.0


def check_recovery(
    images: NDArray[np.float32], times_ms: NDArray[np.float64], *, signed: bool = False
) -> Recovery:
    """Return the finding in most bright pixels of a T1 series.

    Args:
        images: ``(n, rows, columns)``, n at least 4, times ascending; magnitudes unless ``signed``.
        times_ms: recovery time of each, ms ``(n,)``.
        signed: the images have their sign; no polarity is restored.
    """
    y = _bright(images)
    n, pixels = y.shape
    if not pixels:
        return Recovery()
    decay = np.exp(-_RATES[:, None] * times_ms)
    along = decay - decay.mean(axis=1, keepdims=True)
    # Rates outside the range of the times have no direction.
    lengths = np.linalg.norm(along, axis=1)
    unit = along / np.where(lengths > 0.0, lengths, np.inf)[:, None]
    best, variance = np.full(pixels, np.inf), np.ones(pixels)
    a, b, residuals = np.ones(pixels), np.zeros(pixels), np.zeros_like(y)
    for negative in range(1 if signed else n):
        if negative:
            y[negative - 1] *= -1.0
        mean = y.mean(axis=0)
        centred = y - mean
        total = np.square(centred).sum(axis=0)
        explained = unit @ centred
        rate = np.abs(explained).argmax(axis=0)
        size = explained[rate, np.arange(pixels)]
        squares = total - size**2
        better = np.flatnonzero(squares < best)
        rate, size = rate[better], size[better]
        slope = size / np.where(lengths > 0.0, lengths, np.inf)[rate]
        best[better], variance[better] = squares[better], total[better]
        a[better], b[better] = mean[better] - slope * decay[rate].mean(axis=1), -slope
        residuals[:, better] = centred[:, better] - unit[rate].T * size
    a = np.where(a == 0.0, np.inf, a)
    recovers = best < (1.0 - _GOOD_FIT) * variance
    saturated = recovers & (b / a > _SATURATION[0]) & (b / a < _SATURATION[1])
    beside = np.median(residuals / np.abs(a), axis=1)
    off = int(np.abs(beside).argmax())
    by = float(beside[off])
    if abs(by) > _OFF:
        return Recovery(off=off, by=by)
    return Recovery(saturation=bool(saturated.mean() > 0.5), by=by)


def _bright(images: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the signals ``(n, pixels)`` of some bright pixels, each in units of its largest."""
    finite, last = np.isfinite(images).all(axis=0), np.abs(images[-1])
    if not finite.any():
        return np.zeros((len(images), 0))
    chosen = np.flatnonzero(finite & (last > _BRIGHT * bright(last[finite])))
    few = chosen[:: max(len(chosen) // _MOST_PIXELS, 1)]
    signals: NDArray[np.float64] = images.reshape(len(images), -1)[:, few].astype(np.float64)
    signals /= np.abs(signals).max(axis=0)
    return signals
