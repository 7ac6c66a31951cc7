"""Rasteriser of closed polygons: the only one of the project.

Points are ``(x, y)`` in pixels; whole numbers are pixel centres, so that pixel ``(row, column)`` covers
``column - 0.5`` to ``column + 0.5``. A polygon is a border without width: a pixel belongs to it if its centre
lies inside. Areas are then right on average, where a rasteriser that draws the border as well
(``cv2.fillPoly``) adds half a pixel all round.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def inside(outline: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which pixel centres of an image ``(rows, columns)`` lie inside a closed polygon.

    The rule is even-odd. A centre on the polygon itself lies inside where the interior is to its right or
    below it: polygons that share an edge share no pixel and miss none between them.

    Args:
        outline: corners in order, finite, ``(n, 2)``; the last is joined to the first.
        shape: of the image.
    """
    rows, columns = shape
    mask = np.zeros(shape, dtype=bool)
    top = max(int(np.ceil(outline[:, 1].min())), 0)
    bottom = min(int(np.floor(outline[:, 1].max())), rows - 1)
    if bottom < top:
        return mask
    y = np.arange(top, bottom + 1)[:, None]
    (x0, y0), (x1, y1) = outline.T, np.roll(outline, -1, axis=0).T
    crosses = (y0 <= y) != (y1 <= y)
    # Of edges that do not cross a row nothing is used, and flat ones divide by next to nothing.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        at = np.where(crosses, x0 + (y - y0) * (x1 - x0) / (y1 - y0), np.inf)
    # A pixel is inside where an odd number of edges lies to its left.
    first_right = np.clip(np.ceil(np.where(crosses, at, columns)), 0, columns).astype(np.intp)
    steps = np.zeros((len(y), columns + 1), dtype=np.intp)
    np.add.at(steps, (np.broadcast_to(np.arange(len(y))[:, None], at.shape), first_right), 1)
    mask[top : bottom + 1] = np.cumsum(steps, axis=1)[:, :columns] % 2 == 1
    return mask


def ring_labels(
    endo: NDArray[np.float64], epi: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.uint8]:
    """Return labels ``(rows, columns)``: 1 inside both contours (LV cavity), 2 inside ``epi`` alone.

    Args:
        endo: endocardial contour, as for :func:`inside`.
        epi: epicardial contour, likewise; what lies outside it is background.
        shape: of the image.
    """
    heart, cavity = inside(epi, shape), inside(endo, shape)
    return np.where(heart, np.where(cavity, 1, 2), 0).astype(np.uint8)
