"""Measurements of throughput, latency and accuracy, each a command."""

import inline  # noqa: F401  # before torch: sets the waiting policy of its threads
