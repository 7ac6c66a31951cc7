"""Fit of a series to its map, and checks of its images before it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inline.assembly.completeness import LATEST_FIRST_MS
from inline.assembly.group import SHORTEST
from inline.data.errors import SeriesError
from inline.data.flags import Finding, Flag
from inline.data.series import MappingSeries, MapSeries, Quantity, Series
from model.relaxometry.molli import molli_map
from model.relaxometry.parametric_map import ParametricMap
from model.relaxometry.recovery import Recovery, check_recovery
from model.relaxometry.t2prep import t2_map

_FEWEST_OF_RECOVERY: Final = 4
"""Images that :func:`model.relaxometry.recovery.check_recovery` needs."""


class NotFittedError(SeriesError):
    """The images show saturation recovery, which the model of the fit does not describe."""


def check_images(series: Series) -> tuple[Finding, ...]:
    """Return the findings on the images of a series.

    Raises:
        NotFittedError: they show saturation recovery.
    """
    if not isinstance(series, MappingSeries):
        return ()
    flat = _flat(series)
    found = Recovery()
    if series.quantity is Quantity.T1 and np.count_nonzero(~flat) >= _FEWEST_OF_RECOVERY:
        found = check_recovery(series.images[~flat], series.times_ms[~flat], signed=series.signed)
    if found.saturation:
        number = len(series.times_ms)
        # MOLLI has a short time after each of its two or three inversions.
        lacks = number < SHORTEST[Quantity.T1] or series.times_ms[1] > LATEST_FIRST_MS
        few = f", or images of MOLLI are missing: {number} came" if lacks else ""
        raise NotFittedError(
            f"not fitted: the signal recovers from saturation (SASHA or alike){few}; the inversion "
            "recovery of a MOLLI fit would give a wrong T1"
        )
    if Flag.SCALED_IMAGES in series.flags:
        return ()
    if flat.any():
        return _equal_pixels(series.times_ms[flat], series.images[flat])
    if found.off is None:
        return ()
    return (
        (
            Flag.SCALED_IMAGES,
            f"The image of {series.times_ms[found.off]:g} ms lies {100.0 * found.by:+.0f} % of the signal "
            "beside the recovery of the others: check its scale and its inversion time.",
        ),
    )


def _flat(series: MappingSeries) -> NDArray[np.bool_]:
    """Return the images whose pixels are all equal ``(n,)``; none where there are no others."""
    pixels = [image[np.isfinite(image)] for image in series.images]
    equal = np.array([bool(each.size) and each.min() == each.max() for each in pixels])
    return equal & ~equal.all()


def _equal_pixels(times_ms: NDArray[np.float64], images: NDArray[np.float32]) -> tuple[Finding, ...]:
    """Return the finding of images of these times whose pixels are all equal."""
    times = ", ".join(f"{time:g}" for time in times_ms)
    values = ", ".join(f"{image[np.isfinite(image)][0]:g}" for image in images)
    return (
        (
            Flag.SCALED_IMAGES,
            f"The pixels of the image of {times} ms are all equal ({values}): the map is fitted to it too, "
            "and may be wrong. Check how it was reconstructed, scaled and sent.",
        ),
    )


def make_map(series: Series) -> ParametricMap:
    """Return the map of a series: fitted, or the scanner's own.

    Raises:
        ValueError: too few images for the fit.
    """
    if isinstance(series, MapSeries):
        return ParametricMap.of_values(series.values_ms)
    if series.quantity is Quantity.T2:
        return t2_map(series.images, series.times_ms)
    return molli_map(series.images, series.times_ms, signed=series.signed)


def scaled(parametric: ParametricMap, factor: float) -> ParametricMap:
    """Return the map with its values and their standard deviations multiplied by a factor."""
    if factor == 1.0:
        return parametric
    share = np.float32(factor)
    return replace(parametric, values_ms=parametric.values_ms * share, sd_ms=parametric.sd_ms * share)
