"""T2 fit of T2-prepared images: one exponential without offset.

``S(TE) = C exp(-TE / T2)``: Giri et al. 2009, J Cardiovasc Magn Reson 11:56. Standard deviation from the
residuals as for T1 (Kellman et al. 2013, J Cardiovasc Magn Reson 15:56).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.relaxometry import kernels
from model.relaxometry.exponential import RateGrid, climb
from model.relaxometry.parametric_map import ParametricMap

SHORTEST_MS: Final = 1.0
LONGEST_MS: Final = 4000.0
_GRID: Final = 32


@dataclass(frozen=True, slots=True)
class T2Fit:
    """Fit of ``C exp(-t / T2)``, every field of the shape of one image.

    Attributes:
        t2: ms; 0 where ``failed``.
        sd: its standard deviation, ms; 0 where ``failed`` or where there are only two images.
        c: signal without preparation, in units of the images.
        r_squared: share of the signal's variance that the model explains.
        failed: no optimum with a T2 between 1 and 4000 ms, or one that nothing decides.
    """

    t2: Tensor
    sd: Tensor
    c: Tensor
    r_squared: Tensor
    failed: Tensor


def fit_t2prep(magnitude: Tensor, times_ms: Tensor) -> T2Fit:
    """Fit every pixel to its least-squares optimum over C and T2, as :func:`molli.fit_molli` does.

    Args:
        magnitude: images ``(n, ...)``, n at least 2, in any order.
        times_ms: preparation time (effective TE) of each, ``(n,)``.

    Raises:
        ValueError: fewer than two images, or times that do not match them.
    """
    n = magnitude.shape[0]
    if n < 2 or times_ms.shape != (n,):
        raise ValueError(f"a T2 fit needs at least 2 images with a time each, not {n} and {len(times_ms)}")
    times = times_ms.to(magnitude.device, torch.float32)
    flat = magnitude.reshape(n, -1).float()
    grid = RateGrid.between(LONGEST_MS, SHORTEST_MS, _GRID, flat.device)
    fit = _compiled if flat.device.type == "cpu" else in_torch
    return T2Fit(*(field.view(magnitude.shape[1:]) for field in fit(flat, times, grid)))


def _compiled(magnitude: Tensor, times: Tensor, grid: RateGrid) -> tuple[Tensor, ...]:
    pixels = magnitude.shape[1]
    fields, failed = np.empty((4, pixels), np.float32), np.empty(pixels, np.bool_)
    kernels.fit_t2prep(
        magnitude.contiguous().numpy(),
        times.numpy(),
        grid.rates.log().numpy(),
        grid.directions(times, offset=False).numpy(),
        fields,
        failed,
    )
    return *torch.from_numpy(fields), torch.from_numpy(failed)


def in_torch(magnitude: Tensor, times: Tensor, grid: RateGrid) -> tuple[Tensor, ...]:
    """Return the fields of :class:`T2Fit` of pixels ``(times, pixels)``, on any device."""
    n = len(times)
    usable = magnitude.isfinite().all(0)
    scale = torch.where(usable, magnitude.abs().amax(0), 0.0)
    usable &= scale > 0
    y = torch.where(usable, magnitude.abs() / scale, 0.0)

    start = (grid.directions(times, offset=False) @ y).argmax(dim=0)
    rate, inside = climb(y, times, start, grid, offset=False)
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


def t2_map(images: NDArray[np.float32], times_ms: NDArray[np.float64]) -> ParametricMap:
    """Return the T2 map of the T2-prepared magnitude images ``(n, rows, columns)`` of one slice.

    Raises:
        ValueError: as :func:`fit_t2prep`.
    """
    with torch.inference_mode():
        fit = fit_t2prep(torch.from_numpy(np.ascontiguousarray(images)), torch.from_numpy(np.array(times_ms)))
    return ParametricMap(fit.t2.numpy(), fit.sd.numpy(), fit.r_squared.numpy(), fit.failed.numpy())
