"""Contrast agent in equilibrium between blood and myocardium, and the T1 of a simulated heart with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from model.synthesis.tissues import RELAXATION, Tissue, TissueValues

_BLOOD = (Tissue.LV_BLOOD, Tissue.RV_BLOOD, Tissue.VESSEL)


@dataclass(frozen=True, slots=True)
class ContrastAgent:
    """Extracellular contrast agent some fifteen minutes after its injection.

    Attributes:
        blood_t1_ms: T1 of the blood in the left ventricle.
        haematocrit: volume fraction of red cells, 0 to 1.
        ecv: extracellular volume fraction of the myocardium, 0 to 1.
    """

    blood_t1_ms: float
    haematocrit: float
    ecv: float

    def enhanced(self, native: TissueValues) -> TissueValues:
        """Return tissue values after the contrast agent.

        The agent raises R1 in proportion to its concentration. It fills the plasma and the extracellular
        space alike, so the rise in myocardium over that in blood is ``ecv / (1 - haematocrit)``. The T1 of
        other tissues falls as in :data:`~model.synthesis.tissues.RELAXATION`; T2 stays.
        """
        t1 = native.t1.clone()
        for tissue, usual in RELAXATION.items():
            t1[:, tissue] *= usual.t1_post / usual.t1
        rise = 1.0 / self.blood_t1_ms - 1.0 / native.t1[:, Tissue.LV_BLOOD]
        for tissue in _BLOOD:
            t1[:, tissue] = 1.0 / (1.0 / native.t1[:, tissue] + rise)
        share = self.ecv / (1.0 - self.haematocrit)
        t1[:, Tissue.MYOCARDIUM] = 1.0 / (1.0 / native.t1[:, Tissue.MYOCARDIUM] + share * rise)
        return replace(native, t1=t1)


USUAL_AGENT: Final = ContrastAgent(blood_t1_ms=330.0, haematocrit=0.42, ecv=0.27)
"""Contrast agent of the demo and the figures: a healthy man a quarter of an hour after injection."""
