"""OpenVINO on the CPU: the network compiled for the CPU that it runs on.

This is the only module that imports ``openvino``; callers import it late and catch the failure.
"""

from __future__ import annotations

import os
import tempfile
import threading
import warnings
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
import openvino
import torch
from numpy.typing import NDArray
from torch import nn

from model.engines.base import Engine
from model.engines.probabilities import Probabilities
from model.engines.reevaluation import ReevaluatingEngine
from model.frame import FRAME_PIXELS
from model.unet import UNet

THREADS: Final = 2
"""Cores of one inference; the fits and the sockets need the others."""
_TRACED_PIXELS: Final = 32
"""Side of the image that the network is traced with; the graph is the same for any size."""


class Precision(StrEnum):
    """Arithmetic of a compiled network."""

    F32 = "f32"
    BF16 = "bf16"
    INT8 = "int8"


def convert(network: UNet) -> Any:
    """Return the network with its softmax as an OpenVINO model for images ``(n, 1, 224, 224)``, any n."""
    return convert_module(Probabilities(network))


def convert_module(module: nn.Module) -> Any:
    """Convert a module from images to network output, quantised or not, as :func:`convert` does."""
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of tracing, which OpenVINO needs
        # The number of channels is a constant, as intended.
        warnings.filterwarnings("ignore", "Converting a tensor to a Python boolean")
        # By default the network is traced twice for a comparison, which takes ten seconds.
        example = torch.zeros(1, 1, _TRACED_PIXELS, _TRACED_PIXELS)
        traced = torch.jit.trace(module.eval(), example, check_trace=False)  # type: ignore[no-untyped-call]
    model = openvino.convert_model(traced)
    model.reshape([-1, 1, FRAME_PIXELS, FRAME_PIXELS])
    return model


def runs_natively(precision: Precision) -> bool:
    """Return whether the CPU computes in this precision natively; elsewhere OpenVINO takes float32."""
    if precision is Precision.F32:
        return True
    return precision.upper() in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoEngine:
    """Runs a compiled network on the CPU."""

    def __init__(self, source: UNet | Any, precision: Precision, threads: int | None = None) -> None:
        """Compile the network.

        Args:
            source: the network, or a model of OpenVINO.
            precision: ``f32``; ``bf16``; or ``int8`` for a quantised model, whose other layers are then
                computed in bf16 where the CPU has it.
            threads: None for as many as there are cores, at most two.

        Raises:
            RuntimeError: the model cannot be compiled here.
        """
        self.precision = precision
        self.name = f"openvino-{precision}"
        core = openvino.Core()
        model = convert(source) if isinstance(source, UNet) else source
        # Slices come one at a time: latency counts, not throughput.
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads or min(THREADS, len(os.sched_getaffinity(0))),
            "INFERENCE_PRECISION_HINT": "f32" if precision is Precision.F32 else "bf16",
        }
        if precision is not Precision.F32 and not runs_natively(Precision.BF16):
            options["INFERENCE_PRECISION_HINT"] = "f32"
        self._compiled = core.compile_model(model, "CPU", options)
        self._requests = threading.local()

    def infer(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """See :meth:`model.engines.base.Engine.infer`."""
        request = getattr(self._requests, "own", None)
        if request is None:  # a request serves one thread at a time
            request = self._requests.own = self._compiled.create_infer_request()
        batch = np.ascontiguousarray(images, dtype=np.float32)[:, None]
        # Copied: the next inference of this thread writes into the same memory.
        output: NDArray[np.float32] = np.array(request.infer([batch])[0], dtype=np.float32)
        return output


_THRESHOLD: Final = ["myostream", "uncertainty_threshold"]


def set_threshold(model: Any, threshold: float) -> None:
    """Store in an int8 model the uncertainty above which a slice is re-evaluated in float32."""
    model.set_rt_info(repr(threshold), _THRESHOLD)


def serialise(model: Any) -> tuple[bytes, bytes]:
    """Return OpenVINO's ``.xml`` and ``.bin`` file of a model, whose constants are not rounded."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.xml"
        openvino.save_model(model, file, compress_to_fp16=False)
        return file.read_bytes(), file.with_suffix(".bin").read_bytes()


def int8_engine(graph: bytes, constants: bytes, network: UNet, threads: int | None = None) -> Engine:
    """Return the engine of an int8 model, with a second pass in float32 where the model has a threshold.

    Args:
        graph: of :func:`serialise`.
        constants: likewise.
        network: that the model was made from.
        threads: as for :class:`OpenVinoEngine`.

    Raises:
        RuntimeError: as :class:`OpenVinoEngine`.
    """
    model = openvino.Core().read_model(graph, constants)
    fast = OpenVinoEngine(model, Precision.INT8, threads)
    if not model.has_rt_info(_THRESHOLD):
        return fast
    threshold = float(model.get_rt_info(_THRESHOLD).astype(str))
    return ReevaluatingEngine(fast, OpenVinoEngine(network, Precision.F32, threads), threshold)
