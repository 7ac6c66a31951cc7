"""Measured results as Markdown tables: ``python -m bench.reproduce [--details | --page]``.

The table of the README or, with ``--details``, those of ``docs/benchmarks.md``, with ``--page`` those of
``docs/page.md``, from ``bench/results/*.json``. The command beside a file writes it with ``--json``. Tests
compare the pages with the output of this module.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from bench.values import markdown
from inline.cli.errors import report_errors
from inline.data.errors import MyostreamError
from inline.terminal.tables import cell, cells, columns, value_at

RESULTS: Final = Path(__file__).parent / "results"
_VALUE: Final = re.compile(r"\{(.+?)\|(.+?)\}")
_REAL: Final = "myostream evaluate --data DATA --map"
_FIT: Final = "{T1, 8 images/map_ms|.1f} ms, {T1, 8 images/ratio|.0f} times as fast as curve_fit"
_T1: Final = "summaries/window not saturated"
_T2: Final = "summaries/all slices"
_SLICE: Final = (
    "{paces/0/latency_ms/p50|.0f} / {paces/0/latency_ms/p99|.0f} ms (p50 / p99, between the two slowest)"
)
_NETWORK: Final = "{engines/openvino-bf16/p50|.1f} / {engines/torch/p50|.1f} ms"
_V100: Final = "12.3 s (V100, network and contours alone)"

ROWS: Final = (
    ("Dice, 19 real T2 maps", "real-t2", f"{{{_T2}/dice|.3f}}", "0.850", f"{_REAL} t2"),
    ("Dice, 11 real T1 maps (not saturated)", "real-t1", f"{{{_T1}/dice|.3f}}", "0.878", f"{_REAL} t1"),
    ("Hausdorff distance, T2 maps", "real-t2", f"{{{_T2}/hausdorff|.2f}} mm", "4.68 mm", f"{_REAL} t2"),
    ("mean surface distance, T2 maps", "real-t2", f"{{{_T2}/surface|.2f}} mm", "2.10 mm", f"{_REAL} t2"),
    ("T1 fit, 8 images of 256 x 256", "fits", _FIT, "-", "python -m bench.fits"),
    ("one slice, last byte in to last byte out", "latency", _SLICE, "-",
     "myostream bench latency --slices {slices|d}"),
    ("100 slices, first byte in to last byte out", "throughput", "{warm/seconds|.2f} s", _V100,
     "myostream bench throughput"),
    ("network, bfloat16 / torch in float32, p50", "engines", _NETWORK, "-", "myostream engines"),
)  # fmt: skip
"""README: quantity, result file, measured value as ``{path|format}``, published value (Kalapos et al. 2023),
command."""

_SUMMARY: Final = "slices, dice .3f, dice_cavity .3f, dice_myocardium .3f, hausdorff .2f, surface .2f"
_TRUTH: Final = (
    "slices, share .1%, smallest_mm .0f, dice .3f, dice_standard_error .3f, dice_cavity .3f, "
    "dice_myocardium .3f, hausdorff .2f, surface .2f, insertions_found .1%, insertions_mm .2f"
)
_OTHERS: Final = ", ".join(
    f"{key} .3f"
    for key in (
        *("all/dice", "from_25_mm/dice", "from_25_mm/dice_cavity", "from_25_mm/dice_myocardium"),
        *("below_25_mm/dice", "below_25_mm/dice_cavity", "below_25_mm/dice_myocardium"),
    )
)
_PAIR: Final = "slices, dice .3f, iou .3f, hausdorff .2f, surface .2f"
DETAILS: Final = (
    ("throughput", "", "seconds .2f, images_sent, images_lost, late, without_contour"),
    ("latency", "paces", "interval_ms .0f, latency_ms/p50 .1f, latency_ms/p99 .1f, late, worst/part"),
    ("scaling", "matrix", "value, stream .1f, fit .1f, network .1f, contours .1f, whole .1f"),
    ("scaling", "batch", "value, network .1f"),
    ("scaling", "connections", "value, whole .1f, images_lost, peak_memory_mib .0f"),
    ("fits", "", "map_ms .1f, ratio .0f, qmri_ratio .0f, within_0.5_ms .4f, largest_ms .3f"),
    (
        "motion",
        "motion",
        "residual_before_px .2f, residual_after_px .2f, worst_after_px .2f, r2_before .3f, r2_after .3f, "
        "bias_before_ms .1f, bias_after_ms .1f, worst_bias_ms .1f",
    ),
    ("peers", "stages", "reference_ms .2f, myostream_ms .2f, ratio .1f"),
    ("engines", "engines", "p50 .1f, mean .1f, p99 .1f, dice_with_f32 .4f, memory_mib .0f"),
    ("real-t2", "summaries", _SUMMARY),
    ("real-t1", "summaries", _SUMMARY),
    ("synthetic-t2", "summaries", _TRUTH),
    ("synthetic-t2", "beside", _OTHERS),
    ("synthetic-t1", "summaries", _TRUTH),
    ("synthetic-t1", "beside", _OTHERS),
    ("tables-synthetic", "tables/2/values", _PAIR),
    ("tables-synthetic", "tables/4/values/myostream - readers", _PAIR),
    ("tables-synthetic", "tables/8/values/masks with defects", "hausdorff .2f, without_contour"),
    ("tables-synthetic", "tables/8/values/the network's masks", "hausdorff .2f, without_contour"),
    ("tables-real", "tables/6/values", "inference_ms .1f, parameters_millions .1f"),
    (
        "ablation",
        "variants",
        "t2 .3f, t2_myocardium .3f, t2_borders .3f, t1 .3f, t1_myocardium .3f, t1_borders .3f",
    ),
)
"""docs/benchmarks.md: result file, path of the rows, keys of the columns with their formats."""
LIVE_PAGE: Final = (
    ("page", "shown_ms", "results, p50 .0f, p95 .0f, max .0f"),
    ("page", "latency_ms", "p50 .1f, p95 .1f, p99 .1f, max .1f"),
    ("page", "ratio", "p50 .3f, p95 .3f, p99 .3f"),
)
"""docs/page.md, likewise."""


def summary(results: Path = RESULTS) -> str:
    """Return the README's table.

    Raises:
        MyostreamError: a result file is missing, as in an installed package.
        KeyError: a result file lacks a value.
    """
    headings = ("quantity", "measured", "published", "command")
    return markdown(headings, [_row(results, *each) for each in ROWS])


def _row(
    results: Path, quantity: str, file: str, measured: str, published: str, command: str
) -> Sequence[str]:
    content = _read(results, file)
    texts = (quantity, measured, published, f"`{command}`")
    return [_VALUE.sub(lambda found: format(value_at(content, found[1]), found[2]), each) for each in texts]


def live_page(results: Path = RESULTS) -> str:
    """Return the tables of docs/page.md; raises as :func:`summary`."""
    return details(results, LIVE_PAGE)


def details(results: Path = RESULTS, chosen: Sequence[tuple[str, str, str]] | None = None) -> str:
    """Return the tables of docs/benchmarks.md, or others that are chosen; raises as :func:`summary`."""
    tables = []
    for file, path, keys in chosen or DETAILS:
        shown = columns(keys)
        content = _read(results, file)
        found = value_at(content, path)
        if isinstance(found, list):  # a row's name is its first value
            (_, first, form), *shown = shown
            found = {cell(row, first, form): row for row in found}
        needed = shown[0][1].partition("/")[0]
        rows = {name: row for name, row in found.items() if isinstance(row, dict) and needed in row}
        commit, _, modified = content["machine"]["commit"].partition("-")
        part = f"{file} ({commit[:7]}{', modified' if modified else ''}) {path}".strip()
        tables.append(markdown((part, *(heading for heading, _, _ in shown)), cells(rows, shown)))
    return "\n\n".join(tables)


def _read(results: Path, file: str) -> Any:
    try:
        return json.loads((results / f"{file}.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MyostreamError(
            f"there is no file {error.filename}: recorded results are in the repository, not in an installed "
            "package; run this in a clone"
        ) from error


def main(
    tables: Annotated[
        bool, typer.Option("--details", help="Print the tables of docs/benchmarks.md.")
    ] = False,
    page: Annotated[bool, typer.Option("--page", help="Print the tables of docs/page.md.")] = False,
) -> None:
    """Print the README's table, or those of docs/benchmarks.md or docs/page.md."""
    print(live_page() if page else details() if tables else summary())


if __name__ == "__main__":
    with report_errors():
        typer.run(main)
