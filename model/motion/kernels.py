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
_ZERO: Final = np.float32(0.0)
_ONE: Final = np.float32(1.0)
_SMALLEST: Final = np.float32(1e-12)
_kernel = kept({"nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz", "arcp"}})


@_kernel
def factors(
    directions: Floats,
    columns: Floats,
    residuals: Floats,
    weights: Floats,
    cell: int,
    followed: Floats,
    own: Floats,
) -> None:
    """Write the parts of normal equations from which the model's parameters are eliminated, by square cells.

    Args:
        directions: change of each signal by each of its unknowns, ``(kinds, n, rows, columns)``; both sizes
            are multiples of ``cell``.
        columns: derivatives of the model by its parameters, ``(parameters, n + 1, rows, columns)``; the
            last of the n + 1 rows is that of a prior.
        residuals: signal less model, ``(n + 1, rows, columns)``.
        weights: of the pixels, ``(rows, columns)``; 0 leaves one out.
        cell: pixels of a cell along each axis.
        followed: written, the part of the directions, times the root of the weight, along each of the
            columns made orthonormal, ``(rows / cell, columns / cell, cell * cell * parameters, kinds * n)``.
        own: written, weighted sums over the cell for each image: products of each pair of its directions,
            then of each direction with the residuals less what the model can follow,
            ``(rows / cell, columns / cell, pairs + kinds, n)``.
    """
    kinds, n, height, width = directions.shape
    parameters, pairs = len(columns), kinds * (kinds + 1) // 2
    root, along = np.empty(width, np.float32), np.empty(width, np.float32)
    r, q = np.empty((n + 1, width), np.float32), np.empty((parameters, n + 1, width), np.float32)
    g, products = np.empty((kinds, n, width), np.float32), np.empty((pairs + kinds, n, width), np.float32)
    for y in range(height):
        for x in range(width):
            root[x] = np.sqrt(max(weights[y, x], _ZERO))
        for kind in range(kinds):
            for i in range(n):
                for x in range(width):
                    g[kind, i, x] = root[x] * directions[kind, i, y, x]
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
                    along[x] = _ZERO
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
                along[x] = _ZERO
            for i in range(n + 1):
                for x in range(width):
                    along[x] += q[k, i, x] * r[i, x]
            for i in range(n + 1):
                for x in range(width):
                    r[i, x] -= along[x] * q[k, i, x]
        if y % cell == 0:
            products[:] = _ZERO
        for i in range(n):
            pair = 0
            for first in range(kinds):
                for second in range(first, kinds):
                    for x in range(width):
                        products[pair, i, x] += g[first, i, x] * g[second, i, x]
                    pair += 1
            for kind in range(kinds):
                for x in range(width):
                    products[pairs + kind, i, x] += g[kind, i, x] * root[x] * r[i, x]
        for x in range(width):
            place = (y % cell * cell + x % cell) * parameters
            to = followed[y // cell, x // cell]
            for k in range(parameters):
                for kind in range(kinds):
                    for i in range(n):
                        to[place + k, kind * n + i] = q[k, i, x] * g[kind, i, x]
        if y % cell == cell - 1:
            for part in range(pairs + kinds):
                for i in range(n):
                    for column in range(width // cell):
                        total = _ZERO
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
