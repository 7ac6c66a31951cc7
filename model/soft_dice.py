"""Soft Dice coefficient."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def soft_dice(probability: NDArray[np.floating[Any]], mask: NDArray[np.bool_]) -> float:
    """Return the Dice coefficient of a class probability and a mask of one shape; 0 where both are empty."""
    return 2.0 * float(probability[mask].sum()) / max(float(probability.sum() + mask.sum()), 1e-9)
