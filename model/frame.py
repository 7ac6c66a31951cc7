"""Network frame: the pixel grid of the network input, and the way back from it.

The frame has 224 x 224 pixels of 1.5 mm and shares its centre with the image: larger images are cropped,
smaller ones padded. Pixel coordinates are ``(x, y)`` with whole numbers at pixel centres, so the centre of an
image of n pixels is at (n - 1) / 2, and points come back without rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

FRAME_PIXELS: Final = 224
FRAME_MM: Final = 1.5
LONGEST_MS: Final = {"T1": 3000.0, "T2": 300.0}
"""Longest T1 and T2 of tissue, blood included, ms."""
_CENTRE: Final = (FRAME_PIXELS - 1) / 2

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Frame:
    """Place of an image in the frame.

    Attributes:
        shape: of the image, ``(rows, columns)``.
        spacing: size of its pixels, (x, y), mm.

    Raises:
        ValueError: no pixels, or pixels outside 0.01 to 100 mm.
    """

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
    def _image_centre(self) -> FloatArray:
        rows, columns = self.shape
        return np.array([(columns - 1) / 2, (rows - 1) / 2])

    def to_image_points(self, points: FloatArray) -> FloatArray:
        """Return image coordinates of frame coordinates ``(n, 2)``."""
        image: FloatArray = (points - _CENTRE) * self._scale + self._image_centre
        return image

    def to_frame_points(self, points: FloatArray) -> FloatArray:
        """Return frame coordinates of image coordinates ``(n, 2)``."""
        frame: FloatArray = (points - self._image_centre) / self._scale + _CENTRE
        return frame

    def to_frame(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the image ``(rows, columns)`` in the frame, ``(224, 224)``; 0 outside and where not finite.

        Finer images are smoothed first, so that no pixel of them is skipped.
        """
        clean = np.nan_to_num(image.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        sigma = 0.5 * np.sqrt(np.maximum(self._scale**2 - 1.0, 0.0))
        if sigma.max() > 0.3:
            clean = cv2.GaussianBlur(
                clean, (0, 0), sigmaX=max(sigma[0], 1e-3), sigmaY=max(sigma[1], 1e-3)
            ).astype(np.float32)
        to_image = np.column_stack([np.diag(self._scale), self._image_centre - _CENTRE * self._scale])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        warped = cv2.warpAffine(
            clean, to_image, (FRAME_PIXELS, FRAME_PIXELS), flags=flags, borderMode=cv2.BORDER_CONSTANT
        )
        return warped.astype(np.float32)

    def to_image(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return values of the frame ``(224, 224)`` on the image ``(rows, columns)``; 0 outside the frame."""
        to_frame = np.column_stack([np.diag(1.0 / self._scale), _CENTRE - self._image_centre / self._scale])
        rows, columns = self.shape
        warped = cv2.warpAffine(
            values.astype(np.float32),
            to_frame,
            (columns, rows),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
        )
        return warped.astype(np.float32)

    def network_input(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the image ``(rows, columns)`` as the network takes it: in the frame, normalised."""
        return normalise(self.to_frame(image))


def tissue_values(values_ms: NDArray[np.float32], quantity: str) -> NDArray[np.float32]:
    """Return a map for the frame.

    Times longer than those of tissue are clipped: air and lung would take up the grey scale of tissue.
    Negative and non-finite values are 0.

    Args:
        values_ms: map, ``(rows, columns)``; not finite where there is no value.
        quantity: ``T1`` or ``T2``.
    """
    finite = np.where(np.isfinite(values_ms), values_ms, np.float32(0.0))
    clipped: NDArray[np.float32] = np.clip(finite, 0.0, LONGEST_MS[quantity])
    return clipped


def normalise(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return an image clipped at its 1st and 99th percentile, of zero mean and unit variance.

    A constant image becomes zero.
    """
    low, high = np.percentile(image, [1.0, 99.0])
    clipped = np.clip(image, low, high)
    # As in training (model/synthesis/generator.py): the deviation of the sample, not of the population.
    deviation = max(float(clipped.std(ddof=1)), 1e-6)
    normal: NDArray[np.float32] = ((clipped - clipped.mean()) / deviation).astype(np.float32)
    return normal
