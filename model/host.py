"""What a figure was measured on."""

from __future__ import annotations

import os

from model.engines.engine_cache import processor


def describe_host() -> dict[str, str | int]:
    """Processor and the number of cores that this process may use."""
    return {"processor": processor(), "cores": len(os.sched_getaffinity(0))}
