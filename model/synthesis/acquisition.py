"""Effects of scanner and archive on an image: resolution, noise, artefacts, field of view, window."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from model.synthesis.contrast import ImageKind
from model.synthesis.randomness import Draw

_REACH: Final = 4
"""Pixels on either side that motion blurs."""


def resolved(draw: Draw, images: Tensor, pixel_mm: float) -> Tensor:
    """Return images ``(n, images, rows, columns)`` cut from a finite part of k-space, with its ringing.

    Voxels of 0.9 to 2.8 mm, up to half as much again along one axis, with a window that damps the ringing;
    finer ones have the size of the image's pixels. The ranges are chosen wide.
    """
    rows, columns = images.shape[-2:]
    voxel, window = draw.log_uniform(0.9, 2.8), draw.log_uniform(0.5, 2.5)
    longer = 1.0 + draw.uniform(0.0, 0.5) * draw.chance(0.7)
    along = draw.chance(0.5) > 0
    spread_rows, spread_columns = torch.where(along, longer, 1.0), torch.where(along, 1.0, longer)

    def kernel(size: int, spread: Tensor) -> Tensor:
        place = torch.arange(size, device=draw.device) * pixel_mm
        apart = (place[:, None] - place)[None] / (voxel * spread)
        taken = torch.sinc(apart * (voxel * spread / pixel_mm).clamp(max=1.0))
        taken = taken * torch.exp(-0.5 * (apart / window) ** 2)
        return (taken / taken.sum(dim=2, keepdim=True))[:, None]

    return kernel(rows, spread_rows) @ images @ kernel(columns, spread_columns).mT


def _moving(draw: Draw, image: Tensor) -> Tensor:
    """Blur a little in every direction and, in a quarter of the slices, more along the heart's motion."""
    n = image.shape[0]
    base = draw.uniform(0.2, 0.6)
    motion = torch.where(draw.chance(0.25) > 0, draw.log_uniform(0.5, 2.0), base)
    way = draw.uniform(0.0, math.pi)
    offset = torch.arange(-_REACH, _REACH + 1, device=image.device, dtype=image.dtype)
    x, y = offset[None, None, :], offset[None, :, None]
    along, across = x * torch.cos(way) + y * torch.sin(way), y * torch.cos(way) - x * torch.sin(way)
    kernel = torch.exp(-0.5 * ((along / torch.maximum(motion, base)) ** 2 + (across / base) ** 2))
    kernel = kernel / kernel.sum(dim=(1, 2), keepdim=True)
    padded = functional.pad(image[None], (_REACH,) * 4, mode="replicate")
    return functional.conv2d(padded, kernel[:, None], groups=n)[0]


def _received(draw: Draw, image: Tensor, is_map: Tensor, pixel_mm: float) -> Tensor:
    """Give all images their resolution, and magnitude images coil shading and Rician noise."""
    rows, columns = image.shape[-2:]
    shading = torch.exp(draw.uniform(0.0, 0.5) * draw.smooth(rows, columns, 2))
    level = image.amax((1, 2), keepdim=True) * draw.log_uniform(0.005, 0.08)
    noisy = image * shading + level * draw.white(rows, columns)
    parts = torch.stack([torch.where(is_map, image, noisy), level * draw.white(rows, columns)], dim=1)
    real, imaginary = resolved(draw, parts, pixel_mm).unbind(dim=1)
    return torch.where(is_map, real, torch.sqrt(real**2 + imaginary**2))


def _ghosts(draw: Draw, image: Tensor) -> Tensor:
    """A faint copy displaced along one axis, as breathing and flow make it."""
    shift = int(draw.uniform(0.15, 0.5)[0].item() * image.shape[-1])
    axis = 1 + int(draw.chance(0.5)[0].item())
    strength = draw.chance(0.1) * draw.uniform(0.02, 0.2)
    return image * (1.0 - strength) + strength * torch.roll(image, shift, dims=axis)


