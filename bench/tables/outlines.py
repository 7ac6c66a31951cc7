"""Outlines of masks: smoothing, distances, and the lower bound that a mask's resolution sets (figure 9).

Points are ``(x, y)`` in pixels; whole numbers are pixel centres.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from model.polygons import inside, outward, perimeter, resample

Outline = NDArray[np.float64]

HARMONICS: Final = 8
PIXELS_MM: Final = (0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0)
_FINER: Final = 8
_POINTS: Final = 256
_STEP: Final = 0.2
"""Distance between the points whose distances are taken, pixels."""


def smooth_outline(mask: NDArray[np.bool_]) -> Outline:
    """Return the largest part of a mask ``(rows, columns)`` as a smooth closed curve, at most ``(256, 2)``.

    The outline's Fourier descriptors up to :data:`HARMONICS` (Zahn and Roskies 1972, IEEE Trans Comput
    21:269). It has no steps of pixels, and it is independent of the product's contours.

    Raises:
        ValueError: the mask is empty.
    """
    # On a finer grid the outermost pixels' centres, which OpenCV follows, lie on the border.
    finer = np.pad(np.repeat(np.repeat(mask.astype(np.uint8), _FINER, 0), _FINER, 1), 1)
    found = cv2.findContours(finer, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    if not found:
        raise ValueError("an empty mask has no outline")
    points = max(found, key=cv2.contourArea).reshape(-1, 2).astype(np.float64) - 1.0
    x, y = (resample(points, _POINTS) if len(points) > _POINTS else points).T
    spectrum = np.fft.fft(x + 1j * y)
    number = np.fft.fftfreq(len(spectrum), 1.0 / len(spectrum))
    curve = np.fft.ifft(np.where(np.abs(number) <= HARMONICS, spectrum, 0.0))
    return (np.stack([curve.real, curve.imag], axis=1) + 0.5) / _FINER - 0.5


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
