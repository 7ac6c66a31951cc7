"""T1 of the blood in the LV cavity, without its border and without papillary muscles."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inline.contouring.plausibility import unsure
from inline.data.results import BloodT1, ContourOffsets, Contours
from inline.data.series import Enhancement
from model.polygons import distances, inside
from model.relaxometry.parametric_map import ParametricMap

BORDER_MM: Final = 3.0
"""Distance from the border of the wall that is left out: two pixels of 1.5 mm, with wall and trabeculae."""
NATIVE_MS: Final = 1150.0
"""Shortest T1 that shows native blood. At 1.5 T, a haematocrit of 0.6 gives 1200 ms (Treibel et al. 2016)."""
POST_MS: Final = 900.0
"""Longest T1 that shows contrast agent: 0.1 mmol/kg leaves 300 to 600 ms for half an hour."""
_CORE: Final = 0.5
"""Share of the largest distance from the border that is left out at most: the middle always remains."""
FEWEST: Final = 12
"""Least number of pixels. With an SD of 4 % of one pixel, the median of as many has an error below 2 %."""
_OUTLIER: Final = 2.5
"""Distance from the median, in robust SDs, beyond which a pixel is no blood. Of normally distributed values
1 % lie beyond. T1 of muscle is 30 to 40 % shorter than that of native blood, and longer after contrast."""
_LEAST_SD: Final = 0.01
"""Least robust SD in units of the median: a map without noise has steps of rounding alone."""
_ROUNDS: Final = 20
_TO_SD: Final = 1.4826
"""SD over the median absolute deviation, of normally distributed values."""
_OF_MEDIAN: Final = math.sqrt(math.pi / 2.0)
"""Standard error of the median over that of the mean, of normally distributed values."""


def blood_t1(
    parametric: ParametricMap,
    contours: Contours,
    spacing: tuple[float, float],
    offsets: ContourOffsets | None = None,
    *,
    scanner_made: bool = False,
) -> BloodT1 | None:
    """Return the T1 of the blood; None with fewer than :data:`FEWEST` pixels.

    The cavity is eroded by :data:`BORDER_MM` from the border of the wall. In what remains, papillary muscles
    are the minority: pixels further than 2.5 robust SDs (of the median absolute deviation) from the median
    are left out, and again until none is.

    Args:
        parametric: T1 map.
        contours: in pixels of the map.
        spacing: pixel size (x, y), mm.
        offsets: distances of the contours from the borders of the wall; None for none.
        scanner_made: the map states no SD.
    """
    rows, columns = parametric.values_ms.shape
    cavity = inside(contours.endo, (rows, columns)) & ~unsure(parametric)
    places = np.argwhere(cavity)
    if not len(places):
        return None
    scale = np.asarray(spacing)
    depth = distances(places[:, ::-1] * scale, contours.endo * scale)
    # By the contour convention the contour may lie within the wall.
    depth = depth - (offsets.endo_mm if offsets is not None else 0.0)
    core = places[depth >= min(BORDER_MM, _CORE * float(depth.max()))]
    row, column = core.T
    values = parametric.values_ms[row, column].astype(np.float64)
    kept = np.ones(len(values), bool)
    for _ in range(_ROUNDS):
        if not kept.any():
            break
        median = float(np.median(values[kept]))
        robust = robust_sd(values[kept], median)
        again = np.abs(values - median) <= _OUTLIER * max(robust, _LEAST_SD * median)
        if (again == kept).all():
            break
        kept = again
    number = int(np.count_nonzero(kept))
    if number < FEWEST:
        return None
    sds = parametric.sd_ms[row, column][kept].astype(np.float64)
    error = None if scanner_made else _OF_MEDIAN * float(np.linalg.norm(sds)) / number
    blood = values[kept]
    return BloodT1(float(np.median(blood)), float(blood.std(ddof=1)), error, number)


def robust_sd(values: NDArray[np.float64], median: float) -> float:
    """Return the SD of values ``(n,)`` from their median absolute deviation."""
    return _TO_SD * float(np.median(np.abs(values - median)))


def enhancement_by_blood(blood: BloodT1) -> tuple[Enhancement | None, str]:
    """Return whether blood is native or post-contrast by its T1, and the source; None between both."""
    shown = f"blood T1 of {blood.median_ms:.0f} ms"
    if blood.median_ms >= NATIVE_MS:
        return Enhancement.NATIVE, shown
    if blood.median_ms <= POST_MS:
        return Enhancement.POST_CONTRAST, shown
    return None, f"unknown: {shown} may be native or post-contrast"
