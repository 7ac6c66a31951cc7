"""T2 fit of T2-prepared images: one exponential without offset.

``S(TE) = C exp(-TE / T2)``: Giri et al. 2009, J Cardiovasc Magn Reson 11:56. Standard deviation from the
residuals as for T1 (Kellman et al. 2013, J Cardiovasc Magn Reson 15:56).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from model.relaxometry import kernels
from model.relaxometry.parametric_map import ParametricMap
from model.relaxometry.rate_grid import RateGrid

SHORTEST_MS: Final = 1.0
LONGEST_MS: Final = 4000.0
GRID: Final = RateGrid.between(LONGEST_MS, SHORTEST_MS, 32)

A = TypeVar("A")
"""Array of numpy, or tensor of torch."""


@dataclass(frozen=True, slots=True)
class T2Fit(Generic[A]):
    """Fit of ``C exp(-t / T2)``, every field of the shape of one image.

    Attributes:
        t2: ms; 0 where ``failed``.
        sd: its standard deviation, ms; 0 where ``failed`` or where there are only two images.
        c: signal without preparation, in units of the images.
        r_squared: share of the signal's variance that the model explains.
        failed: no optimum with a T2 between 1 and 4000 ms, or one that nothing decides.
    """

    t2: A
    sd: A
    c: A
    r_squared: A
    failed: A


def fit_t2prep(
    magnitude: NDArray[np.floating[Any]], times_ms: NDArray[np.floating[Any]]
) -> T2Fit[NDArray[Any]]:
    """Fit every pixel to its least-squares optimum over C and T2, as :func:`molli.fit_molli` does.

    Args:
        magnitude: images ``(n, ...)``, n at least 2, in any order.
        times_ms: preparation time (effective TE) of each, ``(n,)``; at least two different ones.

    Raises:
        ValueError: fewer than two images or different times, or times that do not match the images.
    """
    check_t2prep(magnitude.shape, times_ms.tolist())
    n, shape = len(magnitude), magnitude.shape[1:]
    times = times_ms.astype(np.float32)
    signal = np.ascontiguousarray(magnitude.reshape(n, -1), dtype=np.float32)
    fields, failed = np.empty((4, signal.shape[1]), np.float32), np.empty(signal.shape[1], np.bool_)
    directions = GRID.directions(times, offset=False)
    kernels.fit_t2prep(signal, times, GRID.log_rates, directions, fields, failed)
    t2, sd, c, r_squared = (field.reshape(shape) for field in fields)
    return T2Fit(t2, sd, c, r_squared, failed.reshape(shape))


def check_t2prep(images: tuple[int, ...], times_ms: Sequence[float]) -> None:
    """Check the shape of images ``(n, ...)`` and their times, ms.

    Raises:
        ValueError: as :func:`fit_t2prep`.
    """
    if images[0] < 2 or len(times_ms) != images[0]:
        raise ValueError(
            f"a T2 fit needs at least 2 images with a time each, not {images[0]} and {len(times_ms)}"
        )
    if len(set(times_ms)) < 2:
        raise ValueError(
            f"a T2 fit needs images of at least 2 different preparation times; all have {times_ms[0]:g} ms"
        )


def t2_map(images: NDArray[np.float32], times_ms: NDArray[np.float64]) -> ParametricMap:
    """Return the T2 map of the T2-prepared magnitude images ``(n, rows, columns)`` of one slice.

    Raises:
        ValueError: as :func:`fit_t2prep`.
    """
    fit = fit_t2prep(images, times_ms)
    # Copies: as a view of the fields of the fit, each map would hold the memory of all.
    return ParametricMap(fit.t2.copy(), fit.sd.copy(), fit.r_squared.copy(), fit.failed)
