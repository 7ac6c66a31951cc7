"""TensorRT-RTX ahead of time: an engine for stated GPUs, built on a machine that has none.

The only module that imports ``tensorrt_rtx`` (extra ``ahead-of-time``).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import tensorrt_rtx as trt

from model.engines.gpu import LARGEST_BATCH
from model.frame import FRAME_PIXELS

_SHAPE: Final = (1, FRAME_PIXELS, FRAME_PIXELS)
_USUAL_BATCH: Final = 1


class ConversionError(Exception):
    """TensorRT-RTX does not read the network or does not build an engine of it; says what it said."""


def capabilities() -> tuple[str, ...]:
    """Compute capabilities that engines can be built for, such as ``8.9``."""
    names = (name.removeprefix("SM") for name in vars(trt.ComputeCapability) if name.startswith("SM"))
    return tuple(f"{number // 10}.{number % 10}" for number in sorted(map(int, names)))


def build_engine(onnx: Path, targets: Iterable[str] | None = None) -> bytes:
    """One serialised engine that runs on several kinds of GPU.

    Args:
        onnx: of :func:`model.engines.onnx_export.export_onnx`.
        targets: compute capabilities; None for all of :func:`capabilities`.

    Raises:
        ConversionError: a layer cannot be converted, or the file is no network.
        ValueError: a target that this version cannot build for.
    """
    wanted = capabilities() if targets is None else tuple(targets)
    unknown = [target for target in wanted if target not in capabilities()]
    if unknown:
        raise ValueError(
            f"TensorRT-RTX {trt.__version__} builds for compute capability {', '.join(capabilities())}, "
            f"not {', '.join(unknown)}"
        )
    logger = _Messages()
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(onnx)):
        said = [parser.get_error(number).desc() for number in range(parser.num_errors)]
        raise ConversionError(f"TensorRT-RTX does not read {onnx}: {'; '.join(said)}")
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    profile.set_shape("images", (1, *_SHAPE), (_USUAL_BATCH, *_SHAPE), (LARGEST_BATCH, *_SHAPE))
    config.add_optimization_profile(profile)
    config.num_compute_capabilities = len(wanted)
    for number, target in enumerate(wanted):
        config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{target.replace('.', '')}"), number)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise ConversionError(f"TensorRT-RTX builds no engine of {onnx}: {'; '.join(logger.errors)}")
    return bytes(engine)


class _Messages(trt.ILogger):  # type: ignore[misc]
    """Keeps what TensorRT-RTX says of errors instead of printing it."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[str] = []

    def log(self, severity: trt.ILogger.Severity, message: str) -> None:
        """Called by TensorRT-RTX."""
        if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
            self.errors.append(message)
