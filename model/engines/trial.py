"""A trial before use: a few pictures, to be answered as plain torch answers them."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.engines.base import Engine
from model.engines.torch_engine import TorchEngine
from model.frame import FRAME_PIXELS
from model.unet import UNet

MEAN_DIFFERENCE: Final = 1e-3
"""Of the probabilities. Half precision done rightly is a hundred times nearer; done wrongly, far off."""


def try_out(engine: Engine, network: UNet) -> None:
    """Compare an engine with the network in float32; a moment on the CPU.

    It finds an engine that is broken on this machine. It is no gate: that compares contours and values on
    hundreds of slices.

    Raises:
        RuntimeError: the answers differ.
    """
    images = pictures()
    differences = np.abs(engine.infer(images) - TorchEngine(network).infer(images))
    apart = float(differences.mean())
    if not apart <= MEAN_DIFFERENCE:  # NaN included
        raise RuntimeError(
            f"answers otherwise than float32: probabilities differ by {apart:.2g} on average "
            f"(at most {MEAN_DIFFERENCE:g}), by {float(differences.max()):.2g} at most"
        )


def pictures() -> NDArray[np.float32]:
    """Two prepared images ``(2, 224, 224)``: rings in noise, like a ventricle, large and small."""
    y, x = np.mgrid[:FRAME_PIXELS, :FRAME_PIXELS] - 0.5 * (FRAME_PIXELS - 1)
    noise = np.random.default_rng(0).normal(0.0, 0.2, (2, FRAME_PIXELS, FRAME_PIXELS))
    radius = np.hypot(x, y)
    rings = [np.select([radius < r, radius < 1.4 * r, radius < 80], [2.0, 0.0, 1.0], -0.8) for r in (22, 14)]
    return (np.stack(rings) + noise).astype(np.float32)
