"""The network as an ONNX file, which compilers that know nothing of torch read (extra ``ahead-of-time``)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
from torch import nn

from model.engines.eight_bits import onnx_translations
from model.engines.gpu import LARGEST_BATCH
from model.engines.probabilities import HalfProbabilities, Probabilities
from model.frame import FRAME_PIXELS
from model.unet import UNet

_OPSET: Final = 21
"""The first in which float16 can be quantised."""


def export_onnx(network: UNet, file: Path, *, half: bool = True) -> None:
    """Write the network with its softmax: ``images`` (n, 1, 224, 224) to ``probabilities`` (n, 3, 224, 224).

    Both are float32, n is 1 to 32.

    Args:
        network: in float32.
        file: to write, weights included.
        half: compute in float16.

    Raises:
        ImportError: onnx or onnxscript is not installed (extra ``ahead-of-time``).
    """
    export_module(HalfProbabilities(network) if half else Probabilities(network), file)


def export_module(module: nn.Module, file: Path) -> None:
    """Write a module from images to probabilities, in eight bits or not, as :func:`export_onnx` does."""
    example = torch.zeros(2, 1, FRAME_PIXELS, FRAME_PIXELS)  # of one, the 1 would be taken for fixed
    torch.onnx.export(
        module.eval(),
        (example,),
        file,
        dynamo=True,
        opset_version=_OPSET,
        custom_translation_table=onnx_translations(),
        external_data=False,
        input_names=["images"],
        output_names=["probabilities"],
        dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1, max=LARGEST_BATCH)}},
        verbose=False,
    )
