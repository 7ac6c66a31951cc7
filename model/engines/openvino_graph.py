"""The network in float32 as a model of OpenVINO, built from its tensors.

This module and :mod:`model.engines.openvino_engine` alone import ``openvino``; callers import them late.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset13 as ops

from model.architecture import Tensors, network_output
from model.frame import FRAME_PIXELS


def build_model(tensors: Tensors) -> Any:
    """Return the model from images ``(n, 1, 224, 224)``, any n, to the network output."""
    images = ops.parameter([-1, 1, FRAME_PIXELS, FRAME_PIXELS], np.float32, name="images")
    return openvino.Model([network_output(_OpenVinoLayers(), tensors, images)], [images])


class _OpenVinoLayers:
    """See :class:`model.architecture.Layers`."""

    def convolution(self, x: Any, kernel: NDArray[np.float32], bias: NDArray[np.float32], stride: int) -> Any:
        pad = [kernel.shape[-1] // 2] * 2
        # As constants: of an array, OpenVINO would first make a list of numbers.
        made = ops.convolution(x, ops.constant(kernel), [stride] * 2, pad, pad, [1, 1])
        return ops.add(made, ops.constant(bias[None, :, None, None]))

    def relu(self, x: Any) -> Any:
        return ops.relu(x)

    def add(self, a: Any, b: Any) -> Any:
        return ops.add(a, b)

    def halve(self, x: Any) -> Any:
        return ops.max_pool(x, [2, 2], [1, 1], [1, 1], [1, 1], [3, 3]).output(0)

    def double(self, x: Any) -> Any:
        scales, axes = np.array([2.0, 2.0], np.float32), np.array([2, 3])
        return ops.interpolate(
            x, scales, "nearest", "scales", coordinate_transformation_mode="asymmetric",
            nearest_mode="floor", axes=axes,
        )  # fmt: skip

    def join(self, a: Any, b: Any) -> Any:
        return ops.concat([a, b], 1)

    def shuffle(self, x: Any) -> Any:
        return ops.depth_to_space(x, "depth_first", 2)

    def softmax(self, x: Any) -> Any:
        return ops.softmax(x, 1)

    def sigmoid(self, x: Any) -> Any:
        return ops.sigmoid(x)
