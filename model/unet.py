"""The network: a U-Net with a ResNet-50 encoder and a light decoder of eight convolutions.

Source: Kalapos et al. 2023 (section 2.3); encoder: He et al. 2016 with the stride in the 3 x 3 convolution,
as torchvision builds it. Encoder parameters carry torchvision's names, so an ImageNet checkpoint of
``torchvision.models.resnet50`` loads into :class:`ResNet50Encoder` directly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.architecture import CLASSES, DECODER, INSERTIONS, STAGES, STEM


class Bottleneck(nn.Module):
    """Residual block of 1 x 1, 3 x 3 and 1 x 1 convolutions; the last widens to four times ``planes``."""

    def __init__(self, channels: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != 4 * planes:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, 4 * planes, 1, stride, bias=False), nn.BatchNorm2d(4 * planes)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(n, 4 planes, h / stride, w / stride)`` of features ``(n, channels, h, w)``."""
        identity = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        out: Tensor = self.relu(self.bn3(self.conv3(x)) + identity)
        return out


def _stage(channels: int, planes: int, blocks: int, stride: int) -> nn.Sequential:
    first = Bottleneck(channels, planes, stride)
    return nn.Sequential(first, *(Bottleneck(4 * planes, planes, 1) for _ in range(blocks - 1)))


class ResNet50Encoder(nn.Module):
    """ResNet-50 without its classifier, for images of one channel."""

    channels: Final = (STEM, *(4 * planes for planes, _, _ in STAGES))

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, STEM, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            _stage(before, *stage) for before, stage in zip(self.channels, STAGES, strict=False)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size of images ``(n, 1, h, w)``."""
        features = [self.relu(self.bn1(self.conv1(x)))]
        x = self.maxpool(features[0])
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            features.append(x)
        return features

    def load_imagenet(self, state: Mapping[str, Tensor]) -> None:
        """Take the weights of torchvision's ``resnet50``.

        The three colour channels of ``conv1`` are added up, which is what a grey image repeated three times
        would see; the classifier ``fc`` is left out.

        Raises:
            RuntimeError: the state is not that of a ResNet-50.
        """
        own = {name: value for name, value in state.items() if not name.startswith("fc.")}
        if "conv1.weight" in own:
            own["conv1.weight"] = own["conv1.weight"].sum(dim=1, keepdim=True)
        self.load_state_dict(own)


class DecoderBlock(nn.Module):
    """Double the resolution, join the encoder's features of that resolution, and mix by two convolutions."""

    def __init__(self, below: int, skip: int, out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(below + skip, out, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        """Features ``(n, out, 2h, 2w)`` of ``(n, below, h, w)`` and ``(n, skip, 2h, 2w)``."""
        x = functional.interpolate(below, scale_factor=2.0, mode="nearest")
        x = self.relu(self.bn1(self.conv1(torch.cat([x, skip], dim=1))))
        out: Tensor = self.relu(self.bn2(self.conv2(x)))
        return out


class UNet(nn.Module):
    """Class scores of every pixel; 32.5 million parameters, 15.6 GFLOP at 224 x 224.

    The four decoder blocks end at half resolution; the head predicts the four pixels that each of those
    features stands for and lays them out side by side (Shi et al. 2016), which costs next to nothing where
    a fifth block at full resolution would be the dearest of all.

    Args:
        insertions: heat of both insertion points beside the classes, by a head of its own.
    """

    def __init__(self, *, insertions: bool = False) -> None:
        super().__init__()
        self.encoder = ResNet50Encoder()
        skips = self.encoder.channels[-2::-1]
        below = (self.encoder.channels[-1], *DECODER[:-1])
        self.decoder = nn.ModuleList(
            DecoderBlock(b, s, out) for b, s, out in zip(below, skips, DECODER, strict=True)
        )
        self.head = nn.Conv2d(DECODER[-1], 4 * CLASSES, 1)
        self.insertion_head = nn.Conv2d(DECODER[-1], 4 * INSERTIONS, 1) if insertions else None
        self.shuffle = nn.PixelShuffle(2)
        if self.head.weight.is_meta:
            return  # weights are about to be loaded; to draw them there costs seconds of imports
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if self.insertion_head is not None:
            # Hardly any pixel is near a point: a training starts from that.
            nn.init.normal_(self.insertion_head.weight, std=0.01)
            nn.init.constant_(self.insertion_head.get_parameter("bias"), -6.0)

    @property
    def channels(self) -> int:
        """Channels of the scores: 3, or 5 with the heat of both insertion points."""
        return CLASSES if self.insertion_head is None else CLASSES + INSERTIONS

    def forward(self, images: Tensor) -> Tensor:
        """Scores (logits) of prepared images ``(n, 1, h, w)``; h and w multiples of 32.

        ``(n, 3, h, w)`` of the classes, or ``(n, 5, h, w)`` where the heat of both insertion points follows.
        """
        *skips, x = self.encoder(images)
        for block, skip in zip(self.decoder, reversed(skips), strict=True):
            x = block(x, skip)
        scores: Tensor = self.shuffle(self.head(x))
        if self.insertion_head is not None:
            scores = torch.cat([scores, self.shuffle(self.insertion_head(x))], dim=1)
        return scores
