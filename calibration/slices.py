"""Synthetic slices for the calibration and the comparison of engines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from inline.data.series import Quantity
from model.frame import FRAME_PIXELS
from model.synthesis.contrast import ImageKind, Mix
from model.synthesis.generator import make_batch

BATCH: Final = 8
_CALIBRATION_SEED: Final = 7001
_GATE_SEED: Final = 7002
MAPS: Final = Mix(molli_image=0.0, t2prep_image=0.0, random_contrast=0.0)
"""Maps alone, without the other images of the training."""


@dataclass(frozen=True, slots=True)
class MapSlice:
    """Map with its network input.

    Attributes:
        image: network input, float32 ``(224, 224)``.
        values_ms: the map, float32 ``(224, 224)``.
        quantity: T1 (native or after contrast agent) or T2.
    """

    image: NDArray[np.float32]
    values_ms: NDArray[np.float32]
    quantity: Quantity


def calibration_batches(count: int, seed: int = _CALIBRATION_SEED) -> Iterator[NDArray[np.float32]]:
    """Yield ``count`` network inputs of every kind of the training, ``(8, 1, 224, 224)`` at a time.

    The last batch may be smaller.
    """
    generator = torch.Generator().manual_seed(seed)
    for done in range(0, count, BATCH):
        images = make_batch(BATCH, FRAME_PIXELS, generator).images.numpy()
        yield np.ascontiguousarray(images[: count - done, None], dtype=np.float32)


def map_slices(count: int, seed: int = _GATE_SEED) -> Iterator[MapSlice]:
    """Yield ``count`` maps with their network inputs, as in the stream."""
    generator = torch.Generator().manual_seed(seed)
    for done in range(0, count, BATCH):
        batch = make_batch(BATCH, FRAME_PIXELS, generator, MAPS)
        for image, values, kind in zip(
            batch.images[: count - done].numpy(), batch.unscaled.numpy(), batch.kinds.tolist(), strict=False
        ):
            quantity = Quantity.T2 if kind == ImageKind.T2_MAP else Quantity.T1
            yield MapSlice(image, values, quantity)
