"""Quantisation after training: INT8 with NNCF, calibrated on synthetic slices."""

from __future__ import annotations

from typing import Any, Final

from calibration.slices import calibration_batches

CALIBRATION_SLICES: Final = 300


def quantise(model: Any, slices: int = CALIBRATION_SLICES) -> Any:
    """An INT8 model of an OpenVINO model in float32.

    Args:
        model: of :func:`model.engines.openvino_engine.convert`.
        slices: synthetic slices that ranges are taken from.

    Raises:
        ImportError: NNCF is not installed (extra ``calibrate``).
    """
    import nncf

    return nncf.quantize(
        model,
        nncf.Dataset(list(calibration_batches(slices))),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=slices,
    )
