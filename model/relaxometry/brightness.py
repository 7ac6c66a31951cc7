"""Brightness of tissue in images, by which darker pixels are distinguished from it."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

FAR: Final = 4.0
"""Largest value over the 99th percentile that tissue has: more is a spike or a marker."""


def bright(magnitudes: NDArray[np.float32], share: float = 0.95) -> float:
    """Return the signal of bright tissue: single pixels may be spikes or markers of any size.

    Args:
        magnitudes: finite, of any shape, at least one.
        share: of the magnitudes that lie below it.
    """
    at = int(share * (magnitudes.size - 1))
    return float(np.partition(magnitudes, at, axis=None)[at])
