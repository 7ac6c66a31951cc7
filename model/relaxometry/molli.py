"""T1 fit of a MOLLI series: three parameters, polarity restored, Look-Locker corrected.

``S(TI) = A - B exp(-TI / T1*)`` and ``T1 = T1* (B / A - 1)``: Messroghli et al. 2004, Magn Reson Med 52:141.
Polarity by a fit for each number of negative images: Nekolla et al. 1992, J Comput Assist Tomogr 16:327.
Standard deviation: Kellman et al. 2013, J Cardiovasc Magn Reson 15:56, equations 4 to 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from model.relaxometry import kernels
from model.relaxometry.parametric_map import ParametricMap
from model.relaxometry.rate_grid import RateGrid

SHORTEST_MS: Final = 20.0
LONGEST_MS: Final = 8000.0
GRID: Final = RateGrid.between(LONGEST_MS, SHORTEST_MS, 28)
RIVAL: Final = 0.02
"""Largest difference of explained signal from the best polarity at which another one is tried too, in units
of the largest signal squared."""

A = TypeVar("A")
"""Array of numpy, or tensor of torch."""


@dataclass(frozen=True, slots=True)
class MolliFit(Generic[A]):
    """Fit of ``A - B exp(-t / T1*)``, every field of the shape of one image.

    Attributes:
        t1: ``T1* (B / A - 1)``, ms; 0 where ``failed``.
        sd: its standard deviation, ms; 0 where ``failed``.
        apparent: T1*, ms; 0 where ``failed``.
        a: A, in units of the signal.
        b: B, likewise.
        negative: number of images, from the shortest inversion time on, whose sign was changed to restore
            their polarity.
        r_squared: share of the variance of the restored signal that the model explains.
        failed: no optimum with a T1* between 20 and 8000 ms, A > 0 and B > A, or one that nothing decides.
    """

    t1: A
    sd: A
    apparent: A
    a: A
    b: A
    negative: A
    r_squared: A
    failed: A


def fit_molli(
    magnitude: NDArray[np.floating[Any]], times_ms: NDArray[np.floating[Any]], *, signed: bool = False
) -> MolliFit[NDArray[Any]]:
    """Fit every pixel of a MOLLI series to its least-squares optimum over A, B, T1* and polarity.

    The model rises with time, so the sign of the signal changes at most once: of n images the first k are
    negative, k = 0 to n, and each k is a candidate (0 and n fit alike, with A and B of opposite signs).
    :func:`model.relaxometry.in_torch.fit_molli` does the same on a GPU.

    Args:
        magnitude: images ``(n, ...)``, n at least 4, in any order.
        times_ms: inversion time of each, ``(n,)``.
        signed: the images are phase-sensitive: no polarity is restored, but all of it may be inverted.

    Raises:
        ValueError: fewer than four images, or times that do not match them.
    """
    check_molli(magnitude.shape, times_ms.shape)
    n, shape = len(magnitude), magnitude.shape[1:]
    order = np.argsort(times_ms, kind="stable")
    times = times_ms[order].astype(np.float32)
    signal = np.ascontiguousarray(magnitude.reshape(n, -1)[order], dtype=np.float32)
    pixels = signal.shape[1]
    fields, negative = np.empty((6, pixels), np.float32), np.empty(pixels, np.int64)
    failed = np.empty(pixels, np.bool_)
    directions = GRID.directions(times, offset=True)
    kernels.fit_molli(
        signal, times, GRID.log_rates, directions, RIVAL, LONGEST_MS, fields, negative, failed, signed
    )
    t1, sd, apparent, a, b, r_squared = (field.reshape(shape) for field in fields)
    return MolliFit(t1, sd, apparent, a, b, negative.reshape(shape), r_squared, failed.reshape(shape))


def check_molli(images: tuple[int, ...], times: tuple[int, ...]) -> None:
    """Check the shapes of images ``(n, ...)`` and times ``(n,)``.

    Raises:
        ValueError: as :func:`fit_molli`.
    """
    if images[0] < 4 or times != images[:1]:
        raise ValueError(
            f"a MOLLI fit needs at least 4 images with a time each, not {images[0]} and {times[0]}"
        )


def molli_map(
    images: NDArray[np.float32], times_ms: NDArray[np.float64], *, signed: bool = False
) -> ParametricMap:
    """Return the T1 map of the images ``(n, rows, columns)`` of one slice, magnitudes unless ``signed``.

    Raises:
        ValueError: as :func:`fit_molli`.
    """
    fit = fit_molli(images, times_ms, signed=signed)
    # Copies: as a view of the fields of the fit, each map would hold the memory of all.
    return ParametricMap(fit.t1.copy(), fit.sd.copy(), fit.r_squared.copy(), fit.failed)
