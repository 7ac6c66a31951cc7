"""Random short-axis anatomy: which tissue fills which part of each pixel, and where the myocardium is.

Every structure is a signed distance (mm, positive inside) on a smoothly warped grid around the left
ventricle, painted from back to front: body, lung, abdomen, vessels, heart. A pixel that a border crosses is
shared in proportion, so partial volume is there from the start.

Heart coordinates (mm): origin in the centre of the left ventricle, u away from the septum, v towards the
diaphragm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from model.synthesis.body import paint_body
from model.synthesis.canvas import Canvas, ellipse
from model.synthesis.pathology import is_focal, wall_ratio
from model.synthesis.randomness import Draw
from model.synthesis.tissues import Tissue

_PURE = 0.4
"""Of a border's width, from its middle: beyond it at most a tenth of a pixel belongs to the other side."""
_OFFSET = 0.1
"""Share of the wall that readers of maps leave out at either border beyond that: the usual offset of 10 %."""
_THICKEST_RIM = 0.3
"""Share of the wall that either border's rim may take."""


@dataclass(frozen=True, slots=True)
class Anatomy:
    """A batch of slices.

    Attributes:
        fractions: share of each tissue in each pixel, ``(n, tissues, rows, columns)``, summing to one.
        labels: 0 background, 1 LV cavity, 2 myocardium, int64 ``(n, rows, columns)``. Myocardium is what
            is nine tenths myocardium, less a tenth of the wall at either border: readers of maps keep clear
            of pixels that blood or fat share, since a value is taken from what they draw. Papillary muscles
            and trabeculae count as cavity; where the outflow tract leaves there is no myocardium.
        level: 0 at the base to 1 at the apex, ``(n,)``.
    """

    fractions: Tensor
    labels: Tensor
    level: Tensor


def _harmonics(draw: Draw, angle: Tensor, orders: range, sd: float) -> Tensor:
    """Random smooth function of the angle around the ventricle with zero mean."""
    total = torch.zeros_like(angle)
    for order in orders:
        phase = draw.uniform(0.0, 2.0 * math.pi)
        total = total + draw.normal(0.0, sd / order) * torch.cos(order * angle + phase)
    return total


def _sector(angle: Tensor, middle: Tensor, reach: Tensor) -> Tensor:
    """How far inside the sector within ``reach`` of ``middle`` an angle lies, radians; negative outside."""
    around = torch.remainder(angle - middle + math.pi, 2 * math.pi) - math.pi
    return reach - around.abs()


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
    """Heart coordinates bent at random, more with the distance from the heart: organs are no ellipses."""
    rows, columns = u.shape[-2:]
    far = ((torch.sqrt(u**2 + v**2) - size) / 50.0).clamp(0.0, 1.0)
    bent_u, bent_v = u, v
    for cells, sd in ((4, 14.0), (9, 6.0), (20, 2.0)):
        strength = draw.uniform(0.0, sd) * far
        bent_u = bent_u + strength * draw.smooth(rows, columns, cells)
        bent_v = bent_v + strength * draw.smooth(rows, columns, cells)
    return bent_u, bent_v


@dataclass(frozen=True, slots=True)
class _LeftVentricle:
    """Left ventricle of every slice.

    Attributes:
        size: radius of the epicardium before it is bent, mm, ``(n, 1, 1)``.
        u: coordinate along the long diameter, mm, ``(n, rows, columns)``.
        v: coordinate across it, likewise.
        radius: distance from the centre, mm.
        angle: around the centre, radians.
        wall: thickness of the wall at the angle of each pixel, mm.
        epi: distance to the epicardium, mm, positive inside.
        endo: distance to the endocardium, likewise.
    """

    size: Tensor
    u: Tensor
    v: Tensor
    radius: Tensor
    angle: Tensor
    wall: Tensor
    epi: Tensor
    endo: Tensor


