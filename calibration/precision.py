"""Quantisation after training: INT8 with NNCF for a CPU, symmetric INT8 for TensorRT; on synthetic slices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.engines.eight_bits import in_eight_bits
from model.engines.probabilities import HalfProbabilities, Probabilities, folded
from model.unet import UNet

CALIBRATION_SLICES: Final = 300


def quantise(model: Any, batches: Sequence[Any]) -> Any:
    """A model with eight-bit quantisers of one in float32.

    Args:
        model: of :func:`model.engines.openvino_engine.convert`, or a module of torch.
        batches: prepared pictures ``(n, 1, 224, 224)`` that ranges are taken from, as the model takes them.

    Raises:
        ImportError: NNCF is not installed (extra ``calibrate``).
    """
    import nncf

    return nncf.quantize(
        model,
        nncf.Dataset(batches),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(batches),
    )


def quantise_for_tensorrt(
    network: UNet, batches: Iterable[NDArray[np.float32]], device: torch.device, *, half: bool = True
) -> Probabilities | HalfProbabilities:
    """The network with its convolutions in eight bits, for :func:`model.engines.onnx_export.export_module`.

    The first convolution and the last keep their precision: they cost next to nothing, see the image and make
    the scores. Inputs are clipped at the largest magnitude that the batches show.

    Args:
        network: in float32.
        batches: prepared pictures ``(n, 1, 224, 224)``.
        device: where the ranges are taken.
        half: float16 between the convolutions; without, float32.
    """
    plain = Probabilities(folded(network)).to(device).eval()
    names = [name for name, each in plain.named_modules() if isinstance(each, nn.Conv2d)][1:-1]
    largest = dict.fromkeys(names, 0.0)

    def look(name: str, _: nn.Module, seen: tuple[Tensor, ...]) -> None:
        largest[name] = max(largest[name], float(seen[0].abs().amax()))

    hooks = [plain.get_submodule(name).register_forward_pre_hook(partial(look, name)) for name in names]
    with torch.inference_mode():
        for batch in batches:
            plain(torch.from_numpy(batch).to(device))
    for hook in hooks:
        hook.remove()
    made = HalfProbabilities(network).to(device) if half else plain
    in_eight_bits(made, largest)
    return made
