"""Named recipes: everything that decides what a training does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a network is trained.

    Attributes:
        name: what the user calls it.
        synthetic: learn from synthetic slices, made as they are needed; else from labelled cases.
        epochs: passes over the labelled training slices, or over ``slices_per_epoch`` synthetic ones.
        weighted_until: number of first epochs that also show the images that the maps were made from and,
            of synthetic slices, many contrasts that no scanner makes.
        slices_per_epoch: of synthetic training; 0 with labelled cases.
        batch: slices per step.
        size: rows and columns of the pictures, pixels of 1.5 mm.
        full_frames: share of the synthetic batches that show the network's whole frame, and what lies far
            from the heart, instead of ``size``; one share for each of the equal parts of a training.
        learning_rate: at the start of each cosine.
        weight_decay: decoupled (AdamW); 0 is Adam.
        restart_epochs: length of the first cosine; each next one is as long, and 0 makes one of all epochs.
        by_slice: share of the Jaccard loss that is taken slice by slice instead of over the batch.
        cross_entropy: weight of the cross-entropy beside the Jaccard loss.
        clip: largest norm of the gradient; 0 for any.
        augment: random crop and resize, contrast and intensity.
    """

    name: str
    synthetic: bool
    epochs: int
    weighted_until: int
    slices_per_epoch: int
    batch: int
    size: int
    full_frames: tuple[float, ...]
    learning_rate: float
    weight_decay: float
    restart_epochs: int
    by_slice: float
    cross_entropy: float
    clip: float
    augment: bool


PUBLISHED: Final = Recipe(
    name="published",
    synthetic=False,
    epochs=150,
    weighted_until=70,
    slices_per_epoch=0,
    batch=16,
    size=224,
    full_frames=(),
    learning_rate=1e-3,
    weight_decay=0.0,
    restart_epochs=10,
    by_slice=0.0,
    cross_entropy=0.0,
    clip=0.0,
    augment=True,
)
"""Kalapos et al. 2023, section 2.3, where batch size, learning rate and length of a cosine are not stated."""

SYNTHETIC: Final = Recipe(
    name="synthetic",
    synthetic=True,
    epochs=100,
    weighted_until=60,
    slices_per_epoch=2000,
    batch=12,
    size=160,
    full_frames=(0.25, 0.5, 0.75),
    learning_rate=6e-4,
    weight_decay=1e-4,
    restart_epochs=0,
    by_slice=0.5,
    cross_entropy=0.5,
    clip=5.0,
    augment=False,
)
"""The shipped weights are made like this; the Jaccard loss alone starts too slowly from random weights. Small
pictures teach the most in a given time, whole frames what the network is shown in the end."""

FINE_TUNE: Final = Recipe(
    name="fine-tune",
    synthetic=False,
    epochs=40,
    weighted_until=0,
    slices_per_epoch=0,
    batch=8,
    size=224,
    full_frames=(),
    learning_rate=1e-4,
    weight_decay=1e-4,
    restart_epochs=0,
    by_slice=0.0,
    cross_entropy=0.5,
    clip=5.0,
    augment=True,
)
"""From the shipped weights to a site's own cases."""

RECIPES: Final = {recipe.name: recipe for recipe in (SYNTHETIC, PUBLISHED, FINE_TUNE)}
