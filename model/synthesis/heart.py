"""Heart of a short-axis slice: borders of both ventricles as radii around the centre of the left one.

The endocardium of the left ventricle and the thickness of its wall are functions of the angle. The right
ventricle is a crescent on the outside of that wall between two angles, the insertion points; the septum is
that part of the wall. Angles are those of heart coordinates (u away from the septum, v towards the
diaphragm): the middle of the septum lies near pi, the lateral wall at 0, the inferior wall at positive
angles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from model.synthesis.apex import SmallApices
from model.synthesis.pathology import Pathology, wall_ratio
from model.synthesis.randomness import Draw

_ANGLES: Final = 256
"""Angles at which the borders are known; less than 1 mm apart."""
_SMALLEST_CAVITY_MM: Final = 2.0
"""Least radius of a cavity."""


@dataclass(frozen=True, slots=True)
class LeftVentricle:
    """Left ventricle of every slice.

    Attributes:
        radius: of every pixel from the centre, mm, ``(n, rows, columns)``.
        angle: of every pixel, radians.
        wall: thickness of the wall at the angle of each pixel, mm.
        epi: distance to the epicardium, mm, positive inside.
        endo: distance to the endocardium, likewise.
        size: mean radius of the epicardium, mm, ``(n, 1, 1)``.
        cavity: mean radius of the endocardium, mm, ``(n, 1, 1)``.
        septum: angle of the middle of the septum, ``(n, 1, 1)``.
        lesion: angle of the middle of a lesion, ``(n, 1, 1)``.
        lesion_reach: half of the angle that a lesion covers, ``(n, 1, 1)``.
        borders: radius of the epicardium by angle, mm, ``(n, 1, angles)``.
    """

    radius: Tensor
    angle: Tensor
    wall: Tensor
    epi: Tensor
    endo: Tensor
    size: Tensor
    cavity: Tensor
    septum: Tensor
    lesion: Tensor
    lesion_reach: Tensor
    borders: Tensor


@dataclass(frozen=True, slots=True)
class RightVentricle:
    """Right ventricle of every slice.

    Attributes:
        inside: distance to its endocardium, mm, positive inside; the wall of the left one lies over it.
        wall: thickness of its free wall, mm, ``(n, 1, 1)``.
        there: 1.0 where the slice cuts the right ventricle, else 0.0, ``(n, 1, 1)``.
        width: largest distance of its free wall from the septum, mm, ``(n, 1, 1)``.
        insertions: anterior and inferior insertion point in heart coordinates (u, v), mm, ``(n, 2, 2)``.
    """

    inside: Tensor
    wall: Tensor
    there: Tensor
    width: Tensor
    insertions: Tensor


def harmonics(draw: Draw, angle: Tensor, orders: range, sd: float) -> Tensor:
    """Return a random smooth function of an angle, with zero mean."""
    total = torch.zeros_like(angle)
    for order in orders:
        phase = draw.uniform(0.0, 2.0 * math.pi)
        total = total + draw.normal(0.0, sd / order) * torch.cos(order * angle + phase)
    return total


def wrapped(angle: Tensor) -> Tensor:
    """Return angles between -pi and pi."""
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


def sector(angle: Tensor, middle: Tensor, reach: Tensor) -> Tensor:
    """Return how far inside the sector within ``reach`` of ``middle`` an angle lies, radians."""
    return reach - wrapped(angle - middle).abs()


def _at(borders: Tensor, angle: Tensor) -> Tensor:
    """Return a function of the angle, known as ``(n, 1, angles)``, at angles ``(n, ...)``."""
    place = (angle.flatten(1) + math.pi) / (2 * math.pi) * _ANGLES
    low = place.floor()
    index = low.long()
    table = borders[:, 0]
    before, after = table.gather(1, index % _ANGLES), table.gather(1, (index + 1) % _ANGLES)
    return (before + (place - low) * (after - before)).view_as(angle)


def left_ventricle(
    draw: Draw,
    u: Tensor,
    v: Tensor,
    level: Tensor,
    pathology: Tensor,
    *,
    usual: bool,
    overload: Tensor,
    apices: SmallApices | None,
) -> LeftVentricle:
    """Return the left ventricle.

    Cavity at the base: radius 24.5 mm, SD 3.2 mm, tapered to the apex as an ellipsoid; wall 8.3 mm, SD
    1.3 mm, a quarter thinner at the apex (healthy adults in diastole: Kawel-Boehm et al. 2020, J Cardiovasc
    Magn Reson 22:87; Kawel et al. 2012, Circ Cardiovasc Imaging 5:500). In 15 % the heart is contracted.
    Dilated: radius 28 to 40 mm, wall 4.5 to 8 mm; hypertrophic: up to 30 mm in the septum or 26 mm at the
    apex (Elliott et al. 2014, Eur Heart J 35:2733). Shares, harmonics and sectors are chosen wide.

    Args:
        draw: source of randomness.
        u: heart coordinate of every pixel, mm, ``(n, rows, columns)``.
        v: likewise.
        level: 0 at the base to 1 at the apex, ``(n, 1, 1)``.
        pathology: of each slice, ``(n,)``.
        usual: healthy sizes with little spread.
        overload: share of its radius that the septum loses, flattened by the right ventricle, ``(n, 1, 1)``.
        apices: small apices; None for none.
    """

    def has(which: Pathology) -> Tensor:
        return (pathology == which).float()[:, None, None]

    theta = torch.arange(_ANGLES, device=draw.device) * (2 * math.pi / _ANGLES) - math.pi
    theta = theta.expand(draw.n, 1, _ANGLES)
    septum = math.pi + draw.normal(0.0, 0.0 if usual else 0.15)
    from_septum = wrapped(theta - septum)

    spread = 0.4 if usual else 1.0
    cavity = draw.normal(24.5, 3.2 * spread).clamp(16.0, 34.0)
    wall = draw.normal(8.3, 1.3 * spread).clamp(5.0, 12.5)
    dilated = has(Pathology.DILATED)
    cavity = torch.where(dilated > 0, draw.uniform(28.0, 40.0), cavity)
    wall = torch.where(dilated > 0, draw.uniform(4.5, 8.0), wall) * wall_ratio(draw, pathology)
    contracted = draw.chance(0.0 if usual else 0.15)
    cavity = cavity * (1.0 - contracted * draw.uniform(0.15, 0.45))
    wall = wall * (1.0 + contracted * draw.uniform(0.2, 0.6))
    along = 0.08 + level * (draw.uniform(0.8, 0.97) - 0.08)
    tapered = cavity * torch.sqrt(1.0 - along**2)
    endo = tapered * (1.0 + harmonics(draw, theta, range(2, 6), 0.03 if usual else 0.07))
    endo = endo * (1.0 - overload * torch.exp(-0.5 * (from_septum / 0.6) ** 2))
    wall = wall * (1.0 - 0.25 * level) * (1.0 + harmonics(draw, theta, range(1, 5), 0.05 if usual else 0.13))

    # Hypertrophy of the septum, off its middle to either side, or of the apex, mostly into the cavity.
    peak = draw.uniform(15.0, 30.0) * (1.0 - draw.uniform(0.0, 0.6) * level)
    bump = torch.exp(-0.5 * (wrapped(from_septum - draw.normal(0.0, 0.5)) / draw.uniform(0.5, 1.1)) ** 2)
    extra = has(Pathology.SEPTAL_HCM) * (peak - wall).clamp(min=0.0) * bump
    towards_apex = ((level - 0.45) / 0.25).clamp(0.0, 1.0)
    extra = (
        extra + has(Pathology.APICAL_HCM) * (draw.uniform(14.0, 26.0) - wall).clamp(min=0.0) * towards_apex
    )
    endo = endo - draw.uniform(0.3, 0.8) * extra
    wall = wall + extra

    # A scar thins its sector; in a few slices the wall bulges.
    lesion, reach = draw.uniform(-math.pi, math.pi), draw.uniform(0.2, 1.4)
    inside = torch.sigmoid(8.0 * sector(theta, lesion, reach))
    wall = wall * (1.0 - has(Pathology.SCAR) * draw.uniform(0.0, 0.55) * inside)
    bulge = inside * (0.0 if usual else 1.0) * draw.chance(0.04) * (tapered > 8.0)
    endo = endo * (1.0 + draw.uniform(0.05, 0.3) * bulge)
    wall = wall * (1.0 - draw.uniform(0.3, 0.6) * bulge)

    endo, wall = endo.clamp(min=_SMALLEST_CAVITY_MM), wall.clamp(2.5, 32.0)
    if apices is not None:
        endo, wall = apices.shaped(endo, wall)
    epi = endo + wall
    radius, angle = torch.sqrt(u**2 + v**2 + 1e-6), torch.atan2(v, u)
    to_epi, thickness = _at(epi, angle) - radius, _at(wall, angle)
    return LeftVentricle(
        radius=radius,
        angle=angle,
        wall=thickness,
        epi=to_epi,
        endo=to_epi - thickness,
        size=epi.mean(dim=2, keepdim=True),
        cavity=endo.mean(dim=2, keepdim=True),
        septum=septum,
        lesion=lesion,
        lesion_reach=reach,
        borders=epi,
    )


def right_ventricle(
    draw: Draw,
    left: LeftVentricle,
    level: Tensor,
    pixel_mm: float,
    *,
    usual: bool,
    overload: Tensor,
    apices: SmallApices | None,
) -> RightVentricle:
    """Return the right ventricle.

    Between the septum and its free wall lie 27 mm, SD 6 mm, at the base, less towards the apex, which it does
    not always reach; 36 to 62 mm where it is overloaded (healthy 19 to 41 mm, wall 2 to 5 mm: Rudski et al.
    2010, J Am Soc Echocardiogr 23:685). The septum covers 138 degrees, SD 20, at the base, less at the apex
    (two of six segments by Cerqueira et al. 2002, Circulation 105:539, and the tips of the crescent beside
    them). The angles between free wall and grooves are chosen wide.
    """
    rows, columns = left.radius.shape[-2:]
    half = draw.normal(1.2, 0.06 if usual else 0.17).clamp(0.8, 1.6) - 0.15 * level
    end = draw.uniform(0.85, 1.25)
    width = draw.normal(27.0, 3.0 if usual else 6.0).clamp(12.0, 44.0)
    width = torch.where(overload > 0, draw.uniform(36.0, 62.0), width)
    width = width * torch.sqrt((1.0 - (level / end) ** 2).clamp(min=0.0)) * (left.size / 32.0).clamp(0.5, 1.1)
    if apices is not None:
        width = apices.right_width(width)
    there = (width > 4.0).float()

    # The free wall leaves the left ventricle nearly along its border and may reach around it.
    side = wrapped(left.angle - left.septum)
    beyond = (-left.epi / left.size).clamp(0.0, 1.2)
    flare = torch.where(side > 0, draw.uniform(-0.1, 0.45), draw.uniform(-0.1, 0.3))
    reach = half + flare * beyond
    share = (side / reach).clamp(-1.0, 1.0)
    blunt, round_ = draw.uniform(1.7, 3.0), draw.log_uniform(0.65, 1.5)
    profile = (1.0 - share.abs().clamp(min=1e-4) ** blunt).clamp(min=1e-6) ** round_
    skew, ripple = draw.uniform(-0.4, 0.4), harmonics(draw, left.angle, range(3, 7), 0.12)
    depth = width * profile * (1.0 + skew * share + ripple).clamp(min=0.2)
    inside = torch.minimum(depth + left.epi, (reach - side.abs()) * left.radius)
    # Divided by its slope, the function is a distance also where it is steep.
    slopes = torch.gradient(inside, spacing=pixel_mm, dim=(1, 2))
    inside = inside / torch.sqrt(slopes[0] ** 2 + slopes[1] ** 2).clamp(min=1.0)
    inside = inside + draw.uniform(0.0, 1.0) * draw.smooth(rows, columns, 10)

    angles = torch.cat([left.septum + half, left.septum - half], dim=2)[:, 0]
    angles = wrapped(angles)
    at = _at(left.borders, angles)
    insertions = torch.stack([at * torch.cos(angles), at * torch.sin(angles)], dim=2)
    strained = (overload > 0) & (draw.chance(0.5) > 0)
    wall = torch.where(strained, draw.uniform(4.0, 9.0), draw.uniform(1.8, 4.5))
    return RightVentricle(inside, wall, there, width, insertions)
