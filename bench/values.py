"""Values of measurements: times and percentiles, tables, curves, JSON."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from model.evaluation.figures import figure
from model.machine import describe_machine
from model.output import write_json

Columns = Sequence[tuple[str, str, str]]
"""Heading, path of the value in a row (such as ``latency_ms/p50``), and format (such as ``{:.1f} ms``)."""
Panel = tuple[str, str, Mapping[str, tuple[Sequence[float], Sequence[float]]]]
"""Label of x, label of y, and curves (x, y) by name."""
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


def value_at(content: Any, path: str) -> Any:
    """Return the value at a path of keys and positions, such as ``paces/0/late``.

    Raises:
        KeyError: there is none.
    """
    keys = (key for key in path.split("/") if key)
    return reduce(lambda value, key: value[int(key) if isinstance(value, list) else key], keys, content)


def cell(row: Any, path: str, form: str) -> str:
    """Return a value as text, a list as mean ± standard deviation; ``-`` for none and for NaN."""
    try:
        value = value_at(row, path)
    except KeyError:
        value = None
    if value is None or value != value:
        return "-"
    return " ± ".join(form.format(each) for each in (value if isinstance(value, list) else [value]))


def columns(keys: str) -> Columns:
    """Return columns of keys and formats, such as ``latency_ms/p50 .1f, late``; ``s`` is that of texts."""
    parts = (each.partition(" ") for each in keys.split(", "))
    return [(key.replace("_", " ").replace("/", ", "), key, f"{{:{form}}}") for key, _, form in parts]


def cells(rows: Mapping[str, Any], columns: Columns) -> list[tuple[str, ...]]:
    """Return the name and the values of each row as text."""
    return [(name, *(cell(row, path, form) for _, path, form in columns)) for name, row in rows.items()]


def print_values(title: str, first: str, rows: Mapping[str, Any], keys: str) -> None:
    """Print the values of each row, as of :func:`columns`; ``first`` is the heading of the rows' names."""
    shown = columns(keys)
    texts = [heading for heading, _, form in shown if form == "{:s}"]
    print_table(title, (first, *(heading for heading, _, _ in shown)), cells(rows, shown), texts)


def print_columns(title: str, named: Mapping[str, Any], keys: str) -> None:
    """Print the values of each column, as of :func:`columns`, with their keys as the rows' names."""
    rows = [
        (heading, *(cell(each, path, form) for each in named.values()))
        for heading, path, form in columns(keys)
    ]
    print_table(title, ("", *named), rows)


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], texts: Sequence[str] = ()
) -> None:
    """Print a table; the first column is that of the rows' names, ``texts`` are columns without numbers."""
    table = Table(title=title)
    for number, column in enumerate(columns):
        left = not number or column in texts
        table.add_column(column, justify="left" if left else "right", no_wrap=not number, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def print_lines(*lines: str) -> None:
    """Print sentences as they are, each on lines of its own."""
    for line in lines:
        Console().print(line, highlight=False, markup=False, soft_wrap=True)


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table as Markdown; the first column is that of the rows' names."""
    dashes = ["---"] + ["---:"] * (len(columns) - 1)
    escaped = ([text.replace("|", "\\|") for text in row] for row in (columns, dashes, *rows))
    return "\n".join("| " + " | ".join(row) + " |" for row in escaped)


def write_results(file: Path | None, results: Mapping[str, Any]) -> None:
    """Write results with machine, versions and commit as JSON; nothing without a file."""
    if file is not None:
        write_json(file, {"machine": describe_machine(), **results})


def draw_curves(file: Path | None, panels: Sequence[Panel], columns: int = 1) -> None:
    """Draw curves from 0 on and print the file's name; nothing without a file."""
    if file is None:
        return
    rows = len(panels) // columns
    with figure(file, rows, columns, (2.0 + 4.5 * columns, 2.7 * rows)) as grid:
        for axes, (x_label, y_label, curves) in zip(grid.flat, panels, strict=True):
            for name, (x, y) in curves.items():
                axes.plot(x, y, ".-", label=name)
            axes.set(xlabel=x_label, ylabel=y_label)
            axes.set_ylim(0.0)
            axes.legend(fontsize=8)
    print_lines(f"plot: {file}")
