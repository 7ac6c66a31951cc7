"""Brightness of tissue in images, by which darker pixels are told from it."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_SHARE: Final = 0.95
"""Share of the magnitudes that lie below the bright signal: spikes and markers are no tissue."""


def bright(magnitudes: NDArray[np.float32]) -> float:
    """Return the signal of bright tissue in finite magnitudes of any shape, at least one: 95th percentile."""
    at = int(_SHARE * (magnitudes.size - 1))
    return float(np.partition(magnitudes, at, axis=None)[at])
