"""Times of calls, and their percentiles."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np


def median_ms(work: Callable[[], object], repeats: int) -> float:
    """Return the median time of a call after one to warm up, ms."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1000.0)
    return statistics.median(times)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return median, 95th and 99th percentile and maximum; nothing for no values."""
    if not values:
        return {}
    p50, p95, p99 = np.percentile(values, [50, 95, 99])
    return {"p50": float(p50), "p95": float(p95), "p99": float(p99), "max": float(max(values))}
