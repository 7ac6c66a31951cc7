"""Torch in float32, on the device of the weights."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from model.engines.probabilities import output_of_scores


class TorchEngine:
    """Engine that runs the network on the device of its weights."""

    name = "torch"

    def __init__(self, network: nn.Module) -> None:
        self._network = network.eval()
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._device = next(network.parameters()).device

    def infer(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """See :meth:`model.engines.base.Engine.infer`."""
        batch = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))[:, None]
        with torch.inference_mode():
            scores = self._network(batch.to(self._device, memory_format=torch.channels_last))
            output: NDArray[np.float32] = output_of_scores(scores).cpu().numpy()
        return output
