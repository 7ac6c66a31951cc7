"""Choice of the engine for this host, and the pipeline around it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final

from inline.contouring.confidence import Reviewer
from inline.data.errors import ConfigurationError
from inline.pipeline import Pipeline
from inline.reference import ReferenceRanges
from inline.settings import EngineName, Settings
from model.engines.base import Engine
from model.engines.fallback import FallbackEngine, NoEngineError
from model.engines.gpu import gpu_present
from model.engines.int8_model import find_int8
from model.engines.self_test import Reference
from model.engines.torch_engine import TorchEngine
from model.unet import UNet
from model.weights import DEFAULT, WeightsError, load_network

ON_GPU: Final[tuple[EngineName, ...]] = ("tensorrt", "cuda")
_ON_CPU: Final[tuple[EngineName, ...]] = ("openvino-int8", "openvino-f32", "torch")


def build_pipeline(settings: Settings, *, threads: int | None = None) -> Pipeline:
    """Return the pipeline of the settings: the only place where its engine and its reviewer are chosen.

    Args:
        settings: of the program.
        threads: of one inference on the CPU; None leaves their number to the engine.

    Raises:
        ConfigurationError: the weights cannot be used, or no engine loads.
    """
    return Pipeline(
        make_engine(settings, threads=threads),
        settings.regions,
        reviewer=Reviewer.of(settings),
        t1_scale=settings.mapping.t1_scale,
        offsets=settings.contours.offsets,
        ranges=ReferenceRanges.load(settings.reference.file),
        uncertainty=settings.emit.uncertainty,
        motion_correction=settings.mapping.motion_correction == "auto",
    )


def preferred() -> tuple[EngineName, ...]:
    """Return the fallback order: the engines of ``auto``, and those that follow an engine that fails."""
    return (*ON_GPU, *_ON_CPU) if gpu_present() else _ON_CPU


def make_engine(settings: Settings, *, threads: int | None = None) -> FallbackEngine:
    """Return the engine of the settings with those that replace it.

    Args:
        settings: of the program.
        threads: as for :func:`build_pipeline`.

    Raises:
        ConfigurationError: the weights cannot be used, or no engine loads.
    """
    network, weights = load_weights(settings)
    reference = reference_of(network, weights)
    names = preferred() if settings.engine == "auto" else (settings.engine, *preferred())
    makers = [(name, partial(load_engine, name, network, weights, threads)) for name in dict.fromkeys(names)]
    try:
        return FallbackEngine(makers, reference)
    except NoEngineError as error:
        raise ConfigurationError(str(error)) from error


def load_weights(settings: Settings) -> tuple[UNet, Path]:
    """Return the network in float32 and the folder that it was read from.

    Raises:
        ConfigurationError: the weights cannot be used.
    """
    weights = settings.weights or DEFAULT
    try:
        return load_network(weights), weights
    except WeightsError as error:
        raise ConfigurationError(str(error)) from error


def reference_of(network: UNet, weights: Path) -> Reference:
    """Return the output that engines of a network are compared with.

    It is computed by torch at each start (0.2 s) and not stored, so it belongs to the weights in use.

    Raises:
        ConfigurationError: the weights cannot be used.
    """
    try:
        return Reference.of(network)
    except RuntimeError as error:
        raise ConfigurationError(
            f"the weights in {weights} cannot be used: in float32 they give {error}"
        ) from error


def load_engine(name: EngineName, network: UNet, weights: Path, threads: int | None = None) -> Engine:
    """Load one engine, whose output :func:`model.engines.self_test.run_self_test` then checks.

    Args:
        name: of the engine.
        network: in float32.
        weights: folder that it was read from.
        threads: of OpenVINO; torch takes those of its process.

    Raises:
        Exception: of any kind; its message says why the engine does not run here.
    """
    if name == "torch":
        return TorchEngine(network)
    if name in ON_GPU:
        return _load_on_gpu(name, network, weights)
    from model.engines.openvino_engine import OpenVinoEngine, Precision, int8_engine

    precision = Precision(name.removeprefix("openvino-"))
    if precision is Precision.INT8:
        model = find_int8(weights)
        return int8_engine(model.graph, model.constants, network, threads)
    return OpenVinoEngine(network, precision, threads)


def gate_report(name: EngineName, weights: Path) -> dict[str, Any] | None:
    """Return the gate's report on the int8 engine that loads here; None for engines that need no gate."""
    return find_int8(weights).report if name == "openvino-int8" else None


def _load_on_gpu(name: EngineName, network: UNet, weights: Path) -> Engine:
    from model.engines.cuda_engine import CudaEngine
    from model.engines.tensorrt_engine import TensorRtEngine

    return TensorRtEngine(network, weights) if name == "tensorrt" else CudaEngine(network)
