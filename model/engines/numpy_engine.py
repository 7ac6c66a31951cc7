"""Numpy in float32: the reference that every other engine is compared with where it is loaded.

It needs no library that an engine uses, so that a fault of such a library does not hide. It is too slow for
the stream: some 0.2 s a slice.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from model.architecture import Tensors, network_output

Features = NDArray[np.float32]


class NumpyEngine:
    """Engine that computes the network slice by slice with numpy."""

    name = "numpy"

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors

    def infer(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """See :meth:`model.engines.base.Engine.infer`."""
        layers = _NumpyLayers()
        with np.errstate(over="ignore", invalid="ignore"):  # the caller checks that the output is finite
            outputs = [network_output(layers, self._tensors, image[None, None]) for image in images]
        return np.concatenate(outputs)


class _NumpyLayers:
    """See :class:`model.architecture.Layers`."""

    def convolution(self, x: Features, kernel: Features, bias: Features, stride: int) -> Features:
        windows = _windows(x, kernel.shape[-1], stride, 0.0)
        made = np.tensordot(kernel, windows, axes=([1, 2, 3], [1, 4, 5]))  # (out, n, rows, columns)
        output: Features = made.swapaxes(0, 1) + bias[:, None, None]
        return output

    def relu(self, x: Features) -> Features:
        return np.maximum(x, np.float32(0.0))

    def add(self, a: Features, b: Features) -> Features:
        return a + b

    def halve(self, x: Features) -> Features:
        highest: Features = _windows(x, 3, 2, -np.inf).max(axis=(4, 5))
        return highest

    def double(self, x: Features) -> Features:
        return x.repeat(2, axis=2).repeat(2, axis=3)

    def join(self, a: Features, b: Features) -> Features:
        return np.concatenate([a, b], axis=1)

    def shuffle(self, x: Features) -> Features:
        n, channels, rows, columns = x.shape
        apart = x.reshape(n, channels // 4, 2, 2, rows, columns).transpose(0, 1, 4, 2, 5, 3)
        return apart.reshape(n, channels // 4, 2 * rows, 2 * columns)

    def softmax(self, x: Features) -> Features:
        powers = np.exp(x - x.max(axis=1, keepdims=True))
        share: Features = powers / powers.sum(axis=1, keepdims=True)
        return share

    def sigmoid(self, x: Features) -> Features:
        half = np.float32(0.5)
        share: Features = half + half * np.tanh(half * x)  # without overflow
        return share


def _windows(x: Features, side: int, stride: int, outside: float) -> Features:
    """Return the neighbourhood of every ``stride``-th pixel, ``(n, channels, rows, columns, side, side)``."""
    edge = (side // 2, side // 2)
    padded = np.pad(x, ((0, 0), (0, 0), edge, edge), constant_values=outside)
    return sliding_window_view(padded, (side, side), axis=(2, 3))[:, :, ::stride, ::stride]
