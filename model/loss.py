"""Losses of a training: soft Jaccard over the batch and slice by slice, by MONAI (extra ``train``)."""

from __future__ import annotations

from typing import Final

from monai.losses import DiceLoss
from torch import Tensor

_OPTIONS: Final = {
    "include_background": False,
    "to_onehot_y": True,
    "softmax": True,
    "jaccard": True,
    "smooth_nr": 0.0,
    "smooth_dr": 1e-7,
}
_BATCH: Final = DiceLoss(batch=True, **_OPTIONS)
_SLICES: Final = DiceLoss(reduction="none", **_OPTIONS)


def jaccard_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Return one minus the soft Jaccard index of cavity and myocardium, over the batch.

    Source: Kalapos et al. 2023, section 2.3.

    Args:
        scores: logits ``(n, 3, h, w)``.
        labels: class of each pixel, int64 ``(n, h, w)``.

    Returns:
        Scalar between 0 and 1.
    """
    loss: Tensor = _BATCH(scores.float(), labels[:, None])
    return loss


def jaccard_loss_by_slice(scores: Tensor, labels: Tensor) -> Tensor:
    """Return one minus the mean of the soft Jaccard indices of every slice and class that is there.

    Over the batch, large hearts are nearly all of the pixels; here a tiny apical slice counts as much, as it
    does where figures are means over slices.

    Args:
        scores: logits ``(n, 3, h, w)``.
        labels: class of each pixel, int64 ``(n, h, w)``.

    Returns:
        Scalar between 0 and 1; 1 where no slice holds any heart.
    """
    there = (labels[:, None] == labels.new_tensor([1, 2])[:, None, None]).flatten(2).any(dim=2)
    index: Tensor = 1.0 - _SLICES(scores.float(), labels[:, None]).flatten(1)
    return 1.0 - (index * there).sum() / there.sum().clamp(min=1)
