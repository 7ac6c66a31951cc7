"""OpenVINO on the CPU: the network compiled for the CPU that it runs on.

This module and :mod:`model.engines.openvino_graph` alone import ``openvino``; callers import them late and
catch the failure.
"""

from __future__ import annotations

import os
import tempfile
import threading
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
import openvino
from numpy.typing import NDArray

from model.architecture import Tensors
from model.engines.base import Engine
from model.engines.openvino_graph import build_model
from model.engines.reevaluation import ReevaluatingEngine

THREADS: Final = 2
"""Cores of one inference; the fits and the sockets need the others."""
_CORE: Final = openvino.Core()
"""OpenVINO's runtime, one for the life of the process. Its CPU plugin sets the alternate signal stack of the
thread that loads it, and unmaps that memory when it is destroyed: if another thread does that, the next
signal ends the process by SIGSEGV."""


class Precision(StrEnum):
    """Arithmetic of a compiled network."""

    F32 = "f32"
    BF16 = "bf16"
    INT8 = "int8"


class OpenVinoEngine:
    """Runs a compiled network on the CPU."""

    def __init__(self, model: Any, precision: Precision, threads: int | None = None) -> None:
        """Compile the network.

        Args:
            model: of OpenVINO, as of :func:`model.engines.openvino_graph.build_model`.
            precision: ``f32``; ``bf16``; or ``int8`` for a quantised model, whose other layers are computed
                in float32.
            threads: None for as many as there are cores, at most two.

        Raises:
            RuntimeError: the model cannot be compiled here.
        """
        self.precision = precision
        self.name = f"openvino-{precision}"
        # Set here, not on the shared runtime. Slices come one at a time: latency counts, not throughput.
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads or min(THREADS, len(os.sched_getaffinity(0))),
            "INFERENCE_PRECISION_HINT": "bf16" if precision is Precision.BF16 else "f32",
        }
        self._compiled = _CORE.compile_model(model, "CPU", options)
        self._requests = threading.local()

    def infer(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """See :meth:`model.engines.base.Engine.infer`."""
        request = getattr(self._requests, "own", None)
        if request is None:  # a request serves one thread at a time
            request = self._requests.own = self._compiled.create_infer_request()
        batch = np.ascontiguousarray(images, dtype=np.float32)[:, None]
        if not len(batch):  # OpenVINO would return the output of the last inference
            channels = self._compiled.output(0).partial_shape[1].get_length()
            return np.zeros((0, channels, *images.shape[1:]), np.float32)
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


def int8_engine(graph: bytes, constants: bytes, tensors: Tensors, threads: int | None = None) -> Engine:
    """Return the engine of an int8 model, with re-evaluation in float32 where the model has a threshold.

    Args:
        graph: of :func:`serialise`.
        constants: likewise.
        tensors: of the network that the model was made from.
        threads: as for :class:`OpenVinoEngine`.

    Raises:
        RuntimeError: as :class:`OpenVinoEngine`.
    """
    model = _CORE.read_model(graph, constants)
    fast = OpenVinoEngine(model, Precision.INT8, threads)
    if not model.has_rt_info(_THRESHOLD):
        return fast
    threshold = float(model.get_rt_info(_THRESHOLD).astype(str))
    return ReevaluatingEngine(fast, OpenVinoEngine(build_model(tensors), Precision.F32, threads), threshold)
