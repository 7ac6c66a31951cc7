"""Builds an eight-bit engine and puts it before its gate."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import torch

from calibration.distil import distil
from calibration.gate import SLICES, GateReport, run_gate
from calibration.precision import CALIBRATION_SLICES, quantise, quantise_for_tensorrt
from calibration.slices import calibration_batches, map_slices
from model.engines import tensorrt_int8_engine
from model.engines.base import Engine
from model.engines.cuda_engine import CudaEngine
from model.engines.engine_cache import EngineKey, EngineStore
from model.engines.gpu import require_gpu
from model.engines.onnx_export import export_module
from model.engines.openvino_engine import (
    OpenVinoEngine,
    Precision,
    convert,
    int8_engine,
    save,
    write_doubt,
)
from model.engines.reevaluation import SecondLook, doubts
from model.engines.shipped_int8 import pack
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
        write_doubt(made, doubt_of(OpenVinoEngine(made, Precision.INT8)))
        save(made, file)

    model = store.build(key, write)
    report = run_gate(int8_engine(model, network), TorchEngine(network), map_slices(slices))
    content = json.loads(report.to_json())
    store.save_report(key, content)
    if ship and report.passed:
        pack(model, weights, content)
    return report


def build_tensorrt_int8(
    weights: Path,
    slices: int = SLICES,
    *,
    calibration_slices: int = CALIBRATION_SLICES,
    store: EngineStore | None = None,
) -> GateReport:
    """As :func:`build_int8`, of TensorRT and for the GPU at hand.

    Raises:
        ImportError: TensorRT or the ONNX exporter is not installed.
        RuntimeError: there is no GPU that torch can use, or TensorRT does not run the network on it.
        WeightsError: the weights cannot be used.
    """
    from model.engines.tensorrt_builder import build_engine

    device = require_gpu()
    store = store or EngineStore()
    network = load_network(weights)
    key = tensorrt_int8_engine.engine_key(weights, device)

    def write(file: Path) -> None:
        made = quantise_for_tensorrt(network, calibration_batches(calibration_slices), device)
        with tempfile.TemporaryDirectory() as folder:
            onnx = Path(folder) / "model.onnx"
            export_module(made.cpu(), onnx)
            file.write_bytes(build_engine(onnx))
        tensorrt_int8_engine.write_doubt(file, doubt_of(tensorrt_int8_engine.PlanEngine(file)))

    plan = store.build(key, write)
    fast, exact = tensorrt_int8_engine.PlanEngine(plan), CudaEngine(network)
    engine = SecondLook(fast, exact, tensorrt_int8_engine.read_doubt(plan))
    report = run_gate(engine, TorchEngine(network.to(device)), map_slices(slices))
    store.save_report(key, json.loads(report.to_json()))
    return report


def simulate_tensorrt_int8(
    weights: Path, slices: int = SLICES, *, calibration_slices: int = CALIBRATION_SLICES
) -> GateReport:
    """The gate's report on the eight bits of TensorRT, computed in float32 on the CPU; nothing is kept.

    Raises:
        WeightsError: the weights cannot be used.
    """
    network = load_network(weights)
    batches = calibration_batches(calibration_slices)
    rounded = quantise_for_tensorrt(network, batches, torch.device("cpu"), half=False)
    fast, exact = TorchEngine(rounded.network, "tensorrt-int8, simulated"), TorchEngine(network)
    return run_gate(SecondLook(fast, exact, doubt_of(fast)), exact, map_slices(slices))


def doubt_of(engine: Engine) -> float:
    """Above which doubt of an eight-bit engine another looks again: a fifth of synthetic slices.

    They have seeds of their own, neither those of the calibration nor those of the gate.
    """
    seen = [doubts(engine.infer(each.image[None]))[0] for each in map_slices(_DOUBT_SLICES, _DOUBT_SEED)]
    return float(np.quantile(seen, 1.0 - _LOOKED_AT_AGAIN))
