"""Short trainings for comparisons: they give a ranking and reach less than a whole training."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn
from torch.nn import functional

from model.host import cpu_flags
from model.loss import jaccard_loss
from model.synthesis.contrast import Mix
from model.synthesis.generator import Parts, make_batch

Network = TypeVar("Network", bound=nn.Module)


def computes_bfloat16() -> bool:
    """Return whether the processor computes in bfloat16."""
    return bool({"avx512_bf16", "amx_bf16"} & cpu_flags())


def train_briefly(
    make: Callable[[], Network],
    steps: int,
    *,
    parts: Parts | None = None,
    mix: Mix | None = None,
    batch: int = 8,
    size: int = 128,
    seed: int = 7,
) -> Network:
    """Return a network after a few steps on synthetic slices, with one recipe for all comparisons.

    Scores are computed in bfloat16, in half the time, where the processor supports it.

    Args:
        make: returns the untrained network; called after the seed is set.
        steps: of the optimiser.
        parts: of the generator; None for all.
        mix: kinds of images; None for the generator's own.
        batch: slices in each step.
        size: rows and columns, pixels of 1.5 mm.
        seed: of the weights and of the slices.
    """
    half = computes_bfloat16()
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = make().train()
    # Convolutions on a CPU take a quarter less time in this order of memory.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=1e-4)
    for step in range(steps):
        rate = 1e-3 * 0.5 * (1.0 + math.cos(math.pi * step / steps)) * min(1.0, (step + 1) / 100)
        for group in optimizer.param_groups:
            group["lr"] = rate
        made = make_batch(batch, size, generator, mix, parts=parts)
        images = made.images[:, None].contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            scores = network(images)
        scores = scores.float()
        loss = jaccard_loss(scores, made.labels) + 0.5 * functional.cross_entropy(scores, made.labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
    return network.eval()