@dataclass(frozen=True, slots=True)
class _RightVentricle:
    """Right ventricle of every slice.

    Attributes:
        inside: distance to its endocardium, mm, positive inside, ``(n, rows, columns)``.
        wall: thickness of its wall, mm, ``(n, 1, 1)``.
        there: 1.0 where the slice cuts it, ``(n, 1, 1)``.
        front: u of its front, mm, ``(n, 1, 1)``.
    """

    inside: Tensor
    wall: Tensor
    there: Tensor
    front: Tensor


def make_anatomy(
    draw: Draw,
    rows: int,
    columns: int,
    pixel_mm: float,
    fixed_level: float | None = None,
    *,
    pathology: Tensor | None = None,
    usual: bool = False,
) -> Anatomy:
    """Make a batch of random slices of ``rows`` x ``columns`` pixels of ``pixel_mm``.

    Every slice has its own level between base (0) and apex (1), or all have ``fixed_level``. ``usual`` ones
    show a heart of usual size and wall in the middle, the septum on the left and the diaphragm below; in
    others all of that is random. ``pathology``, int64 ``(n,)``, thickens or thins the wall and puts lesions
    into it; None is health.
    """
    u, v = _heart_coordinates(draw, rows, columns, pixel_mm, usual_view=usual)
    level = draw.uniform(0.0, 1.0) if fixed_level is None else draw.uniform(fixed_level, fixed_level)
    apical = ((level - 0.6) / 0.4).clamp(min=0.0)
    left = _left_ventricle(draw, u, v, apical, pathology, usual=usual)
    right = _right_ventricle(draw, u, v, left.size, level, apical)
    below = left.size * draw.uniform(0.95, 1.2)

    canvas = Canvas(draw.n, rows, columns, pixel_mm, draw.device)
    paint_body(draw, canvas, *loosened(draw, u, v, left.size), right.front, below)
    _paint_pericardium(draw, canvas, left, right)
    _paint_base(draw, canvas, left, u, v, level)
    _paint_right_ventricle(draw, canvas, right)
    canvas.paint(left.epi + 1.0, Tissue.FAT, draw.chance(0.4) * (right.inside < -2.0))
    # A slice of 8 mm cuts the wall at a slant and the heart moves: its borders are wider than a pixel.
    soft_epi, soft_endo = draw.uniform(0.0, 3.0), draw.uniform(0.0, 3.0)
    canvas.paint(left.epi, Tissue.MYOCARDIUM, soft_mm=soft_epi)
    if pathology is not None:
        _paint_lesion(draw, canvas, left, pathology)
    _paint_cavity(draw, canvas, left, soft_endo)
    tract = _paint_outflow_tract(draw, canvas, left, u, v, level, soft_endo, usual=usual)
    labels = _wall_and_cavity(left, pixel_mm, soft_epi, soft_endo)
    labels = torch.where((labels == 2) & tract, 0, labels)
    return Anatomy(canvas.fractions, labels, level[:, 0, 0])


def _left_ventricle(
    draw: Draw, u: Tensor, v: Tensor, apical: Tensor, pathology: Tensor | None, *, usual: bool
) -> _LeftVentricle:
    """Return the left ventricle: an ellipse with a bent border and a wall that is not even.

    Radius 30 to 38 mm and wall 8 to 11 mm are those of healthy adults (Kawel-Boehm et al. 2020, J Cardiovasc
    Magn Reson 22:87). The wider ranges, the harmonics and aneurysms in 4 % are chosen to cover patients.
    """
    sizes, walls = ((30.0, 38.0), (8.0, 11.0)) if usual else ((23.0, 46.0), (5.0, 14.0))
    size = draw.log_uniform(*sizes) * (1.0 - 0.5 * apical)
    stretch = draw.log_uniform(1.0, 1.35) ** 0.5
    lean = draw.uniform(0.0, math.pi)
    lu, lv = torch.cos(lean) * u + torch.sin(lean) * v, -torch.sin(lean) * u + torch.cos(lean) * v
    lu, lv = lu * stretch, lv / stretch
    radius = torch.sqrt(lu**2 + lv**2 + 1e-6)
    angle = torch.atan2(lv, lu)
    epi_radius = size * (1.0 + _harmonics(draw, angle, range(2, 6), 0.05))
    wall = (draw.log_uniform(*walls) * (1.0 + _harmonics(draw, angle, range(1, 5), 0.2))).clamp(3.0, 22.0)
    if pathology is not None:
        wall = (wall * wall_ratio(draw, pathology)).clamp(3.0, 24.0)
    if not usual:
        # An aneurysm: a sector of thin wall that bulges.
        sector = _sector(angle, draw.uniform(-math.pi, math.pi), draw.uniform(0.4, 1.0))
        bulge = draw.chance(0.04) * (1.0 - torch.exp(-4.0 * sector.clamp(min=0.0)))
        epi_radius = epi_radius * (1.0 + draw.uniform(0.05, 0.3) * bulge)
        wall = (wall * (1.0 - draw.uniform(0.4, 0.7) * bulge)).clamp(min=3.0)
    wall = torch.minimum(wall, epi_radius * draw.uniform(0.45, 0.85))
    epi = epi_radius - radius
    return _LeftVentricle(size, lu, lv, radius, angle, wall, epi, epi - wall)


