"""Figures 5, 6, 8 and 9 of the study as PNG."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.tables.agreement import METHOD, Pair, Segmented, Value
from bench.tables.comparisons import METRICS
from bench.tables.floor import Floor
from model.evaluation.figures import best_median_worst
from model.output import save_figure


def draw(
    folder: Path,
    slices: Sequence[Segmented],
    pairs: Sequence[Pair],
    values: Sequence[Value],
    floors: Sequence[Floor],
    caption: str,
) -> list[Path]:
    """Write the figures into a folder; returns their files.

    Args:
        folder: there already.
        slices: with everybody's labels.
        pairs: their agreement.
        values: medians by reader.
        floors: of contours through masks.
        caption: on every figure, such as who the readers are.
    """
    files = [_agreement(folder / "figure-5.png", pairs, caption)]
    for kind in sorted({each.kind for each in slices}):
        chosen = [each for each in slices if each.kind == kind]
        first = next(iter(chosen[0].slice.readers))
        scores = [
            pair.agreement.dice
            for pair in pairs
            if pair.kind == kind and (pair.first, pair.second) == (METHOD, first)
        ]
        file = folder / f"figure-6-{chosen[0].slice.kind}.png"
        best_median_worst(file, [each.slice for each in chosen], [each.found for each in chosen], scores)
        files.append(file)
    if values:
        files.append(_values(folder / "figure-8.png", values, caption))
    return [*files, _floor(folder / "figure-9.png", floors)]


def _agreement(file: Path, pairs: Sequence[Pair], caption: str) -> Path:
    """Figure 5: violins of each metric by pair."""
    plt = _pyplot()
    names = list(dict.fromkeys(pair.name for pair in pairs))
    figure, grid = plt.subplots(2, 2, figsize=(11, 8))
    for axes, (heading, metric, _) in zip(grid.flat, METRICS, strict=True):
        groups = {
            name: [float(getattr(pair.agreement, metric)) for pair in pairs if pair.name == name]
            for name in names
        }
        _violins(axes, groups)
        axes.set_ylabel(heading)
    return _save(figure, file, caption)


def _values(file: Path, values: Sequence[Value], caption: str) -> Path:
    """Figure 8: violins of the slices' medians by reader."""
    plt = _pyplot()
    kinds = sorted({value.kind for value in values})
    figure, row = plt.subplots(1, len(kinds), figsize=(5.5 * len(kinds), 4.5), squeeze=False)
    for axes, kind in zip(row[0], kinds, strict=True):
        names = list(dict.fromkeys(value.by for value in values))
        _violins(
            axes,
            {
                name: [each.median_ms for each in values if (each.by, each.kind) == (name, kind)]
                for name in names
            },
        )
        axes.set_ylabel(f"median {kind} of the myocardium, ms")
    return _save(figure, file, caption)


def _floor(file: Path, floors: Sequence[Floor]) -> Path:
    """Figure 9: best achievable Hausdorff distance by pixel size."""
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(6.5, 4.2))
    sizes = [each.pixel_mm for each in floors]
    for name, colour, found in (
        ("through the outermost pixels' centres", "tab:red", [each.centres_mm for each in floors]),
        ("moved out by half a pixel", "tab:blue", [each.borders_mm for each in floors]),
    ):
        lows, middles, highs = np.percentile(found, [5, 50, 95], axis=1)
        axes.fill_between(sizes, lows, highs, color=colour, alpha=0.25)
        axes.plot(sizes, middles, marker="o", color=colour, label=name)
    axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
    axes.set_xlabel("pixel size of the mask, mm")
    axes.set_ylabel("Hausdorff distance of a contour\nfrom its own mask's outline, mm")
    axes.legend(title="outline; median, 5th to 95th percentile", fontsize=8)
    return _save(figure, file, "")


def _violins(axes: Any, groups: Mapping[str, Sequence[float]]) -> None:
    there = {
        name: found
        for name, each in groups.items()
        if (found := [value for value in each if math.isfinite(value)])
    }
    for number, found in enumerate(there.values(), start=1):
        # The density of a single value, or of equal ones, does not exist.
        if len(set(found)) > 1:
            axes.violinplot([found], positions=[number], showmedians=True, showextrema=False)
        axes.scatter(np.full(len(found), number), found, s=4, color="0.3", alpha=0.5)
    axes.set_xticks(range(1, len(there) + 1), list(there), rotation=25, ha="right", fontsize=8)


def _pyplot() -> Any:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    return plt


def _save(figure: Any, file: Path, caption: str) -> Path:
    if caption:
        figure.suptitle(textwrap.fill(caption, 100), fontsize=9)
    figure.tight_layout()
    save_figure(figure, file, dpi=120)
    _pyplot().close(figure)
    return file
