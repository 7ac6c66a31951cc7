"""What the measurements of the stream share: slices to send, and what a server process has used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from inline.mrd.messages import Image
from inline.replay.simulate import MOLLI_SERIES, header_xml, simulate_examination, to_images

_DISTINCT: Final = 4
"""Hearts that are simulated; more slices repeat them."""


def make_stream(slices: int, size: int = 256) -> tuple[str, list[list[Image]]]:
    """A header, and the images of each slice: MOLLI (8) and T2-prep (3) in turn.

    Args:
        slices: half of them MOLLI.
        size: rows and columns.
    """
    hearts = simulate_examination(_DISTINCT, seed=3, size=size)
    images = to_images(hearts)
    series: dict[tuple[int, int], list[Image]] = {}
    for image in images:
        key = (image.header.slice, image.header.image_series_index)
        series.setdefault(key, []).append(image)
    kinds = (MOLLI_SERIES, MOLLI_SERIES + 1)
    stream = []
    for number in range(slices):
        members = series[number // 2 % _DISTINCT, kinds[number % 2]]
        # Each slice is one of its own to the server: another counter and another place.
        stream.append(
            [
                replace(
                    image,
                    header=replace(
                        image.header, slice=number // 2, position=(0.0, 0.0, 10.0 * (number // 2))
                    ),
                )
                for image in members
            ]
        )
    return header_xml(hearts), stream


def peak_memory_mib(pid: int) -> float:
    """Largest resident memory of a process so far, MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return float(line.split()[1]) / 1024.0
    return float("nan")


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Median, 95th and 99th percentile and maximum."""
    if not values:
        return {}
    p50, p95, p99 = np.percentile(values, [50, 95, 99])
    return {"p50": float(p50), "p95": float(p95), "p99": float(p99), "max": float(max(values))}
