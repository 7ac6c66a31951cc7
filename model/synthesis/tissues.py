"""Tissues of the synthetic body, their relaxation times at 1.5 T, and factors for other field strengths.

Means from the literature on healthy tissue (Kellman and Hansen 2014, J Cardiovasc Magn Reson 16:2;
Bojorquez et al. 2017, Magn Reson Imaging 35:69; Stanisz et al. 2005, Magn Reson Med 54:507). The spread is
chosen wide: it covers patients, pathology and sequences, not one healthy group.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import torch
from torch import Tensor

from model.synthesis.randomness import Draw


class Tissue(IntEnum):
    """Index of a tissue in a stack of tissue fractions."""

    AIR = 0
    LUNG = 1
    MYOCARDIUM = 2
    LV_BLOOD = 3
    RV_BLOOD = 4
    VESSEL = 5
    FAT = 6
    MUSCLE = 7
    LIVER = 8
    SPLEEN = 9
    STOMACH = 10
    FLUID = 11
    BONE = 12
    BOWEL = 13
    LESION = 14


@dataclass(frozen=True, slots=True)
class Relaxation:
    """Mean and relative spread of a tissue: T1 native and after contrast agent, T2 (ms), proton density."""

    t1: float
    t1_post: float
    t2: float
    density: float
    spread: float


RELAXATION: dict[Tissue, Relaxation] = {
    Tissue.AIR: Relaxation(1000.0, 1000.0, 50.0, 0.0, 0.0),
    Tissue.LUNG: Relaxation(1100.0, 600.0, 40.0, 0.08, 0.15),
    Tissue.MYOCARDIUM: Relaxation(1020.0, 460.0, 50.0, 0.80, 0.10),
    Tissue.LV_BLOOD: Relaxation(1600.0, 330.0, 190.0, 0.95, 0.12),
    Tissue.RV_BLOOD: Relaxation(1560.0, 330.0, 160.0, 0.95, 0.15),
    Tissue.VESSEL: Relaxation(1500.0, 330.0, 150.0, 0.95, 0.25),
    Tissue.FAT: Relaxation(300.0, 280.0, 95.0, 0.90, 0.35),
    Tissue.MUSCLE: Relaxation(950.0, 650.0, 40.0, 0.75, 0.12),
    Tissue.LIVER: Relaxation(600.0, 380.0, 46.0, 0.75, 0.20),
    Tissue.SPLEEN: Relaxation(1050.0, 430.0, 80.0, 0.85, 0.15),
    Tissue.STOMACH: Relaxation(1200.0, 1000.0, 100.0, 0.85, 0.60),
    Tissue.FLUID: Relaxation(2800.0, 2200.0, 300.0, 1.00, 0.25),
    Tissue.BONE: Relaxation(500.0, 450.0, 70.0, 0.60, 0.40),
    Tissue.BOWEL: Relaxation(900.0, 600.0, 70.0, 0.75, 0.50),
    Tissue.LESION: Relaxation(1200.0, 360.0, 60.0, 0.80, 0.10),
}


FIELDS: Final = ((0.60, 1.0, 1.0), (0.33, 1.18, 0.92), (0.07, 0.69, 1.12))
"""Share of the slices, and T1 and T2 in units of those at 1.5 T, at 1.5, 3 and 0.55 T (myocardium and blood:
von Knobelsdorff-Brenkenhoff et al. 2013, J Cardiovasc Magn Reson 15:53; Campbell-Washburn et al. 2019,
Radiology 293:384); the shares are assumptions."""


@dataclass(frozen=True, slots=True)
class TissueValues:
    """Relaxation times (ms) and proton density by examination and tissue, each ``(n, tissues)``."""

    t1: Tensor
    t2: Tensor
    density: Tensor

    def of(self, index: Tensor) -> TissueValues:
        """Return the examinations of an index ``(k,)``."""
        return TissueValues(self.t1[index], self.t2[index], self.density[index])


def draw_tissue_values(draw: Draw, post_contrast: Tensor) -> TissueValues:
    """Values for a batch; ``post_contrast`` ``(n,)`` is True where contrast agent was given.

    Blood of both ventricles is the same blood, so its T1 follows one draw; its T2 differs with flow.
    """
    table = torch.tensor(
        [[r.t1, r.t1_post, r.t2, r.density, r.spread] for r in RELAXATION.values()], device=draw.device
    )
    t1_native, t1_post, t2, density, spread = table.unbind(dim=1)
    n, tissues = draw.n, len(Tissue)

    def factor() -> Tensor:
        white = torch.randn(n, tissues, generator=draw.generator, device=draw.device)
        return torch.exp(spread * white.clamp(-2.5, 2.5))

    share, field_t1, field_t2 = torch.tensor(FIELDS, device=draw.device).unbind(dim=1)
    field = torch.multinomial(share, n, replacement=True, generator=draw.generator)[:, None]
    # One factor per examination stands for the sequence and the time after injection.
    common = draw.log_uniform(0.9, 1.15)[:, 0] * field_t1[field]
    t1 = torch.where(post_contrast[:, None], t1_post, t1_native) * factor() * common
    # Dose and time after injection shorten all that blood reaches, and hardly fat.
    dose = torch.where(post_contrast[:, None], draw.log_uniform(0.55, 1.2)[:, 0], torch.ones_like(common))
    reached = torch.ones(tissues, dtype=torch.bool, device=draw.device)
    reached[[Tissue.FAT, Tissue.AIR, Tissue.STOMACH, Tissue.BOWEL]] = False
    t1 = torch.where(reached, t1 * dose, t1)
    t2 = t2 * factor() * draw.log_uniform(0.85, 1.2)[:, 0] * field_t2[field]
    # Sequence, contrast agent and flow may leave little contrast between blood and muscle.
    kept = 1.0 - draw.chance(0.15)[:, 0, 0] * draw.uniform(0.3, 0.75)[:, 0, 0]
    for values in (t1, t2):
        muscle = values[:, Tissue.MYOCARDIUM]
        values[:, Tissue.LV_BLOOD] = muscle * (values[:, Tissue.LV_BLOOD] / muscle) ** kept
    t1[:, Tissue.RV_BLOOD] = t1[:, Tissue.LV_BLOOD] * draw.normal(1.0, 0.03)[:, 0, 0]
    # Slow, deoxygenated blood in the right ventricle may come down to the T2 of muscle.
    slow = draw.chance(0.35)[:, 0, 0]
    quick_t2 = t2[:, Tissue.LV_BLOOD] * draw.uniform(0.4, 1.1)[:, 0, 0]
    slow_t2 = t2[:, Tissue.MYOCARDIUM] * draw.uniform(0.95, 1.8)[:, 0, 0]
    t2[:, Tissue.RV_BLOOD] = slow * slow_t2 + (1.0 - slow) * quick_t2
    density = density * factor()
    # How much lung there is in a voxel varies with breath and position more than any tissue's own values.
    density[:, Tissue.LUNG] *= draw.log_uniform(0.7, 4.0)[:, 0, 0]
    return TissueValues(t1, t2, density.clamp(max=1.2))
