"""Working grid of a registration in the middle of an image, and the lattice of its displacements."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

PIXEL_MM: Final = 3.0
"""Pixel of the working grid: a third of a normal wall, and fine enough for a tenth of it by interpolation."""
CELL: Final = 4
"""Working pixels between two nodes of the lattice: 12 mm."""
FIELD_MM: Final = 240.0
"""Size of the working grid: a heart whose centre is one diameter off the middle still lies in it."""
_EDGE: Final = np.array([0.15, 0.5, 0.85], np.float32)
"""Share of the displacement that the outermost nodes keep, so that it ends smoothly."""


@dataclass(frozen=True, slots=True)
class Lattice:
    """Working grid, in the middle of an image, and one node of displacement in each of its square cells.

    Attributes:
        shape: of the image, ``(rows, columns)``.
        spacing: of its pixels, (x, y), mm.
        nodes: ``(rows, columns)`` of nodes.
    """

    shape: tuple[int, int]
    spacing: tuple[float, float]
    nodes: tuple[int, int]

    @classmethod
    def of(cls, shape: tuple[int, int], spacing: tuple[float, float]) -> Lattice:
        """Return the lattice of an image; it has no nodes along an axis of less than a cell."""
        rows, columns = shape
        size = np.minimum([rows * spacing[1], columns * spacing[0]], FIELD_MM)
        down, across = (int(each) for each in size // (CELL * PIXEL_MM))
        return cls(shape, spacing, (down, across))

    @property
    def working_shape(self) -> tuple[int, int]:
        """Rows and columns of the working grid."""
        return self.nodes[0] * CELL, self.nodes[1] * CELL

    @property
    def _scale(self) -> NDArray[np.float64]:
        """Image pixels per working pixel, (x, y)."""
        return PIXEL_MM / np.asarray(self.spacing, dtype=np.float64)

    @property
    def _middle(self) -> NDArray[np.float64]:
        """Middle of the image, (x, y)."""
        return (np.flip(self.shape) - 1) / 2

    def reduced(self, images: Floats) -> Floats:
        """Return images ``(n, rows, columns)`` on the working grid, smoothed before against aliasing."""
        to_image = self._matrix(self.working_shape, self._scale)
        sigma_x, sigma_y = 0.5 * np.sqrt(np.maximum(self._scale**2 - 1.0, 1e-4))
        height, width = self.working_shape
        reduced = np.empty((len(images), height, width), np.float32)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        for image, out in zip(images, reduced, strict=True):
            smooth = cv2.GaussianBlur(image, (0, 0), sigmaX=sigma_x, sigmaY=sigma_y)
            cv2.warpAffine(smooth, to_image, (width, height), out, flags, cv2.BORDER_REPLICATE)
        return reduced

    def on_working_grid(self, displacements: Floats, coarsening: int = 1) -> Floats:
        """Return displacements at the nodes ``(..., rows, columns, 2)`` at the working pixels.

        Args:
            displacements: in working pixels.
            coarsening: number of working pixels along each axis that are merged into one; the result is in
                these merged pixels.
        """
        height, width = (size // coarsening for size in self.working_shape)
        down, across = _cubic(self.nodes[0], height), _cubic(self.nodes[1], width)
        return _spread(displacements / np.float32(coarsening), down, across)

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the image between the working pixels; elsewhere nothing is displaced."""
        middle, reach = self._middle, (np.flip(self.working_shape) - 1) / 2 * self._scale
        first, last = np.ceil(middle - reach).astype(int), np.floor(middle + reach).astype(int)
        return slice(first[1], last[1] + 1), slice(first[0], last[0] + 1)

    def on_window(self, displacements: Floats) -> Floats:
        """Return displacements at the nodes at the pixels of the window, in pixels of the image."""
        scale, middle = np.flip(self._scale), np.flip(self._middle)
        along = []
        for axis, part in enumerate(self.window):
            count, size = self.nodes[axis], self.working_shape[axis]
            at = (np.arange(part.start, part.stop) - middle[axis]) / scale[axis] + (size - 1) / 2
            # Linear between the working pixels: the field is smooth.
            linear = np.maximum(1.0 - np.abs(at[:, None] - np.arange(size)), 0.0)
            along.append(linear.astype(np.float32) @ _cubic(count, size))
        return _spread(displacements * self._scale.astype(np.float32), *along)

    def middle(self, radius_mm: float, *, nodes: bool = False) -> NDArray[np.bool_]:
        """Return the working pixels, or the nodes, within a radius of the middle of the image."""
        shape, size = (self.nodes, CELL * PIXEL_MM) if nodes else (self.working_shape, PIXEL_MM)
        y, x = ((np.arange(count) - (count - 1) / 2) * size for count in shape)
        return np.asarray(np.hypot(y[:, None], x) <= radius_mm)

    def edges(self) -> Floats:
        """Return the share of the displacement that each node keeps, ``(rows, columns)``."""
        down, across = (_edge(count) for count in self.nodes)
        return down[:, None] * across

    def _matrix(self, shape: tuple[int, int], scale: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the affine map of a centred grid of this shape to pixels of the image."""
        own = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
        return np.column_stack([np.diag(scale), self._middle - own * scale])


@lru_cache(maxsize=16)
def _cubic(count: int, size: int) -> Floats:
    """Return the weights of the nodes in each pixel of an axis, by cubic convolution, ``(size, count)``."""
    return np.asarray(
        cv2.resize(np.eye(count, dtype=np.float32), (count, size), interpolation=cv2.INTER_CUBIC), np.float32
    )


def _spread(displacements: Floats, down: Floats, across: Floats) -> Floats:
    """Return displacements at the nodes ``(..., rows, columns, 2)`` at pixels, by weights along each axis.

    In memory each component is a plane of its own, as :func:`cv2.remap` reads it fastest.
    """
    planes = np.asarray(down @ np.moveaxis(displacements, -1, -3) @ across.T, np.float32)
    return np.moveaxis(planes, -3, -1)


def _edge(count: int) -> Floats:
    """Return the share of the displacement that each of the nodes along one axis keeps, ``(count,)``."""
    share = np.ones(count, np.float32)
    for i, kept in enumerate(_EDGE[: count // 2]):
        share[i] = share[-1 - i] = kept
    return share