def _bands(draw: Draw, image: Tensor, labels: Tensor) -> Tensor:
    """Dark lines of bSSFP, where the field is half a cycle per echo off; over the heart it is shimmed."""
    rows, columns = image.shape[-2:]
    field = draw.uniform(0.1, 0.5) * draw.smooth(rows, columns, 2)
    heart = (labels > 0).float()
    there = (field * heart).sum((1, 2), keepdim=True) / heart.sum((1, 2), keepdim=True).clamp(min=1.0)
    cycles = field - there + draw.normal(0.0, 0.1)
    band = torch.exp(-((torch.cos(math.pi * cycles) / 0.15) ** 2))
    return image * (1.0 - draw.chance(0.15) * draw.uniform(0.2, 0.8) * band)


def _field_of_view(draw: Draw, image: Tensor, labels: Tensor) -> Tensor:
    """Cut margins off and fill them with zeros or mirrored image, as archives pad to a square.

    A margin ends before the ventricle, and a mirrored one before its mirror image would appear.
    """
    out = image
    mirror = draw.chance(0.5)[:, :, 0]
    for axis, other in ((1, 2), (2, 1)):
        size = image.shape[axis]
        index = torch.arange(size, device=image.device)
        occupied = (labels > 0).any(dim=other)
        first = torch.where(occupied, index, size).amin(dim=1, keepdim=True)
        last = torch.where(occupied, index, -1).amax(dim=1, keepdim=True)
        spare = torch.minimum(first, size - 1 - last).clamp(min=0) * torch.where(mirror > 0, 0.45, 0.9)
        cut = draw.chance(0.4)[:, :, 0] * torch.minimum(draw.uniform(0.0, 0.22)[:, :, 0] * size, spare)
        low, high = cut.round(), (size - 1 - cut).round()
        source = torch.where(index < low, 2 * low - index, index.float())
        source = torch.where(source > high, 2 * high - source, source).long().clamp(0, size - 1)
        outside = ((index < low) | (index > high)) & (mirror == 0)
        if axis == 1:
            source, outside = source[:, :, None], outside[:, :, None]
        else:
            source, outside = source[:, None, :], outside[:, None, :]
        out = torch.where(outside, 0.0, torch.gather(out, axis, source.expand_as(out)))
    return out


def _window(draw: Draw, image: Tensor, kinds: Tensor) -> Tensor:
    """Apply the display windows of saved images: clipping and eight bits; only where contrast survives."""
    middle = image.flatten(1).quantile(0.6, dim=1)[:, None, None].clamp(min=1e-6)
    others = torch.where(kinds == ImageKind.T1_MAP, 1200.0, 650.0)
    usual = torch.where(kinds == ImageKind.T2_MAP, 90.0, others)[:, None, None]
    is_map = (kinds <= ImageKind.T2_MAP)[:, None, None]
    top = torch.where(is_map, torch.maximum(usual, middle), middle) * draw.log_uniform(1.0, 3.0)
    clipped = image.clamp(min=0.0).minimum(top)
    eight = torch.round(clipped / top * 255.0) / 255.0 * top
    shown = torch.where(draw.chance(0.3) > 0, eight, clipped)
    return torch.where(draw.chance(0.7) > 0, shown, image)


def degrade(draw: Draw, image: Tensor, kinds: Tensor, labels: Tensor, pixel_mm: float) -> Tensor:
    """Return ideal images ``(n, rows, columns)`` with the artefacts of a scanner."""
    is_map = (kinds <= ImageKind.T2_MAP)[:, None, None]
    image = _bands(draw, image, labels)
    return _ghosts(draw, _moving(draw, _received(draw, image, is_map, pixel_mm)))


def present(draw: Draw, image: Tensor, kinds: Tensor, labels: Tensor) -> Tensor:
    """Return images ``(n, rows, columns)`` with the window and field of view of an archive."""
    return _field_of_view(draw, _window(draw, image, kinds), labels)
