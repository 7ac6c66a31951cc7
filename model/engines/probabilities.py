"""The network with its softmax, in float32 and in half precision: what every compiler is given."""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from model.unet import UNet


class Probabilities(nn.Module):
    """The network with the softmax behind it, so that a compiler may fuse both."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Class probabilities ``(n, 3, h, w)`` of prepared images ``(n, 1, h, w)``."""
        return torch.softmax(self.network(images), dim=1)


class HalfProbabilities(nn.Module):
    """As :class:`Probabilities`, float32 in and out, float16 between; the softmax is float32.

    The precision stands in the graph, because TensorRT 11 and TensorRT-RTX take it from there alone.
    """

    def __init__(self, network: UNet) -> None:
        """Take a copy of a float32 network."""
        super().__init__()
        self.network = folded(network).half()

    def forward(self, images: Tensor) -> Tensor:
        """Class probabilities ``(n, 3, h, w)`` of prepared images ``(n, 1, h, w)``."""
        return torch.softmax(self.network(images.half()).float(), dim=1)


def folded(network: UNet) -> UNet:
    """A copy of a network whose batch normalisations are part of the convolutions before them.

    Needed before float16: it does not hold running variances above 65504, and trained networks have them.
    """
    made = copy.deepcopy(network).eval()
    for module in list(made.modules()):
        for (before, convolution), (name, norm) in pairwise(list(module.named_children())):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, before, fuse_conv_bn_eval(convolution, norm))
                setattr(module, name, nn.Identity())
    return made.requires_grad_(False)
