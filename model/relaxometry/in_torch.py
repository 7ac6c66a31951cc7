"""The fits for tensors of torch: by compiled loops on the CPU, in torch on any other device.

The simulation of training images fits whole batches of maps on a GPU. Models and references are those of
:mod:`model.relaxometry.molli` and :mod:`model.relaxometry.t2prep`.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
from torch import Tensor

from model.relaxometry import molli, t2prep
from model.relaxometry.exponential import climb
from model.relaxometry.molli import MolliFit
from model.relaxometry.rate_grid import RateGrid
from model.relaxometry.t2prep import T2Fit


def fit_molli(magnitude: Tensor, times_ms: Tensor, *, signed: bool = False) -> MolliFit[Tensor]:
    """Fit tensors as :func:`model.relaxometry.molli.fit_molli` fits arrays.

    Raises:
        ValueError: likewise.
    """
    if magnitude.device.type == "cpu":
        return MolliFit(*_tensors(molli.fit_molli(magnitude.numpy(), times_ms.numpy(), signed=signed)))
    return molli_on_device(magnitude, times_ms, signed=signed)


def molli_on_device(magnitude: Tensor, times_ms: Tensor, *, signed: bool = False) -> MolliFit[Tensor]:
    """Fit as :func:`fit_molli` does, in torch on any device."""
    molli.check_molli(magnitude.shape, times_ms.shape)
    order = torch.argsort(times_ms, stable=True).to(magnitude.device)
    times = times_ms.to(magnitude.device, torch.float32)[order]
    fields = _molli_fields(magnitude.flatten(1)[order].float(), times, signed)
    return MolliFit(*(field.view(magnitude.shape[1:]) for field in fields))


def fit_t2prep(magnitude: Tensor, times_ms: Tensor) -> T2Fit[Tensor]:
    """Fit tensors as :func:`model.relaxometry.t2prep.fit_t2prep` fits arrays.

    Raises:
        ValueError: likewise.
    """
    if magnitude.device.type == "cpu":
        return T2Fit(*_tensors(t2prep.fit_t2prep(magnitude.numpy(), times_ms.numpy())))
    return t2prep_on_device(magnitude, times_ms)


def t2prep_on_device(magnitude: Tensor, times_ms: Tensor) -> T2Fit[Tensor]:
    """Fit as :func:`fit_t2prep` does, in torch on any device."""
    t2prep.check_t2prep(magnitude.shape, times_ms.tolist())
    times = times_ms.to(magnitude.device, torch.float32)
    fields = _t2prep_fields(magnitude.flatten(1).float(), times)
    return T2Fit(*(field.view(magnitude.shape[1:]) for field in fields))


def _tensors(fit: MolliFit[Any] | T2Fit[Any]) -> list[Tensor]:
    return [torch.from_numpy(getattr(fit, each.name)) for each in dataclasses.fields(fit)]


def _grid(grid: RateGrid, times: Tensor, *, offset: bool) -> tuple[Tensor, Tensor]:
    """Return the logarithms of the rates and the directions of a grid, on the device of the times."""
    both = (grid.log_rates, grid.directions(times.cpu().numpy(), offset=offset))
    log_rates, directions = (torch.from_numpy(each).to(times.device) for each in both)
    return log_rates, directions


def _molli_fields(magnitude: Tensor, times: Tensor, signed: bool) -> tuple[Tensor, ...]:
    """Return the fields of :class:`MolliFit` of pixels ``(times, pixels)``, times ascending."""
    n = len(times)
    log_rates, directions = _grid(molli.GRID, times, offset=True)
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
    # The grid undershoots each peak a little, so a polarity almost as good may be the better one at the top.
    # Where all images are 0 every polarity is the same.
    most, best = explained.max(dim=0)
    climbed = (explained > most - molli.RIVAL) & usable
    climbed.scatter_(0, best[None], True)
    negative, pixel = climbed.nonzero(as_tuple=True)
    signal = y.index_select(1, pixel)
    signal = torch.where(torch.arange(n, device=y.device)[:, None] < negative, -signal, signal)
    start = (directions @ signal).abs().argmax(dim=0)
    rate, inside = climb(signal - signal.mean(0), times, start, log_rates, offset=True)
    decay = torch.exp(-rate * times[:, None])
    centred = decay - decay.mean(0)
    slope = (centred * signal).sum(0) / centred.square().sum(0)
    squares = (signal - signal.mean(0) - slope * centred).square().sum(0)

    # The candidate of each pixel that leaves least; NaN leaves more than any, and less than none.
    left, candidate = torch.full_like(explained, torch.inf), torch.zeros_like(explained, dtype=torch.int64)
    left[negative, pixel] = squares.nan_to_num(nan=torch.finfo(squares.dtype).max)
    candidate[negative, pixel] = torch.arange(len(pixel), device=y.device)
    chosen = candidate.gather(0, left.argmin(dim=0, keepdim=True))[0]
    negative, signal, rate, inside, decay, slope, squares = (
        values.index_select(-1, chosen) for values in (negative, signal, rate, inside, decay, slope, squares)
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
    failed |= ~t1.isfinite() | (t1 > molli.LONGEST_MS) | ~sd.isfinite()
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


def _t2prep_fields(magnitude: Tensor, times: Tensor) -> tuple[Tensor, ...]:
    """Return the fields of :class:`T2Fit` of pixels ``(times, pixels)``."""
    n = len(times)
    log_rates, directions = _grid(t2prep.GRID, times, offset=False)
    usable = magnitude.isfinite().all(0)
    scale = torch.where(usable, magnitude.abs().amax(0), 0.0)
    usable &= scale > 0
    y = torch.where(usable, magnitude.abs() / scale, 0.0)

    start = (directions @ y).argmax(dim=0)
    rate, inside = climb(y, times, start, log_rates, offset=False)
    decay = torch.exp(-rate * times[:, None])
    norm = decay.square().sum(0).sqrt()
    c = (decay * y).sum(0) / norm.square()
    squares = (y - c * decay).square().sum(0)
    t2 = 1.0 / rate

    # The column of T2 in the Jacobian, less its part along the exponential, as in the T1 fit.
    second = decay * times[:, None] / t2
    across = second - (decay * second).sum(0) / norm.square() * decay
    sigma = (squares / max(n - 2, 1)).sqrt()
    sd = sigma * t2 / (c * across.square().sum(0).sqrt())
    failed = ~(usable & inside & (c > 0) & c.isfinite() & sd.isfinite())
    variance = (y - y.mean(0)).square().sum(0)
    r_squared = (1.0 - squares / variance.clamp(min=1e-12)).clamp(0.0, 1.0)

    def kept(values: Tensor) -> Tensor:
        return torch.where(failed, 0.0, values)

    return kept(t2), kept(sd), kept(c * scale), kept(r_squared), failed
