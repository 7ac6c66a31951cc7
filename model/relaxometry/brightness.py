"""Brightness of tissue in images, by which darker pixels are told from it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def bright(magnitudes: NDArray[np.float32], share: float = 0.95) -> float:
    """Return the signal of bright tissue: single pixels may be spikes or markers of any size.

    Args:
        magnitudes: finite, of any shape, at least one.
        share: of the magnitudes that lie below it.
    """
    at = int(share * (magnitudes.size - 1))
    return float(np.partition(magnitudes, at, axis=None)[at])
