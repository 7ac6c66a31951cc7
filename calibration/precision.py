"""Faster arithmetic for a folder of weights: int8 and bfloat16, each compared with float32 by the gate."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from calibration.gate import GateReport, run_gate
from calibration.quantisation import distil, quantise
from calibration.slices import map_slices
from model.architecture import Tensors
from model.engines.base import Engine
from model.engines.engine_cache import EngineCache, EngineKey
from model.engines.gate_report import write_report
from model.engines.int8_model import FOLDER, write_int8
from model.engines.openvino_engine import OpenVinoEngine, Precision, int8_engine, serialise, set_threshold
from model.engines.openvino_graph import build_model
from model.engines.reevaluation import uncertainty
from model.engines.torch_engine import TorchEngine
from model.output import check_folder
from model.weights import load_weights, network_of

_Write = Callable[[Path, dict[str, Any]], None]
"""Writer of the files of an engine, its gate's report among them, into a folder."""

CALIBRATION_SLICES: Final = 300
_THRESHOLD_SLICES: Final = 200
_THRESHOLD_SEED: Final = 7004
_REEVALUATED: Final = 0.5
"""Share of slices that are re-evaluated. The median T1 keeps its limit on 98.3 % of slices with 0.2 and on
98.97 % with 0.4; 99 % are needed."""


def build_int8(
    weights: Path,
    slices: int,
    *,
    calibration_slices: int = CALIBRATION_SLICES,
    distil_steps: int = 0,
    progress: Callable[[int, float], None] | None = None,
    beside_weights: bool = False,
    cache: EngineCache | None = None,
) -> GateReport:
    """Quantise the network of a folder of weights, compare it with float32, keep both model and report.

    Args:
        weights: folder of weights.
        slices: that the gate compares.
        calibration_slices: that ranges are taken from.
        distil_steps: of training with simulated rounding; 0 for none.
        progress: called with the number of each such step and its loss.
        beside_weights: also write a model that has passed into the folder of weights, for other hosts.
        cache: where the model is kept; None for the user's.

    Raises:
        ImportError: NNCF is not installed.
        RuntimeError: NNCF's quantisers cannot be compiled here, which training needs.
        WeightsError: the weights cannot be used.
        OSError: the cache cannot be written.
        OutputError: the folder of the weights cannot be written.
    """

    def make(tensors: Tensors) -> tuple[Engine, _Write]:
        network = network_of(tensors)
        if distil_steps:
            model = distil(network, distil_steps, calibration_slices, progress)
        else:
            model = quantise(network, calibration_slices)
        set_threshold(model, threshold_of(OpenVinoEngine(model, Precision.INT8)))
        graph, constants = serialise(model)
        engine = int8_engine(graph, constants, tensors)
        return engine, lambda folder, report: write_int8(folder, weights, graph, constants, report)

    return _gated(weights, FOLDER, slices, make, beside_weights, cache)


def gate_bf16(
    weights: Path,
    slices: int,
    *,
    beside_weights: bool = False,
    cache: EngineCache | None = None,
) -> GateReport:
    """Compare bfloat16, on a CPU that computes in it, with float32, and keep the report.

    Args:
        weights: folder of weights.
        slices: that the gate compares.
        beside_weights: also write the report of bfloat16 that has passed into the folder of weights.
        cache: where the report is kept; None for the user's.

    Raises:
        WeightsError: the weights cannot be used.
        OSError: the cache cannot be written.
        OutputError: the folder of the weights cannot be written.
    """

    def make(tensors: Tensors) -> tuple[Engine, _Write]:
        engine = OpenVinoEngine(build_model(tensors), Precision.BF16)
        return engine, lambda folder, report: write_report(folder, weights, report)

    return _gated(weights, Precision.BF16, slices, make, beside_weights, cache)


def _gated(
    weights: Path,
    precision: str,
    slices: int,
    make: Callable[[Tensors], tuple[Engine, _Write]],
    beside_weights: bool,
    cache: EngineCache | None,
) -> GateReport:
    """Return the report of the engine that ``make`` returns with the writer of its files; keep both."""
    tensors, cache, beside = load_weights(weights), cache or EngineCache(), weights / precision
    # Before the gate, which takes minutes: its report can be kept.
    cache.check()
    if beside_weights:
        check_folder(weights)
        if beside.exists():
            check_folder(beside)
    engine, write = make(tensors)
    report = run_gate(engine, TorchEngine(network_of(tensors)), map_slices(slices))
    content = asdict(report)
    cache.build(EngineKey.of(weights, precision), lambda folder: write(folder, content))
    if beside_weights and report.passed:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        write(beside, content)
    return report


def threshold_of(engine: Engine) -> float:
    """Return the uncertainty above which the output of an int8 engine is re-evaluated: half of slices.

    The slices are synthetic, with other seeds than those of the calibration and of the gate.
    """
    found = [
        uncertainty(engine.infer(each.image[None]))[0]
        for each in map_slices(_THRESHOLD_SLICES, _THRESHOLD_SEED)
    ]
    return float(np.quantile(found, 1.0 - _REEVALUATED))
