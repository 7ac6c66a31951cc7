"""Named recipes of trainings on labelled cases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Recipe:
    """Numbers of a training.

    Attributes:
        name: as on the command line.
        epochs: passes over the training slices.
        weighted_until: number of first epochs that also use the images that the maps were made from.
        batch: slices per step.
        learning_rate: at the start of each cosine.
        weight_decay: decoupled (AdamW); 0 is Adam.
        restart_epochs: length of the first cosine; each next one is as long, and 0 makes one of all epochs.
        cross_entropy: weight of the cross-entropy beside the Jaccard loss.
        clip: largest norm of the gradient; 0 for any.
    """

    name: str
    epochs: int
    weighted_until: int
    batch: int
    learning_rate: float
    weight_decay: float
    restart_epochs: int
    cross_entropy: float
    clip: float


PUBLISHED: Final = Recipe(
    name="published",
    epochs=150,
    weighted_until=70,
    batch=16,
    learning_rate=1e-3,
    weight_decay=0.0,
    restart_epochs=10,
    cross_entropy=0.0,
    clip=0.0,
)
"""Kalapos et al. 2023, section 2.3, where batch size, learning rate and length of a cosine are not stated."""

FINE_TUNE: Final = Recipe(
    name="fine-tune",
    epochs=40,
    weighted_until=0,
    batch=8,
    learning_rate=1e-4,
    weight_decay=1e-4,
    restart_epochs=0,
    cross_entropy=0.5,
    clip=5.0,
)
"""From the shipped weights to a site's own cases."""

RECIPES: Final = {recipe.name: recipe for recipe in (PUBLISHED, FINE_TUNE)}
