"""ONNX file of the network for compilers that do not read torch (extra ``ahead-of-time``)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch

from model.engines.gpu import LARGEST_BATCH
from model.engines.probabilities import HalfProbabilities, Probabilities
from model.frame import FRAME_PIXELS
from model.unet import UNet

_OPSET: Final = 21


def export_onnx(network: UNet, file: Path, *, half: bool = True) -> None:
    """Write the network with its softmax: ``images`` (n, 1, 224, 224) to ``output`` (n, 3 + k, 224, 224).

    Both are float32, n is 1 to 32; the output is that of :class:`model.engines.base.Engine`.

    Args:
        network: in float32.
        file: to write, weights included.
        half: compute in float16.

    Raises:
        ImportError: onnx or onnxscript is not installed (extra ``ahead-of-time``).
    """
    module = HalfProbabilities(network) if half else Probabilities(network)
    example = torch.zeros(2, 1, FRAME_PIXELS, FRAME_PIXELS)  # torch.export takes a batch of 1 for fixed
    torch.onnx.export(
        module.eval(),
        (example,),
        file,
        dynamo=True,
        opset_version=_OPSET,
        external_data=False,
        input_names=["images"],
        output_names=["output"],
        dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1, max=LARGEST_BATCH)}},
        verbose=False,
    )
