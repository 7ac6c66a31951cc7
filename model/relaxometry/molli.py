"""T1 fit of a MOLLI series: three parameters, polarity restored, Look-Locker corrected.

``S(TI) = A - B exp(-TI / T1*)`` and ``T1 = T1* (B / A - 1)``: Messroghli et al. 2004, Magn Reson Med 52:141.
Polarity by a fit for each number of negative images: Nekolla et al. 1992, J Comput Assist Tomogr 16:327.
Standard deviation: Kellman et al. 2013, J Cardiovasc Magn Reson 15:56, equations 4 to 8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.relaxometry import kernels
from model.relaxometry.exponential import RateGrid, climb
from model.relaxometry.parametric_map import ParametricMap

SHORTEST_MS: Final = 20.0
LONGEST_MS: Final = 8000.0
_GRID: Final = 28
_RIVAL: Final = 0.02
"""In units of the largest signal squared."""


@dataclass(frozen=True, slots=True)
class MolliFit:
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

    t1: Tensor
    sd: Tensor
    apparent: Tensor
    a: Tensor
    b: Tensor
    negative: Tensor
    r_squared: Tensor
    failed: Tensor


def fit_molli(magnitude: Tensor, times_ms: Tensor, *, signed: bool = False) -> MolliFit:
    """Fit every pixel of a MOLLI series to its least-squares optimum over A, B, T1* and polarity.

    The model rises with time, so the sign of the signal changes at most once: of n images the first k are
    negative, k = 0 to n, and each k is a candidate (0 and n fit alike, with A and B of opposite signs).
    Images on the CPU are fitted by compiled loops, others by torch on their device.

    Args:
        magnitude: images ``(n, ...)``, n at least 4, in any order.
        times_ms: inversion time of each, ``(n,)``.
        signed: the images are phase-sensitive: no polarity is restored, but all of it may be inverted.

    Raises:
        ValueError: fewer than four images, or times that do not match them.
    """
    n = magnitude.shape[0]
    if n < 4 or times_ms.shape != (n,):
        raise ValueError(f"a MOLLI fit needs at least 4 images with a time each, not {n} and {len(times_ms)}")
    order = torch.argsort(times_ms).to(magnitude.device)
    times = times_ms.to(magnitude.device, torch.float32)[order]
    flat = magnitude.reshape(n, -1)[order].float()
    grid = RateGrid.between(LONGEST_MS, SHORTEST_MS, _GRID, flat.device)
    fit = _compiled if flat.device.type == "cpu" else in_torch
    return MolliFit(*(field.view(magnitude.shape[1:]) for field in fit(flat, times, grid, signed)))


def _compiled(magnitude: Tensor, times: Tensor, grid: RateGrid, signed: bool = False) -> tuple[Tensor, ...]:
    pixels = magnitude.shape[1]
    fields, negative = np.empty((6, pixels), np.float32), np.empty(pixels, np.int64)
    failed = np.empty(pixels, np.bool_)
    kernels.fit_molli(
        magnitude.contiguous().numpy(),
        times.numpy(),
        grid.rates.log().numpy(),
        grid.directions(times, offset=True).numpy(),
        _RIVAL,
        LONGEST_MS,
        fields,
        negative,
        failed,
        signed,
    )
    t1, sd, apparent, a, b, r_squared = torch.from_numpy(fields)
    return t1, sd, apparent, a, b, torch.from_numpy(negative), r_squared, torch.from_numpy(failed)


def in_torch(magnitude: Tensor, times: Tensor, grid: RateGrid, signed: bool = False) -> tuple[Tensor, ...]:
    """Return the fields of :class:`MolliFit` of pixels ``(times, pixels)``, times ascending, any device."""
    n, pixels = magnitude.shape
    directions = grid.directions(times, offset=True)
    signs = 1.0 - 2.0 * torch.ones(n, n, device=times.device).tril(-1)
    usable = magnitude.isfinite().all(0)
    scale = torch.where(usable, magnitude.abs().amax(0), 0.0)
    usable &= scale > 0
    y = torch.where(usable, (magnitude if signed else magnitude.abs()) / scale, 0.0)

    # Explained signal of every polarity and rate; the offset's part of it depends on the polarity alone.
    # From one polarity to the next a single image changes sign.
    along = directions @ y
    by_decay = []
    for k in range(1 if signed else n):
        if k > 0:
            along.addcmul_(directions[:, k - 1 : k], y[k - 1], value=-2.0)
        by_decay.append(along.abs().amax(dim=0))
    explained = (signs[: len(by_decay)] @ y).square() / n + torch.stack(by_decay).square()
    negative = explained.argmax(dim=0)
    most = explained.gather(0, negative[None])[0]
    explained.scatter_(0, negative[None], 0.0)
    second = explained.amax(dim=0)

    # The grid undershoots each peak a little, so a polarity almost as good may be the better one at the top.
    rival = (most - second < _RIVAL).nonzero()[:, 0]
    negative = torch.cat([negative, explained.index_select(1, rival).argmax(dim=0)])
    signal = torch.cat([y, y.index_select(1, rival)], dim=1)
    signal = torch.where(torch.arange(n, device=y.device)[:, None] < negative, -signal, signal)
    start = (directions @ signal).abs().argmax(dim=0)
    rate, inside = climb(signal - signal.mean(0), times, start, grid, offset=True)
    decay = torch.exp(-rate * times[:, None])
    centred = decay - decay.mean(0)
    slope = (centred * signal).sum(0) / centred.square().sum(0)
    squares = (signal - signal.mean(0) - slope * centred).square().sum(0)

    better = (squares[pixels:] < squares[rival]).nonzero()[:, 0]
    for values in (negative, signal, rate, inside, decay, centred, slope, squares):
        values.index_copy_(-1, rival[better], values.index_select(-1, pixels + better))
    negative, signal, rate, inside, decay, centred, slope, squares = (
        values[..., :pixels] for values in (negative, signal, rate, inside, decay, centred, slope, squares)
    )

    b = -slope
    a = signal.mean(0) + b * decay.mean(0)
    # All images negative is all images positive mirrored: the sign of the asymptote decides.
    mirrored = (negative == 0) & (a < 0)
    a, b, negative = torch.where(mirrored, -a, a), torch.where(mirrored, -b, b), negative + n * mirrored
    apparent = 1.0 / rate
    failed = ~(usable & inside & (a > 1e-6) & (b > a))
    t1 = apparent * (b / a - 1.0)
    sd = _standard_deviation(a, b, apparent, decay, times, squares)
    failed |= ~t1.isfinite() | (t1 > LONGEST_MS) | ~sd.isfinite()
    variance = (signal - signal.mean(0)).square().sum(0)
    r_squared = (1.0 - squares / variance.clamp(min=1e-12)).clamp(0.0, 1.0)

    def kept(values: Tensor) -> Tensor:
        return torch.where(failed, 0.0, values)

    return (
        kept(t1),
        kept(sd),
        kept(apparent),
        kept(a * scale),
        kept(b * scale),
        negative,
        kept(r_squared),
        failed,
    )


def _standard_deviation(
    a: Tensor, b: Tensor, apparent: Tensor, decay: Tensor, times: Tensor, squares: Tensor
) -> Tensor:
    """Return the standard deviation of T1 from the residuals (Kellman et al. 2013, equations 4 to 8), ms.

    The covariance of (A, -B, theta), with ``d theta = -B / T1* dT1*``, is ``s^2 (J' J)^-1`` with the columns
    1, ``e`` and ``e t / T1*`` in J; made orthogonal one after the other, they give its root by substitution.
    """
    n = len(times)
    third = decay * times[:, None] / apparent
    mean_e, mean_w = decay.mean(0), third.mean(0)
    e, w = decay - mean_e, third - mean_w
    norm_e = e.square().sum(0).sqrt()
    along = (e * w).sum(0) / norm_e
    norm_w = (w - along / norm_e * e).square().sum(0).sqrt()

    root = math.sqrt(n)
    z1 = -apparent * b / a.square() / root
    z2 = (-apparent / a - root * mean_e * z1) / norm_e
    z3 = ((1.0 - b / a) * apparent / b - root * mean_w * z1 - along * z2) / norm_w
    sigma = (squares / max(n - 3, 1)).sqrt()
    return sigma * (z1.square() + z2.square() + z3.square()).sqrt()


def molli_map(
    images: NDArray[np.float32], times_ms: NDArray[np.float64], *, signed: bool = False
) -> ParametricMap:
    """Return the T1 map of the images ``(n, rows, columns)`` of one slice, magnitudes unless ``signed``.

    Raises:
        ValueError: as :func:`fit_molli`.
    """
    with torch.inference_mode():
        stack = torch.from_numpy(np.ascontiguousarray(images))
        fit = fit_molli(stack, torch.from_numpy(np.array(times_ms)), signed=signed)
    return ParametricMap(fit.t1.numpy(), fit.sd.numpy(), fit.r_squared.numpy(), fit.failed.numpy())