def _right_ventricle(
    draw: Draw, u: Tensor, v: Tensor, size: Tensor, level: Tensor, apical: Tensor
) -> _RightVentricle:
    """Return the right ventricle: an ellipse that the left one is pushed into from the side of the septum.

    Its wall has 1.5 to 4.5 mm (healthy: 2 to 5 mm, Rudski et al. 2010, J Am Soc Echocardiogr 23:685). Size
    and place in units of the left ventricle are chosen to cover; 30 % of the most apical slices have none.
    """
    rows, columns = u.shape[-2:]
    radius_u = size * draw.uniform(0.55, 1.1) * (1.0 - 0.3 * apical)
    radius_v = size * draw.uniform(0.75, 1.35) * (1.0 - 0.2 * apical)
    offset = -(size * 0.85 + radius_u * draw.uniform(0.15, 0.75))
    inside = ellipse(u - offset, v - size * draw.uniform(-0.35, 0.35), radius_u, radius_v)
    inside = inside + draw.uniform(0.0, 2.5) * draw.smooth(rows, columns, 6)
    there = 1.0 - draw.chance(0.3) * (level > 0.85)
    return _RightVentricle(inside, draw.uniform(1.5, 4.5), there, offset - radius_u)


def _paint_pericardium(draw: Draw, canvas: Canvas, left: _LeftVentricle, right: _RightVentricle) -> None:
    """Paint fat of 0.5 to 12 mm and, in 12 %, an effusion of 2 to 12 mm; chosen to cover."""
    rows, columns = left.epi.shape[-2:]
    beyond = torch.full_like(right.inside, -1e3)
    heart = torch.maximum(left.epi, torch.where(right.there > 0, right.inside + right.wall, beyond))
    padding = draw.log_uniform(0.5, 12.0) * (1.0 + 0.6 * draw.smooth(rows, columns, 5)).clamp(min=0.0)
    fluid = draw.chance(0.12) * draw.uniform(2.0, 12.0)
    canvas.paint(heart + padding + fluid, Tissue.FAT, draw.chance(0.85))
    canvas.paint(heart + fluid, Tissue.FLUID, (fluid > 0).float())


def _paint_base(
    draw: Draw, canvas: Canvas, left: _LeftVentricle, u: Tensor, v: Tensor, level: Tensor
) -> None:
    """Paint atria and great vessels beside the ventricles of basal slices: radius 10 to 28 mm, to cover."""
    basal = (level < 0.2).float()
    for _ in range(2):
        way = draw.uniform(-2.2, 1.2)
        reach = left.size * draw.uniform(1.1, 1.7)
        blob = draw.uniform(10.0, 28.0)
        shape = ellipse(u - reach * torch.cos(way), v - reach * torch.sin(way), blob, blob * 0.8)
        canvas.paint(shape + 2.0, Tissue.MUSCLE, basal * draw.chance(0.5))
        canvas.paint(shape, Tissue.VESSEL, basal * draw.chance(0.6))


