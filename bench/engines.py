"""``myostream engines``: the engines of this host beside each other."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.machine import describe_machine
from bench.stream import percentiles
from bench.synthetic import make_slices
from inline.engines import make_engine
from inline.segmentation import place
from inline.settings import EngineName, Settings
from model.evaluation.metrics import agreement
from model.frame import FRAME_MM, FRAME_PIXELS, Frame

_SLICES: Final = 12


def measure(settings: Settings, repeats: int) -> dict[str, Any]:
    """Time each engine slice by slice, in turns, and compare its labels with those of torch in float32."""
    frame = Frame((FRAME_PIXELS, FRAME_PIXELS), (FRAME_MM, FRAME_MM))
    images = [slice_.image for slice_, _ in make_slices(_SLICES, "t1")]
    engines: dict[str, Any] = {}
    missing: dict[str, str] = {}
    memory: dict[str, float] = {}
    for name in get_args(EngineName):
        if name == "auto":
            continue
        before = _resident_mib()
        chain = make_engine(settings.model_copy(update={"engine": name}))
        if chain.name == name:
            chain.infer(images[0][None])
            engines[name] = chain.current
            memory[name] = _resident_mib() - before
        else:
            missing[name] = chain.failures[0]
    times: dict[str, list[float]] = {name: [] for name in engines}
    for number in range(repeats):
        for name, engine in engines.items():
            start = time.perf_counter()
            engine.infer(images[number % len(images)][None])
            times[name].append((time.perf_counter() - start) * 1000.0)
    reference = [engines["torch"].infer(image[None])[0] for image in images]
    rows: dict[str, Any] = {}
    for name, engine in engines.items():
        answers = [engine.infer(image[None])[0] for image in images]
        apart = max(float(np.abs(a - b).max()) for a, b in zip(answers, reference, strict=True))
        labels = [(place(a, frame)[0], place(b, frame)[0]) for a, b in zip(answers, reference, strict=True)]
        dice = np.mean([agreement(a, b, frame.spacing).dice for a, b in labels if b.any()])
        rows[name] = {
            **percentiles(times[name]),
            "dice_with_f32": float(dice),
            "largest_difference": apart,
            "memory_mib": memory[name],
        }
    chosen = make_engine(settings)
    return {
        "machine": describe_machine(),
        "engines": rows,
        "missing": missing,
        "chosen": chosen.name,
        "before_it": list(chosen.failures),
    }


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def show(figures: dict[str, Any], json_file: Path | None) -> None:
    """Print the table and the choice, write the figures."""
    console = Console()
    table = Table(title="Network alone, one slice at a time")
    for column in (
        "engine",
        "p50 ms",
        "p99 ms",
        "against torch",
        "Dice with f32",
        "largest difference",
        "MiB",
    ):
        table.add_column(column, justify="left" if column == "engine" else "right")
    reference = figures["engines"]["torch"]["p50"]
    for name, row in figures["engines"].items():
        table.add_row(
            name,
            f"{row['p50']:.1f}",
            f"{row['p99']:.1f}",
            f"{reference / row['p50']:.1f} x",
            f"{row['dice_with_f32']:.4f}",
            f"{row['largest_difference']:.1e}",
            f"{row['memory_mib']:.0f}",
        )
    console.print(table)
    for reason in figures["missing"].values():
        console.print(f"not here: {reason}", highlight=False)
    before = f" after {'; '.join(figures['before_it'])}" if figures["before_it"] else ""
    console.print(f"in use: {figures['chosen']}{before}", highlight=False)
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=1), encoding="utf-8")
