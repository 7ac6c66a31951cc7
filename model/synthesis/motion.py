"""Breathing in a simulated series: a known displacement field for each image.

Position over time after Lujan et al. 1999, Med Phys 26:715: most of a cycle near the end of expiration. The
heart moves along the patient's axis (towards the diaphragm) with some obliquity. Its surroundings move less
with the distance, the outline of the body hardly (McLeish et al. 2002, IEEE Trans Med Imaging 21:1142).
Extents without a source are assumptions, wide enough to cover patients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal

import torch
from torch import Tensor
from torch.nn import functional

from model.synthesis.randomness import Draw

MotionKind = Literal["rigid", "elastic"]
"""``rigid``: one displacement of the whole heart; ``elastic``: each part has its own."""

_INNER_MM: Final = 55.0
"""Distance from the centre of the ventricle within which all tissue moves alike: both ventricles."""
_OUTER_MM: Final = 130.0
"""Distance beyond which nothing moves."""
_DWELL: Final = 4
"""Power of the cosine in Lujan's model (2 n)."""


def breathing(
    draw: Draw, times_ms: Sequence[float], heart: Tensor, pixel_mm: float, largest_mm: float, kind: MotionKind
) -> Tensor:
    """Return the displacement of the tissue in every image, (x, y), mm, ``(images, 2, rows, columns)``.

    A pixel at p of a moved image shows the tissue that lies at p plus the displacement at rest. One image
    lies at rest, another one at the largest displacement.

    Args:
        draw: source of randomness, of one slice.
        times_ms: time at which each image is acquired, at least two.
        heart: bool ``(rows, columns)``; displacements are ``largest_mm`` at most there.
        pixel_mm: pixel size.
        largest_mm: largest displacement of the heart.
        kind: rigid or elastic.
    """
    rows, columns = heart.shape
    period, phase = draw.uniform(3000.0, 6000.0)[0, 0, 0], draw.uniform(0.0, math.pi)[0, 0, 0]
    times = torch.tensor(times_ms, dtype=torch.float32)
    position = torch.cos(math.pi * times / period + phase) ** _DWELL
    position = (position - position.min()) / (position.max() - position.min()).clamp(min=1e-6)
    direction = math.pi / 2 + draw.normal(0.0, 0.35)[0, 0, 0]
    field = torch.stack([torch.cos(direction), torch.sin(direction)])[:, None, None].expand(2, rows, columns)
    if kind == "elastic":
        bent = torch.cat([draw.smooth(rows, columns, 4) for _ in range(2)])
        field = field * (1.0 + 0.3 * draw.smooth(rows, columns, 4)) + 0.3 * bent
    field = field * _falloff(heart, pixel_mm)
    field = field / field[:, heart].square().sum(dim=0).sqrt().max()
    return largest_mm * position[:, None, None, None] * field


def _falloff(heart: Tensor, pixel_mm: float) -> Tensor:
    """Return the share of the heart's motion in every pixel, ``(rows, columns)``."""
    centre = heart.nonzero().float().mean(dim=0)
    y, x = (torch.arange(size) - middle for size, middle in zip(heart.shape, centre, strict=True))
    away = torch.hypot(y[:, None], x[None]) * pixel_mm
    share = ((away - _INNER_MM) / (_OUTER_MM - _INNER_MM)).clamp(0.0, 1.0)
    return 0.5 + 0.5 * torch.cos(math.pi * share)


def moved(images: Tensor, field_mm: Tensor, pixel_mm: float) -> Tensor:
    """Return images ``(n, rows, columns)`` at rest as they look after displacement ``(n, 2, rows, columns)``.

    Sampled by cubic convolution; edges are repeated outwards.
    """
    rows, columns = images.shape[-2:]
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    at = torch.stack([x, y]) + field_mm / pixel_mm
    # Pixel centres are whole numbers; the grid runs from -1 to 1 between the outer edges.
    scale = torch.tensor([2.0 / columns, 2.0 / rows])[:, None, None]
    grid = ((at + 0.5) * scale - 1.0).permute(0, 2, 3, 1)
    sampled = functional.grid_sample(
        images[:, None], grid, mode="bicubic", padding_mode="border", align_corners=False
    )
    return sampled[:, 0]