def _paint_right_ventricle(draw: Draw, canvas: Canvas, right: _RightVentricle) -> None:
    """Paint wall and blood; trabeculae roughen the border between them by up to 2 mm, chosen to cover."""
    rows, columns = right.inside.shape[-2:]
    canvas.paint(right.inside + right.wall, Tissue.MYOCARDIUM, right.there)
    rough = draw.uniform(0.0, 2.0) * draw.smooth(rows, columns, 24)
    canvas.paint(right.inside + rough, Tissue.RV_BLOOD, right.there)


def _paint_lesion(draw: Draw, canvas: Canvas, left: _LeftVentricle, pathology: Tensor) -> None:
    """Paint a sector of the wall, from the endocardium outwards or anywhere across it; chosen to cover."""
    sector = left.radius * _sector(left.angle, draw.uniform(-math.pi, math.pi), draw.uniform(0.2, 1.4))
    inner, thick = draw.chance(0.4) * draw.uniform(0.0, 0.6), draw.uniform(0.3, 1.0)
    across = torch.minimum(-left.endo - inner * left.wall, left.endo + (inner + thick) * left.wall)
    lesion = torch.minimum(torch.minimum(sector, across), left.epi)
    canvas.paint(lesion, Tissue.LESION, is_focal(pathology) * draw.uniform(0.5, 1.0), 2.0)


def _paint_cavity(draw: Draw, canvas: Canvas, left: _LeftVentricle, soft_mm: Tensor) -> None:
    """Paint blood with a border that trabeculae roughen, and up to three papillary muscles in it.

    Readers draw neither. Number, radius (1.5 to 6.5 mm) and place are chosen to cover.
    """
    rows, columns = left.endo.shape[-2:]
    rough = draw.uniform(0.0, 1.5) * draw.smooth(rows, columns, 32).clamp(max=0.0)
    canvas.paint(left.endo + rough, Tissue.LV_BLOOD, soft_mm=soft_mm)
    for _ in range(3):
        way = draw.uniform(0.0, 2.0 * math.pi)
        thick = draw.uniform(1.5, 6.5)
        reach = (left.size - left.wall.mean((1, 2), keepdim=True)).clamp(min=4.0)
        inward = reach - thick * draw.uniform(0.1, 1.6)
        pu, pv = left.u - inward * torch.cos(way), left.v - inward * torch.sin(way)
        muscle = torch.minimum(ellipse(pu, pv, thick, thick * draw.uniform(0.6, 1.3)), left.endo)
        canvas.paint(muscle, Tissue.MYOCARDIUM, draw.chance(0.6) * draw.uniform(0.3, 1.0), soft_mm)


def _paint_outflow_tract(
    draw: Draw,
    canvas: Canvas,
    left: _LeftVentricle,
    u: Tensor,
    v: Tensor,
    level: Tensor,
    soft_mm: Tensor,
    *,
    usual: bool,
) -> Tensor:
    """Paint the outflow tract and return where it lies, bool ``(n, rows, columns)``.

    At the very base it leaves through the wall beside the septum, away from the diaphragm, in half of the
    slices; width and depth are chosen to cover.
    """
    way = _sector(torch.atan2(v, u), draw.uniform(-2.9, -1.9), draw.uniform(0.2, 0.5))
    beyond = torch.minimum(left.epi + draw.uniform(5.0, 25.0), 2.0 - left.endo)
    tract = torch.minimum(way * left.radius, beyond)
    opens = draw.chance(0.5) * (level < 0.08) * (0.0 if usual else 1.0)
    canvas.paint(tract, Tissue.LV_BLOOD, opens, soft_mm)
    return (tract > 0) & (opens > 0)


def _wall_and_cavity(left: _LeftVentricle, pixel_mm: float, soft_epi: Tensor, soft_endo: Tensor) -> Tensor:
    """Return labels 0 background, 1 cavity, 2 myocardium, int64 ``(n, rows, columns)``."""
    rim_epi, rim_endo = (
        torch.minimum(_PURE * (pixel_mm + soft) + _OFFSET * left.wall, _THICKEST_RIM * left.wall)
        for soft in (soft_epi, soft_endo)
    )
    heart = (left.epi > rim_epi).long()
    return heart + heart * (left.endo <= -rim_endo).long()
