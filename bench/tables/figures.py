"""Figures 5, 6, 8 and 9 of the study as PNG."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.tables.agreement import METRICS, Segmented
from model.evaluation.figures import best_median_worst, figure

_OUTLINES: Final = {
    "through the outermost pixels' centres": "tab:red",
    "moved out by half a pixel": "tab:blue",
}


def draw(
    folder: Path,
    slices: Sequence[Segmented],
    pairs: pd.DataFrame,
    medians: pd.DataFrame,
    bounds: Mapping[float, NDArray[np.float64]],
    caption: str,
) -> list[Path]:
    """Write the figures into an existing folder; return their files.

    Args:
        folder: for the figures.
        slices: with the labels of method and readers.
        pairs: their agreement.
        medians: of the maps by reader.
        bounds: as of :func:`bench.tables.outlines.lower_bounds`.
        caption: title of figures 5 and 8, such as a description of the readers.
    """
    title = textwrap.fill(caption, 100)
    files = [folder / "figure-5.png"]
    with figure(files[0], 2, 2, (11, 8), title=title) as grid:
        for axes, (metric, heading) in zip(grid.flat, METRICS.items(), strict=True):
            _violins(axes, pairs, "pair", metric)
            axes.set_ylabel(heading)
    # Of the pairs of a slice, the first is that of the method and the first reader, whose contours are drawn.
    first = pairs.drop_duplicates(["kind", "slice"])
    for kind in sorted({each.kind for each in slices}):
        chosen = [each for each in slices if each.kind == kind]
        scores = first[first["kind"] == kind]["dice"].tolist()
        files.append(folder / f"figure-6-{chosen[0].slice.kind}.png")
        best_median_worst(files[-1], [each.slice for each in chosen], [each.found for each in chosen], scores)
    if not medians.empty:
        files.append(folder / "figure-8.png")
        kinds = medians.groupby("kind")
        with figure(files[-1], 1, len(kinds), (5.5 * len(kinds), 4.5), title=title) as row:
            for axes, (kind, members) in zip(row.flat, kinds, strict=True):
                _violins(axes, members, "by", "median_ms")
                axes.set_ylabel(f"median {kind} of the myocardium, ms")
    files.append(folder / "figure-9.png")
    sizes = list(bounds)
    with figure(files[-1], size=(6.5, 4.2)) as grid:
        axes = grid[0, 0]
        for which, (name, colour) in enumerate(_OUTLINES.items()):
            found = [each[:, which] for each in bounds.values()]
            lows, middles, highs = np.percentile(found, [5, 50, 95], axis=1)
            axes.fill_between(sizes, lows, highs, color=colour, alpha=0.25)
            axes.plot(sizes, middles, marker="o", color=colour, label=name)
        axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
        axes.set_xlabel("pixel size of the mask, mm")
        axes.set_ylabel("Hausdorff distance of a contour\nfrom its own mask's outline, mm")
        axes.legend(title="outline; median, 5th to 95th percentile", fontsize=8)
    return files


def _violins(axes: Any, rows: pd.DataFrame, by: str, column: str) -> None:
    """Draw the finite values of a column, group by group."""
    groups = rows[np.isfinite(rows[column])].groupby(by, sort=False)[column]
    for number, (_, found) in enumerate(groups, start=1):
        # The density of a single value, or of equal ones, does not exist.
        if found.nunique() > 1:
            axes.violinplot([found], positions=[number], showmedians=True, showextrema=False)
        axes.scatter(np.full(len(found), number), found, s=4, color="0.3", alpha=0.5)
    names = [str(name) for name, _ in groups]
    axes.set_xticks(range(1, len(names) + 1), names, rotation=25, ha="right", fontsize=8)
