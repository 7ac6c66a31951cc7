"""Builds an eight-bit engine and puts it before its gate."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from calibration.distil import distil
from calibration.gate import SLICES, GateReport, run_gate
from calibration.precision import CALIBRATION_SLICES, quantise
from calibration.slices import calibration_batches, map_slices
from model.engines.openvino_engine import (
    OpenVinoEngine,
    Precision,
    convert,
    int8_engine,
    save,
    write_doubt,
)
from model.engines.second_look import doubts
from model.engines.shipped import pack
from model.engines.store import EngineKey, EngineStore
from model.engines.torch_engine import TorchEngine
from model.weights import load_network

_DOUBT_SLICES: Final = 200
_DOUBT_SEED: Final = 7004
_LOOKED_AT_AGAIN: Final = 0.2


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
            made = distil(network, distil_steps, calibration_slices, tell)
        else:
            made = quantise(convert(network), list(calibration_batches(calibration_slices)))
        note_doubt(made)
        save(made, file)

    model = store.build(key, write)
    report = run_gate(int8_engine(model, network), TorchEngine(network), map_slices(slices))
    content = json.loads(report.to_json())
    store.save_report(key, content)
    if ship and report.passed:
        pack(model, weights, content)
    return report


def note_doubt(model: Any) -> None:
    """Note in an eight-bit model above which doubt float32 looks again: a fifth of synthetic slices.

    They have seeds of their own, neither those of the calibration nor those of the gate.
    """
    engine = OpenVinoEngine(model, Precision.INT8)
    seen = [doubts(engine.infer(each.image[None]))[0] for each in map_slices(_DOUBT_SLICES, _DOUBT_SEED)]
    write_doubt(model, float(np.quantile(seen, 1.0 - _LOOKED_AT_AGAIN)))
