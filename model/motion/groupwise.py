"""Joint registration of the images of a series to their signal model, by Gauss-Newton steps.

Xue et al. 2012, Magn Reson Med 67:1644, fit a map, synthesise each image from it, register each image to its
synthetic one, and repeat. Each image then follows a model that it shaped itself, and converges slowly. Here
one step solves for the displacements of all images together, with the map's parameters eliminated (variable
projection, Golub and Pereyra 1973, SIAM J Numer Anal 10:413): within a Gaussian window around each node of a
lattice the displacement is constant (Lucas and Kanade 1981).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from model.motion.equations import normal_equations, solve
from model.motion.lattice import CELL, PIXEL_MM, Lattice
from model.motion.signal_models import Linearised, SignalModel

Floats = NDArray[np.float32]


class Stage(NamedTuple):
    """Stage of the search: one step with its window and blur.

    Attributes:
        window_mm: standard deviation of the window around a node.
        blur_mm: standard deviation of the blur of the images; 0 for none.
    """

    window_mm: float
    blur_mm: float

    @property
    def coarsening(self) -> int:
        """Working pixels along each axis that are merged into one: 2 for blurred images, else 1."""
        return 2 if self.blur_mm > PIXEL_MM else 1


STAGES: Final = (
    Stage(36.0, 9.0),
    Stage(30.0, 6.0),
    Stage(24.0, 4.5),
    Stage(20.0, 3.0),
    Stage(16.0, 0.0),
    Stage(14.0, 0.0),
    Stage(12.0, 0.0),
)
"""From wide windows on blurred images, for large displacements, to narrow ones. Chosen by simulation."""
_FLOOR: Final = 0.25
"""Share of the bright signal (:data:`BRIGHT_PERCENTILE`) in the unit of residuals, beside the pixel's own."""
_LONGEST: Final = 3.0
"""Longest step, working pixels: beyond it the gradient does not describe the image."""
BRIGHT_PERCENTILE: Final = 95.0
"""Percentile of the magnitudes that is taken for the bright signal."""


@dataclass(slots=True, eq=False)
class Registration:
    """Search for the displacements of a series, step by step.

    Attributes:
        lattice: of the series.
        model: of its signal.
        images: on the working grid, ``(n, rows, columns)``, finite.
        times_ms: of each.
        displacements: at the nodes, working pixels ``(n, rows, columns, 2)``, (x, y): the corrected image
            shows at a pixel what the image shows at the pixel plus the displacement.
    """

    lattice: Lattice
    model: SignalModel
    images: Floats
    times_ms: NDArray[np.float64]
    displacements: Floats

    @classmethod
    def at_rest(
        cls, lattice: Lattice, model: SignalModel, images: Floats, times_ms: NDArray[np.float64]
    ) -> Registration:
        """Return a search that begins without displacement, of images on the working grid."""
        return cls(lattice, model, images, times_ms, np.zeros((len(images), *lattice.nodes, 2), np.float32))

    def step(self, stage: Stage) -> Floats:
        """Return the step of all displacements towards the least residuals, as ``displacements``."""
        images, coarsening = self.images, stage.coarsening
        if stage.blur_mm:
            sigma = stage.blur_mm / PIXEL_MM
            images = np.stack([cv2.GaussianBlur(each, (0, 0), sigma) for each in images])
        if coarsening > 1:
            height, width = (size // coarsening for size in self.lattice.working_shape)
            images = np.stack(
                [cv2.resize(each, (width, height), interpolation=cv2.INTER_AREA) for each in images]
            )
        images = self.warped(images, coarsening)
        found = self.model.linearise(images, self.times_ms)
        n, (down, across) = len(images), self.lattice.nodes
        weights = _weights(images, found, self.model.misfit)
        sums = normal_equations(images, found, weights, self.model.damping, CELL // coarsening)
        blur_rows, blur_columns = (_window(count, stage.window_mm) for count in self.lattice.nodes)
        sums = (blur_rows @ sums.reshape(down, -1)).reshape(sums.shape)
        sums = np.matmul(blur_columns, sums.reshape(down, across, -1)).reshape(sums.shape)
        step = coarsening * solve(sums).reshape(down, across, 2, n).transpose(3, 0, 1, 2)
        length = np.linalg.norm(step, axis=-1, keepdims=True)
        step = step * np.minimum(1.0, _LONGEST / np.maximum(length, 1e-6))
        return np.asarray(step * self.lattice.edges()[..., None], np.float32)

    def warped(self, images: Floats, coarsening: int = 1) -> Floats:
        """Return images on the working grid, or on a coarser one, with the displacements applied."""
        if not self.displacements.any():
            return images
        return np.stack(
            [
                sample(image, self.lattice.on_working_grid(field, coarsening), cv2.INTER_LINEAR)
                for image, field in zip(images, self.displacements, strict=True)
            ]
        )


def sample(image: Floats, field: Floats, interpolation: int) -> Floats:
    """Return an image sampled at the pixels of a field ``(rows, columns, 2)`` plus its displacements.

    Edges are repeated.
    """
    at_x, at_y = cv2.split(field + _pixels((field.shape[0], field.shape[1])))
    return np.asarray(
        cv2.remap(image, at_x, at_y, interpolation, borderMode=cv2.BORDER_REPLICATE), np.float32
    )


@lru_cache(maxsize=4)
def _pixels(shape: tuple[int, int]) -> Floats:
    """Return the coordinates (x, y) of every pixel, ``(rows, columns, 2)``."""
    y, x = np.indices(shape)
    return np.stack([x, y], axis=-1).astype(np.float32)


def _weights(images: Floats, found: Linearised, misfit: float) -> Floats:
    """Return the weight of each pixel: residuals relative to its brightness, less where the model fails."""
    brightest = np.abs(images).max(axis=0)
    unit = brightest + np.float32(_FLOOR * np.percentile(brightest, BRIGHT_PERCENTILE)) + np.float32(1e-12)
    squares = np.square(found.residuals[:-1]).mean(axis=0) / np.square(unit)
    weights = 1.0 / (np.square(unit) * (1.0 + squares / np.float32(misfit**2)))
    return np.where(found.failed, np.float32(0.0), weights).astype(np.float32)


def _window(count: int, sigma_mm: float) -> Floats:
    """Return the weights of the cells around each node along one axis, ``(count, count)``."""
    apart = np.arange(count)[:, None] - np.arange(count)
    weights = np.exp(-0.5 * np.square(apart * CELL * PIXEL_MM / sigma_mm))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)
