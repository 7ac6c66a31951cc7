"""The network with its softmax, in float32 and in float16: the input of every compiler."""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from model.unet import CLASSES, UNet


class Probabilities(nn.Module):
    """The network followed by the softmax, so that a compiler may fuse both."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return class probabilities ``(n, 3, h, w)`` of prepared images ``(n, 1, h, w)``."""
        return torch.softmax(self.network(images)[:, :CLASSES], dim=1)


class HalfProbabilities(nn.Module):
    """The same with float32 input and output, float16 layers and a float32 softmax.

    The precision is part of the graph: TensorRT 11 and TensorRT-RTX read it from there alone.
    """

    def __init__(self, network: UNet) -> None:
        """Copy a float32 network."""
        super().__init__()
        self.network = folded(network).half()

    def forward(self, images: Tensor) -> Tensor:
        """Return class probabilities ``(n, 3, h, w)`` of prepared images ``(n, 1, h, w)``."""
        return torch.softmax(self.network(images.half())[:, :CLASSES].float(), dim=1)


def folded(network: UNet) -> UNet:
    """Return a copy of a network with its batch normalisations folded into the convolutions before them.

    Needed before float16, which does not hold running variances above 65504 as trained networks have them.
    """
    made = copy.deepcopy(network).eval()
    for module in list(made.modules()):
        for (before, convolution), (name, norm) in pairwise(list(module.named_children())):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, before, fuse_conv_bn_eval(convolution, norm))
                setattr(module, name, nn.Identity())
    return made.requires_grad_(False)
