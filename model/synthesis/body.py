"""Body around the heart: arms, chest wall, lungs, abdomen, spine, vessels, and what lies between them.

Extents without a source are chosen to cover: children to obese adults, arms beside the chest or not, any
content of the abdomen. None is the distribution of a population.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from model.synthesis.canvas import Canvas, ellipse
from model.synthesis.randomness import Draw
from model.synthesis.tissues import Tissue

_ORGANS = (
    Tissue.LIVER,
    Tissue.LIVER,
    Tissue.STOMACH,
    Tissue.SPLEEN,
    Tissue.BOWEL,
    Tissue.FAT,
    Tissue.FLUID,
)

_CLUTTER = (
    (Tissue.MUSCLE, 6, 20),
    (Tissue.BOWEL, 5, 11),
    (Tissue.FAT, 7, 26),
    (Tissue.VESSEL, 9, 30),
    (Tissue.FAT, 12, 40),
)
"""Tissues of patches, and how many hills across the image their fields have."""
_HILL_MM = 84.0
"""A quarter of the frame's width: over the number of hills, it makes of a field's heights distances, mm."""

_ROUND = (
    (Tissue.VESSEL, 0.7, 7.0, 15.0),
    (Tissue.VESSEL, 0.4, 4.0, 12.0),
    (Tissue.MUSCLE, 0.4, 4.0, 10.0),
    (Tissue.FAT, 0.4, 10.0, 30.0),
    (Tissue.BOWEL, 0.3, 10.0, 35.0),
    (Tissue.AIR, 0.3, 8.0, 25.0),
)
"""Round structures anywhere: tissue, probability, least and largest radius, mm. The first covers the aorta
(descending, healthy radius 9 to 15 mm: Davis et al. 2014, J Cardiovasc Magn Reson 16:9); all are to cover."""


@dataclass(frozen=True, slots=True)
class _Chest:
    """Chest of every slice.

    Attributes:
        u: coordinate from its centre to the back, mm, ``(n, rows, columns)``.
        v: coordinate along the patient, mm, likewise.
        inside: distance to the inner border of the chest wall, mm, positive inside.
        front: u of that border at the front, in heart coordinates, mm, ``(n, 1, 1)``.
        depth: from front to back, mm.
        wall: thickness of muscle and ribs, mm.
        fat: thickness of the fat under the skin, mm.
    """

    u: Tensor
    v: Tensor
    inside: Tensor
    front: Tensor
    depth: Tensor
    wall: Tensor
    fat: Tensor

    @property
    def body(self) -> Tensor:
        """Distance to the skin, mm."""
        return self.inside + self.wall + self.fat


def paint_body(draw: Draw, canvas: Canvas, u: Tensor, v: Tensor, front: Tensor, below: Tensor) -> None:
    """Paint the body from back to front.

    Args:
        draw: source of randomness.
        canvas: what to paint on.
        u: heart coordinate of every pixel, mm.
        v: likewise.
        front: u of the front of the heart, mm.
        below: v of the lowest point of the heart, mm.
    """
    chest = _chest(draw, u, v, front)
    for _ in range(2):
        _paint_arm(draw, canvas, chest)
    _paint_chest(draw, canvas, chest)
    abdomen = _paint_abdomen(draw, canvas, chest, u, v, below)
    _paint_clutter(draw, canvas, chest.body, torch.maximum(abdomen, -chest.inside))
    _paint_spine(draw, canvas, chest, u, v)
    _paint_round_structures(draw, canvas, u, v)
    _paint_implant(draw, canvas, chest, u, v)


def _chest(draw: Draw, u: Tensor, v: Tensor, front: Tensor) -> _Chest:
    """Return the chest: an ellipse, 140 to 300 mm deep, whose front lies 2 to 30 mm before the heart."""
    rows, columns = u.shape[-2:]
    gap = draw.uniform(2.0, 30.0)
    wall = draw.log_uniform(6.0, 25.0)
    fat = draw.log_uniform(3.0, 45.0)
    depth = draw.uniform(140.0, 300.0)
    radius_u = depth / 2
    radius_v = draw.uniform(1.0, 3.0) * radius_u
    tilt = draw.normal(0.0, 0.25)
    bu, bv = u - (front - gap + radius_u), v - draw.uniform(-40.0, 60.0)
    bu, bv = torch.cos(tilt) * bu + torch.sin(tilt) * bv, -torch.sin(tilt) * bu + torch.cos(tilt) * bv
    inside = ellipse(bu, bv, radius_u, radius_v) + draw.uniform(0.0, 5.0) * draw.smooth(rows, columns, 5)
    return _Chest(bu, bv, inside, front - gap, depth, wall, fat)


def _paint_arm(draw: Draw, canvas: Canvas, chest: _Chest) -> None:
    """Paint an arm of 25 to 60 mm radius in 35 % of the slices: fat, muscle, bone."""
    reach = draw.uniform(60.0, 200.0)
    way = draw.uniform(0.0, 2.0 * math.pi)
    au, av = chest.u - reach * torch.cos(way), chest.v - reach * torch.sin(way) * 1.3
    radius = draw.uniform(25.0, 60.0)
    there = draw.chance(0.35)
    canvas.paint(ellipse(au, av, radius, radius * draw.uniform(0.7, 1.4)), Tissue.FAT, there)
    inner = radius - draw.uniform(3.0, 20.0)
    canvas.paint(ellipse(au, av, inner, inner), Tissue.MUSCLE, there)
    canvas.paint(ellipse(au, av, 0.4 * inner, 0.4 * inner), Tissue.BONE, there)


def _paint_chest(draw: Draw, canvas: Canvas, chest: _Chest) -> None:
    """Paint fat under the skin, muscle, ribs every 22 to 38 mm in 60 %, and lung with its vessels."""
    rows, columns = chest.inside.shape[-2:]
    inside, wall = chest.inside, chest.wall
    canvas.paint(chest.body, Tissue.FAT)
    canvas.paint(inside + wall + 0.3 * draw.smooth(rows, columns, 8), Tissue.MUSCLE)
    ribs = torch.cos(chest.v * 2 * math.pi / draw.uniform(22.0, 38.0) + draw.uniform(0.0, 6.3))
    rib = torch.minimum(inside + 0.7 * wall, 0.35 * wall * ribs - 0.3 * wall)
    canvas.paint(rib, Tissue.BONE, draw.chance(0.6))
    canvas.paint(inside, Tissue.LUNG)
    _paint_branches(draw, canvas, inside, Tissue.LUNG, cells=14)


def _paint_abdomen(draw: Draw, canvas: Canvas, chest: _Chest, u: Tensor, v: Tensor, below: Tensor) -> Tensor:
    """Paint the abdomen and return the distance to its border, mm, positive inside.

    Organs share the space below a curved diaphragm, up to 25 mm under the heart, as cells of random centres.
    """
    rows, columns = u.shape[-2:]
    slope, bend = draw.normal(0.0, 0.35), draw.uniform(-0.004, 0.004)
    dome = v - (below + draw.uniform(-4.0, 25.0) + slope * u + bend * u**2)
    dome = dome + draw.uniform(0.0, 4.0) * draw.smooth(rows, columns, 6)
    abdomen = torch.minimum(dome, chest.inside + chest.wall * draw.uniform(0.0, 0.5))
    canvas.paint(abdomen + 2.0, Tissue.FAT)
    centres = []
    for _ in _ORGANS:
        cu, cv = draw.uniform(-90.0, 120.0), below + draw.log_uniform(15.0, 140.0)
        centres.append(((u - cu) ** 2 + (v - cv) ** 2).sqrt() * draw.log_uniform(0.7, 1.5))
    away = torch.stack(centres, dim=1)
    nearest = away.topk(2, dim=1, largest=False)
    border = 0.5 * (nearest.values[:, 1] - nearest.values[:, 0]) - draw.uniform(0.0, 3.0)
    for index, organ in enumerate(_ORGANS):
        own = torch.where(nearest.indices[:, 0] == index, border, -border.abs() - 5.0)
        canvas.paint(torch.minimum(abdomen, own), organ)
    _paint_branches(draw, canvas, abdomen - 3.0, Tissue.LIVER, cells=9)
    return abdomen


def _paint_spine(draw: Draw, canvas: Canvas, chest: _Chest, u: Tensor, v: Tensor) -> None:
    """Paint the spine in 60 %: vertebrae and their discs, 22 to 34 mm apart, between muscle."""
    su = u - (chest.front + chest.depth - draw.uniform(15.0, 45.0))
    height = draw.uniform(22.0, 34.0)
    beside = torch.minimum(draw.uniform(12.0, 18.0) - su.abs(), chest.inside + chest.wall)
    there = draw.chance(0.6)
    canvas.paint(beside, Tissue.MUSCLE, there)
    vertebra = torch.cos(v * 2 * math.pi / height + draw.uniform(0.0, 6.3))
    canvas.paint(torch.minimum(beside, 6.0 * (vertebra + 0.6)), Tissue.BONE, there)


def _paint_round_structures(draw: Draw, canvas: Canvas, u: Tensor, v: Tensor) -> None:
    """Paint vessels, muscle, fat, bowel and gas as ellipses near the heart, some with a wall of 2 mm."""
    for tissue, probability, low, high in _ROUND:
        radius = draw.log_uniform(low, high)
        cu, cv = draw.uniform(-60.0, 100.0), draw.uniform(-90.0, 110.0)
        shape = ellipse(u - cu, v - cv, radius, radius * draw.log_uniform(0.6, 1.6))
        canvas.paint(shape, tissue, draw.chance(probability))
        canvas.paint(-(shape.abs() - 1.0), Tissue.MUSCLE, 0.5 * draw.chance(0.3 * probability))


def _paint_implant(draw: Draw, canvas: Canvas, chest: _Chest, u: Tensor, v: Tensor) -> None:
    """Paint the void of a pacemaker or sternal wire in 6 %, with a bright rim where signal piles up."""
    rows, columns = u.shape[-2:]
    radius = draw.log_uniform(6.0, 30.0)
    cu, cv = chest.front - draw.uniform(0.0, 25.0), draw.uniform(-80.0, 60.0)
    void = ellipse(u - cu, v - cv, radius, radius) + draw.uniform(0.0, 5.0) * draw.smooth(rows, columns, 8)
    there = draw.chance(0.06)
    canvas.paint(void + draw.uniform(1.0, 4.0), Tissue.FAT, there)
    canvas.paint(void, Tissue.AIR, there)


def _paint_branches(draw: Draw, canvas: Canvas, within: Tensor, organ: Tissue, *, cells: int) -> None:
    """Paint vessels of an organ: where a smooth field crosses zero, in patches that another field picks."""
    rows, columns = within.shape[-2:]
    ridge = draw.uniform(0.3, 1.6) - 6.0 * draw.smooth(rows, columns, cells).abs()
    patch = 4.0 * (draw.smooth(rows, columns, cells // 3) + draw.uniform(-0.5, 1.0))
    share = canvas.fractions[:, organ]
    opacity = draw.chance(0.7) * draw.uniform(0.2, 0.9) * share
    canvas.paint(torch.minimum(torch.minimum(ridge, patch), within), Tissue.VESSEL, opacity)


def _paint_clutter(draw: Draw, canvas: Canvas, body: Tensor, beyond: Tensor) -> None:
    """Paint patches of no particular shape, large and small, sharp and soft: fat, folds, muscle, bowel.

    Args:
        draw: source of randomness.
        canvas: what to paint on.
        body: distance to the skin, mm.
        beyond: distance from which on patches appear outside the lung, mm.
    """
    rows, columns = body.shape[-2:]
    within = torch.where(draw.chance(0.3) > 0, body, torch.minimum(body, beyond))
    for tissue, few, many in _CLUTTER:
        for cells in (few, many):
            patch = _HILL_MM / cells * (draw.smooth(rows, columns, cells) - draw.normal(1.05, 0.5))
            opacity = draw.chance(0.5) * draw.uniform(0.25, 1.0)
            canvas.paint(torch.minimum(patch, within), tissue, opacity, draw.log_uniform(0.3, 8.0))
