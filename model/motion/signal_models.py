"""Signal models that drive the registration: residuals of a fit, and what the model can follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from model.relaxometry.molli import fit_molli, molli_map
from model.relaxometry.parametric_map import ParametricMap
from model.relaxometry.t2prep import fit_t2prep, t2_map

Floats = NDArray[np.float32]

_PRIOR: Final = np.float32(0.7)
"""Weight of the prior on B / A relative to one image."""
_GOOD_FIT: Final = 0.9
"""Smallest R2 of a pixel that the series' B / A is taken from."""
_USUAL_RATIO: Final = 2.0
"""B / A where no pixel fits well: that of a perfect inversion."""


class Linearised(NamedTuple):
    """Fit of images ``(n, rows, columns)``, and the model's derivatives there.

    Attributes:
        polarity: 1, or -1 where the signal has the opposite sign of the image, ``(n, rows, columns)``.
        residuals: signal less model, and a last row for a prior on the parameters,
            ``(n + 1, rows, columns)``.
        columns: derivatives by each parameter, in the same rows, ``(parameters, n + 1, rows, columns)``.
        r_squared: share of the signal's variance that the model explains, ``(rows, columns)``.
        failed: pixels without a fit; their residuals and derivatives are not valid.
    """

    polarity: Floats
    residuals: Floats
    columns: Floats
    r_squared: Floats
    failed: NDArray[np.bool_]


class SignalModel(Protocol):
    """Signal model of a series.

    Attributes:
        damping: share of an image's own gradients that resists its displacement, against directions that the
            model can follow as well.
        misfit: root mean square residual, in units of a pixel's brightness, at which the pixel counts half:
            no displacement explains it.
        one_contrast: bright tissue of one image is bright in all others.
        fewest: images from which the model leaves a residual that shows motion.
        gain_trend: terms of the trend in time of the gains that the model leaves in images of one gain.
        gain_limit: logarithm of the gain of one image, less the trend, above which it is reported.
        gain_from_ms: time from which images have gains on the trend.
    """

    damping: ClassVar[float]
    misfit: ClassVar[float]
    one_contrast: ClassVar[bool]
    fewest: ClassVar[int]
    gain_trend: ClassVar[int]
    gain_limit: ClassVar[float]
    gain_from_ms: ClassVar[float]

    def restored(self) -> SignalModel:
        """Return the model of images whose polarity is restored."""
        ...

    def map(self, images: Floats, times_ms: NDArray[np.float64]) -> ParametricMap:
        """Return the parametric map of images ``(n, rows, columns)``."""
        ...

    def linearise(self, images: Floats, times_ms: NDArray[np.float64]) -> Linearised:
        """Return the fit of images ``(n, rows, columns)`` and its derivatives."""
        ...


@dataclass(frozen=True, slots=True)
class MolliModel:
    """``A - B exp(-t / T1*)``.

    Three free parameters fit much of the change by motion in the images after the inversions. A prior
    restrains them: B / A is nearly the same in all tissues of a series, since it depends on the inversion and
    the readout.

    Attributes:
        signed: the images have their sign.
    """

    signed: bool = False
    damping: ClassVar[float] = 0.1
    misfit: ClassVar[float] = 0.04
    one_contrast: ClassVar[bool] = False
    fewest: ClassVar[int] = 4
    gain_trend: ClassVar[int] = 3
    gain_limit: ClassVar[float] = 0.08
    gain_from_ms: ClassVar[float] = 500.0

    def restored(self) -> MolliModel:
        """Return the model of signed images."""
        return MolliModel(signed=True)

    def map(self, images: Floats, times_ms: NDArray[np.float64]) -> ParametricMap:
        """Return the T1 map."""
        return molli_map(images, times_ms, signed=self.signed)

    def linearise(self, images: Floats, times_ms: NDArray[np.float64]) -> Linearised:
        """Return the fit and its derivatives by A, B and the logarithm of T1*."""
        n = len(images)
        fit = fit_molli(images, times_ms, signed=self.signed)
        a, b, failed, r_squared = fit.a, fit.b, fit.failed, fit.r_squared
        decay, late = _exponential(times_ms, np.where(failed, np.float32(1.0), fit.apparent))
        # Signed images have one sign for all: an inverted series is the mirrored one.
        turned = (fit.negative == n) if self.signed else (np.arange(n)[:, None, None] < fit.negative)
        polarity = np.where(np.broadcast_to(turned, images.shape), np.float32(-1.0), np.float32(1.0))
        good = ~failed & (r_squared > _GOOD_FIT)
        ratio = np.float32(np.median(b[good] / a[good]) if good.any() else _USUAL_RATIO)
        columns = np.empty((3, n + 1, *a.shape), np.float32)
        columns[0, :n], columns[0, n] = 1.0, -_PRIOR * ratio
        columns[1, :n], columns[1, n] = -decay, _PRIOR
        columns[2, :n], columns[2, n] = late, 0.0
        residuals = np.empty((n + 1, *a.shape), np.float32)
        np.subtract(polarity * images, a - b * decay, out=residuals[:n])
        residuals[n] = -_PRIOR * (b - ratio * a)
        return Linearised(polarity, residuals, columns, r_squared, failed)


@dataclass(frozen=True, slots=True)
class T2PrepModel:
    """``C exp(-t / T2)``."""

    damping: ClassVar[float] = 0.0
    misfit: ClassVar[float] = 0.1
    one_contrast: ClassVar[bool] = True
    fewest: ClassVar[int] = 3
    gain_trend: ClassVar[int] = 0
    gain_limit: ClassVar[float] = 0.03
    gain_from_ms: ClassVar[float] = 0.0

    def restored(self) -> T2PrepModel:
        """Return the model itself: its signal is positive."""
        return self

    def map(self, images: Floats, times_ms: NDArray[np.float64]) -> ParametricMap:
        """Return the T2 map."""
        return t2_map(images, times_ms)

    def linearise(self, images: Floats, times_ms: NDArray[np.float64]) -> Linearised:
        """Return the fit and its derivatives by C and the logarithm of T2."""
        n = len(images)
        fit = fit_t2prep(images, times_ms)
        c, failed = fit.c, fit.failed
        decay, late = _exponential(times_ms, np.where(failed, np.float32(1.0), fit.t2))
        columns = np.zeros((2, n + 1, *c.shape), np.float32)
        columns[0, :n], columns[1, :n] = decay, late
        residuals = np.zeros((n + 1, *c.shape), np.float32)
        np.subtract(images, c * decay, out=residuals[:n])
        return Linearised(np.ones_like(images), residuals, columns, fit.r_squared, failed)


def _exponential(times_ms: NDArray[np.float64], constant_ms: Floats) -> tuple[Floats, Floats]:
    """Return ``exp(-t / T)`` and its derivative by the logarithm of T, each ``(n, rows, columns)``."""
    share = times_ms.astype(np.float32)[:, None, None] / constant_ms
    decay = np.exp(-share)
    return decay, decay * share
