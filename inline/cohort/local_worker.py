"""Preload of the workers that a command starts, and ends when it is interrupted."""

from __future__ import annotations

import signal
from typing import Any


def dask_setup(worker: Any) -> None:
    """Ignore SIGINT, which a terminal sends to all processes of a command at once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
