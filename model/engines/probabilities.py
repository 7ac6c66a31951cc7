"""The network with softmax and sigmoid, in float32 and in float16: the input of every compiler."""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from model.architecture import CLASSES
from model.unet import UNet


def output_of_scores(scores: Tensor) -> Tensor:
    """Return the output of :class:`model.engines.base.Engine` of scores, both ``(n, 3 + k, h, w)``.

    Softmax of the classes, sigmoid of the heat.
    """
    probabilities = torch.softmax(scores[:, :CLASSES], dim=1)
    if scores.shape[1] == CLASSES:
        return probabilities
    return torch.cat([probabilities, torch.sigmoid(scores[:, CLASSES:])], dim=1)


class Probabilities(nn.Module):
    """The network followed by softmax and sigmoid, so that a compiler may fuse them."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return the network output ``(n, 3 + k, h, w)`` of prepared images ``(n, 1, h, w)``."""
        return output_of_scores(self.network(images))


class HalfProbabilities(nn.Module):
    """The same with float32 input and output, float16 layers, softmax and sigmoid in float32.

    The precision is part of the graph: TensorRT 11 and TensorRT-RTX read it from there alone.
    """

    def __init__(self, network: UNet) -> None:
        """Copy a float32 network."""
        super().__init__()
        self.network = folded(network).half()

    def forward(self, images: Tensor) -> Tensor:
        """Return the network output ``(n, 3 + k, h, w)`` of prepared images ``(n, 1, h, w)``."""
        return output_of_scores(self.network(images.half()).float())


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
