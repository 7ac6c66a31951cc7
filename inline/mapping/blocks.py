"""Blocks of pixels, fitted side by side.

A fit is some hundred operations on small arrays. Shared out one by one among OpenMP's threads they wait for
each other most of the time; a block of pixels in one thread waits for nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Final

import torch
from torch import Tensor

Parts = tuple[Tensor, ...]
"""Fields of a fit of a block, each ``(pixels,)``."""

_BLOCK: Final = 16384
"""Pixels of a block: what its arrays take stays near the size of a core's cache."""
_SMALL: Final = 4096
"""Pixels that are not worth sharing out."""
_MOST_THREADS: Final = 8


def _threads() -> int:
    return min(len(os.sched_getaffinity(0)), _MOST_THREADS)


@cache
def _pool() -> ThreadPoolExecutor:
    # torch's number of threads is the calling thread's own: others keep theirs.
    return ThreadPoolExecutor(_threads(), "fit", initializer=torch.set_num_threads, initargs=(1,))


def fit_in_blocks(fit: Callable[[Tensor], Parts], signals: Tensor) -> Parts:
    """Fit all pixels of ``signals`` ``(times, pixels)``; on the CPU several blocks at a time.

    Args:
        fit: of a block ``(times, pixels)``, called from several threads.
        signals: of every pixel.

    Returns:
        The fields of the fit, each ``(pixels,)``.
    """
    pixels = signals.shape[1]
    if pixels <= _SMALL or signals.device.type != "cpu":
        found = [fit(block) for block in torch.split(signals, _BLOCK, dim=1)]
    else:
        # The mode belongs to the thread, so those of the pool are told of the caller's.
        inference = torch.is_inference_mode_enabled()

        def in_pool(block: Tensor) -> Parts:
            with torch.inference_mode(inference):
                return fit(block)

        share = -(-pixels // _threads())
        found = list(_pool().map(in_pool, torch.split(signals, min(share, _BLOCK), dim=1)))
    return tuple(torch.cat(parts) for parts in zip(*found, strict=True))
