"""``myostream engines``: time, agreement and memory of the engines of this host."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from bench.values import percentiles, write_results
from bench.watched import usage
from inline.contouring.segment import contour_slice
from inline.engine_selection import gate_report, load_engine, preferred, reference_of, weights_of
from inline.settings import EngineName, Settings
from inline.terminal.tables import print_values
from inline.terminal.text import print_lines
from model.engines.base import Engine
from model.engines.self_test import run_self_test
from model.evaluation.metrics import dice
from model.evaluation.synthetic import make_slices
from model.frame import FRAME_MM, FRAME_PIXELS, Frame
from model.processes import fresh_processes

Name = TypeVar("Name", bound=str)

_SLICES: Final = 6
"""Synthetic slices of each kind of map that the outputs are compared on."""
_COLUMNS: Final = (
    "p50 .1f, mean .1f, p99 .1f, torch_over_p50 .1f, torch_over_mean .1f, dice_with_f32 .4f, "
    "largest_difference .1g, memory_mib .0f"
)


def measure(settings: Settings, repeats: int) -> dict[str, Any]:
    """Time each engine slice by slice, in turns, and compare its labels with those of torch in float32.

    Returns:
        ``engines``: figures of those that run here; ``missing``: error of each other one; ``order``: fallback
        order; ``chosen``: the first engine of it that runs.
    """
    order = preferred() if settings.engine == "auto" else (settings.engine, *preferred())
    tensors, weights = weights_of(settings)
    reference = reference_of(tensors, weights)
    engines: dict[EngineName, Engine] = {}
    missing: dict[str, str] = {}
    names = dict.fromkeys((*order, *get_args(EngineName)))
    del names["auto"]
    for name in names:
        try:
            engine = load_engine(name, tensors, weights)
            run_self_test(engine, reference)
            engines[name] = engine
        except Exception as error:  # of any kind: the reason why this engine does not run here
            missing[name] = str(error)
    images = [slice_.image for kind in ("t1", "t2") for slice_, _ in make_slices(_SLICES, kind)]
    singles = [image[None] for image in images]
    times = in_turns(engines, singles, repeats)
    in_float32 = [engines["torch"].infer(image)[0] for image in singles]
    rows: dict[str, dict[str, Any]] = {
        name: {
            **percentiles(times[name]),
            "mean": float(np.mean(times[name])),
            **_compare([engine.infer(image)[0] for image in singles], in_float32),
            "memory_mib": _memory_mib(name, settings),
        }
        for name, engine in engines.items()
    }
    for name in engines:
        report = gate_report(name, weights)
        if report is not None:
            rows[name]["gate"] = report
    return {
        "repeats": repeats,
        "engines": rows,
        "missing": missing,
        "order": list(dict.fromkeys(order)),
        "chosen": next(name for name in order if name in engines),
    }


def in_turns(
    engines: Mapping[Name, Engine], batches: Sequence[NDArray[np.float32]], repeats: int
) -> dict[Name, list[float]]:
    """Return the time of each inference, ms, by engine; they take turns, so that load meets all of them."""
    times: dict[Name, list[float]] = {name: [] for name in engines}
    for engine in engines.values():  # the first call of an engine prepares
        engine.infer(batches[0])
    for number in range(repeats):
        for name, engine in engines.items():
            start = time.perf_counter()
            engine.infer(batches[number % len(batches)])
            times[name].append((time.perf_counter() - start) * 1000.0)
    return times


def _compare(
    outputs: Sequence[NDArray[np.float32]], reference: Sequence[NDArray[np.float32]]
) -> dict[str, float]:
    frame = Frame((FRAME_PIXELS, FRAME_PIXELS), (FRAME_MM, FRAME_MM))
    pairs = list(zip(outputs, reference, strict=True))
    labels = [(contour_slice(a, frame).labels, contour_slice(b, frame).labels) for a, b in pairs]
    found = [dice(a, b) for a, b in labels if b.any()]
    return {
        "dice_with_f32": float(np.mean(found)) if found else float("nan"),
        "largest_difference": max(float(np.abs(a - b).max()) for a, b in pairs),
    }


def _memory_mib(name: EngineName, settings: Settings) -> float:
    """Return the main memory of an engine and its weights, in a process that holds nothing else."""
    with fresh_processes(1) as pool:
        return pool.submit(_grown_mib, name, settings).result()


def _grown_mib(name: EngineName, settings: Settings) -> float:
    before = _resident_mib()
    engine = load_engine(name, *weights_of(settings))
    engine.infer(np.zeros((1, FRAME_PIXELS, FRAME_PIXELS), np.float32))
    return _resident_mib() - before


def _resident_mib() -> float:
    now = usage(os.getpid())
    assert now is not None
    return now["megabytes"] / 1.048576


def show(figures: dict[str, Any], json_file: Path | None) -> None:
    """Write the figures, print the table and the choice."""
    write_results(json_file, figures)
    rows, torch = figures["engines"], figures["engines"]["torch"]
    against = {
        name: {f"torch_over_{key}": torch[key] / row[key] for key in ("p50", "mean")}
        for name, row in rows.items()
    }
    title = f"Network alone, ms, one slice at a time, {figures['repeats']} times"
    print_values(title, "engine", {name: {**row, **against[name]} for name, row in rows.items()}, _COLUMNS)
    print_lines(
        *(f"{name}: {_availability(figures, name)}" for name in (*rows, *figures["missing"])),
        f"in use: {figures['chosen']}, the first available of {' > '.join(figures['order'])}",
    )


def _availability(figures: dict[str, Any], name: str) -> str:
    if name in figures["missing"]:
        return f"not available: {figures['missing'][name]}"
    text = "available"
    gate = figures["engines"][name].get("gate")
    if gate is not None:
        text += f"; passed its gate on {gate['slices']} slices (mean Dice with f32 {gate['dice']:.4f})"
    if name not in figures["order"]:
        text += "; only on request"
    return text
