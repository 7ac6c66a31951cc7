"""TensorRT in eight bits: a plan that was calibrated on this GPU and has passed its gate.

``torch_tensorrt`` takes eight bits only from a tool of its own; here the network's eight bits stand in its
graph (:mod:`model.engines.eight_bits`) and TensorRT itself reads them. Half precision on the same GPU looks
again at slices of which the answer is in doubt.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from model.engines.base import Engine
from model.engines.cuda_engine import CudaEngine
from model.engines.engine_cache import EngineKey, EngineStore
from model.engines.gpu import LARGEST_BATCH, GpuEngine, describe_gpu, require_gpu
from model.engines.reevaluation import SecondLook
from model.frame import FRAME_PIXELS
from model.unet import CLASSES, UNet

_DOUBT: Final = "doubt.txt"
_PACKAGES: Final = ("torch", "tensorrt", "tensorrt-rtx")


def engine_key(weights: Path, device: torch.device) -> EngineKey:
    """The key of the eight-bit plan of a folder of weights on a GPU."""
    return EngineKey.of(
        weights, "tensorrt-int8", device=describe_gpu(device), packages=_PACKAGES, file="model.plan"
    )


def write_doubt(plan: Path, doubt: float) -> None:
    """Note beside a plan above which doubt half precision looks again (:mod:`model.engines.reevaluation`)."""
    plan.with_name(_DOUBT).write_text(repr(doubt), encoding="utf-8")


def read_doubt(plan: Path) -> float:
    """What :func:`write_doubt` noted."""
    return float(plan.with_name(_DOUBT).read_text(encoding="utf-8"))


def load(weights: Path, network: UNet, store: EngineStore | None = None) -> Engine:
    """The engine of this GPU.

    Args:
        weights: folder of weights.
        network: in float32, read from it.
        store: where plans are kept; None for the user's cache.

    Raises:
        NotPassedError: it was not calibrated on this GPU, or missed its gate.
        RuntimeError: there is no GPU that torch can use, TensorRT is missing, or does not take the plan.
    """
    plan = (store or EngineStore()).passed(engine_key(weights, require_gpu()))
    return SecondLook(PlanEngine(plan), CudaEngine(network), read_doubt(plan))


class PlanEngine(GpuEngine):
    """Runs a plan of TensorRT's."""

    name = "tensorrt-int8"

    def __init__(self, plan: Path) -> None:
        """Load it.

        Args:
            plan: of :func:`model.engines.tensorrt_builder.build_engine`.

        Raises:
            RuntimeError: as :func:`load`.
        """
        super().__init__(require_gpu())
        self._logger, self._runtime = _runtime()
        engine = self._runtime.deserialize_cuda_engine(plan.read_bytes())
        if engine is None:
            raise RuntimeError(f"TensorRT does not take the plan: {'; '.join(self._logger.errors)}")
        self._engine, self._context = engine, engine.create_execution_context()
        self._images = torch.empty((LARGEST_BATCH, 1, FRAME_PIXELS, FRAME_PIXELS), device=self.device)
        self._answers = torch.empty((LARGEST_BATCH, CLASSES, FRAME_PIXELS, FRAME_PIXELS), device=self.device)
        self._context.set_tensor_address("images", self._images.data_ptr())
        self._context.set_tensor_address("probabilities", self._answers.data_ptr())

    def _compute(self, images: Tensor) -> Tensor:
        count = len(images)
        self._images[:count].copy_(images, non_blocking=True)
        self._context.set_input_shape("images", (count, 1, FRAME_PIXELS, FRAME_PIXELS))
        if not self._context.execute_async_v3(self._stream.cuda_stream):
            raise RuntimeError(f"TensorRT failed: {'; '.join(self._logger.errors)}")
        return self._answers[:count]


def _runtime() -> tuple[Any, Any]:
    """TensorRT's runtime, and what keeps its messages."""
    try:
        from model.engines.tensorrt_builder import Messages, trt
    except ImportError as error:
        raise RuntimeError('TensorRT is missing: pip install "myostream[tensorrt]"') from error
    logger = Messages()
    return logger, trt.Runtime(logger)
