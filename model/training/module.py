"""Lightning module: training step, validation step and optimiser."""

from __future__ import annotations

from typing import Any, Final

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics.functional.classification import multiclass_f1_score

from model.architecture import CLASSES
from model.loss import jaccard_loss
from model.training.data import Sample
from model.training.recipe import Recipe

FIGURES: Final = "figures"
"""Key of a checkpoint: the figures of its epoch by name."""


class SegmentationModule(lightning.LightningModule):
    """Network with its loss and optimiser.

    Args:
        network: scores ``(n, 3 or 5, h, w)`` of images ``(n, 1, h, w)``.
        recipe: numbers of the training.
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
        images, labels = batch
        # The heat of insertion points, where the network has it, is not learned from labelled cases.
        scores = self.network(images).float()[:, :CLASSES]
        loss = jaccard_loss(scores, labels)
        if self._recipe.cross_entropy:
            loss = loss + self._recipe.cross_entropy * functional.cross_entropy(scores, labels)
        dice = multiclass_f1_score(scores, labels, CLASSES, average="none")
        figures = {"loss": loss.detach(), "cavity": dice[1], "myocardium": dice[2]}
        named = {f"{part}_{name}": value for name, value in figures.items()}
        self.log_dict(named, prog_bar=True, batch_size=len(images), on_epoch=True, on_step=False)
        return loss

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the figures of the epoch to a checkpoint."""
        checkpoint[FIGURES] = {name: float(value) for name, value in self.trainer.callback_metrics.items()}

    def configure_optimizers(self) -> Any:
        """Adam or AdamW, with cosines."""
        recipe = self._recipe
        kind = torch.optim.AdamW if recipe.weight_decay else torch.optim.Adam
        optimizer = kind(self.network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        period = recipe.restart_epochs or recipe.epochs
        schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=period)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "epoch"}}
