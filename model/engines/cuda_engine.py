"""CUDA graphs of the network in float16, channels last, one for each batch size; without TensorRT."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn

from model.engines.gpu import LARGEST_BATCH, GpuEngine, require_gpu
from model.engines.probabilities import HalfProbabilities
from model.frame import FRAME_PIXELS
from model.unet import UNet

BATCH_SIZES: Final = (1, 2, 4, 8, 16, LARGEST_BATCH)
"""Batches that a graph is recorded for; others are padded to the next."""
_WARM_UP: Final = 3


def batch_size(count: int) -> int:
    """Return the recorded batch size for ``count`` slices (1 to 32)."""
    return next(size for size in BATCH_SIZES if size >= count)


class CudaEngine(GpuEngine):
    """Engine that replays a graph: one launch for a batch in place of one for each of some sixty layers."""

    name = "cuda"

    def __init__(self, network: UNet) -> None:
        """Record a graph for each batch size; takes some seconds.

        Raises:
            RuntimeError: there is no GPU that torch can use, or it has too little memory.
        """
        super().__init__(require_gpu(), network.channels)
        module = HalfProbabilities(network).to(self.device)
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        pool = torch.cuda.graph_pool_handle()  # shared: one graph runs at a time
        with torch.inference_mode(), torch.cuda.stream(self._stream):
            self._graphs = {
                size: _Recorded(module, size, self.device, self._stream, pool) for size in BATCH_SIZES
            }

    def _compute(self, images: Tensor) -> Tensor:
        graph = self._graphs[batch_size(len(images))]
        return graph.replay(images)


class _Recorded:
    """CUDA graph for one batch size, with all memory that it reads and writes.

    A graph holds addresses, not tensors. Without the module as an attribute, the memory of its weights would
    be used again and the output become NaN or, worse, other numbers.
    """

    def __init__(
        self,
        module: nn.Module,
        size: int,
        device: torch.device,
        stream: torch.cuda.Stream,
        pool: Any,
    ) -> None:
        self._module = module
        self._images = torch.zeros(size, 1, FRAME_PIXELS, FRAME_PIXELS, device=device)
        self._graph = torch.cuda.CUDAGraph()
        with torch.backends.cudnn.flags(enabled=True, benchmark=True):
            for _ in range(_WARM_UP):  # cuDNN chooses its kernels before the recording
                module(self._images)
            stream.synchronize()
            # Thread-local: an engine that this one replaces may still hang in another thread.
            recording = torch.cuda.graph(
                self._graph, pool=pool, stream=stream, capture_error_mode="thread_local"
            )
            with recording:
                self._output: Tensor = module(self._images)

    def replay(self, images: Tensor) -> Tensor:
        """Return the output for at most as many images as recorded; valid until any graph is replayed."""
        self._images[: len(images)].copy_(images, non_blocking=True)
        self._graph.replay()
        return self._output[: len(images)]
