"""Effects of disease on the wall: relaxation times, thickness and place.

Ratios to healthy myocardium after the consensus on parametric mapping (Messroghli et al. 2017, J Cardiovasc
Magn Reson 19:75) and the series it cites; ranges, not means, since training must cover the spread.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import torch
from torch import Tensor

from model.synthesis.randomness import Draw
from model.synthesis.tissues import Tissue, TissueValues


class Pathology(IntEnum):
    """State of the left ventricle's wall."""

    NONE = 0
    OEDEMA = 1
    SCAR = 2
    AMYLOID = 3
    IRON = 4
    FABRY = 5
    HYPERTROPHY = 6
    SEPTAL_HCM = 7
    APICAL_HCM = 8
    DILATED = 9


Range = tuple[float, float]
_SAME: Final[Range] = (1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Effect:
    """Ratios to healthy myocardium.

    Attributes:
        share: of the slices that have it.
        t1: of the whole wall, native.
        t2: of the whole wall.
        lesion_t1: of a focal lesion, native; the lesion is there when this differs from 1.
        lesion_t1_post: of a focal lesion after contrast agent.
        lesion_t2: of a focal lesion.
        wall: thickness.
    """

    share: float
    t1: Range = _SAME
    t2: Range = _SAME
    lesion_t1: Range = _SAME
    lesion_t1_post: Range = _SAME
    lesion_t2: Range = _SAME
    wall: Range = _SAME

    @property
    def focal(self) -> bool:
        """True for a disease with lesions."""
        return self.lesion_t1 != _SAME


EFFECTS: Final = {
    Pathology.NONE: Effect(0.48),
    Pathology.OEDEMA: Effect(
        0.10, (1.0, 1.1), (1.0, 1.2), (1.08, 1.35), (0.6, 0.95), (1.15, 1.7), (1.0, 1.2)
    ),
    Pathology.SCAR: Effect(0.10, (1.0, 1.06), _SAME, (1.1, 1.4), (0.55, 0.85), (0.95, 1.15), (0.8, 1.0)),
    Pathology.AMYLOID: Effect(0.05, (1.08, 1.25), (1.0, 1.15), wall=(1.2, 1.8)),
    Pathology.IRON: Effect(0.04, (0.55, 0.9), (0.35, 0.85)),
    Pathology.FABRY: Effect(0.04, (0.8, 0.93), (0.95, 1.1), wall=(1.1, 1.6)),
    Pathology.HYPERTROPHY: Effect(0.06, (0.98, 1.1), (0.98, 1.1), wall=(1.2, 2.0)),
    # Of these three the shape of the ventricle stands in heart.py.
    Pathology.SEPTAL_HCM: Effect(0.06, (1.0, 1.15), (0.98, 1.12)),
    Pathology.APICAL_HCM: Effect(0.02, (1.0, 1.15), (0.98, 1.12)),
    Pathology.DILATED: Effect(0.05, (1.0, 1.12), (1.0, 1.12)),
}


def draw_pathology(draw: Draw) -> Tensor:
    """Pathology of every slice of a batch, int64 ``(n,)``."""
    shares = torch.tensor([effect.share for effect in EFFECTS.values()], device=draw.device)
    return torch.multinomial(shares, draw.n, replacement=True, generator=draw.generator)


def _drawn(draw: Draw, pathology: Tensor, field: str) -> Tensor:
    """A ratio for every slice, uniform in the range of its pathology, ``(n,)``."""
    ranges = torch.tensor([getattr(effect, field) for effect in EFFECTS.values()], device=draw.device)
    low, high = ranges[pathology].unbind(dim=1)
    return low + (high - low) * draw.uniform(0.0, 1.0)[:, 0, 0]


def wall_ratio(draw: Draw, pathology: Tensor) -> Tensor:
    """Thickness of every wall in units of a healthy one, ``(n, 1, 1)``."""
    return _drawn(draw, pathology, "wall")[:, None, None]


def is_focal(pathology: Tensor) -> Tensor:
    """1.0 where there is a lesion, ``(n, 1, 1)``."""
    focal = torch.tensor([float(effect.focal) for effect in EFFECTS.values()], device=pathology.device)
    return focal[pathology][:, None, None]


def diseased(draw: Draw, values: TissueValues, pathology: Tensor, post_contrast: Tensor) -> TissueValues:
    """Values with the wall and its lesion as the pathology leaves them.

    Args:
        draw: source of randomness.
        values: of healthy tissue; the lesion's are overwritten.
        pathology: of each slice, ``(n,)``.
        post_contrast: where contrast agent was given, ``(n,)``.
    """
    t1, t2, density = values.t1.clone(), values.t2.clone(), values.density.clone()
    muscle, lesion = Tissue.MYOCARDIUM, Tissue.LESION
    # Contrast agent levels what the whole wall differs by.
    native = _drawn(draw, pathology, "t1")
    t1[:, muscle] *= torch.where(post_contrast, native.sqrt(), native)
    t2[:, muscle] *= _drawn(draw, pathology, "t2")
    before, after = _drawn(draw, pathology, "lesion_t1"), _drawn(draw, pathology, "lesion_t1_post")
    t1[:, lesion] = t1[:, muscle] * torch.where(post_contrast, after, before)
    t2[:, lesion] = t2[:, muscle] * _drawn(draw, pathology, "lesion_t2")
    density[:, lesion] = density[:, muscle]
    return TissueValues(t1, t2, density)
