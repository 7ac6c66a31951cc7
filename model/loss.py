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
    probabilities = torch.softmax(scores.float(), dim=1)[:, 1:]
    truth = functional.one_hot(labels, CLASSES).movedim(-1, 1)[:, 1:].float()
    both = (probabilities * truth).sum(dim=(0, 2, 3))
    either = (probabilities + truth - probabilities * truth).sum(dim=(0, 2, 3))
    return 1.0 - (both / either.clamp(min=1.0)).mean()
