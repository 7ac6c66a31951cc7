"""Synthetic short-axis examinations: anatomy, tissue, signal and acquisition, made in batches in torch."""
