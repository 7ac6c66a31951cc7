"""Analytic phantom of a short-axis slice, and the exact signals that mapping sequences take of it.

Tissues are piecewise constant, so that a pixel's signal is the sum of its tissues' signals by their shares of
it. A pixel that is wall alone therefore has exactly the wall's T1 and T2. There is no noise.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

MOLLI_TIMES = (100.0, 1000.0, 1900.0, 2800.0, 3700.0, 180.0, 1080.0, 1980.0)
"""Inversion times of MOLLI 5(3)3 in the order of acquisition, ms."""
T2_TIMES = (0.0, 25.0, 55.0)
"""T2-preparation times, ms."""
SATURATION_TIMES = (10_000.0, 100.0, 170.0, 250.0, 330.0, 400.0, 480.0, 550.0, 600.0, 600.0, 600.0)
"""Saturation times of SASHA, ms; the first image is taken without saturation."""
WALL_RADIUS, CAVITY_RADIUS = 33.0, 23.0
"""Outer and inner radius of the left ventricle's wall, mm; it lies in the middle of the image."""

_FAT, _LUNG, _LIVER, _RV_WALL, _RV_BLOOD, _WALL, _CAVITY = range(7)
_T1 = (310.0, 880.0, 620.0, 950.0, 1550.0, 950.0, 1550.0)
_T2 = (62.0, 31.0, 44.0, 48.0, 180.0, 48.0, 180.0)
_DENSITY = (1.0, 0.02, 0.78, 0.8, 0.95, 0.8, 0.95)
_PARTS = 4
"""Parts into which a pixel is divided on each side to find the tissues' shares."""


@dataclass(frozen=True)
class Phantom:
    """One slice: matrix, pixel size (mm along a row, along a column) and its tissue.

    ``factor`` multiplies T1 and T2 of all tissues.
    """

    rows: int = 96
    columns: int = 96
    spacing: tuple[float, float] = (1.5, 1.5)
    wall_t1: float = 950.0
    wall_t2: float = 48.0
    cavity_t1: float = 1550.0
    factor: float = 1.0

    @property
    def wall(self):
        """Pixels that are myocardium of the left ventricle alone."""
        return self._shares[_WALL] == 1.0

    @property
    def cavity(self):
        """Pixels that are blood of the left ventricle alone."""
        return self._shares[_CAVITY] == 1.0

    @property
    def _shares(self):
        return _tissue_shares(self.rows, self.columns, self.spacing)

    @property
    def _t1(self):
        return self.factor * np.array([*_T1[:_WALL], self.wall_t1, self.cavity_t1])

    @property
    def _t2(self):
        return self.factor * np.array([*_T2[:_WALL], self.wall_t2, _T2[_CAVITY]])

    def _images(self, curves):
        """Images (times, rows, columns) of signal curves (times, tissues) at unit density."""
        return np.tensordot(1000.0 * np.array(curves) * _DENSITY, self._shares, axes=1)

    def molli(self, times=MOLLI_TIMES, *, signed=False):
        """Inversion recovery under a readout, A - B exp(-t / T1*) with T1 = T1* (B/A - 1) and B/A = 1.9."""
        images = self._images([1.0 - 1.9 * np.exp(-time / (self._t1 / 0.9)) for time in times])
        return images if signed else np.abs(images)

    def t2prep(self, times=T2_TIMES):
        return self._images([np.exp(-time / self._t2) for time in times])

    def saturation_recovery(self, efficiency=1.0, times=SATURATION_TIMES):
        """Recovery from saturation; efficiency 1 leaves no magnetisation, 1 - cos(angle) for other pulses."""
        return np.abs(self._images([1.0 - efficiency * np.exp(-time / self._t1) for time in times]))

    def t1_map(self):
        """T1 in ms as a scanner's map shows it: 0 where there is hardly any signal."""
        return np.tensordot(np.where(np.array(_DENSITY) < 0.1, 0.0, self._t1), self._shares, axes=1)

    def t2_map(self):
        return np.tensordot(np.where(np.array(_DENSITY) < 0.1, 0.0, self._t2), self._shares, axes=1)


def whole(images):
    """Pixels as scanners store them: unsigned 16-bit integers."""
    return np.round(np.asarray(images)).astype(np.uint16)


@cache
def _tissue_shares(rows, columns, spacing):
    """Share of each tissue in each pixel (tissues, rows, columns)."""

    def centres(count, size):
        return (np.arange(count * _PARTS) + 0.5) * (size / _PARTS) - count * size / 2

    x, y = centres(columns, spacing[0])[None, :], centres(rows, spacing[1])[:, None]
    tissue = np.full((y.size, x.size), _FAT)
    inside = (x / 74) ** 2 + (y / 61) ** 2 < 1
    tissue[inside] = _LUNG
    tissue[inside & (y > 38 + 0.1 * x)] = _LIVER
    tissue[((x + 34) / 27) ** 2 + (y / 37) ** 2 < 1] = _RV_WALL
    tissue[((x + 34) / 24) ** 2 + (y / 34) ** 2 < 1] = _RV_BLOOD
    tissue[np.hypot(x, y) < WALL_RADIUS] = _WALL
    tissue[np.hypot(x, y) < CAVITY_RADIUS] = _CAVITY
    parts = tissue.reshape(rows, _PARTS, columns, _PARTS)
    return np.stack([(parts == kind).mean(axis=(1, 3)) for kind in range(len(_T1))])
