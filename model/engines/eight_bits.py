"""Convolutions in eight bits as TensorRT computes them: symmetric, a scale per tensor or channel of weights.

What is rounded stands in the graph. torch computes the rounded values in float; exported to ONNX the same
graph has ``QuantizeLinear`` and ``DequantizeLinear`` around each convolution, which TensorRT fuses into one
of eight bits (TensorRT documentation, "Explicit quantization").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor, nn

LARGEST: Final = 127.0
"""Of a signed byte; -128 is left out, so that both signs reach as far."""


@torch.library.custom_op("myostream::rounded", mutates_args=())
def rounded(values: Tensor, scale: Tensor) -> Tensor:
    """Values to the nearest of -128 to 127 steps of ``scale``."""
    steps = torch.round(values.float() / scale).clamp(-LARGEST - 1.0, LARGEST)
    return (steps * scale).to(values.dtype)


@rounded.register_fake
def _(values: Tensor, scale: Tensor) -> Tensor:
    return torch.empty_like(values)


@torch.library.custom_op("myostream::from_bytes", mutates_args=())
def from_bytes(weights: Tensor, scales: Tensor, like: Tensor) -> Tensor:
    """Weights ``(channels, ...)`` of int8 in steps of each channel's scale, of the type of ``like``."""
    steps = weights.float() * scales.view(-1, *[1] * (weights.dim() - 1))
    return steps.to(like.dtype)


@from_bytes.register_fake
def _(weights: Tensor, scales: Tensor, like: Tensor) -> Tensor:
    return torch.empty_like(weights, dtype=like.dtype)


class EightBitConv(nn.Module):
    """In place of a convolution: its input and its weights in eight bits, sum and bias as before."""

    def __init__(self, convolution: nn.Conv2d, largest_input: float) -> None:
        """Round the weights.

        Args:
            convolution: in float; its type is that of the answers.
            largest_input: magnitude beyond which inputs are clipped, above 0.
        """
        super().__init__()
        weight = convolution.weight.detach().float()
        scales = weight.abs().amax(dim=(1, 2, 3)).clamp(min=1e-12) / LARGEST
        steps = torch.round(weight / scales.view(-1, 1, 1, 1)).clamp(-LARGEST, LARGEST)
        self.register_buffer("weight", steps.to(torch.int8))
        self.register_buffer("scales", scales)
        self.register_buffer("input_scale", torch.tensor(largest_input / LARGEST))
        self.bias = convolution.bias
        self._options: Any = (
            convolution.stride,
            convolution.padding,
            convolution.dilation,
            convolution.groups,
        )

    def forward(self, images: Tensor) -> Tensor:
        """As the convolution's."""
        weight = from_bytes(self.weight, self.scales, images)
        return nn.functional.conv2d(rounded(images, self.input_scale), weight, self.bias, *self._options)


def in_eight_bits(module: nn.Module, largest_inputs: dict[str, float]) -> None:
    """Replace convolutions of a module, in place, by those of eight bits.

    Args:
        module: in float.
        largest_inputs: of each convolution to replace, by its name in the module.
    """
    for name, largest in largest_inputs.items():
        parent, _, own = name.rpartition(".")
        setattr(module.get_submodule(parent), own, EightBitConv(module.get_submodule(name), largest))  # type: ignore[arg-type]


def onnx_translations() -> dict[Any, Callable[..., Any]]:
    """How the operations above are written into an ONNX file.

    Raises:
        ImportError: onnxscript is not installed (extra ``ahead-of-time``).
    """
    import onnx
    from onnxscript import opset21

    op: Any = opset21

    def write_rounded(values, scale):  # type: ignore[no-untyped-def]
        step = op.CastLike(scale, values)
        zero = op.Constant(value=onnx.helper.make_tensor("zero", onnx.TensorProto.INT8, [], [0]))
        return op.DequantizeLinear(op.QuantizeLinear(values, step, zero), step, zero)

    def write_from_bytes(weights, scales, like):  # type: ignore[no-untyped-def]
        return op.DequantizeLinear(weights, op.CastLike(scales, like), axis=0)

    ops = torch.ops.myostream
    return {ops.rounded.default: write_rounded, ops.from_bytes.default: write_from_bytes}
