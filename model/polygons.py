"""Geometry of closed polygons: rasteriser, area, length, resampling, distances.

Points are ``(x, y)`` in pixels; whole numbers are pixel centres, so that pixel ``(row, column)`` covers
``column - 0.5`` to ``column + 0.5``. A polygon is a border without width: a pixel belongs to it if its centre
lies inside. Areas are then right on average, where a rasteriser that draws the border as well
(``cv2.fillPoly``) adds half a pixel all round.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def inside(outline: FloatArray, shape: tuple[int, int]) -> NDArray[np.bool_]:
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


def ring_labels(endo: FloatArray, epi: FloatArray, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return labels ``(rows, columns)``: 1 inside both contours (LV cavity), 2 inside ``epi`` alone.

    Args:
        endo: endocardial contour, as for :func:`inside`.
        epi: epicardial contour, likewise; what lies outside it is background.
        shape: of the image.
    """
    heart, cavity = inside(epi, shape), inside(endo, shape)
    return np.where(heart, np.where(cavity, 1, 2), 0).astype(np.uint8)


def signed_area(outline: FloatArray) -> float:
    """Return the area inside a closed polygon ``(n, 2)``, positive where x turns towards y along it."""
    x, y = outline.T
    return 0.5 * float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))


def area(outline: FloatArray) -> float:
    """Return the area inside a closed polygon ``(n, 2)``, in squares of its units."""
    return abs(signed_area(outline))


def perimeter(outline: FloatArray) -> float:
    """Return the length of a closed polygon ``(n, 2)``."""
    return float(np.linalg.norm(np.roll(outline, -1, axis=0) - outline, axis=1).sum())


def resample(outline: FloatArray, points: int) -> FloatArray:
    """Return ``points`` points at equal distances along a closed polygon ``(n, 2)``, its first one first."""
    closed = np.vstack([outline, outline[:1]])
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    at = np.linspace(0.0, length[-1], points, endpoint=False)
    return np.stack([np.interp(at, length, closed[:, axis]) for axis in range(2)], axis=1)


def outward(outline: FloatArray, distance: float) -> FloatArray:
    """Return a closed polygon with each point moved outwards along the mean normal of its two edges."""
    edges = np.roll(outline, -1, axis=0) - outline
    edges /= np.maximum(np.linalg.norm(edges, axis=1, keepdims=True), 1e-12)
    tangent = edges + np.roll(edges, 1, axis=0)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-12)
    normal = np.stack([tangent[:, 1], -tangent[:, 0]], axis=1)
    moved: FloatArray = outline + distance * (normal if signed_area(outline) > 0 else -normal)
    return moved


def distances(points: FloatArray, outline: FloatArray) -> FloatArray:
    """Return the shortest distance of each point ``(n, 2)`` to a closed polygon, ``(n,)``."""
    # x and y apart: arrays of points x edges x 2 would take twice the time.
    (x0, y0), (dx, dy) = outline.T, (np.roll(outline, -1, axis=0) - outline).T
    x, y = points[:, :1] - x0, points[:, 1:] - y0
    along = np.clip((x * dx + y * dy) / np.maximum(dx * dx + dy * dy, 1e-24), 0.0, 1.0)
    x -= along * dx
    y -= along * dy
    shortest: FloatArray = np.sqrt((x * x + y * y).min(axis=1, initial=np.inf))
    return shortest


def hausdorff(a: FloatArray, b: FloatArray) -> float:
    """Return the largest distance of a corner of one closed polygon ``(n, 2)`` to the other, both ways."""
    return float(max(distances(a, b).max(), distances(b, a).max()))
