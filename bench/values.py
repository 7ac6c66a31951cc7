"""Values of measurements: times and percentiles, curves, Markdown, JSON."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from inline.terminal.text import print_lines
from model.machine import describe_machine
from model.output import OutputError, write_json

Panel = tuple[str, str, Mapping[str, tuple[Sequence[float], Sequence[float]] | float]]
"""Label of x, label of y, and curves (x, y) or levels of y by name."""
PERCENTILES: Final = "p50 .1f, p95 .1f, p99 .1f, max .1f"


def median_ms(work: Callable[[], object], repeats: int) -> float:
    """Return the median time of a call after one to warm up, ms."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1000.0)
    return statistics.median(times)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return median, 95th and 99th percentile and maximum; nothing for no values."""
    if not values:
        return {}
    p50, p95, p99 = np.percentile(values, [50, 95, 99])
    return {"p50": float(p50), "p95": float(p95), "p99": float(p99), "max": float(max(values))}


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table as Markdown; the first column is that of the rows' names."""
    dashes = ["---"] + ["---:"] * (len(columns) - 1)
    escaped = ([text.replace("|", "\\|") for text in row] for row in (columns, dashes, *rows))
    return "\n".join("| " + " | ".join(row) + " |" for row in escaped)


def write_results(file: Path | None, results: Mapping[str, Any]) -> None:
    """Write results with machine, versions and commit as JSON; nothing without a file.

    A file that cannot be written, as on a disk that is full by now, must not lose a measurement of an hour:
    the JSON is printed, and the error raised.
    """
    if file is None:
        return
    content = {"machine": describe_machine(), **results}
    try:
        write_json(file, content)
    except OutputError:
        sys.stdout.write(json.dumps(content) + "\n")
        raise


def draw_curves(file: Path | None, panels: Sequence[Panel], columns: int = 1) -> None:
    """Draw curves from 0 on and print the file's name; nothing without a file."""
    if file is None:
        return
    from model.evaluation.figures import figure  # with torch, which a measurement may do without

    rows = len(panels) // columns
    with figure(file, rows, columns, (2.0 + 4.5 * columns, 2.7 * rows)) as grid:
        for axes, (x_label, y_label, curves) in zip(grid.flat, panels, strict=True):
            for number, (name, curve) in enumerate(curves.items()):
                if isinstance(curve, float):
                    axes.axhline(curve, color=f"C{number}", label=name)
                else:
                    axes.plot(*curve, ".-", color=f"C{number}", label=name)
            axes.set(xlabel=x_label, ylabel=y_label)
            axes.set_ylim(0.0)
            axes.legend(fontsize=8)
    print_lines(f"plot: {file}")
