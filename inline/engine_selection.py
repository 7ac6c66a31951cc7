"""Choice of the engine for this host, and the pipeline around it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final

from inline.contouring.confidence import Reviewer
from inline.data.errors import ConfigurationError
from inline.extras import remedy
from inline.pipeline import Pipeline
from inline.reference import ReferenceRanges
from inline.settings import EngineName, Settings
from model.architecture import Tensors
from model.engines.base import Engine
from model.engines.fallback import FallbackEngine, NoEngineError
from model.engines.gate_report import bf16_report
from model.engines.int8_model import find_int8
from model.engines.magnifying import MagnifyingEngine
from model.engines.self_test import Reference
from model.host import computes_bfloat16, gpu_present, use_one_blas_thread
from model.weights import DEFAULT, WeightsError, load_weights, network_of

ON_GPU: Final[tuple[EngineName, ...]] = ("tensorrt", "cuda")
_IN_TORCH: Final = (*ON_GPU, "torch")
_IN_BF16: Final[tuple[EngineName, ...]] = ("openvino-bf16",)
"""Where the CPU has it: the mean is less than that of int8, half of whose slices take float32 as well."""
_ON_CPU: Final[tuple[EngineName, ...]] = ("openvino-int8", "openvino-f32", "torch")


def build_pipeline(settings: Settings, *, threads: int | None = None) -> Pipeline:
    """Return the pipeline of the settings: the only place where its engine and its reviewer are chosen.

    Linear algebra of this process has one thread from then on (:func:`model.host.use_one_blas_thread`).

    Args:
        settings: of the program.
        threads: of one inference on the CPU; None leaves their number to the engine.

    Raises:
        ConfigurationError: the weights cannot be used, or no engine loads.
    """
    use_one_blas_thread()
    return Pipeline(
        make_engine(settings, threads=threads),
        settings,
        reviewer=Reviewer.of(settings),
        ranges=ReferenceRanges.load(settings.reference.file),
    )


def preferred() -> tuple[EngineName, ...]:
    """Return the fallback order: the engines of ``auto``, and those that follow an engine that fails."""
    on_gpu = ON_GPU if gpu_present() else ()
    return (*on_gpu, *_IN_BF16, *_ON_CPU) if computes_bfloat16() else (*on_gpu, *_ON_CPU)


def make_engine(settings: Settings, *, threads: int | None = None) -> FallbackEngine:
    """Return the engine of the settings with those that replace it.

    Args:
        settings: of the program.
        threads: as for :func:`build_pipeline`.

    Raises:
        ConfigurationError: the weights cannot be used, or no engine loads.
    """
    tensors, weights = weights_of(settings)
    reference = reference_of(tensors, weights)
    names = preferred() if settings.engine == "auto" else (settings.engine, *preferred())
    makers = [
        (name, partial(_load_magnifying, name, tensors, weights, threads)) for name in dict.fromkeys(names)
    ]
    try:
        return FallbackEngine(makers, reference)
    except NoEngineError as error:
        raise ConfigurationError(str(error)) from error


def weights_of(settings: Settings) -> tuple[Tensors, Path]:
    """Return the tensors of the network and the folder that they were read from.

    Raises:
        ConfigurationError: the weights cannot be used.
    """
    weights = settings.weights or DEFAULT
    try:
        return load_weights(weights), weights
    except WeightsError as error:
        raise ConfigurationError(str(error)) from error


def reference_of(tensors: Tensors, weights: Path) -> Reference:
    """Return the output that engines of a network are compared with.

    It is computed by numpy at each start (0.4 s) and not stored, so it belongs to the weights in use.

    Raises:
        ConfigurationError: the weights cannot be used.
    """
    try:
        return Reference.of(tensors)
    except RuntimeError as error:
        raise ConfigurationError(
            f"the weights in {weights} cannot be used: in float32 they give {error}"
        ) from error


def _load_magnifying(
    name: EngineName, tensors: Tensors, weights: Path, threads: int | None
) -> MagnifyingEngine:
    """Load one engine, with magnified passes."""
    return MagnifyingEngine(load_engine(name, tensors, weights, threads))


def load_engine(name: EngineName, tensors: Tensors, weights: Path, threads: int | None = None) -> Engine:
    """Load one engine, whose output :func:`model.engines.self_test.run_self_test` then checks.

    Args:
        name: of the engine.
        tensors: of the network.
        weights: folder that they were read from.
        threads: of one inference on the CPU; for torch, those of this process.

    Raises:
        Exception: of any kind; its message says why the engine does not run here.
    """
    if name in _IN_TORCH:
        try:
            return _load_in_torch(name, tensors, weights, threads)
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise RuntimeError(f"torch is not installed: {remedy()}") from error
    from model.engines.openvino_engine import OpenVinoEngine, Precision, int8_engine
    from model.engines.openvino_graph import build_model

    precision = Precision(name.removeprefix("openvino-"))
    if precision is Precision.BF16:
        bf16_report(weights)
    if precision is Precision.INT8:
        model = find_int8(weights)
        return int8_engine(model.graph, model.constants, tensors, threads)
    return OpenVinoEngine(build_model(tensors), precision, threads)


def gate_report(name: EngineName, weights: Path) -> dict[str, Any] | None:
    """Return the gate's report on an engine that loads here; None for engines that need no gate."""
    if name == "openvino-bf16":
        return bf16_report(weights)
    return find_int8(weights).report if name == "openvino-int8" else None


def _load_in_torch(name: EngineName, tensors: Tensors, weights: Path, threads: int | None) -> Engine:
    import torch

    network = network_of(tensors)
    if name == "torch":
        from model.engines.torch_engine import TorchEngine

        if threads is not None:
            torch.set_num_threads(threads)
        return TorchEngine(network)
    from model.engines.cuda_engine import CudaEngine
    from model.engines.tensorrt_engine import TensorRtEngine

    return TensorRtEngine(network, weights) if name == "tensorrt" else CudaEngine(network)
