"""Checks of what computes: weights, calibration, reference ranges, GPU, engines."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

import numpy as np

from inline.contouring.confidence import Reviewer
from inline.data.errors import ConfigurationError
from inline.data.plural import counted
from inline.doctor.finding import Finding, good, problem, warning
from inline.engine_selection import load_engine, preferred, reference_of, weights_of
from inline.reference import ReferenceRanges
from inline.settings import Settings
from model.engines.base import Engine
from model.engines.self_test import Reference, run_self_test
from model.host import gpu_present
from model.weights import weights_digest

_REPEATS: Final = 3
"""Timed inferences, of which the fastest counts."""


def gpu() -> Iterator[Finding]:
    """Yield the GPU, or that there is none."""
    if not gpu_present():
        yield good("GPU", "none; the network runs on the CPU")
        return
    try:
        from model.engines.gpu import describe_gpu, require_gpu

        yield good("GPU", describe_gpu(require_gpu()))
    except (ImportError, RuntimeError) as error:
        advice = "install a torch with CUDA, or a newer driver; the network runs on the CPU meanwhile"
        yield warning("GPU", str(error), advice)


def reference_ranges(settings: Settings) -> Iterator[Finding]:
    """Yield the reference ranges of the settings; nothing where there is no file of them."""
    if (file := settings.reference.file) is None:
        return
    try:
        ranges = ReferenceRanges.load(file).ranges
    except ConfigurationError as error:
        yield problem("reference ranges", str(error), "correct reference.file in the settings, or that file")
        return
    yield good("reference ranges", f"{counted(len(ranges), 'range')} in {file}")


def engines(settings: Settings) -> Iterator[Finding]:
    """Yield the state of the weights, of the calibration, and of each engine in the fallback order."""
    try:
        tensors, weights = weights_of(settings)
        reference = reference_of(tensors, weights)
    except ConfigurationError as error:
        yield problem("weights", str(error), "install myostream again, or name other weights in the settings")
        return
    yield good("weights", f"{weights_digest(weights)[:12]} in {weights} are intact")
    reviewer = Reviewer.of(settings)
    if reviewer.calibration is None:
        advice = "run myostream calibrate confidence"
        yield warning("confidence", f"slices have none: {reviewer.source}", advice)
    else:
        yield good("confidence", reviewer.source)
    stated = settings.engine != "auto"
    names = tuple(dict.fromkeys((settings.engine, *preferred()))) if stated else preferred()
    used = ""
    for name in names:
        part = f"engine {name}"
        try:
            engine = load_engine(name, tensors, weights)
            took_ms = _time(engine, reference)
        except Exception as error:  # of any kind: the reason why this engine does not run here
            reason = str(error) or type(error).__name__
            if stated and name == settings.engine:
                yield problem(
                    part, f"is set and cannot be used: {reason}", 'choose another, or engine = "auto"'
                )
            elif isinstance(error.__cause__, ModuleNotFoundError) and error.__cause__.name == "torch":
                yield good(part, "torch is not installed: no training, no GPU")
            else:
                yield warning(part, f"cannot be used: {reason}")
            continue
        use = f"replaces {used} if that fails" if used else "is used"
        used = used or name
        yield good(part, f"works, {took_ms:.0f} ms a slice; {use}")
    if not used:
        yield problem("engines", "none works: no map gets contours", "see the reasons above")


def _time(engine: Engine, reference: Reference) -> float:
    """Return the time of one slice, ms, of an engine that passes its self-test; raise whatever it raises."""
    run_self_test(engine, reference)
    image = np.ascontiguousarray(reference.images[:1])
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        engine.infer(image)
        times.append(time.perf_counter() - start)
    return min(times) * 1000.0
