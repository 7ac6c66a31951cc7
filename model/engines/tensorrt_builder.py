"""TensorRT's own builder: from an ONNX file to a plan, the serialised engine.

TensorRT comes as ``tensorrt``, which builds for the GPU that it runs on, and as ``tensorrt_rtx`` (extra
``ahead-of-time``), which builds for stated GPUs on a machine that has none. The only module that imports it.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from model.engines.gpu import LARGEST_BATCH
from model.errors import MyostreamError
from model.frame import FRAME_PIXELS

trt: Any = import_module("tensorrt" if find_spec("tensorrt") else "tensorrt_rtx")
AHEAD: Final = trt.__name__ == "tensorrt_rtx"
"""Whether it builds for other GPUs than the one at hand."""
_SHAPE: Final = (1, FRAME_PIXELS, FRAME_PIXELS)
_USUAL_BATCH: Final = 1


class ConversionError(MyostreamError):
    """TensorRT does not read the network or does not build an engine of it; says what it said."""


def capabilities() -> tuple[str, ...]:
    """Compute capabilities that engines can be built for ahead of time, such as ``8.9``."""
    if not AHEAD:
        return ()
    names = (name.removeprefix("SM") for name in vars(trt.ComputeCapability) if name.startswith("SM"))
    return tuple(f"{number // 10}.{number % 10}" for number in sorted(map(int, names)))


def build_engine(onnx: Path, targets: Iterable[str] | None = None) -> bytes:
    """One serialised engine for batches of 1 to 32 images.

    Args:
        onnx: of :mod:`model.engines.onnx_export`.
        targets: compute capabilities; None for all of :func:`capabilities`, or for the GPU at hand where
            TensorRT does not build ahead of time.

    Raises:
        ConversionError: a layer cannot be converted, or the file is no network.
        ValueError: a target that this version cannot build for.
    """
    wanted = capabilities() if targets is None else tuple(targets)
    unknown = [target for target in wanted if target not in capabilities()]
    if unknown:
        raise ValueError(
            f"{trt.__name__} {trt.__version__} builds for compute capability "
            f"{', '.join(capabilities()) or 'of the GPU at hand alone'}, not {', '.join(unknown)}"
        )
    logger = Messages()
    builder = trt.Builder(logger)
    # Types stand in the graph. Newer versions know nothing else, and no such flag.
    typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if typed is None else 1 << int(typed))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(onnx)):
        said = [parser.get_error(number).desc() for number in range(parser.num_errors)]
        raise ConversionError(f"TensorRT does not read {onnx}: {'; '.join(said)}")
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    profile.set_shape("images", (1, *_SHAPE), (_USUAL_BATCH, *_SHAPE), (LARGEST_BATCH, *_SHAPE))
    config.add_optimization_profile(profile)
    if AHEAD:
        config.num_compute_capabilities = len(wanted)
    for number, target in enumerate(wanted):
        config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{target.replace('.', '')}"), number)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise ConversionError(f"TensorRT builds no engine of {onnx}: {'; '.join(logger.errors)}")
    return bytes(engine)


class Messages(trt.ILogger):  # type: ignore[misc]
    """Keeps what TensorRT says of errors instead of printing it."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[str] = []

    def log(self, severity: Any, message: str) -> None:
        """Called by TensorRT."""
        if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
            self.errors.append(message)
