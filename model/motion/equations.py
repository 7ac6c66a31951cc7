"""Normal equations of a series with the parameters of its signal model eliminated, and their solutions.

With the rows of G the change of the signals of a pixel by the unknowns, and P the projector that removes what
the model can follow, a small change u of the unknowns changes the residuals to r + P G u. The equations are
G' P G u = -G' P r. With the derivatives of the model made orthonormal, Q, their matrix is
G' G - (Q' G)' (Q' G), and G' G couples an image with itself alone.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.motion import kernels
from model.motion.signal_models import Linearised

Floats = NDArray[np.float32]

_RIDGE: Final = 0.02
"""Weight of a small step beside the mean of the diagonal: without texture the step is 0."""


def normal_equations(
    directions: Floats, found: Linearised, weights: Floats, cell: int, damping: float = 0.0
) -> Floats:
    """Return the normal equations of the unknowns of all images, summed over square cells.

    Args:
        directions: change of each signal by each of its unknowns, ``(kinds, n, rows, columns)``; both sizes
            are multiples of ``cell``.
        found: fit of the images.
        weights: of the pixels, ``(rows, columns)``; 0 leaves one out.
        cell: pixels of a cell along each axis.
        damping: share of G' G that is added.

    Returns:
        ``(rows / cell, columns / cell, kinds * n, kinds * n + 1)``: first the first unknown of all images;
        the last column is G' P r.
    """
    kinds, n, height, width = directions.shape
    cells, unknowns = (height // cell, width // cell), kinds * n
    pairs = [(first, second) for first in range(kinds) for second in range(first, kinds)]
    followed = np.empty((*cells, cell * cell * len(found.columns), unknowns), np.float32)
    own = np.empty((*cells, len(pairs) + kinds, n), np.float32)
    kernels.factors(directions, found.columns, found.residuals, weights, cell, followed, own)
    sums = np.empty((*cells, unknowns, unknowns + 1), np.float32)
    np.negative(followed.swapaxes(-1, -2) @ followed, out=sums[..., :-1])
    own[..., : len(pairs), :] *= np.float32(1.0 + damping)
    for part, (first, second) in enumerate(pairs):
        row, column = (kind * n + np.arange(n) for kind in (first, second))
        sums[..., row, column] += own[..., part, :]
        if first != second:
            sums[..., column, row] += own[..., part, :]
    sums[..., -1] = own[..., len(pairs) :, :].reshape(*cells, unknowns)
    return sums


def solve(sums: Floats) -> Floats:
    """Return the step ``(rows, columns, unknowns)`` towards the least residuals of each node.

    Args:
        sums: normal equations, ``(rows, columns, unknowns, unknowns + 1)``.
    """
    unknowns = sums.shape[2]
    diagonal = np.einsum("rcii->", sums[..., :-1]) / sums[..., 0].size
    solutions = np.empty((sums.shape[0] * sums.shape[1], unknowns), np.float32)
    nodes = sums.reshape(len(solutions), unknowns, unknowns + 1)
    kernels.solve(nodes, float(_RIDGE * diagonal + 1e-12), solutions)
    return -solutions.reshape(sums.shape[:3])
