"""Geometry of closed polygons: rasteriser, area, length, resampling, distances.

Points are ``(x, y)`` in pixels; whole numbers are pixel centres, so that pixel ``(row, column)`` covers
``column - 0.5`` to ``column + 0.5``. A polygon is a border without width: a pixel belongs to it if its centre
lies inside. Areas are then right on average, where a rasteriser that draws the border as well
(``cv2.fillPoly``) adds half a pixel all round.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_CELLS: Final = 128
"""Cells of the grid along the longer side of a parallel curve."""
_CLOSER: Final = 0.02
"""Share of the distance by which points moved along normals may be too close to be a parallel curve."""


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


def contains(outline: FloatArray, points: FloatArray) -> NDArray[np.bool_]:
    """Return which points ``(n, 2)`` lie inside a closed polygon, ``(n,)``, by the rule of :func:`inside`."""
    (x0, y0), (x1, y1) = outline.T, np.roll(outline, -1, axis=0).T
    x, y = points[:, :1], points[:, 1:]
    crosses = (y0 <= y) != (y1 <= y)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        at = x0 + (y - y0) * (x1 - x0) / (y1 - y0)
    within: NDArray[np.bool_] = (crosses & (at <= x)).sum(axis=1) % 2 == 1
    return within


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


def centroid(outline: FloatArray) -> FloatArray:
    """Return the centre of the area inside a closed polygon ``(n, 2)``; it must enclose one."""
    following = np.roll(outline, -1, axis=0)
    cross = outline[:, 0] * following[:, 1] - following[:, 0] * outline[:, 1]
    centre: FloatArray = ((outline + following) * cross[:, None]).sum(axis=0) / (3.0 * cross.sum())
    return centre


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
    shortest: FloatArray = np.sqrt(_to_edges(points, outline)[0].min(axis=1, initial=np.inf))
    return shortest


def nearest(points: FloatArray, outline: FloatArray) -> FloatArray:
    """Return the nearest point on a closed polygon to each point ``(n, 2)``, likewise ``(n, 2)``."""
    squares, along = _to_edges(points, outline)
    edge = squares.argmin(axis=1)
    share = along[np.arange(len(points)), edge][:, None]
    found: FloatArray = outline[edge] + share * (np.roll(outline, -1, axis=0)[edge] - outline[edge])
    return found


def _to_edges(points: FloatArray, outline: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the squared distance of each point to each edge ``(n, edges)``, and where along it, 0 to 1."""
    # x and y apart: arrays of points x edges x 2 would take twice the time.
    (x0, y0), (dx, dy) = outline.T, (np.roll(outline, -1, axis=0) - outline).T
    x, y = points[:, :1] - x0, points[:, 1:] - y0
    along = np.clip((x * dx + y * dy) / np.maximum(dx * dx + dy * dy, 1e-24), 0.0, 1.0)
    x -= along * dx
    y -= along * dy
    return x * x + y * y, along


def parallel(outline: FloatArray, distance: float) -> FloatArray:
    """Return the parallel curve of a closed polygon: the outer border of all that lies within a distance.

    Every point of it has this distance to the polygon, also beside concave and sharp places, where points
    moved along normals come too close and their line crosses itself. Where the inside falls into several
    parts, the curve surrounds the largest; holes are filled. It has as many points as the polygon, the same
    direction, and begins beside the polygon's first point. Where a move along normals gives the curve, each
    point is a moved point of the polygon; else the points are at equal distances.

    Args:
        outline: corners in order, without crossings, ``(n, 2)``.
        distance: positive outwards, in its units; 0 returns the polygon itself.

    Raises:
        ValueError: nothing is left inside.
    """
    if distance == 0.0:
        return outline
    along_normals = outward(outline, distance)
    ahead, ahead_of_it = (np.roll(each, -1, axis=0) - each for each in (along_normals, outline))
    unfolded = bool(((ahead * ahead_of_it).sum(axis=1) > 0.0).all())
    if unfolded and distances(along_normals, outline).min() >= (1.0 - _CLOSER) * abs(distance):
        return along_normals
    around = _around(outline, distance)
    feet = nearest(around, outline)
    # Towards its nearest point, which stays the nearest, each point moves until it has the distance.
    away = around - feet
    curve = feet + abs(distance) * away / np.linalg.norm(away, axis=1, keepdims=True)
    if signed_area(curve) * signed_area(outline) < 0.0:
        curve = curve[::-1]
    first = int(np.linalg.norm(curve - outline[0], axis=1).argmin())
    return resample(np.roll(curve, -first, axis=0), len(outline))


def _around(outline: FloatArray, distance: float) -> FloatArray:
    """Return points ``(n, 2)`` along a parallel curve, on its far side by at most 1.5 cells of a grid.

    Raises:
        ValueError: nothing is left inside.
    """
    margin = max(distance, 0.0)
    low, high = outline.min(axis=0) - margin, outline.max(axis=0) + margin
    cell = float((high - low).max()) / _CELLS
    corner = low - 4.5 * cell
    columns, rows = np.ceil((high - corner) / cell).astype(int) + 5
    within = inside((outline - corner) / cell, (int(rows), int(columns))).astype(np.uint8)
    outwards, inwards = (
        cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) for mask in (1 - within, within)
    )
    beyond = (outwards - inwards) * cell
    # Distances from cell to cell are right to 0.71 of a cell; those that decide are computed.
    y, x = np.nonzero(np.abs(beyond - distance) <= 0.75 * cell)
    exact = distances(np.stack([x, y], axis=1) * cell + corner, outline)
    beyond[y, x] = np.where(within[y, x], -exact, exact)
    region = (beyond <= distance).astype(np.uint8)
    # Tips and inlets a cell or two wide go: points of their two sides would move across each other.
    if distance > 0.0:
        closed = cv2.morphologyEx(region, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
        # The far side of a curve that lies outside is beyond the region.
        region = cv2.dilate(closed, np.ones((3, 3), np.uint8)).astype(np.uint8)
    else:
        region = cv2.morphologyEx(region, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)).astype(np.uint8)
    borders, _ = cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not borders:
        raise ValueError(f"nothing is left inside at a distance of {distance:g}")
    largest = max((each[:, 0].astype(np.float64) for each in borders), key=area)
    around: FloatArray = largest * cell + corner
    return around


def hausdorff(a: FloatArray, b: FloatArray) -> float:
    """Return the largest distance of a corner of one closed polygon ``(n, 2)`` to the other, both ways."""
    return float(max(distances(a, b).max(), distances(b, a).max()))
