"""Quantisation after training: INT8 with NNCF, calibrated on synthetic slices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

CALIBRATION_SLICES: Final = 300


def quantise(model: Any, batches: Sequence[Any]) -> Any:
    """A model with eight-bit quantisers of one in float32.

    Args:
        model: of :func:`model.engines.openvino_engine.convert`, or a module of torch.
        batches: prepared pictures ``(n, 1, 224, 224)`` that ranges are taken from, as the model takes them.

    Raises:
        ImportError: NNCF is not installed (extra ``calibrate``).
    """
    import nncf

    return nncf.quantize(
        model,
        nncf.Dataset(batches),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(batches),
    )
