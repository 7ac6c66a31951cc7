"""Batches of labelled synthetic pictures, made as they are needed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from model.synthesis.acquisition import degrade, present
from model.synthesis.anatomy import make_anatomy
from model.synthesis.contrast import Mix, Picture, make_pictures
from model.synthesis.pathology import diseased, draw_pathology
from model.synthesis.physics import t1_maps, t2_maps
from model.synthesis.randomness import Draw
from model.synthesis.tissues import draw_tissue_values, mean_tissue_values

PIXEL_MM = 1.5


@dataclass(frozen=True, slots=True)
class Parts:
    """What a generator is made of; anatomy is always there. Fewer parts are for measuring what each is worth.

    Attributes:
        physics: tissue values, pathology and maps vary as patients' and scanners' do; else every tissue has
            its mean value.
        acquisition: resolution, noise, artefacts, windows, fields of view; else pictures are perfect.
        randomisation: some pictures have contrasts that no scanner makes.
        simulated: share of the batches whose maps come from simulated images and a fit; else from tissue
            values with noise.
    """

    physics: bool = True
    acquisition: bool = True
    randomisation: bool = True
    simulated: float = 0.5


@dataclass(frozen=True, slots=True)
class Batch:
    """Labelled pictures.

    Attributes:
        images: prepared for the network, float32 ``(n, rows, columns)``.
        pictures: the same before that; maps are in ms.
        labels: 0 background, 1 LV cavity, 2 myocardium, int64 ``(n, rows, columns)``.
        kinds: :class:`~model.synthesis.contrast.Picture` of each, ``(n,)``.
        level: 0 at the base to 1 at the apex, ``(n,)``.
        pathology: :class:`~model.synthesis.pathology.Pathology` of each, ``(n,)``.
        insertions: anterior and inferior insertion point of the right ventricle, (x, y) in pixels,
            ``(n, 2, 2)``; NaN where there is none in the image.
    """

    images: Tensor
    pictures: Tensor
    labels: Tensor
    kinds: Tensor
    level: Tensor
    pathology: Tensor
    insertions: Tensor


def normalise(images: Tensor) -> Tensor:
    """Images ``(n, rows, columns)`` clipped at their 1st and 99th percentile, zero mean, unit variance."""
    flat = images.flatten(1)
    low, high = torch.quantile(flat, torch.tensor([0.01, 0.99], device=images.device), dim=1)[..., None]
    flat = flat.clamp(low, high)
    mean, sd = flat.mean(dim=1, keepdim=True), flat.std(dim=1, keepdim=True)
    return ((flat - mean) / sd.clamp(min=1e-6)).view_as(images)


def make_batch(
    n: int,
    size: int,
    generator: torch.Generator,
    mix: Mix | None = None,
    *,
    parts: Parts | None = None,
) -> Batch:
    """``n`` labelled pictures of ``size`` x ``size`` pixels of 1.5 mm on the generator's device.

    Args:
        n: slices.
        size: rows and columns.
        generator: source of randomness; its seed fixes the batch.
        mix: kinds of pictures.
        parts: what the generator is made of.
    """
    parts, mix = parts or Parts(), mix or Mix()
    if not parts.randomisation:
        mix = replace(mix, random_contrast=0.0)
    draw = Draw(n, generator)
    pathology = (
        draw_pathology(draw) if parts.physics else torch.zeros(n, dtype=torch.int64, device=draw.device)
    )
    anatomy = make_anatomy(draw, size, size, PIXEL_MM, pathology=pathology)
    kinds = mix.draw(draw)
    post_contrast = kinds == Picture.T1_MAP_POST
    if parts.physics:
        values = diseased(draw, draw_tissue_values(draw, post_contrast), pathology, post_contrast)
    else:
        values = mean_tissue_values(draw, post_contrast)
    images = make_pictures(draw, anatomy, kinds, values, noise=parts.physics)
    if parts.acquisition:
        images = degrade(draw, images, kinds, anatomy.labels, PIXEL_MM)
    if parts.physics and parts.simulated and float(draw.uniform(0.0, 1.0)[0]) < parts.simulated:
        # Of the rows of each kind alone: the fit is what takes time.
        for rows, maps in ((kinds <= Picture.T1_MAP_POST, t1_maps), (kinds == Picture.T2_MAP, t2_maps)):
            index = rows.nonzero()[:, 0]
            if len(index):
                some = Draw(len(index), generator)
                images = images.index_copy(
                    0, index, maps(some, anatomy.of(index), values.of(index), PIXEL_MM)
                )
    if parts.acquisition:
        images = present(draw, images, kinds, anatomy.labels)
    return Batch(
        normalise(images), images, anatomy.labels, kinds, anatomy.level, pathology, anatomy.insertions
    )
