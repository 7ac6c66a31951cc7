"""Outlines of masks: distances, and the lower bound that a mask's resolution sets (figure 9).

Points are ``(x, y)`` in pixels; whole numbers are pixel centres.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from model.evaluation.outlines import Outline
from model.polygons import inside, outward, perimeter, resample

PIXELS_MM: Final = (0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0)
_STEP: Final = 0.2
"""Distance between the points whose distances are taken, pixels."""


def hausdorff(found: Sequence[Outline], reference: Outline, spacing: tuple[float, float]) -> float:
    """Return the Hausdorff distance of one or more outlines together from a reference outline, mm.

    Args:
        found: closed polygons.
        reference: a closed polygon.
        spacing: pixel size (x, y), mm.
    """
    # Trees of points: with outlines of a thousand corners ten times as fast as distances from their edges.
    ours = np.vstack([_dense(outline) for outline in found]) * spacing
    theirs = _dense(reference) * spacing
    there, back = cKDTree(theirs).query(ours)[0], cKDTree(ours).query(theirs)[0]
    return float(max(there.max(), back.max()))


def _dense(outline: Outline) -> Outline:
    return resample(outline, max(int(np.ceil(perimeter(outline) / _STEP)), 3))


def lower_bounds(
    contours_mm: Sequence[Outline], sizes: Sequence[float] = PIXELS_MM
) -> dict[float, NDArray[np.float64]]:
    """Return the distances of contours (x, y in mm) from the outlines of their own masks, mm.

    Returns:
        By pixel size, mm: ``(contours, 2)``, as :func:`through_mask` returns them.
    """
    return {size: np.array([through_mask(each, size) for each in contours_mm]) for size in sizes}


def through_mask(contour_mm: Outline, pixel_mm: float) -> tuple[float, float]:
    """Return the Hausdorff distances between a contour and the outline of the pixels inside it, mm.

    Returns:
        Of the outline through the outermost pixels' centres, as OpenCV traces masks, and of the same moved
        out by half a pixel; NaN where no pixel lies inside.
    """
    corner = contour_mm.min(axis=0) - 2.0 * pixel_mm
    points = (contour_mm - corner) / pixel_mm
    columns, rows = np.ceil(points.max(axis=0)).astype(int) + 3
    mask = inside(points, (int(rows), int(columns))).astype(np.uint8)
    found = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    if not found:
        return float("nan"), float("nan")
    outline = max(found, key=len).reshape(-1, 2).astype(np.float64)
    size = (pixel_mm, pixel_mm)
    return hausdorff([outline], points, size), hausdorff([outward(outline, 0.5)], points, size)
