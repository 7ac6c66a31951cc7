"""The original U-Net (Ronneberger et al. 2015), padded and normalised: the study's second architecture."""

from __future__ import annotations

import itertools
from typing import Final

import torch
from torch import Tensor, nn

from model.architecture import CLASSES

CHANNELS: Final = (64, 128, 256, 512, 1024)


def _twice(channels: int, out: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inner in (channels, out):
        layers += [nn.Conv2d(inner, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class OriginalUNet(nn.Module):
    """Class scores of every pixel; 31.0 million parameters with the paper's channels.

    Args:
        channels: of each level, from the full resolution down.
    """

    def __init__(self, channels: tuple[int, ...] = CHANNELS) -> None:
        super().__init__()
        down, up = (1, *channels[:-1]), channels[::-1]
        self.down = nn.ModuleList(_twice(a, b) for a, b in zip(down, channels, strict=True))
        self.pool = nn.MaxPool2d(2)
        self.grow = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in itertools.pairwise(up))
        self.up = nn.ModuleList(_twice(2 * b, b) for b in up[1:])
        self.head = nn.Conv2d(channels[0], CLASSES, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Scores (logits) ``(n, 3, h, w)`` of prepared images ``(n, 1, h, w)``; h and w multiples of 16."""
        skips: list[Tensor] = []
        x = images
        for number, block in enumerate(self.down):
            x = block(x if number == 0 else self.pool(x))
            skips.append(x)
        for grow, block, skip in zip(self.grow, self.up, skips[-2::-1], strict=True):
            x = block(torch.cat([skip, grow(x)], dim=1))
        scores: Tensor = self.head(x)
        return scores
