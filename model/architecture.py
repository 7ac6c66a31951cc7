"""Architecture of the network without a framework: channels, tensors by name, and the order of its layers.

:class:`model.unet.UNet` is the same network in torch, for training. Inference needs no torch: the layers of a
backend (:class:`Layers`), numpy or OpenVINO, are applied to the stored tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

CLASSES: Final = 3
"""Background, LV cavity, myocardium."""
INSERTIONS: Final = 2
"""Anterior and inferior insertion point of the right ventricle."""
STEM: Final = 64
"""Channels of the first convolution."""
STAGES: Final = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
"""Planes, blocks and stride of each stage of the encoder, a ResNet-50; a block has four times the planes."""
DECODER: Final = (256, 128, 64, 32)
"""Channels of the decoder's blocks."""
_NORM_EPSILON: Final = 1e-5
"""Added to variances, as in ``torch.nn.BatchNorm2d``."""

Tensors = Mapping[str, NDArray[np.floating[Any]]]
"""Tensors of the network by the names of :func:`tensor_shapes`."""
X = TypeVar("X")


class Layers(Protocol[X]):
    """Layers of a backend. Features are ``(n, channels, rows, columns)``."""

    def convolution(self, x: X, kernel: NDArray[np.float32], bias: NDArray[np.float32], stride: int) -> X:
        """Convolve with a square kernel ``(out, in, side, side)``, padded by half its side with zeros."""
        ...

    def relu(self, x: X) -> X:
        """Set negative values to zero."""
        ...

    def add(self, a: X, b: X) -> X:
        """Add features of the same shape."""
        ...

    def halve(self, x: X) -> X:
        """Return the maximum of 3 x 3 values at every other row and column."""
        ...

    def double(self, x: X) -> X:
        """Repeat each row and column."""
        ...

    def join(self, a: X, b: X) -> X:
        """Join the channels of both."""
        ...

    def shuffle(self, x: X) -> X:
        """Lay four channels out as 2 x 2 pixels (Shi et al. 2016): ``(n, c, 2 rows, 2 columns)``."""
        ...

    def softmax(self, x: X) -> X:
        """Return the softmax over the channels."""
        ...

    def sigmoid(self, x: X) -> X:
        """Return the logistic function of each value."""
        ...


def tensor_shapes(*, insertions: bool) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor by its name, which is that of torchvision's ResNet-50 in the encoder.

    Args:
        insertions: with the head of both insertion points.
    """
    shapes: dict[str, tuple[int, ...]] = {}

    def convolution(name: str, norm: str, before: int, channels: int, side: int) -> None:
        shapes[f"{name}.weight"] = (channels, before, side, side)
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{norm}.{part}"] = (channels,)

    convolution("encoder.conv1", "encoder.bn1", 1, STEM, 7)
    skips, channels = [STEM], STEM
    for stage, (planes, blocks, _) in enumerate(STAGES, 1):
        for block in range(blocks):
            at = f"encoder.layer{stage}.{block}"
            convolution(f"{at}.conv1", f"{at}.bn1", channels, planes, 1)
            convolution(f"{at}.conv2", f"{at}.bn2", planes, planes, 3)
            convolution(f"{at}.conv3", f"{at}.bn3", planes, 4 * planes, 1)
            if block == 0:
                convolution(f"{at}.downsample.0", f"{at}.downsample.1", channels, 4 * planes, 1)
            channels = 4 * planes
        skips.append(channels)
    below = skips.pop()
    for number, channels in enumerate(DECODER):
        at = f"decoder.{number}"
        convolution(f"{at}.conv1", f"{at}.bn1", below + skips.pop(), channels, 3)
        convolution(f"{at}.conv2", f"{at}.bn2", channels, channels, 3)
        below = channels
    for head, number in (("head", CLASSES), ("insertion_head", INSERTIONS if insertions else 0)):
        if number:
            shapes[f"{head}.weight"], shapes[f"{head}.bias"] = (4 * number, below, 1, 1), (4 * number,)
    return shapes


def network_output(layers: Layers[X], tensors: Tensors, images: X) -> X:
    """Return the output of :class:`model.engines.base.Engine`, by the layers of a backend.

    Args:
        layers: of the backend.
        tensors: of the network; with or without the head of the insertion points.
        images: prepared images ``(n, 1, rows, columns)``; rows and columns multiples of 32.
    """

    def normed(x: X, name: str, norm: str, stride: int = 1) -> X:
        return layers.convolution(x, *_folded(tensors, name, norm), stride)

    def block(x: X, at: str, stride: int) -> X:
        side = x
        if f"{at}.downsample.0.weight" in tensors:
            side = normed(x, f"{at}.downsample.0", f"{at}.downsample.1", stride)
        x = layers.relu(normed(x, f"{at}.conv1", f"{at}.bn1"))
        x = layers.relu(normed(x, f"{at}.conv2", f"{at}.bn2", stride))
        return layers.relu(layers.add(normed(x, f"{at}.conv3", f"{at}.bn3"), side))

    def head(x: X, name: str) -> X:
        kernel, bias = (tensors[f"{name}.{part}"].astype(np.float32) for part in ("weight", "bias"))
        return layers.shuffle(layers.convolution(x, kernel, bias, 1))

    skips = [layers.relu(normed(images, "encoder.conv1", "encoder.bn1", 2))]
    x = layers.halve(skips[0])
    for stage, (_, blocks, stride) in enumerate(STAGES, 1):
        for number in range(blocks):
            x = block(x, f"encoder.layer{stage}.{number}", stride if number == 0 else 1)
        skips.append(x)
    x = skips.pop()
    for number in range(len(DECODER)):
        at = f"decoder.{number}"
        x = layers.relu(normed(layers.join(layers.double(x), skips.pop()), f"{at}.conv1", f"{at}.bn1"))
        x = layers.relu(normed(x, f"{at}.conv2", f"{at}.bn2"))
    probabilities = layers.softmax(head(x, "head"))
    if "insertion_head.weight" not in tensors:
        return probabilities
    return layers.join(probabilities, layers.sigmoid(head(x, "insertion_head")))


def _folded(tensors: Tensors, name: str, norm: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return kernel and bias of a convolution with the batch normalisation that follows it."""
    weight, bias, mean, variance = (
        tensors[f"{norm}.{part}"].astype(np.float64)
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = weight / np.sqrt(variance + _NORM_EPSILON)
    kernel = tensors[f"{name}.weight"] * scale[:, None, None, None].astype(np.float32)
    return kernel, (bias - mean * scale).astype(np.float32)
