"""From any image to the network's frame and back.

The frame has 224 x 224 pixels of 1.5 mm and shares its centre with the image: larger images are cropped,
smaller ones padded. Pixel coordinates are ``(x, y)`` with whole numbers at pixel centres, so the centre of an
image of n pixels is at (n - 1) / 2, and the way back is exact to a fraction of a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

FRAME_PIXELS: Final = 224
FRAME_MM: Final = 1.5

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Frame:
    """How an image of ``shape`` (rows, columns) with pixels of ``spacing`` (x, y) mm lies in the frame."""

    shape: tuple[int, int]
    spacing: tuple[float, float]

    def __post_init__(self) -> None:
        if min(self.shape) < 1 or not all(0.01 <= size <= 100.0 for size in self.spacing):
            raise ValueError(f"no image has {self.shape} pixels of {self.spacing} mm")

    @property
    def _scale(self) -> FloatArray:
        """Image pixels per frame pixel, (x, y)."""
        return FRAME_MM / np.asarray(self.spacing, dtype=np.float64)

    @property
    def _centre(self) -> FloatArray:
        rows, columns = self.shape
        return np.array([(columns - 1) / 2, (rows - 1) / 2])

    def to_image_points(self, points: FloatArray) -> FloatArray:
        """Image coordinates of frame coordinates ``(n, 2)``."""
        image: FloatArray = (points - (FRAME_PIXELS - 1) / 2) * self._scale + self._centre
        return image

    def to_frame_points(self, points: FloatArray) -> FloatArray:
        """Frame coordinates of image coordinates ``(n, 2)``."""
        frame: FloatArray = (points - self._centre) / self._scale + (FRAME_PIXELS - 1) / 2
        return frame

    def to_frame(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """The image ``(rows, columns)`` in the frame, ``(224, 224)``, zero beyond its borders.

        Finer images are smoothed first, so that what falls between the frame's pixels is averaged, not lost.
        """
        clean = np.nan_to_num(image.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        sigma = 0.5 * np.sqrt(np.maximum(self._scale**2 - 1.0, 0.0))
        if sigma.max() > 0.3:
            clean = cv2.GaussianBlur(
                clean, (0, 0), sigmaX=max(sigma[0], 1e-3), sigmaY=max(sigma[1], 1e-3)
            ).astype(np.float32)
        return self._warp(clean, self._to_image_matrix(), (FRAME_PIXELS, FRAME_PIXELS))

    def to_image(self, frame: NDArray[np.float32]) -> NDArray[np.float32]:
        """A picture in the frame ``(224, 224)`` on the image's grid, ``(rows, columns)``."""
        scale, centre = 1.0 / self._scale, (FRAME_PIXELS - 1) / 2
        offset = centre - self._centre * scale
        rows, columns = self.shape
        return self._warp(frame, _affine(scale, offset), (columns, rows))

    def _to_image_matrix(self) -> FloatArray:
        return _affine(self._scale, self._centre - (FRAME_PIXELS - 1) / 2 * self._scale)

    @staticmethod
    def _warp(picture: NDArray[np.float32], matrix: FloatArray, size: tuple[int, int]) -> NDArray[np.float32]:
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(picture, matrix, size, flags=flags, borderMode=cv2.BORDER_CONSTANT).astype(
            np.float32
        )


def _affine(scale: FloatArray, offset: FloatArray) -> FloatArray:
    return np.array([[scale[0], 0.0, offset[0]], [0.0, scale[1], offset[1]]])


def normalise(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """A picture as the network wants it: clipped at its 1st and 99th percentile, zero mean, unit variance.

    A constant picture becomes zero.
    """
    low, high = np.percentile(picture, [1.0, 99.0])
    clipped = np.clip(picture, low, high)
    # As in training (model/synthesis/generator.py): the deviation of the sample, not of the population.
    deviation = max(float(clipped.std(ddof=1)), 1e-6)
    normal: NDArray[np.float32] = ((clipped - clipped.mean()) / deviation).astype(np.float32)
    return normal
