"""Maps as a scanner makes them: both sequences simulated, noise and motion in the images, then a fit.

Noise, partial volume and failures of the fit in air and lung then look as they do on a scanner, because they
come about as they do there. The fits are the product's own: compiled on the CPU, in torch on a GPU.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from model.relaxometry.in_torch import fit_molli, fit_t2prep
from model.synthesis.acquisition import resolved
from model.synthesis.anatomy import Anatomy
from model.synthesis.randomness import Draw
from model.synthesis.sequences import Molli, Readout, molli_signals, t2prep_signals
from model.synthesis.tissues import Tissue, TissueValues

SCHEMES: Final = ("5(3)3", "4(1)3(1)2", "3(3)5", "5(3)3", "4(1)3(1)2", "3(3)3(3)5")
PREPARATIONS_MS: Final = ((0.0, 25.0, 55.0), (0.0, 30.0, 55.0), (0.0, 24.0, 55.0), (0.0, 20.0, 40.0, 60.0))


def _received(draw: Draw, images: Tensor, pixel_mm: float) -> Tensor:
    """Return magnitudes of images ``(n, images, h, w)`` after motion, coil, noise and resolution."""
    rows, columns = images.shape[-2:]
    shading = torch.exp(draw.uniform(0.0, 0.5) * draw.smooth(rows, columns, 2))
    level = images.abs().amax((1, 2, 3), keepdim=True)[:, 0] * draw.log_uniform(0.004, 0.03)
    # Parallel imaging amplifies noise in the middle, where the coils see alike.
    level = (level * (1.0 + draw.uniform(0.0, 1.5) * draw.smooth(rows, columns, 2).abs()))[:, None]
    noise = [
        level * torch.randn(images.shape, generator=draw.generator, device=draw.device) for _ in range(2)
    ]
    parts = torch.cat([_moved(draw, images) * shading[:, None] + noise[0], noise[1]], dim=1)
    real, imaginary = resolved(draw, parts, pixel_mm).chunk(2, dim=1)
    return torch.sqrt(real**2 + imaginary**2)


def _moved(draw: Draw, images: Tensor) -> Tensor:
    """Each image shifted a little, in some slices: what breathing leaves with or without correction."""
    n, count, rows, columns = images.shape
    reach = draw.chance(0.4) * draw.log_uniform(0.2, 2.5)
    shift = reach * torch.randn(n, count, 2, generator=draw.generator, device=draw.device)
    scale = torch.tensor([2.0 / columns, 2.0 / rows], device=draw.device)
    matrix = torch.zeros(n * count, 2, 3, device=draw.device)
    matrix[:, 0, 0] = matrix[:, 1, 1] = 1.0
    matrix[:, :, 2] = (shift * scale).view(-1, 2)
    grid = functional.affine_grid(matrix, [n * count, 1, rows, columns], align_corners=False)
    flat = images.reshape(n * count, 1, rows, columns)
    moved = functional.grid_sample(flat, grid, padding_mode="border", align_corners=False)
    return torch.where(reach[:, None] > 0, moved.view(n, count, rows, columns), images)


def _readout(draw: Draw, flip_angle: float, to_centre: int) -> Readout:
    """Return a bSSFP train of 48 to 71 pulses with two thirds to all of a flip angle."""
    share = float(draw.uniform(0.67, 1.0)[0])
    return Readout(share * flip_angle, pulses=48 + _choice(draw, 24), to_centre=to_centre)


def _choice(draw: Draw, number: int) -> int:
    return int(torch.randint(number, (1,), generator=draw.generator, device=draw.device))


def _shown(draw: Draw, anatomy: Anatomy, values: Tensor, sd: Tensor, failed: Tensor) -> Tensor:
    """Map ``(n, h, w)`` of a fit; in most slices without the pixels whose fit is unsure, and without air."""
    shown = torch.where(failed, torch.zeros_like(values), values)
    hidden = (failed | (sd > 0.3 * values)) & (draw.chance(0.7) > 0)
    # Many scanners mask what lies outside the body.
    hidden |= (anatomy.fractions[:, Tissue.AIR] > 0.5) & (draw.chance(0.6) > 0)
    return torch.where(hidden, torch.zeros_like(shown), shown)


def t1_maps(draw: Draw, anatomy: Anatomy, values: TissueValues, pixel_mm: float) -> Tensor:
    """Return T1 maps of a batch, ms, ``(n, rows, columns)``, of one MOLLI scheme and heart rate.

    One batch in eight is of the apparent T1*, without the Look-Locker correction.
    """
    scheme = Molli.parse(SCHEMES[_choice(draw, len(SCHEMES))])
    heartbeat = float(draw.uniform(600.0, 1200.0)[0])
    inversion = float(draw.uniform(0.9, 0.99)[0])
    readout = _readout(draw, 0.61, 22)
    signals = molli_signals(values, scheme, heartbeat, inversion, readout)
    images = torch.einsum("nit,nthw->nihw", signals, anatomy.fractions)
    times = torch.tensor(scheme.times_ms(heartbeat), device=draw.device)
    fit = fit_molli(_received(draw, images, pixel_mm).transpose(0, 1), times)
    t1 = fit.apparent if _choice(draw, 8) == 0 else fit.t1
    return _shown(draw, anatomy, t1, fit.sd, fit.failed).clamp(max=4000.0)


def t2_maps(draw: Draw, anatomy: Anatomy, values: TissueValues, pixel_mm: float) -> Tensor:
    """Return T2 maps of a batch, ms, ``(n, rows, columns)``: the same preparations for all of it."""
    times = PREPARATIONS_MS[_choice(draw, len(PREPARATIONS_MS))]
    heartbeat = float(draw.uniform(600.0, 1200.0)[0])
    readout = _readout(draw, 1.22, 0)
    signals = t2prep_signals(values, times, heartbeat, rest=2 + _choice(draw, 2), readout=readout)
    images = torch.einsum("nit,nthw->nihw", signals, anatomy.fractions)
    received = _received(draw, images, pixel_mm)
    fit = fit_t2prep(received.transpose(0, 1), torch.tensor(times, device=draw.device))
    return _shown(draw, anatomy, fit.t2, fit.sd, fit.failed).clamp(max=500.0)
