"""Least squares of one exponential per pixel, with and without an offset, for all pixels at once.

The model ``y(t) = c + s exp(-r t)`` is linear in ``c`` and ``s``; for a given rate ``r`` the best of them are
known, and what remains is to maximise over ``r`` alone the share of the signal that the exponential explains
(variable projection, Golub and Pereyra 1973, SIAM J Numer Anal 10:413)::

    F(r) = (e . y)^2 / (e . e),    e = exp(-r t), less its mean over t where there is an offset

A coarse grid finds the highest peak of F, Newton's method in ``log r`` climbs it to the top. Here in
torch, for whole images on any device; :mod:`model.relaxometry.kernels` does the same on the CPU.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

_STEPS: Final = 24
_SMALL_STEP: Final = 1e-3


def climb(
    signal: Tensor, times: Tensor, start: Tensor, log_rates: Tensor, offset: bool
) -> tuple[Tensor, Tensor]:
    """Return the rate at the top of the peak of F whose highest grid point is given.

    Args:
        signal: ``(times, pixels)``; less its mean over the times where there is an offset.
        times: ms, ``(times,)``.
        start: index of the highest grid point, ``(pixels,)``.
        log_rates: of the grid, ``(rates,)``.
        offset: the model has an offset.

    Returns:
        Rate in 1/ms ``(pixels,)``, and whether the top lies inside the grid ``(pixels,)``.
    """
    width = log_rates[1] - log_rates[0]
    x = log_rates[start]
    low, high = x - width, x + width
    result = x.clone()
    moments = torch.stack([torch.ones_like(times), times, times.square()])
    climbing = torch.arange(len(start), device=start.device)
    for _ in range(_STEPS):
        slope, bend = _slope_and_bend(signal, moments, x, offset)
        uphill = slope > 0
        low, high = torch.where(uphill, x, low), torch.where(uphill, high, x)
        newton = x - slope / bend
        trusted = (bend < 0) & (newton >= low) & (newton <= high)
        new = torch.where(trusted, newton, 0.5 * (low + high))
        result.index_copy_(0, climbing, new)
        # Newton's error after a step is of the order of the step squared: a small step is the last.
        # A pixel that has left the grid does not return: from the outermost point F rises outwards.
        moving = ((new - x).abs() > _SMALL_STEP) & (new > log_rates[0]) & (new < log_rates[-1])
        moving = moving.nonzero()[:, 0]
        if len(moving) == 0:
            break
        climbing, x, low, high = climbing[moving], new[moving], low[moving], high[moving]
        signal = signal.index_select(1, moving)
    inside = (result > log_rates[0]) & (result < log_rates[-1])
    return result.exp(), inside


def _slope_and_bend(signal: Tensor, moments: Tensor, x: Tensor, offset: bool) -> tuple[Tensor, Tensor]:
    """Return the first and second derivative of log F with respect to the log rate ``x``, each ``(pixels,)``.

    ``moments`` holds 1, t and t^2 in its rows: every derivative of a sum over exp(-r t) is a moment of it.
    """
    rate = x.exp()
    decay = torch.exp(-rate * moments[1][:, None])
    ey, ey_t, ey_tt = moments @ (decay * signal)
    ee, ee_t, ee_tt = moments @ decay.square()
    if offset:
        n = moments.shape[1]
        e, e_t, e_tt = moments @ decay
        ee, ee_t = ee - e * e / n, ee_t - e * e_t / n
        ee_tt = ee_tt - (e_t * e_t + e * e_tt) / (2 * n)
    by_signal, by_decay = ey_t / ey, ee_t / ee
    slope = 2.0 * rate * (by_decay - by_signal)
    curvature = ey_tt / ey - by_signal.square() - 2.0 * ee_tt / ee + 2.0 * by_decay.square()
    return slope, 2.0 * rate.square() * curvature + slope
