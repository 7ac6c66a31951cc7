"""Throughput, latency and accuracy figures, each printed by a command."""
