"""Fits after training that are checked before use: precision, confidence, latency budget."""
