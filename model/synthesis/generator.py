"""Batches of labelled synthetic pictures, made as they are needed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from model.synthesis.acquisition import acquire
from model.synthesis.anatomy import make_anatomy
from model.synthesis.contrast import Mix, make_pictures
from model.synthesis.randomness import Draw

PIXEL_MM = 1.5


@dataclass(frozen=True, slots=True)
class Batch:
    """Labelled pictures.

    Attributes:
        images: prepared for the network, float32 ``(n, rows, columns)``.
        labels: 0 background, 1 LV cavity, 2 myocardium, int64 ``(n, rows, columns)``.
        kinds: :class:`~model.synthesis.contrast.Picture` of each, ``(n,)``.
        level: 0 at the base to 1 at the apex, ``(n,)``.
    """

    images: Tensor
    labels: Tensor
    kinds: Tensor
    level: Tensor


def normalise(images: Tensor) -> Tensor:
    """Images ``(n, rows, columns)`` clipped at their 1st and 99th percentile, zero mean, unit variance."""
    flat = images.flatten(1)
    low, high = torch.quantile(flat, torch.tensor([0.01, 0.99], device=images.device), dim=1)[..., None]
    flat = flat.clamp(low, high)
    mean, sd = flat.mean(dim=1, keepdim=True), flat.std(dim=1, keepdim=True)
    return ((flat - mean) / sd.clamp(min=1e-6)).view_as(images)


def make_batch(n: int, size: int, generator: torch.Generator, mix: Mix | None = None) -> Batch:
    """``n`` labelled pictures of ``size`` x ``size`` pixels of 1.5 mm on the generator's device."""
    draw = Draw(n, generator)
    anatomy = make_anatomy(draw, size, size, PIXEL_MM)
    kinds = (mix or Mix()).draw(draw)
    images = acquire(draw, make_pictures(draw, anatomy, kinds), kinds, anatomy.labels)
    return Batch(normalise(images), anatomy.labels, kinds, anatomy.level)
