"""Compiled normal equations of a joint registration, summed over the cells of a lattice.

All in one file: compiled code is kept until this file changes (:mod:`model.relaxometry.compiled`).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.relaxometry.compiled import kept

Floats = NDArray[np.float32]

_SMALLEST: Final = np.float32(1e-12)
_kernel = kept({"nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz", "arcp"}})


@_kernel
def normal_equations(
    images: Floats,
    polarity: Floats,
    columns: Floats,
    residuals: Floats,
    weights: Floats,
    damping: float,
    cell: int,
    sums: Floats,
) -> None:
    """Sum the normal equations of the displacements of all images over square cells.

    With the rows of G the gradients of the n signals of a pixel, and P the projector that removes what the
    model can follow (the span of ``columns``), a small displacement u changes the residuals to r + P G u; the
    sums are those of G' P G and of G' P r.

    Args:
        images: ``(n, rows, columns)``; both sizes are multiples of ``cell``, at least 2.
        polarity: 1, or -1 where the signal has the opposite sign of the image, ``(n, rows, columns)``.
        columns: derivatives of the model by its parameters, ``(parameters, n + 1, rows, columns)``; the
            last of the n + 1 rows is that of a prior.
        residuals: signal less model, ``(n + 1, rows, columns)``.
        weights: of the pixels, ``(rows, columns)``; 0 leaves one out.
        cell: pixels of a cell along each axis.
        sums: written, ``(rows / cell, columns / cell, 2 n, 2 n + 1)``: first the x of all images, then the
            y; the last column is that of the residuals.
    """
    n, height, width = images.shape
    parameters = len(columns)
    q = np.empty((parameters, n + 1), np.float32)
    r = np.empty(n + 1, np.float32)
    g = np.empty(2 * n, np.float32)
    for row in range(0, height, cell):
        for column in range(0, width, cell):
            total = sums[row // cell, column // cell]
            total[:] = np.float32(0.0)
            for y in range(row, row + cell):
                for x in range(column, column + cell):
                    weight = weights[y, x]
                    if not weight > 0.0:
                        continue
                    left, right = max(x - 1, 0), min(x + 1, width - 1)
                    above, below = max(y - 1, 0), min(y + 1, height - 1)
                    for i in range(n):
                        across = images[i, y, right] - images[i, y, left]
                        down = images[i, below, x] - images[i, above, x]
                        g[i] = polarity[i, y, x] * across / np.float32(right - left)
                        g[n + i] = polarity[i, y, x] * down / np.float32(below - above)
                    for i in range(n + 1):
                        r[i] = residuals[i, y, x]
                    # Orthonormal columns, one after the other; what is along them leaves the residuals.
                    for k in range(parameters):
                        for i in range(n + 1):
                            q[k, i] = columns[k, i, y, x]
                        for k_ in range(k):
                            along = np.float32(0.0)
                            for i in range(n + 1):
                                along += q[k_, i] * q[k, i]
                            for i in range(n + 1):
                                q[k, i] -= along * q[k_, i]
                        square = _SMALLEST
                        for i in range(n + 1):
                            square += q[k, i] * q[k, i]
                        norm = np.float32(1.0) / np.sqrt(square)
                        along = np.float32(0.0)
                        for i in range(n + 1):
                            q[k, i] *= norm
                            along += q[k, i] * r[i]
                        for i in range(n + 1):
                            r[i] -= along * q[k, i]
                    # The whole of a symmetric matrix: rows without gaps become vector instructions.
                    for i in range(n):
                        gx, gy = weight * g[i], weight * g[n + i]
                        for j in range(n):
                            p = np.float32(1.0) + np.float32(damping) if i == j else np.float32(0.0)
                            for k in range(parameters):
                                p -= q[k, i] * q[k, j]
                            total[i, j] += p * gx * g[j]
                            total[i, n + j] += p * gx * g[n + j]
                            total[n + i, j] += p * gy * g[j]
                            total[n + i, n + j] += p * gy * g[n + j]
                        total[i, 2 * n] += gx * r[i]
                        total[n + i, 2 * n] += gy * r[i]
