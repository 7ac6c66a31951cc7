"""Colours of the maps: perceptually uniform, as recommended for relaxometry.

Fuderer et al. 2025 (Magn Reson Med, doi 10.1002/mrm.30290) recommend Crameri's maps Lipari for T1 and Navia
for T2, with logarithmic processing, and a colour of its own where there is no value.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inline.data.series import Quantity
from inline.emit.ecv import ECV_WINDOW, PARTITION_WINDOW
from inline.emit.overlay import WINDOW_MS
from inline.report.maps import Kind

if TYPE_CHECKING:
    from matplotlib.colors import Colormap, Normalize

FloatArray = NDArray[np.float64]


class Window(NamedTuple):
    """Range of values that the colours span; values beyond it have the colour of its ends."""

    low: float
    high: float


MAP_WINDOWS: Final = {
    Kind.T1_NATIVE: Window(*WINDOW_MS[Quantity.T1]),
    Kind.T1: Window(*WINDOW_MS[Quantity.T1]),
    Kind.T1_POST: Window(0.0, 1000.0),
    Kind.T2: Window(*WINDOW_MS[Quantity.T2]),
    Kind.ECV: Window(*ECV_WINDOW),
    Kind.PARTITION: Window(*PARTITION_WINDOW),
}
"""Range of a map: fat to blood."""
SEGMENT_WINDOWS: Final = {
    Kind.T1_NATIVE: Window(800.0, 1500.0),
    Kind.T1: Window(300.0, 1500.0),
    Kind.T1_POST: Window(200.0, 800.0),
    Kind.T2: Window(35.0, 85.0),
    Kind.ECV: Window(15.0, 60.0),
    Kind.PARTITION: Window(0.2, 1.0),
}
"""Range of a bull's-eye: myocardium, normal to severely ill, at 1.5 and 3 T."""
NO_VALUE: Final = "#000000"
"""Colour of a pixel without a value, darker than any of the colour maps."""


def colour_map(kind: Kind) -> Colormap:
    """Return the colour map of a kind.

    Raises:
        ImportError: cmcrameri or matplotlib is not installed (extra ``report``).
    """
    from cmcrameri import cm
    from matplotlib import colormaps

    # The recommendation is for relaxation times alone; ECV is a fraction, in a map that differs from both.
    chosen = {Kind.T2: cm.navia, Kind.ECV: colormaps["cividis"], Kind.PARTITION: colormaps["cividis"]}
    found: Colormap = chosen.get(kind, cm.lipari).with_extremes(bad=NO_VALUE)
    return found


def norm(kind: Kind, window: Window) -> Normalize:
    """Return the scale of a kind: linear for fractions, with logarithmic processing for times."""
    from matplotlib.colors import FuncNorm, Normalize

    if kind.unit != "ms":
        return Normalize(*window, clip=True)
    functions = (lambda values: processed(values, window), lambda shares: unprocessed(shares, window))
    return FuncNorm(functions, *window, clip=True)


def processed(values: ArrayLike, window: Window) -> FloatArray:
    """Return the share of the colour map at values: logarithmic, but linear below 1/e of the upper end.

    The linear part continues the logarithm with its slope, so that noise near 0 does not fill the colours.
    """
    given = np.asarray(values, dtype=np.float64)
    knee, share = _knee(window)
    below = (given - window.low) / (2.0 * knee - window.low)
    above = share + (1.0 - share) * np.log(np.maximum(given, knee) / knee) / math.log(window.high / knee)
    result: FloatArray = np.where(given < knee, below, above)
    return result


def unprocessed(shares: ArrayLike, window: Window) -> FloatArray:
    """Return the values at shares of the colour map: the inverse of :func:`processed`."""
    given = np.asarray(shares, dtype=np.float64)
    knee, share = _knee(window)
    below = window.low + given * (2.0 * knee - window.low)
    above = knee * (window.high / knee) ** ((given - share) / (1.0 - share))
    result: FloatArray = np.where(given < share, below, above)
    return result


def _knee(window: Window) -> tuple[float, float]:
    """Return where the scale turns from linear to logarithmic: the value, and its share of the colours."""
    knee = max(window.high / math.e, window.low)
    return knee, (knee - window.low) / (2.0 * knee - window.low)
