"""Builds an eight-bit engine and puts it before its gate."""

from __future__ import annotations

import json
from pathlib import Path

from calibration.gate import SLICES, GateReport, run_gate
from calibration.precision import CALIBRATION_SLICES, quantise
from calibration.slices import map_slices
from model.engines.openvino_engine import OpenVinoEngine, Precision, convert, save
from model.engines.store import EngineKey, EngineStore
from model.engines.torch_engine import TorchEngine
from model.weights import load_network


def build_int8(
    weights: Path,
    slices: int = SLICES,
    *,
    calibration_slices: int = CALIBRATION_SLICES,
    store: EngineStore | None = None,
) -> GateReport:
    """Quantise the network of a folder of weights, compare it with float32, keep both model and report.

    Args:
        weights: folder of weights.
        slices: that the gate compares.
        calibration_slices: that ranges are taken from.
        store: where the engine is kept; None for the user's cache.

    Raises:
        ImportError: NNCF is not installed.
        WeightsError: the weights cannot be used.
    """
    store = store or EngineStore()
    network = load_network(weights)
    key = EngineKey.of(weights, "int8")
    model = store.build(key, lambda file: save(quantise(convert(network), calibration_slices), file))
    report = run_gate(OpenVinoEngine(model, Precision.INT8), TorchEngine(network), map_slices(slices))
    store.save_report(key, json.loads(report.to_json()))
    return report
