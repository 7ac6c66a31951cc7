"""Synthetic slices with their true labels, for evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np
import torch

from model.evaluation.cases import LabelledSlice
from model.frame import FRAME_MM, FRAME_PIXELS
from model.synthesis.contrast import Mix
from model.synthesis.generator import make_batch
from model.synthesis.pathology import Pathology

SEED: Final = 2_000_000_000
"""Far from the seeds of any training."""
_BATCH: Final = 8
MIXES: Final = {
    "t1": Mix(
        t1_map=0.66, t1_map_post=0.34, t2_map=0.0, molli_image=0.0, t2prep_image=0.0, random_contrast=0.0
    ),
    "t2": Mix(
        t1_map=0.0, t1_map_post=0.0, t2_map=1.0, molli_image=0.0, t2prep_image=0.0, random_contrast=0.0
    ),
}
_NATIVE_T1: Final = replace(MIXES["t1"], t1_map=1.0, t1_map_post=0.0)


def make_slices(
    count: int, kind: str, seed: int = SEED, *, maps: bool = False
) -> Iterator[tuple[LabelledSlice, str]]:
    """Yield synthetic slices of one kind of map and the pathology of each; the same for a seed.

    Args:
        count: slices.
        kind: ``t1`` or ``t2``.
        seed: of the generator.
        maps: native maps in ms; else network input, a third of T1 post-contrast.
    """
    mix = _NATIVE_T1 if maps and kind == "t1" else MIXES[kind]
    generator = torch.Generator().manual_seed(seed + (kind == "t2"))
    made = 0
    while made < count:
        batch = make_batch(_BATCH, FRAME_PIXELS, generator, mix)
        for i in range(min(_BATCH, count - made)):
            level = ("basal", "mid", "apical")[min(int(batch.level[i] * 3), 2)]
            labels = batch.labels[i].numpy().astype(np.uint8)
            slice_ = LabelledSlice(
                name=f"synthetic-{made}",
                case=f"synthetic-{made}",
                kind=kind,
                image=(batch.pictures if maps else batch.images)[i].numpy(),
                weighted=np.empty((0, *labels.shape), np.float32),
                spacing=(FRAME_MM, FRAME_MM),
                readers={"truth": labels},
                level=level,
                in_ms=maps,
            )
            made += 1
            yield slice_, Pathology(int(batch.pathology[i])).name.lower()
