"""Images from tissue values: maps as a fit gives them, weighted images, and contrasts no scanner makes."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from enum import IntEnum
from typing import Final

import torch
from torch import Tensor

from model.synthesis.anatomy import Anatomy
from model.synthesis.randomness import Draw
from model.synthesis.tissues import Tissue, TissueValues


class ImageKind(IntEnum):
    """Kind of a network input."""

    T1_MAP = 0
    T1_MAP_POST = 1
    T2_MAP = 2
    MOLLI_IMAGE = 3
    T2PREP_IMAGE = 4
    RANDOM_CONTRAST = 5


@dataclass(frozen=True, slots=True)
class Mix:
    """Share of each kind of image in a batch; the shares are weights and need not sum to one."""

    t1_map: float = 0.25
    t1_map_post: float = 0.13
    t2_map: float = 0.28
    molli_image: float = 0.08
    t2prep_image: float = 0.06
    random_contrast: float = 0.20

    def draw(self, draw: Draw) -> Tensor:
        """Return the kind of every image of a batch, int64 ``(n,)``."""
        weights = torch.tensor(astuple(self), device=draw.device, dtype=torch.float32)
        return torch.multinomial(weights, draw.n, replacement=True, generator=draw.generator)


MOSTLY_MAPS: Final = Mix(
    t1_map=0.36, t1_map_post=0.20, t2_map=0.30, molli_image=0.03, t2prep_image=0.03, random_contrast=0.08
)
"""Mix for a network for maps; more T1 than T2 maps, since small apices are weakest on T1 maps."""


def _random_values(draw: Draw) -> Tensor:
    """Any grey for any tissue, but never the same for myocardium and its blood, ``(n, tissues)``."""
    values = torch.rand(draw.n, len(Tissue), generator=draw.generator, device=draw.device)
    muscle = values[:, Tissue.MYOCARDIUM]
    side = torch.where(torch.rand(draw.n, generator=draw.generator, device=draw.device) < 0.5, 1.0, -1.0)
    side = torch.where(muscle < 0.3, 1.0, torch.where(muscle > 0.7, -1.0, side))
    values[:, Tissue.LV_BLOOD] = muscle + side * draw.uniform(0.15, 0.6)[:, 0, 0]
    same = draw.chance(0.7)[:, 0, 0]
    values[:, Tissue.LESION] = muscle + 0.08 * torch.randn(
        draw.n, generator=draw.generator, device=draw.device
    )
    values[:, Tissue.RV_BLOOD] = same * values[:, Tissue.LV_BLOOD] + (1.0 - same) * values[:, Tissue.RV_BLOOD]
    return values


def _inversion_recovery(draw: Draw, values: TissueValues) -> Tensor:
    """Magnitude of every tissue at one random inversion time, Look-Locker saturation included."""
    time = draw.log_uniform(90.0, 4000.0)[:, 0]
    apparent = values.t1 * draw.uniform(0.75, 0.95)[:, 0]
    return values.density * (1.0 - draw.uniform(1.75, 2.0)[:, 0] * torch.exp(-time / apparent))


def _t2_preparation(draw: Draw, values: TissueValues) -> Tensor:
    """Signal of every tissue after one random T2 preparation, bSSFP readout (T2/T1 weighting) included."""
    time = draw.uniform(0.0, 70.0)[:, 0]
    readout = 1.0 / (1.0 + 0.3 * values.t1 / values.t2 / 10.0)
    return values.density * torch.exp(-time / values.t2) * readout


def _apparent(draw: Draw, values: TissueValues) -> Tensor:
    """Return T1 of every tissue, in an eighth of the slices without the Look-Locker correction.

    The readout shortens every T1 towards its own time constant tau and leaves little contrast (1/T1* = 1/T1 +
    1/tau); tau of 1.2 to 6 s is chosen wide.
    """
    tau = draw.log_uniform(1200.0, 6000.0)[:, 0]
    return torch.where(draw.chance(0.125)[:, 0] > 0, 1.0 / (1.0 / values.t1 + 1.0 / tau), values.t1)


def _texture(draw: Draw, anatomy: Anatomy, image: Tensor) -> Tensor:
    """Slow and fine relative variation within tissues: little in the wall, more in blood and elsewhere."""
    rows, columns = image.shape[-2:]
    slow = draw.smooth(rows, columns, 6) + 0.7 * draw.smooth(rows, columns, 20)
    varied = draw.log_uniform(0.01, 0.12) * slow
    blood = anatomy.fractions[:, Tissue.LV_BLOOD] + anatomy.fractions[:, Tissue.RV_BLOOD]
    # Blood moves: flow and trabeculae between the images leave grains in its fit.
    varied = varied + blood * draw.chance(0.5) * draw.log_uniform(0.02, 0.25) * draw.grain(rows, columns)
    wall = anatomy.fractions[:, Tissue.MYOCARDIUM] + anatomy.fractions[:, Tissue.LESION]
    rest = (1.0 - blood - wall).clamp(min=0.0)
    coarse = draw.smooth(rows, columns, 12) + 0.7 * draw.smooth(rows, columns, 32)
    varied = varied + rest * draw.log_uniform(0.03, 0.25) * coarse
    return image * (1.0 + varied).clamp(0.3, 2.0)


def make_images(draw: Draw, anatomy: Anatomy, kinds: Tensor, values: TissueValues) -> Tensor:
    """Return one image of each slice in units of its kind (maps in ms), without noise of the receiver.

    Args:
        draw: source of randomness.
        anatomy: ``n`` slices.
        kinds: :class:`ImageKind` of each, int64 ``(n,)``.
        values: of the tissues of each.

    Returns:
        float32 ``(n, rows, columns)``.
    """
    stack = torch.stack(
        [
            _apparent(draw, values),
            values.t1,
            values.t2,
            _inversion_recovery(draw, values),
            _t2_preparation(draw, values),
            _random_values(draw),
        ],
        dim=1,
    )
    chosen = stack[torch.arange(draw.n, device=draw.device), kinds]
    image = _texture(draw, anatomy, torch.einsum("nt,nthw->nhw", chosen, anatomy.fractions))
    is_map = (kinds <= ImageKind.T2_MAP)[:, None, None]
    signed = torch.where(is_map, image, image.abs())
    return torch.where(is_map, _fit_noise(draw, anatomy, signed), signed)


def _fit_noise(draw: Draw, anatomy: Anatomy, image: Tensor) -> Tensor:
    """Add the noise of a fit to a map: mild in tissue, arbitrary values in lung and air without signal."""
    rows, columns = image.shape[-2:]
    empty = anatomy.fractions[:, Tissue.AIR] + 0.85 * anatomy.fractions[:, Tissue.LUNG]
    depth = (1.0 + 0.4 * draw.smooth(rows, columns, 3)).clamp(0.4, 2.0)
    noisy = image * (1.0 + draw.log_uniform(0.015, 0.12) * depth * draw.grain(rows, columns))

    body = (image * (1.0 - empty)).mean((1, 2), keepdim=True) / (1.0 - empty).mean((1, 2), keepdim=True)
    wild = body * draw.log_uniform(0.2, 1.8) * draw.grain(rows, columns).abs() ** draw.uniform(0.4, 1.6)
    # Lung is never empty: blood and partial volume leave a level for the fit to scatter around.
    wild = wild + draw.chance(0.7) * body * draw.uniform(0.1, 1.0)
    rejected = draw.uniform(0.0, 1.0) > torch.rand(image.shape, generator=draw.generator, device=draw.device)
    wild = torch.where(rejected & (draw.chance(0.7) > 0), torch.zeros_like(wild), wild)
    # Some scanners mask the air outside the body; the lung keeps its noise.
    masked = draw.chance(0.75) * (anatomy.fractions[:, Tissue.AIR] > 0.5)
    wild = wild * (1.0 - masked)
    share = ((empty - 0.4) / 0.3).clamp(0.0, 1.0)
    return (1.0 - share) * noisy + share * wild
