"""TensorRT through ``torch_tensorrt``: compiled once for this GPU, kept on disk.

``torch_tensorrt`` comes from either package, torch-tensorrt or torch-tensorrt-rtx. It cannot be imported
where torch has no CUDA, so it is imported only after a GPU was found.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from model.engines.engine_cache import EngineCache, EngineKey
from model.engines.gpu import LARGEST_BATCH, GpuEngine, describe_gpu, require_gpu
from model.engines.probabilities import HalfProbabilities
from model.frame import FRAME_PIXELS
from model.unet import UNet

_log = logging.getLogger(__name__)

_USUAL_BATCH: Final = 8
"""Batch that kernels are chosen for: the largest of the stream."""
_FILE: Final = "model.pt2"
_PACKAGES: Final = ("torch", "torch-tensorrt", "torch-tensorrt-rtx", "tensorrt", "tensorrt-rtx")


class TensorRtEngine(GpuEngine):
    """Engine that TensorRT compiled: float16, 224 x 224, batches of 1 to 32."""

    name = "tensorrt"

    def __init__(self, network: UNet, weights: Path, cache: EngineCache | None = None) -> None:
        """Load the engine of this GPU, or compile it (minutes) where it is missing, stale or damaged.

        Args:
            network: in float32.
            weights: folder that it was read from.
            cache: where the engine is kept; None for the user's.

        Raises:
            RuntimeError: there is no GPU that torch can use, ``torch_tensorrt`` is missing, or TensorRT does
                not convert some layer.
        """
        super().__init__(require_gpu(), network.channels)
        compiler = _torch_tensorrt()
        key = EngineKey.of(weights, "tensorrt-f16", device=describe_gpu(self.device), packages=_PACKAGES)

        def write(folder: Path) -> None:
            _log.warning("compiling the network for this GPU (once; takes some minutes)")
            _compile(compiler, network, self.device, folder / _FILE)

        self._module = (cache or EngineCache()).load(
            key, write, lambda folder: compiler.load(str(folder / _FILE)).module()
        )
        # The largest batch first, so that too little memory is noticed now.
        self.infer(np.zeros((LARGEST_BATCH, FRAME_PIXELS, FRAME_PIXELS), np.float32))

    def _compute(self, images: Tensor) -> Tensor:
        output: Tensor = self._module(images.to(self.device, non_blocking=True))
        return output


def _torch_tensorrt() -> Any:
    try:
        import torch_tensorrt
    except ModuleNotFoundError as error:
        raise RuntimeError('torch_tensorrt is missing: pip install -e ".[tensorrt]" in the clone') from error
    except Exception as error:  # a bare Exception where a library of TensorRT is missing
        raise RuntimeError(f"torch_tensorrt does not load: {error}") from error
    return torch_tensorrt


def _compile(compiler: Any, network: UNet, device: torch.device, file: Path) -> None:
    """Compile the network as one TensorRT engine and write it, wrapped in a program of torch."""
    module = HalfProbabilities(network).to(device)
    shape = (1, FRAME_PIXELS, FRAME_PIXELS)
    batch = torch.export.Dim("batch", min=1, max=LARGEST_BATCH)
    example = torch.zeros(2, *shape, device=device)  # torch.export takes a batch of 1 for fixed
    program = torch.export.export(module, (example,), dynamic_shapes={"images": {0: batch}})
    images = compiler.Input(
        min_shape=(1, *shape),
        opt_shape=(_USUAL_BATCH, *shape),
        max_shape=(LARGEST_BATCH, *shape),
        dtype=torch.float32,
        name="images",
    )
    compiled = compiler.dynamo.compile(
        program, arg_inputs=[images], device=device, min_block_size=1, require_full_compilation=True
    )
    compiler.save(compiled, str(file), output_format="exported_program", arg_inputs=[images])
