"""Agreement of a class probability with a mask."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def soft_dice(probability: NDArray[np.floating[Any]], mask: NDArray[np.bool_]) -> float:
    """Return the Dice coefficient of a class probability and a mask of the same shape, 0 to 1."""
    return 2.0 * float(probability[mask].sum()) / max(float(probability.sum() + mask.sum()), 1e-9)
