"""Joint registration of the images of a series to their signal model, by Gauss-Newton steps.

Xue et al. 2012, Magn Reson Med 67:1644, fit a map, synthesise each image from it, register each image to its
synthetic one, and repeat. Each image then follows a model that it shaped itself, and converges slowly. Here
one step solves for the displacements of all images together, with the map's parameters eliminated (variable
projection, Golub and Pereyra 1973, SIAM J Numer Anal 10:413): within a Gaussian window around each node of a
lattice the displacement is constant (Lucas and Kanade 1981).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from model.motion.equations import normal_equations, solve
from model.motion.lattice import CELL, PIXEL_MM, Lattice
from model.motion.signal_models import SignalModel
from model.motion.weights import pixel_weights

Floats = NDArray[np.float32]


_MERGED: Final = 2
"""Working pixels along each axis that are merged into one for blurred images."""


class SearchStage(NamedTuple):
    """Stage of the search: one step with its window and blur.

    Attributes:
        window_mm: standard deviation of the window around a node.
        blur_mm: standard deviation of the blur of the images; 0 for none.
        restored: images have their polarity restored before anything else. Magnitudes on both sides of 0
            would mix to a signal that no tissue has, and that draws early images away.
        prior: weights as of :func:`pixel_weights` with their prior. Blurred images, the first of a search,
            mix tissues and are far apart: their B / A varies by motion.
    """

    window_mm: float
    blur_mm: float
    restored: bool = False
    prior: bool = True

    @property
    def coarsening(self) -> int:
        """Working pixels along each axis that are merged into one: more than 1 for blurred images."""
        return _MERGED if self.blur_mm > PIXEL_MM else 1


STAGES: Final = (
    SearchStage(36.0, 9.0, restored=True, prior=False),
    SearchStage(24.0, 4.5, prior=False),
    SearchStage(20.0, 3.0, prior=False),
    SearchStage(16.0, 0.0),
    SearchStage(14.0, 0.0),
    SearchStage(12.0, 0.0),
)
"""From wide windows on blurred images, for large displacements, to narrow ones. Chosen by simulation."""
_LONGEST: Final = 3.0
"""Longest step, working pixels: beyond it the gradient does not describe the image."""


@dataclass(slots=True, eq=False)
class GroupwiseRegistration:
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
    ) -> GroupwiseRegistration:
        """Return a search that begins without displacement, of images on the working grid."""
        return cls(lattice, model, images, times_ms, np.zeros((len(images), *lattice.nodes, 2), np.float32))

    @property
    def merged(self) -> Floats:
        """Images of merged working pixels, ``(n, rows / 2, columns / 2)``."""
        height, width = (size // _MERGED for size in self.lattice.working_shape)
        return np.stack(
            [cv2.resize(each, (width, height), interpolation=cv2.INTER_AREA) for each in self.images]
        )

    def step(self, stage: SearchStage) -> Floats:
        """Return the step of all displacements towards the least residuals, as ``displacements``."""
        coarsening, model = stage.coarsening, self.model
        images = self.images if coarsening == 1 else self.merged
        if stage.restored:
            images = model.linearise(images, self.times_ms).polarity * images
            model = model.restored()
        if stage.blur_mm:
            sigma = stage.blur_mm / (PIXEL_MM * coarsening)
            images = np.stack([cv2.GaussianBlur(each, (0, 0), sigma) for each in images])
        images = self.warped(images, coarsening)
        found = model.linearise(images, self.times_ms)
        n, (down, across) = len(images), self.lattice.nodes
        weights = pixel_weights(images, found, model.misfit, prior=stage.prior)
        sums = normal_equations(
            found.polarity * _gradients(images), found, weights, CELL // coarsening, model.damping
        )
        blur_rows, blur_columns = (_window(count, stage.window_mm) for count in self.lattice.nodes)
        sums = (blur_rows @ sums.reshape(down, -1)).reshape(sums.shape)
        sums = np.matmul(blur_columns, sums.reshape(down, across, -1)).reshape(sums.shape)
        step = solve(sums).reshape(down, across, 2, n).transpose(3, 0, 1, 2).astype(np.float64)
        # Squares of pixels near the limits of float32 are no numbers: such a node stays where it is.
        step = coarsening * np.where(np.isfinite(step), step, 0.0)
        length = np.linalg.norm(step, axis=-1, keepdims=True)
        step = step * np.minimum(1.0, _LONGEST / np.maximum(length, 1e-6))
        return np.asarray(step * self.lattice.edges()[..., None], np.float32)

    def warped(self, images: Floats, coarsening: int = 1) -> Floats:
        """Return images on the working grid, or on a coarser one, with the displacements applied."""
        if not self.displacements.any():
            return images
        fields = self.lattice.on_working_grid(self.displacements, coarsening)
        return np.stack(
            [sample(image, field, cv2.INTER_LINEAR) for image, field in zip(images, fields, strict=True)]
        )


def sample(image: Floats, field: Floats, interpolation: int) -> Floats:
    """Return an image sampled at the pixels of a field ``(rows, columns, 2)`` plus its displacements.

    Edges are repeated.
    """
    rows, columns = (np.arange(count, dtype=np.float32) for count in field.shape[:2])
    at_x, at_y = field[..., 0] + columns, field[..., 1] + rows[:, None]
    return np.asarray(
        cv2.remap(image, at_x, at_y, interpolation, borderMode=cv2.BORDER_REPLICATE), np.float32
    )


def _gradients(images: Floats) -> Floats:
    """Return the derivatives of images by x and by y, ``(2, n, rows, columns)``."""
    gradients = np.empty((2, *images.shape), np.float32)
    for to, of in ((gradients[0].swapaxes(1, 2), images.swapaxes(1, 2)), (gradients[1], images)):
        np.subtract(of[:, 2:], of[:, :-2], out=to[:, 1:-1])
        to[:, 1:-1] *= np.float32(0.5)
        to[:, 0], to[:, -1] = of[:, 1] - of[:, 0], of[:, -1] - of[:, -2]
    return gradients


def _window(count: int, sigma_mm: float) -> Floats:
    """Return the weights of the cells around each node along one axis, ``(count, count)``."""
    apart = np.arange(count)[:, None] - np.arange(count)
    weights = np.exp(-0.5 * np.square(apart * CELL * PIXEL_MM / sigma_mm))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)
