"""OpenVINO on the CPU: the network compiled for the processor it runs on.

The only module that imports ``openvino``; whoever needs it imports this one late and catches the failure.
"""

from __future__ import annotations

import os
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
from model.engines.reevaluation import SecondLook
from model.frame import FRAME_PIXELS
from model.unet import UNet

THREADS: Final = 2
"""Cores that one inference takes; the fits and the sockets need the others."""
_TRACED_PIXELS: Final = 32
"""Side of the image that the network is traced with: the graph is the same for any, a small one is quick."""


class Precision(StrEnum):
    """Arithmetic that a compiled network is allowed."""

    F32 = "f32"
    BF16 = "bf16"
    INT8 = "int8"


def convert(network: UNet) -> Any:
    """The network with its softmax as an OpenVINO model for images ``(n, 1, 224, 224)``, any n."""
    return convert_module(Probabilities(network))


def convert_module(module: nn.Module) -> Any:
    """A module from images to probabilities, quantised or not, as :func:`convert` does."""
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of tracing, which OpenVINO takes
        # Left to itself, convert_model traces twice to compare: ten seconds for what tests do once.
        example = torch.zeros(1, 1, _TRACED_PIXELS, _TRACED_PIXELS)
        traced = torch.jit.trace(module.eval(), example, check_trace=False)  # type: ignore[no-untyped-call]
    model = openvino.convert_model(traced)
    model.reshape([-1, 1, FRAME_PIXELS, FRAME_PIXELS])
    return model


def save(model: Any, file: Path) -> None:
    """Write a model to ``file`` (.xml) and its weights beside it (.bin), without rounding them."""
    openvino.save_model(model, file, compress_to_fp16=False)


def runs_natively(precision: Precision) -> bool:
    """Whether the processor computes in this precision itself; elsewhere OpenVINO takes float32 instead."""
    if precision is Precision.F32:
        return True
    return precision.upper() in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoEngine:
    """Runs a compiled network on the CPU."""

    def __init__(self, source: UNet | Path | Any, precision: Precision, threads: int | None = None) -> None:
        """Compile the network.

        Args:
            source: the network, a file that :func:`save` wrote, or a model of :func:`convert`.
            precision: ``f32``; ``bf16``; or ``int8`` for a model that was quantised, whose layers that were
                left in float are then computed in bf16 where the processor does so itself.
            threads: None for as many as there are cores, at most two.

        Raises:
            RuntimeError: the file cannot be read, or the model cannot be compiled here.
        """
        self.precision = precision
        self.name = f"openvino-{precision}"
        core = openvino.Core()
        model = source
        if isinstance(source, UNet):
            model = convert(source)
        elif isinstance(source, Path):
            model = core.read_model(source)
        # One slice comes at a time, and a reader waits for it: latency counts, not throughput.
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
        probabilities: NDArray[np.float32] = np.array(request.infer([batch])[0], dtype=np.float32)
        return probabilities


_DOUBT: Final = ["myostream", "doubt"]


def write_doubt(model: Any, doubt: float) -> None:
    """Note in an int8 model above which uncertainty a slice is re-evaluated in float32."""
    model.set_rt_info(repr(doubt), _DOUBT)


def int8_engine(source: Path | tuple[bytes, bytes], network: UNet) -> Engine:
    """The engine of an eight-bit model, float32 behind it where the model says above which doubt.

    Args:
        source: a file that :func:`save` wrote, or what both of its files hold.
        network: that it was made from.

    Raises:
        RuntimeError: as :class:`OpenVinoEngine`.
    """
    core = openvino.Core()
    model = core.read_model(source) if isinstance(source, Path) else core.read_model(*source)
    fast = OpenVinoEngine(model, Precision.INT8)
    if not model.has_rt_info(_DOUBT):
        return fast
    doubt = float(model.get_rt_info(_DOUBT).astype(str))
    return SecondLook(fast, OpenVinoEngine(network, Precision.F32), doubt)
