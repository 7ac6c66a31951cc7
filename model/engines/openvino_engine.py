"""OpenVINO: the network compiled for the processor, in float32, bfloat16 or, once calibrated, eight bits."""

from __future__ import annotations

import threading
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
import openvino
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.frame import FRAME_PIXELS


class Precision(StrEnum):
    """What the processor computes in."""

    F32 = "f32"
    BF16 = "bf16"
    INT8 = "int8"


_HINT: Final = {Precision.F32: "f32", Precision.BF16: "bf16", Precision.INT8: "bf16"}
"""What the layers that stay in floating point compute in."""


class _WithProbabilities(nn.Module):
    """The network with the softmax behind it, so that it is compiled too."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._network = network

    def forward(self, images: Tensor) -> Tensor:
        probabilities: Tensor = torch.softmax(self._network(images), dim=1)
        return probabilities


def convert(network: nn.Module) -> Any:
    """The network as an OpenVINO model: images ``(n, 1, 224, 224)`` to probabilities ``(n, 3, 224, 224)``."""
    example = torch.zeros(1, 1, FRAME_PIXELS, FRAME_PIXELS)
    with torch.inference_mode():
        model = openvino.convert_model(_WithProbabilities(network).eval(), example_input=example)
    model.reshape([-1, 1, FRAME_PIXELS, FRAME_PIXELS])
    return model


class OpenVinoEngine:
    """A compiled model; safe to use from several threads, each with a request of its own."""

    def __init__(self, model: Any | Path, precision: Precision, *, threads: int | None = None) -> None:
        """Compile.

        Args:
            model: from :func:`convert`, or an ``.xml`` file.
            precision: see :class:`Precision`; INT8 needs a model that was quantised.
            threads: that one inference may take; None for all cores.
        """
        core = openvino.Core()
        options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": _HINT[precision],
        }
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        source = core.read_model(model) if isinstance(model, Path) else model
        self._compiled = core.compile_model(source, "CPU", options)
        self._local = threading.local()
        self.name = f"openvino-{precision}"

    def infer(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """See :meth:`model.engines.base.Engine.infer`."""
        request = getattr(self._local, "request", None)
        if request is None:
            request = self._local.request = self._compiled.create_infer_request()
        batch = np.ascontiguousarray(images, dtype=np.float32)[:, None]
        answer: NDArray[np.float32] = request.infer([batch])[0].astype(np.float32)
        return answer
