"""Conversion of insertion points of the right ventricle to heat maps and back."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

SPREAD_PIXELS: Final = 2.0
"""Standard deviation of a point's heat, 3 mm."""
_REACH: Final = 4
"""Pixels to either side of the hottest one over which the centre of the heat is taken."""


def heat_maps(points: Tensor, rows: int, columns: int) -> Tensor:
    """Return heat ``(n, k, rows, columns)`` from 0 to 1 of points (x, y) in pixels, ``(n, k, 2)``.

    A point that is NaN gives no heat.
    """
    x = torch.arange(columns, device=points.device) - points[..., 0, None]
    y = torch.arange(rows, device=points.device) - points[..., 1, None]
    across, down = (torch.exp(-0.5 * (each / SPREAD_PIXELS) ** 2).nan_to_num(0.0) for each in (x, y))
    return down[..., :, None] * across[..., None, :]


def locate(heat: Tensor) -> tuple[Tensor, Tensor]:
    """Return the points (x, y) in pixels of heat maps, and their confidence.

    A point is the centre of the heat within four pixels of the hottest one; its confidence is the heat there.

    Args:
        heat: from 0 to 1, ``(n, k, rows, columns)``.

    Returns:
        Points ``(n, k, 2)`` and confidence ``(n, k)``.
    """
    rows, columns = heat.shape[-2:]
    peak, place = heat.flatten(2).max(dim=2)
    x, y = place % columns, place // columns
    offset = torch.arange(-_REACH, _REACH + 1, device=heat.device)
    xs, ys = x[..., None] + offset, y[..., None] + offset
    inside = ((ys >= 0) & (ys < rows))[..., :, None] & ((xs >= 0) & (xs < columns))[..., None, :]
    index = ys.clamp(0, rows - 1)[..., :, None] * columns + xs.clamp(0, columns - 1)[..., None, :]
    near = heat.flatten(2).gather(2, index.flatten(2)).view(index.shape) * inside
    total = near.sum(dim=(2, 3)).clamp(min=1e-9)
    point_x = (near.sum(dim=2) * xs).sum(dim=2) / total
    point_y = (near.sum(dim=3) * ys).sum(dim=2) / total
    return torch.stack([point_x, point_y], dim=2), peak
