"""Conversion of insertion points of the right ventricle to heat maps and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

SPREAD_PIXELS: Final = 2.0
"""Standard deviation of a point's heat, 3 mm."""
_REACH: Final = 4
"""Pixels to either side of the hottest one over which the centre of the heat is taken."""


def heat_maps(points: Tensor, rows: int, columns: int) -> Tensor:
    """Return heat ``(n, k, rows, columns)`` from 0 to 1 of points (x, y) in pixels, ``(n, k, 2)``.

    A point that is NaN gives no heat. For the training, in torch.
    """
    import torch

    x = torch.arange(columns, device=points.device) - points[..., 0, None]
    y = torch.arange(rows, device=points.device) - points[..., 1, None]
    across, down = (torch.exp(-0.5 * (each / SPREAD_PIXELS) ** 2).nan_to_num(0.0) for each in (x, y))
    return down[..., :, None] * across[..., None, :]


def locate(heat: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the points (x, y) in pixels of heat maps, and their confidence.

    A point is the centre of the heat within four pixels of the hottest one; its confidence is the heat there.

    Args:
        heat: from 0 to 1, ``(k, rows, columns)``.

    Returns:
        Points ``(k, 2)`` and confidence ``(k,)``.
    """
    points, peaks = np.empty((len(heat), 2)), np.empty(len(heat))
    for number, each in enumerate(heat):
        y, x = np.unravel_index(each.argmax(), each.shape)
        top, left = max(y - _REACH, 0), max(x - _REACH, 0)
        near = each[top : y + _REACH + 1, left : x + _REACH + 1].astype(np.float64)
        total = max(float(near.sum()), 1e-9)
        across, down = near.sum(axis=0), near.sum(axis=1)
        points[number] = (
            across @ np.arange(left, left + len(across)) / total,
            down @ np.arange(top, top + len(down)) / total,
        )
        peaks[number] = each[y, x]
    return points, peaks
