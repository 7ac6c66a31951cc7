"""Random short-axis anatomy: tissue of each pixel, labels at the borders of the wall, insertion points.

Every structure is a signed distance (mm, positive inside) on a smoothly warped grid around the left
ventricle, painted from back to front: body, lung, abdomen, vessels, heart. A pixel that a border crosses is
shared in proportion, so partial volume is there from the start.

Heart coordinates (mm): origin in the centre of the left ventricle, u away from the septum, v towards the
diaphragm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from model.synthesis.apex import SmallApices
from model.synthesis.body import paint_body
from model.synthesis.canvas import Canvas, ellipse
from model.synthesis.heart import LeftVentricle, RightVentricle, left_ventricle, right_ventricle, sector
from model.synthesis.pathology import is_focal
from model.synthesis.randomness import Draw
from model.synthesis.tissues import Tissue

_PAPILLARY: Final = (-0.6, 1.75)
"""Angle of the anterolateral and of the posteromedial papillary muscle."""
_SPREAD_MM: Final = 2.0
"""Standard deviation of the weights by which an insertion point is found among the pixels."""


@dataclass(frozen=True, slots=True)
class Anatomy:
    """A batch of slices.

    Attributes:
        fractions: share of each tissue in each pixel, ``(n, tissues, rows, columns)``, summing to one.
        labels: 0 background, 1 LV cavity, 2 myocardium, int64 ``(n, rows, columns)``, divided at the physical
            borders of the wall: the class at a pixel's centre counts. Papillary muscles and trabeculae
            count as cavity; there is no myocardium in the gap at the outflow tract.
        level: 0 at the base to 1 at the apex, ``(n,)``.
        insertions: anterior and inferior insertion point of the right ventricle, (x, y) in pixels,
            ``(n, 2, 2)``; NaN where there is none in the image.
    """

    fractions: Tensor
    labels: Tensor
    level: Tensor
    insertions: Tensor

    def of(self, index: Tensor) -> Anatomy:
        """Return the slices of an index ``(k,)``."""
        return Anatomy(self.fractions[index], self.labels[index], self.level[index], self.insertions[index])


def _heart_coordinates(
    draw: Draw, rows: int, columns: int, pixel_mm: float, *, usual_view: bool
) -> tuple[Tensor, Tensor]:
    """Coordinates (u, v) of every pixel, mm, each ``(n, rows, columns)``: position, view and soft warp."""
    y = (torch.arange(rows, device=draw.device) - (rows - 1) / 2) * pixel_mm
    x = (torch.arange(columns, device=draw.device) - (columns - 1) / 2) * pixel_mm
    reach_x, reach_y = 0.3 * columns * pixel_mm, 0.3 * rows * pixel_mm
    dx = x[None, None, :] - draw.normal(0.0, 0.45).clamp(-1, 1) * reach_x
    dy = y[None, :, None] - draw.normal(0.0, 0.45).clamp(-1, 1) * reach_y
    # Most views look the usual way up; some sites and some planes do not.
    usual = draw.chance(0.8)
    angle = usual * draw.normal(0.0, 0.4) + (1 - usual) * draw.uniform(-math.pi, math.pi)
    mirror = 1.0 - 2.0 * (1 - usual) * draw.chance(0.5)
    if usual_view:
        angle, mirror = torch.zeros_like(angle), torch.ones_like(mirror)
        dx, dy = (
            0.4 * (dx - x[None, None, :]) + x[None, None, :],
            0.4 * (dy - y[None, :, None]) + y[None, :, None],
        )
    u = mirror * (torch.cos(angle) * dx + torch.sin(angle) * dy)
    v = -torch.sin(angle) * dx + torch.cos(angle) * dy
    for cells, sd in ((3, 4.0), (8, 1.0)):
        strength = draw.uniform(0.0, sd)
        u = u + strength * draw.smooth(rows, columns, cells)
        v = v + strength * draw.smooth(rows, columns, cells)
    return u, v


def loosened(draw: Draw, u: Tensor, v: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """Return heart coordinates with random warps that grow with the distance from the heart."""
    rows, columns = u.shape[-2:]
    far = ((torch.sqrt(u**2 + v**2) - size) / 50.0).clamp(0.0, 1.0)
    bent_u, bent_v = u, v
    for cells, sd in ((4, 14.0), (9, 6.0), (20, 2.0)):
        strength = draw.uniform(0.0, sd) * far
        bent_u = bent_u + strength * draw.smooth(rows, columns, cells)
        bent_v = bent_v + strength * draw.smooth(rows, columns, cells)
    return bent_u, bent_v


def make_anatomy(
    draw: Draw,
    rows: int,
    columns: int,
    pixel_mm: float,
    fixed_level: float | None = None,
    *,
    pathology: Tensor | None = None,
    usual: bool = False,
    apices: SmallApices | None = None,
) -> Anatomy:
    """Make a batch of random slices of ``rows`` x ``columns`` pixels of ``pixel_mm``.

    Every slice has its own level between base (0) and apex (1), or all have ``fixed_level``. ``usual`` ones
    show a heart of usual size and wall in the middle, the septum on the left and the diaphragm below; in
    others all of that is random. ``pathology``, int64 ``(n,)``, thickens or thins the wall and puts lesions
    into it; None is health. ``apices`` makes slices small apices at level 1; the draws of
    the other slices stay as they are.
    """
    u, v = _heart_coordinates(draw, rows, columns, pixel_mm, usual_view=usual)
    level = draw.uniform(0.0, 1.0) if fixed_level is None else draw.uniform(fixed_level, fixed_level)
    if apices is not None:
        level = apices.level(level)
    state = torch.zeros(draw.n, dtype=torch.int64, device=draw.device) if pathology is None else pathology
    # A right ventricle under pressure or volume flattens the septum.
    overload = draw.chance(0.0 if usual else 0.15) * draw.uniform(0.05, 0.4)
    left = left_ventricle(draw, u, v, level, state, usual=usual, overload=overload, apices=apices)
    right = right_ventricle(draw, left, level, pixel_mm, usual=usual, overload=overload, apices=apices)

    canvas = Canvas(draw.n, rows, columns, pixel_mm, draw.device)
    front = -(left.size + right.width * right.there + right.wall)
    below = left.size * draw.uniform(0.95, 1.2)
    paint_body(draw, canvas, *loosened(draw, u, v, left.size), front, below)
    _paint_pericardium(draw, canvas, left, right)
    _paint_base(draw, canvas, left, u, v, level)
    _paint_grooves(draw, canvas, u, v, right)
    _paint_right_ventricle(draw, canvas, right)
    canvas.paint(left.epi + 1.0, Tissue.FAT, draw.chance(0.4) * (right.inside < -2.0))
    # A slice of 8 mm cuts the wall at a slant, most near the apex, and the heart moves: the transition at a
    # border is wider than a pixel, but never as wide as the wall.
    widest = (1.5 + 3.0 * level) * draw.uniform(0.0, 1.0)
    soft_epi, soft_endo = (torch.minimum(widest * draw.uniform(0.3, 1.0), 0.6 * left.wall) for _ in range(2))
    canvas.paint(left.epi, Tissue.MYOCARDIUM, soft_mm=soft_epi)
    _paint_lesion(draw, canvas, left, state)
    _paint_cavity(draw, canvas, left, level, soft_endo)
    tract = _paint_outflow_tract(draw, canvas, left, u, v, level, soft_endo, usual=usual)
    heart = (left.epi > 0).long()
    labels = heart + heart * (left.endo <= 0).long()
    labels = torch.where((labels == 2) & tract, 0, labels)
    return Anatomy(canvas.fractions, labels, level[:, 0, 0], _insertions(u, v, right, pixel_mm))


def _paint_pericardium(draw: Draw, canvas: Canvas, left: LeftVentricle, right: RightVentricle) -> None:
    """Paint fat of 0.5 to 12 mm and, in 12 %, an effusion of 2 to 12 mm; ranges chosen wide."""
    rows, columns = left.epi.shape[-2:]
    beyond = torch.full_like(right.inside, -1e3)
    heart = torch.maximum(left.epi, torch.where(right.there > 0, right.inside + right.wall, beyond))
    padding = draw.log_uniform(0.5, 12.0) * (1.0 + 0.6 * draw.smooth(rows, columns, 5)).clamp(min=0.0)
    fluid = draw.chance(0.12) * draw.uniform(2.0, 12.0)
    canvas.paint(heart + padding + fluid, Tissue.FAT, draw.chance(0.85))
    canvas.paint(heart + fluid, Tissue.FLUID, (fluid > 0).float())


def _paint_base(draw: Draw, canvas: Canvas, left: LeftVentricle, u: Tensor, v: Tensor, level: Tensor) -> None:
    """Paint atria and great vessels beside the ventricles of basal slices, radius 10 to 28 mm (chosen)."""
    basal = (level < 0.2).float()
    for _ in range(2):
        way = draw.uniform(-2.2, 1.2)
        blob = draw.uniform(10.0, 28.0)
        reach = left.size + blob * draw.uniform(0.4, 1.1)
        shape = ellipse(u - reach * torch.cos(way), v - reach * torch.sin(way), blob, blob * 0.8)
        canvas.paint(shape + 2.0, Tissue.MUSCLE, basal * draw.chance(0.5))
        canvas.paint(shape, Tissue.VESSEL, basal * draw.chance(0.6))


def _paint_grooves(draw: Draw, canvas: Canvas, u: Tensor, v: Tensor, right: RightVentricle) -> None:
    """Paint fat (radius 3 to 10 mm) and vessel of both interventricular grooves; ranges chosen wide."""
    for point in right.insertions.unbind(dim=1):
        at_u, at_v = (1.0 + draw.uniform(0.0, 0.15)) * point[:, 0, None, None], point[:, 1, None, None]
        radius = draw.uniform(3.0, 10.0)
        fat = ellipse(u - at_u, v - at_v, radius, radius * draw.uniform(0.7, 1.3))
        canvas.paint(fat, Tissue.FAT, right.there * draw.chance(0.6), 1.5)
        out = 1.0 + draw.uniform(2.0, 6.0) / torch.sqrt(at_u**2 + at_v**2)
        vessel = draw.uniform(1.0, 2.5)
        canvas.paint(ellipse(u - out * at_u, v - out * at_v, vessel, vessel), Tissue.VESSEL, draw.chance(0.5))


def _paint_right_ventricle(draw: Draw, canvas: Canvas, right: RightVentricle) -> None:
    """Paint wall and blood, with coarse trabeculae at the border between them and in the blood."""
    rows, columns = right.inside.shape[-2:]
    canvas.paint(right.inside + right.wall, Tissue.MYOCARDIUM, right.there)
    rough = draw.uniform(0.0, 2.0) * draw.smooth(rows, columns, 24)
    canvas.paint(right.inside + rough, Tissue.RV_BLOOD, right.there)
    strands = torch.minimum(2.5 * (draw.smooth(rows, columns, 28) - draw.uniform(0.8, 2.0)), right.inside)
    canvas.paint(strands, Tissue.MYOCARDIUM, right.there * draw.chance(0.6) * draw.uniform(0.3, 0.9))


def _paint_lesion(draw: Draw, canvas: Canvas, left: LeftVentricle, pathology: Tensor) -> None:
    """Paint a sector of the wall, from the endocardium outwards or anywhere across it; ranges chosen wide."""
    along = left.radius * sector(left.angle, left.lesion, left.lesion_reach)
    inner, thick = draw.chance(0.4) * draw.uniform(0.0, 0.6), draw.uniform(0.3, 1.0)
    across = torch.minimum(-left.endo - inner * left.wall, left.endo + (inner + thick) * left.wall)
    lesion = torch.minimum(torch.minimum(along, across), left.epi)
    canvas.paint(lesion, Tissue.LESION, is_focal(pathology) * draw.uniform(0.5, 1.0), 2.0)


def _paint_cavity(draw: Draw, canvas: Canvas, left: LeftVentricle, level: Tensor, soft_mm: Tensor) -> None:
    """Paint blood, the trabeculae at its border and the two groups of papillary muscles.

    Groups of one or two heads stand at the level of the middle in 85 %, attached to the wall or free; their
    radius is a tenth to a quarter of the cavity's. Trabeculae fill up to 4.5 mm, more towards the apex, and
    in a fifth of the slices up to 8 mm more. Readers draw neither (Schulz-Menger et al. 2020, J Cardiovasc
    Magn Reson 22:19). Ranges are chosen wide.
    """
    rows, columns = left.endo.shape[-2:]
    rough = draw.uniform(0.0, 1.0) * draw.smooth(rows, columns, 32).clamp(max=0.0)
    canvas.paint(left.endo + rough, Tissue.LV_BLOOD, soft_mm=soft_mm)
    layer = (
        draw.uniform(0.0, 1.5) + draw.uniform(0.0, 3.0) * level + draw.chance(0.2) * draw.uniform(2.0, 8.0)
    )
    strands = 1.5 * (draw.smooth(rows, columns, 50) - draw.uniform(-0.2, 1.2))
    strands = torch.minimum(torch.minimum(strands, layer - left.endo), left.endo)
    canvas.paint(strands, Tissue.MYOCARDIUM, draw.chance(0.7) * draw.uniform(0.2, 0.9))
    middle = (level > 0.15) & (level < 0.85)
    for angle in _PAPILLARY:
        way = angle + draw.normal(0.0, 0.3)
        there = (draw.uniform(0.0, 1.0) < torch.where(middle, 0.85, 0.2)).float()
        free = draw.uniform(-0.2, 1.8)
        for share in (1.0, 0.5):
            thick = left.cavity * draw.uniform(0.1, 0.25)
            inward = (left.cavity - free * thick).clamp(min=0.0)
            aside = way + draw.normal(0.0, 0.3)
            pu, pv = (
                left.radius * torch.cos(left.angle - aside) - inward,
                left.radius * torch.sin(left.angle - aside),
            )
            muscle = torch.minimum(ellipse(pu, pv, thick * draw.uniform(0.8, 1.6), thick), left.endo)
            opacity = there * draw.chance(share) * draw.uniform(0.4, 1.0)
            canvas.paint(muscle, Tissue.MYOCARDIUM, opacity, torch.minimum(soft_mm, thick))


def _paint_outflow_tract(
    draw: Draw,
    canvas: Canvas,
    left: LeftVentricle,
    u: Tensor,
    v: Tensor,
    level: Tensor,
    soft_mm: Tensor,
    *,
    usual: bool,
) -> Tensor:
    """Paint the outflow tract and return where it lies, bool ``(n, rows, columns)``.

    At the very base it leaves through the wall beside the septum, away from the diaphragm, in half of the
    slices; width and depth are chosen wide.
    """
    way = sector(torch.atan2(v, u), draw.uniform(-2.9, -1.9), draw.uniform(0.2, 0.5))
    beyond = torch.minimum(left.epi + draw.uniform(5.0, 25.0), 2.0 - left.endo)
    tract = torch.minimum(way * left.radius, beyond)
    opens = draw.chance(0.5) * (level < 0.08) * (0.0 if usual else 1.0)
    canvas.paint(tract, Tissue.LV_BLOOD, opens, soft_mm)
    return (tract > 0) & (opens > 0)


def _insertions(u: Tensor, v: Tensor, right: RightVentricle, pixel_mm: float) -> Tensor:
    """Return the insertion points in pixels, (x, y), ``(n, 2, 2)``; NaN where there is none in the image."""
    rows, columns = u.shape[-2:]
    points = []
    for point in right.insertions.unbind(dim=1):
        squares = (u - point[:, 0, None, None]) ** 2 + (v - point[:, 1, None, None]) ** 2
        weights = torch.exp(-0.5 * squares / _SPREAD_MM**2)
        total = weights.sum((1, 2)).clamp(min=1e-6)
        x = (weights.sum(1) * torch.arange(columns, device=u.device)).sum(1) / total
        y = (weights.sum(2) * torch.arange(rows, device=u.device)).sum(1) / total
        # Less than half of the weights: the point lies at or beyond the border of the image.
        whole = 2.0 * math.pi * (_SPREAD_MM / pixel_mm) ** 2
        seen = (right.there[:, 0, 0] > 0) & (total > 0.5 * whole)
        points.append(torch.where(seen[:, None], torch.stack([x, y], dim=1), torch.nan))
    return torch.stack(points, dim=1)
