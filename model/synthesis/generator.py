"""Batches of labelled synthetic images, made as they are needed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from model.frame import FRAME_MM
from model.synthesis.acquisition import degrade, present
from model.synthesis.anatomy import make_anatomy
from model.synthesis.apex import draw_small_apices
from model.synthesis.contrast import ImageKind, Mix, make_images
from model.synthesis.pathology import diseased, draw_pathology
from model.synthesis.physics import t1_maps, t2_maps
from model.synthesis.randomness import Draw
from model.synthesis.tissues import draw_tissue_values


@dataclass(frozen=True, slots=True)
class Batch:
    """Labelled images.

    Attributes:
        images: network input, float32 ``(n, rows, columns)``.
        unscaled: the same before normalisation; maps are in ms.
        labels: 0 background, 1 LV cavity, 2 myocardium, int64 ``(n, rows, columns)``.
        kinds: :class:`~model.synthesis.contrast.ImageKind` of each, ``(n,)``.
        level: 0 at the base to 1 at the apex, ``(n,)``.
        pathology: :class:`~model.synthesis.pathology.Pathology` of each, ``(n,)``.
        insertions: anterior and inferior insertion point of the right ventricle, (x, y) in pixels,
            ``(n, 2, 2)``; NaN where there is none in the image.
    """

    images: Tensor
    unscaled: Tensor
    labels: Tensor
    kinds: Tensor
    level: Tensor
    pathology: Tensor
    insertions: Tensor


def normalise_batch(images: Tensor) -> Tensor:
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
    simulated: float = 0.5,
    apices: float = 0.0,
) -> Batch:
    """Return ``n`` labelled images of ``size`` x ``size`` pixels of 1.5 mm on the generator's device.

    Args:
        n: slices.
        size: rows and columns.
        generator: source of randomness; its seed fixes the batch.
        mix: kinds of images.
        simulated: share of the batches whose maps come from simulated images and a fit; else from tissue
            values with noise.
        apices: share of small apices (:mod:`model.synthesis.apex`); the other slices are the same without.
    """
    draw = Draw(n, generator)
    pathology = draw_pathology(draw)
    small = draw_small_apices(draw.aside(), apices) if apices else None
    anatomy = make_anatomy(draw, size, size, FRAME_MM, pathology=pathology, apices=small)
    kinds = (mix or Mix()).draw(draw)
    post_contrast = kinds == ImageKind.T1_MAP_POST
    values = diseased(draw, draw_tissue_values(draw, post_contrast), pathology, post_contrast)
    images = degrade(draw, make_images(draw, anatomy, kinds, values), kinds, anatomy.labels, FRAME_MM)
    if float(draw.uniform(0.0, 1.0)[0]) < simulated:
        # Only the rows of each kind are fitted: the fit takes most of the time.
        for rows, maps in ((kinds <= ImageKind.T1_MAP_POST, t1_maps), (kinds == ImageKind.T2_MAP, t2_maps)):
            index = rows.nonzero()[:, 0]
            if len(index):
                some = Draw(len(index), generator)
                found = maps(some, anatomy.of(index), values.of(index), FRAME_MM)
                images = images.index_copy(0, index, found)
    images = present(draw, images, kinds, anatomy.labels)
    return Batch(
        normalise_batch(images), images, anatomy.labels, kinds, anatomy.level, pathology, anatomy.insertions
    )
