"""Compiled normal equations of a joint registration, summed over the cells of a lattice.

All in one file: compiled code is kept until this file changes (:mod:`model.relaxometry.compiled`).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.relaxometry.compiled import kept

Floats = NDArray[np.float32]

LANES: Final = 16
"""Nodes whose equations are solved side by side."""
_NONE: Final = np.float32(0.0)
_HALF: Final = np.float32(0.5)
_ONE: Final = np.float32(1.0)
_SMALLEST: Final = np.float32(1e-12)
_kernel = kept({"nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz", "arcp"}})


@_kernel
def factors(
    images: Floats,
    polarity: Floats,
    columns: Floats,
    residuals: Floats,
    weights: Floats,
    cell: int,
    followed: Floats,
    own: Floats,
) -> None:
    """Write the parts of the normal equations of the displacements of all images, for square cells.

    With the rows of G the gradients of the n signals of a pixel, and P the projector that removes what the
    model can follow (the span of ``columns``), a small displacement u changes the residuals to r + P G u.
    With the columns Q made orthonormal, G' P G is G' G - (Q' G)' (Q' G), and G' G couples an image with
    itself alone.

    Args:
        images: ``(n, rows, columns)``; both sizes are multiples of ``cell``, at least 2.
        polarity: 1, or -1 where the signal has the opposite sign of the image, ``(n, rows, columns)``.
        columns: derivatives of the model by its parameters, ``(parameters, n + 1, rows, columns)``; the
            last of the n + 1 rows is that of a prior.
        residuals: signal less model, ``(n + 1, rows, columns)``.
        weights: of the pixels, ``(rows, columns)``; 0 leaves one out.
        cell: pixels of a cell along each axis.
        followed: written, the root of the weight times Q' G of each pixel and parameter,
            ``(rows / cell, columns / cell, cell * cell * parameters, 2 n)``: first the x of all images,
            then the y.
        own: written, weighted sums over the cell of the products of x with x, x with y, y with y, x with
            P r, y with P r for each image, ``(rows / cell, columns / cell, 5, n)``.
    """
    n, height, width = images.shape
    parameters = len(columns)
    root, along = np.empty(width, np.float32), np.empty(width, np.float32)
    r, q = np.empty((n + 1, width), np.float32), np.empty((parameters, n + 1, width), np.float32)
    g, products = np.empty((2, n, width), np.float32), np.empty((5, n, width), np.float32)
    for y in range(height):
        above, below = max(y - 1, 0), min(y + 1, height - 1)
        apart = _ONE / np.float32(below - above)
        for x in range(width):
            root[x] = np.sqrt(max(weights[y, x], _NONE))
        for i in range(n):
            for x in range(1, width - 1):
                g[0, i, x] = _HALF * (images[i, y, x + 1] - images[i, y, x - 1])
            g[0, i, 0] = images[i, y, 1] - images[i, y, 0]
            g[0, i, width - 1] = images[i, y, width - 1] - images[i, y, width - 2]
            for x in range(width):
                signed = root[x] * polarity[i, y, x]
                g[0, i, x] *= signed
                g[1, i, x] = signed * apart * (images[i, below, x] - images[i, above, x])
        for i in range(n + 1):
            for x in range(width):
                r[i, x] = residuals[i, y, x]
        # Orthonormal columns, one after the other; what is along them leaves the residuals.
        for k in range(parameters):
            for i in range(n + 1):
                for x in range(width):
                    q[k, i, x] = columns[k, i, y, x]
            for earlier in range(k):
                for x in range(width):
                    along[x] = _NONE
                for i in range(n + 1):
                    for x in range(width):
                        along[x] += q[earlier, i, x] * q[k, i, x]
                for i in range(n + 1):
                    for x in range(width):
                        q[k, i, x] -= along[x] * q[earlier, i, x]
            for x in range(width):
                along[x] = _SMALLEST
            for i in range(n + 1):
                for x in range(width):
                    along[x] += q[k, i, x] * q[k, i, x]
            for x in range(width):
                along[x] = _ONE / np.sqrt(along[x])
            for i in range(n + 1):
                for x in range(width):
                    q[k, i, x] *= along[x]
            for x in range(width):
                along[x] = _NONE
            for i in range(n + 1):
                for x in range(width):
                    along[x] += q[k, i, x] * r[i, x]
            for i in range(n + 1):
                for x in range(width):
                    r[i, x] -= along[x] * q[k, i, x]
        if y % cell == 0:
            products[:] = _NONE
        for i in range(n):
            for x in range(width):
                across, down, left = g[0, i, x], g[1, i, x], root[x] * r[i, x]
                products[0, i, x] += across * across
                products[1, i, x] += across * down
                products[2, i, x] += down * down
                products[3, i, x] += across * left
                products[4, i, x] += down * left
        for x in range(width):
            first = (y % cell * cell + x % cell) * parameters
            to = followed[y // cell, x // cell]
            for k in range(parameters):
                for i in range(n):
                    to[first + k, i] = q[k, i, x] * g[0, i, x]
                    to[first + k, n + i] = q[k, i, x] * g[1, i, x]
        if y % cell == cell - 1:
            for part in range(5):
                for i in range(n):
                    for column in range(width // cell):
                        total = _NONE
                        for x in range(column * cell, (column + 1) * cell):
                            total += products[part, i, x]
                        own[y // cell, column, part, i] = total


@_kernel
def solve(sums: Floats, ridge: float, solutions: Floats) -> None:
    """Solve the normal equations of every node by Cholesky's method.

    Args:
        sums: ``(nodes, unknowns, unknowns + 1)``, symmetric, not negative; the last column is the right side.
        ridge: added to the diagonal, above 0.
        solutions: written ``(nodes, unknowns)``.
    """
    nodes, unknowns = sums.shape[0], sums.shape[1]
    width = unknowns + 1
    a = np.empty(unknowns * width * LANES, np.float32)
    for first in range(0, nodes, LANES):
        filled = min(LANES, nodes - first)
        for p in range(LANES):
            node = first + min(p, filled - 1)
            for i in range(unknowns):
                for j in range(i, width):
                    a[(i * width + j) * LANES + p] = sums[node, i, j]
        # Upper factor in place, and with it the right side: a column as every other.
        for i in range(unknowns):
            own = (i * width + i) * LANES
            for p in range(LANES):
                a[own + p] = _ONE / np.sqrt(max(a[own + p] + np.float32(ridge), _SMALLEST))
            for j in range(i + 1, width):
                at = (i * width + j) * LANES
                for p in range(LANES):
                    a[at + p] *= a[own + p]
            for k in range(i + 1, unknowns):
                factor = (i * width + k) * LANES
                for j in range(k, width):
                    source, target = (i * width + j) * LANES, (k * width + j) * LANES
                    for p in range(LANES):
                        a[target + p] -= a[factor + p] * a[source + p]
        for i in range(unknowns - 1, -1, -1):
            last, own = (i * width + unknowns) * LANES, (i * width + i) * LANES
            for j in range(i + 1, unknowns):
                known, factor = (j * width + unknowns) * LANES, (i * width + j) * LANES
                for p in range(LANES):
                    a[last + p] -= a[factor + p] * a[known + p]
            for p in range(LANES):
                a[last + p] *= a[own + p]
        for i in range(unknowns):
            for p in range(filled):
                solutions[first + p, i] = a[(i * width + unknowns) * LANES + p]
