"""Throughput, latency and accuracy figures, each printed by a command."""

import inline  # noqa: F401  # before torch, whose threads it tells how to wait
