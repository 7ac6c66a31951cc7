"""Figure 9: the Hausdorff distance that a mask's resolution alone costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.tables.outlines import Outline, hausdorff
from model.polygons import inside, outward

PIXELS_MM: Final = (0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0)


@dataclass(frozen=True, slots=True)
class Floor:
    """How far contours lie from the outlines of their own masks, mm ``(contours,)``, at one pixel size.

    Attributes:
        pixel_mm: pixel size.
        centres_mm: of the outline through the outermost pixels' centres, as OpenCV traces masks.
        borders_mm: of the same outline moved out by half a pixel.
    """

    pixel_mm: float
    centres_mm: NDArray[np.float64]
    borders_mm: NDArray[np.float64]


def floors(contours_mm: Sequence[Outline], sizes: Sequence[float] = PIXELS_MM) -> list[Floor]:
    """How far contours (x, y in mm) lie from the outline of their own mask, at each pixel size."""
    found = {size: np.array([through_mask(each, size) for each in contours_mm]) for size in sizes}
    return [Floor(size, distances[:, 0], distances[:, 1]) for size, distances in found.items()]


def through_mask(contour_mm: Outline, pixel_mm: float) -> tuple[float, float]:
    """Hausdorff distances between a contour and the outline of the pixels inside it, mm.

    Returns:
        Of the outline through the outermost pixels' centres, and of it moved out by half a pixel; NaN where
        no pixel lies inside.
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
