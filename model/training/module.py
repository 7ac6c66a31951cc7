"""One step of training, as Lightning wants it."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.loss import jaccard_loss, jaccard_loss_by_slice
from model.training.data import Sample
from model.training.recipe import Recipe


class SegmentationModule(lightning.LightningModule):
    """A network, its loss, its optimiser.

    Args:
        network: scores ``(n, 3, h, w)`` of pictures ``(n, 1, h, w)``.
        recipe: how to train it.
    """

    def __init__(self, network: nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.network = network
        self._recipe = recipe

    def training_step(self, batch: Sample, _index: int) -> Tensor:
        """Loss of a batch."""
        return self._loss(batch, "train")

    def validation_step(self, batch: Sample, _index: int) -> Tensor:
        """Loss and Dice of a batch that is not learned from."""
        return self._loss(batch, "validation")

    def _loss(self, batch: Sample, part: str) -> Tensor:
        pictures, labels = batch
        scores = self.network(pictures).float()
        by_slice = self._recipe.by_slice
        loss = (1.0 - by_slice) * jaccard_loss(scores, labels)
        if by_slice:
            loss = loss + by_slice * jaccard_loss_by_slice(scores, labels)
        if self._recipe.cross_entropy:
            loss = loss + self._recipe.cross_entropy * functional.cross_entropy(scores, labels)
        found = scores.argmax(dim=1)
        size = len(pictures)
        self.log(f"{part}_loss", loss.detach(), prog_bar=True, batch_size=size, on_epoch=True, on_step=False)
        for name, value in (("cavity", 1), ("myocardium", 2)):
            ours, theirs = found == value, labels == value
            dice = 2.0 * (ours & theirs).sum() / (ours.sum() + theirs.sum()).clamp(min=1)
            self.log(f"{part}_{name}", dice, prog_bar=True, batch_size=size, on_epoch=True, on_step=False)
        return loss

    def configure_optimizers(self) -> Any:
        """Adam or AdamW, with cosines."""
        recipe = self._recipe
        kind = torch.optim.AdamW if recipe.weight_decay else torch.optim.Adam
        optimizer = kind(self.network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        period = recipe.restart_epochs or recipe.epochs
        schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=period)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "epoch"}}
