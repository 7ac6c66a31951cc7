"""Smooth outlines of masks, independent of the product's contours."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.polygons import area, outward, resample

Outline = NDArray[np.float64]
"""Closed polygon, points (x, y) in pixels ``(n, 2)``; whole numbers are pixel centres."""

HARMONICS: Final = 8
_FINER: Final = 8
_POINTS: Final = 256


def smooth_outline(mask: NDArray[np.bool_]) -> Outline:
    """Return the largest part of a mask ``(rows, columns)`` as a smooth closed curve, at most ``(256, 2)``.

    The outline's Fourier descriptors up to :data:`HARMONICS` (Zahn and Roskies 1972, IEEE Trans Comput
    21:269). It has no steps of pixels.

    Raises:
        ValueError: the mask is empty.
    """
    return max(smooth_outlines(mask), key=area)


def smooth_outlines(mask: NDArray[np.bool_]) -> list[Outline]:
    """Return the outline of each part of a mask without its holes, as :func:`smooth_outline`.

    Raises:
        ValueError: the mask is empty.
    """
    # OpenCV follows the outermost pixels' centres, half a pixel of the finer grid inside the border.
    finer = np.pad(np.repeat(np.repeat(mask.astype(np.uint8), _FINER, 0), _FINER, 1), 1)
    found = cv2.findContours(finer, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    if not found:
        raise ValueError("an empty mask has no outline")
    return [_smooth(each.reshape(-1, 2).astype(np.float64) - 1.0) for each in found]


def _smooth(points: Outline) -> Outline:
    """Return an outline on the finer grid without its high harmonics, in pixels of the mask."""
    x, y = (resample(points, _POINTS) if len(points) > _POINTS else points).T
    spectrum = np.fft.fft(x + 1j * y)
    number = np.fft.fftfreq(len(spectrum), 1.0 / len(spectrum))
    curve = np.fft.ifft(np.where(np.abs(number) <= HARMONICS, spectrum, 0.0))
    border = outward(np.stack([curve.real, curve.imag], axis=1), 0.5)
    return (border + 0.5) / _FINER - 0.5
