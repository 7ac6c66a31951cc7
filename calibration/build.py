"""Builds an eight-bit engine and puts it before its gate."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from calibration.distil import distil
from calibration.gate import SLICES, GateReport, run_gate
from calibration.precision import CALIBRATION_SLICES, quantise
from calibration.slices import map_slices
from model.engines.openvino_engine import OpenVinoEngine, Precision, convert, save
from model.engines.shipped import pack
from model.engines.store import EngineKey, EngineStore
from model.engines.torch_engine import TorchEngine
from model.weights import load_network


def build_int8(
    weights: Path,
    slices: int = SLICES,
    *,
    calibration_slices: int = CALIBRATION_SLICES,
    distil_steps: int = 0,
    tell: Callable[[int, float], None] | None = None,
    ship: bool = False,
    store: EngineStore | None = None,
) -> GateReport:
    """Quantise the network of a folder of weights, compare it with float32, keep both model and report.

    Args:
        weights: folder of weights.
        slices: that the gate compares.
        calibration_slices: that ranges are taken from.
        distil_steps: of training with eight bits simulated, after that; 0 for none.
        tell: is given the number of each such step and its loss.
        ship: write what passed beside the weights as well, for other machines.
        store: where the engine is kept; None for the user's cache.

    Raises:
        ImportError: NNCF is not installed.
        RuntimeError: it cannot be compiled here, which training needs.
        WeightsError: the weights cannot be used.
    """
    store = store or EngineStore()
    network = load_network(weights)
    key = EngineKey.of(weights, "int8")

    def write(file: Path) -> None:
        if distil_steps:
            save(distil(network, distil_steps, calibration_slices, tell), file)
        else:
            save(quantise(convert(network), calibration_slices), file)

    model = store.build(key, write)
    report = run_gate(OpenVinoEngine(model, Precision.INT8), TorchEngine(network), map_slices(slices))
    store.save_report(key, json.loads(report.to_json()))
    if ship and report.passed:
        pack(model, weights, json.loads(report.to_json()))
    return report
