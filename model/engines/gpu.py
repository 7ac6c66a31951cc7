"""NVIDIA GPU: detection, and transfer of slices and network output."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.frame import FRAME_PIXELS
from model.host import gpu_present

LARGEST_BATCH: Final = 32
"""Slices transferred at a time; larger batches are split."""


def require_gpu() -> torch.device:
    """Return the GPU that engines run on.

    Raises:
        RuntimeError: there is none, or this torch cannot use it.
    """
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if not gpu_present():
        raise RuntimeError("no NVIDIA GPU here")
    if torch.version.cuda is None:
        raise RuntimeError(f"there is a GPU, but torch {torch.__version__} is a build without CUDA")
    raise RuntimeError(
        f"there is a GPU, but torch {torch.__version__} (CUDA {torch.version.cuda}) cannot use it; "
        "the driver may be too old"
    )


def describe_gpu(device: torch.device) -> str:
    """Return model name and compute capability, on which compiled networks depend."""
    major, minor = torch.cuda.get_device_capability(device)
    return f"{torch.cuda.get_device_name(device)}, compute capability {major}.{minor}"


class GpuEngine(ABC):
    """Engine on a GPU: transfers slices and network output through pinned memory, on one CUDA stream."""

    name: str

    def __init__(self, device: torch.device, channels: int) -> None:
        """Allocate the pinned memory.

        Args:
            device: of :func:`require_gpu`.
            channels: of the network output.
        """
        self.device = device
        self._channels = channels
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._staged = _pinned(LARGEST_BATCH, 1, FRAME_PIXELS, FRAME_PIXELS)
        self._lock = threading.Lock()

    def infer(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """See :meth:`model.engines.base.Engine.infer`."""
        batch = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))[:, None]
        # Allocated for each call, so that the caller may keep it; torch reuses freed pinned memory.
        output = _pinned(len(batch), self._channels, FRAME_PIXELS, FRAME_PIXELS)
        with self._lock, torch.inference_mode(), torch.cuda.stream(self._stream):
            for start in range(0, len(batch), LARGEST_BATCH):
                part = batch[start : start + LARGEST_BATCH]
                staged = self._staged[: len(part)]
                staged.copy_(part)
                output[start : start + len(part)].copy_(self._compute(staged), non_blocking=True)
                self._stream.synchronize()  # before the next part is staged
        returned: NDArray[np.float32] = output.numpy()
        return returned

    @abstractmethod
    def _compute(self, images: Tensor) -> Tensor:
        """Return the output ``(n, 3 + k, 224, 224)`` on the GPU for pinned images ``(n, 1, 224, 224)``.

        Called on the engine's stream with at most 32 images. The result is copied before the next call.
        """


def _pinned(*shape: int) -> Tensor:
    return torch.empty(shape, pin_memory=True)
