"""Normal equations of a joint registration: sums over the cells of a lattice, and their solution."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.motion import kernels
from model.motion.signal_models import Linearised

Floats = NDArray[np.float32]

_RIDGE: Final = 0.02
"""Weight of a small step beside the mean of the diagonal: without texture the step is 0."""


def normal_equations(images: Floats, found: Linearised, weights: Floats, damping: float, cell: int) -> Floats:
    """Return the normal equations of the displacements of all images, summed over square cells.

    With the rows of G the gradients of the n signals of a pixel, and P the projector that removes what the
    model can follow, a small displacement u changes the residuals to r + P G u; the sums are those of
    G' (P + damping) G and of G' P r.

    Args:
        images: ``(n, rows, columns)``; both sizes are multiples of ``cell``, at least 2.
        found: fit of the images.
        weights: of the pixels, ``(rows, columns)``; 0 leaves one out.
        damping: share of an image's own gradients that resists its displacement.
        cell: pixels of a cell along each axis.

    Returns:
        ``(rows / cell, columns / cell, 2 n, 2 n + 1)``: first the x of all images, then the y; the last
        column is that of the residuals.
    """
    n, height, width = images.shape
    cells, unknowns = (height // cell, width // cell), 2 * n
    followed = np.empty((*cells, cell * cell * len(found.columns), unknowns), np.float32)
    own = np.empty((*cells, 5, n), np.float32)
    kernels.factors(images, found.polarity, found.columns, found.residuals, weights, cell, followed, own)
    own[..., :3, :] *= np.float32(1.0 + damping)
    sums = np.empty((*cells, unknowns, unknowns + 1), np.float32)
    np.negative(followed.swapaxes(-1, -2) @ followed, out=sums[..., :-1])
    x, y = np.arange(n), np.arange(n, unknowns)
    for part, (row, column) in enumerate(((x, x), (x, y), (y, y))):
        sums[..., row, column] += own[..., part, :]
    sums[..., y, x] += own[..., 1, :]
    sums[..., -1] = own[..., 3:, :].reshape(*cells, unknowns)
    return sums


def solve(sums: Floats) -> Floats:
    """Return the step ``(rows, columns, 2 n)`` towards the least residuals of each node.

    Args:
        sums: normal equations, ``(rows, columns, 2 n, 2 n + 1)``.
    """
    unknowns = sums.shape[2]
    diagonal = np.einsum("rcii->", sums[..., :-1]) / sums[..., 0].size
    solutions = np.empty((sums.shape[0] * sums.shape[1], unknowns), np.float32)
    nodes = sums.reshape(len(solutions), unknowns, unknowns + 1)
    kernels.solve(nodes, float(_RIDGE * diagonal + 1e-12), solutions)
    return -solutions.reshape(sums.shape[:3])
