"""Closed outlines as a reader would draw them, and how far apart outlines lie.

Points are ``(x, y)`` in pixels; whole numbers are pixel centres.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Outline = NDArray[np.float64]

HARMONICS: Final = 8
_FINER: Final = 8
_POINTS: Final = 256
_STEP: Final = 0.2
"""Distance between the points that distances are taken from, pixels."""


def smooth_outline(mask: NDArray[np.bool_], harmonics: int = HARMONICS) -> Outline:
    """The largest part of a mask ``(rows, columns)`` as a smooth closed curve, ``(256, 2)``.

    The outline's Fourier descriptors up to ``harmonics`` (Zahn and Roskies 1972, IEEE Trans Comput 21:269):
    none of the steps of pixels is left, and nothing of the product's own contours is in it.

    Raises:
        ValueError: the mask is empty.
    """
    # On a finer grid the outermost pixels' centres, which OpenCV follows, lie on the border.
    finer = np.pad(np.repeat(np.repeat(mask.astype(np.uint8), _FINER, 0), _FINER, 1), 1)
    found = cv2.findContours(finer, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    if not found:
        raise ValueError("an empty mask has no outline")
    points = max(found, key=cv2.contourArea).reshape(-1, 2).astype(np.float64) - 1.0
    x, y = dense(points, len(points) / _POINTS).T if len(points) > _POINTS else points.T
    spectrum = np.fft.fft(x + 1j * y)
    number = np.fft.fftfreq(len(spectrum), 1.0 / len(spectrum))
    kept = np.where(np.abs(number) <= harmonics, spectrum, 0.0)
    curve = np.fft.ifft(kept)
    return (np.stack([curve.real, curve.imag], axis=1) + 0.5) / _FINER - 0.5


def dense(outline: Outline, step: float = _STEP) -> Outline:
    """Points at equal distances of at most ``step`` along a closed polygon."""
    closed = np.vstack([outline, outline[:1]])
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    at = np.linspace(0.0, length[-1], max(int(np.ceil(length[-1] / step)), 3), endpoint=False)
    return np.stack([np.interp(at, length, closed[:, axis]) for axis in range(2)], axis=1)


def hausdorff(found: Sequence[Outline], reference: Outline, spacing: tuple[float, float]) -> float:
    """Hausdorff distance of one or more outlines together from a reference outline, mm.

    Args:
        found: closed polygons.
        reference: a closed polygon.
        spacing: pixel size (x, y), mm.
    """
    ours = np.vstack([dense(outline) for outline in found]) * spacing
    theirs = dense(reference) * spacing
    there, back = cKDTree(theirs).query(ours)[0], cKDTree(ours).query(theirs)[0]
    return float(max(there.max(), back.max()))
