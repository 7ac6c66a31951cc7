"""What training minimises."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from model.unet import CLASSES


def jaccard_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """One minus the soft Jaccard index of cavity and myocardium, over the batch (Kalapos et al. 2023, 2.3).

    Args:
        scores: logits ``(n, 3, h, w)``.
        labels: class of each pixel, int64 ``(n, h, w)``.

    Returns:
        Scalar between 0 and 1.
    """
    both, either, _ = _overlaps(scores, labels)
    return 1.0 - (both.sum(dim=0) / either.sum(dim=0).clamp(min=1.0)).mean()


def jaccard_loss_by_slice(scores: Tensor, labels: Tensor) -> Tensor:
    """One minus the mean of the soft Jaccard indices of every slice and class that is there.

    Over the batch, large hearts are nearly all of the pixels; here a tiny apical slice counts as much, as it
    does where figures are means over slices.

    Args:
        scores: logits ``(n, 3, h, w)``.
        labels: class of each pixel, int64 ``(n, h, w)``.

    Returns:
        Scalar between 0 and 1; 1 where no slice holds any heart.
    """
    both, either, there = _overlaps(scores, labels)
    return 1.0 - (both / either.clamp(min=1.0) * there).sum() / there.sum().clamp(min=1.0)


def _overlaps(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Soft intersection, union and presence of cavity and myocardium, each ``(n, 2)``."""
    probabilities = torch.softmax(scores.float(), dim=1)[:, 1:]
    truth = functional.one_hot(labels, CLASSES).movedim(-1, 1)[:, 1:].float()
    both = probabilities * truth
    either = probabilities + truth - both
    return both.sum(dim=(2, 3)), either.sum(dim=(2, 3)), truth.amax(dim=(2, 3))
