"""Small apices: slices through the last millimetres of the left ventricle, 10 to 25 mm across.

The share of such slices is that of an ellipsoid with the mean size of the healthy hearts of
:mod:`model.synthesis.heart`, whose epicardium has a radius of 32.8 mm at the base: it is 10 to 25 mm across
over 6.4 % of its length. There the diameter is uniform, so that the smallest are more frequent than in the
ellipsoid. The wall of the apex itself is thin (1.2 mm, SD 1.1 mm: Johnson et al. 2009, J Comput Assist Tomogr
33:334), so that the cavity reaches into these slices; its share of the radius is chosen wide. The right
ventricle ends above the apex of the left one in most hearts; the share of slices that it reaches is chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from model.synthesis.randomness import Draw

SHARE: Final = 0.06
"""Share of the slices of a training that are small apices."""
_DIAMETERS_MM: Final = (10.0, 25.0)
_CAVITIES: Final = (0.3, 0.65)
"""Mean radius of the endocardium in units of that of the epicardium."""
_SMALLEST_CAVITY_MM: Final = 2.0
_THINNEST_WALL_MM: Final = 2.5
_WITH_RIGHT: Final = 0.25
_LONGEST_WIDTH: Final = 1.0
"""Largest width of a right ventricle beside a small apex, in units of the apex's radius."""


@dataclass(frozen=True, slots=True)
class SmallApices:
    """Small apices of a batch.

    Attributes:
        there: True for the slices that are one, bool ``(n, 1, 1)``.
        radius: mean radius of the epicardium, mm, ``(n, 1, 1)``.
        cavity: mean radius of the endocardium, mm, ``(n, 1, 1)``.
        right: True where the slice also cuts the right ventricle, bool ``(n, 1, 1)``.
    """

    there: Tensor
    radius: Tensor
    cavity: Tensor
    right: Tensor

    def level(self, level: Tensor) -> Tensor:
        """Return levels ``(n, 1, 1)`` with 1, the apex, for small apices."""
        return torch.where(self.there, 1.0, level)

    def shaped(self, endo: Tensor, wall: Tensor) -> tuple[Tensor, Tensor]:
        """Return radius of the endocardium and thickness of the wall by angle, ``(n, 1, angles)``, mm.

        Those of small apices keep their shape and get the mean size of this one.
        """
        endo_there = endo * (self.cavity / endo.mean(dim=2, keepdim=True))
        wall_there = wall * ((self.radius - self.cavity) / wall.mean(dim=2, keepdim=True))
        return torch.where(self.there, endo_there, endo), torch.where(self.there, wall_there, wall)

    def right_width(self, width: Tensor) -> Tensor:
        """Return widths of the right ventricle, mm, ``(n, 1, 1)``: 0 where it ends above a small apex."""
        beside = torch.minimum(width, _LONGEST_WIDTH * self.radius) * self.right
        return torch.where(self.there, beside, width)


def draw_small_apices(draw: Draw, share: float) -> SmallApices:
    """Return the small apices of a batch, ``share`` of its slices."""
    radius = draw.uniform(*_DIAMETERS_MM) / 2.0
    cavity = radius * draw.uniform(*_CAVITIES)
    cavity = torch.minimum(cavity.clamp(min=_SMALLEST_CAVITY_MM), radius - _THINNEST_WALL_MM)
    return SmallApices(draw.chance(share) > 0, radius, cavity, draw.chance(_WITH_RIGHT) > 0)
