"""Figures of an evaluation: contours on the slices, and Bland-Altman plots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from model.evaluation.cases import LabelledSlice
from model.evaluation.evaluate import Outcome, summarise
from model.output import save_figure

_ENDO: Final = "#ff4040"
_EPI: Final = "#40e060"
"""Colours of the contours, as in the overlays."""
_SMOOTHED_PIXELS: Final = 0.8
_KEY: Final = "solid: myostream, dashed: reader; red: endocardial, green: epicardial contour"


@contextmanager
def figure(
    file: Path,
    rows: int = 1,
    columns: int = 1,
    size: tuple[float, float] = (7.0, 4.5),
    *,
    title: str = "",
    dpi: int = 120,
) -> Iterator[NDArray[Any]]:
    """Give the axes ``(rows, columns)`` of a new figure; write it at the end of the block.

    Args:
        file: PNG, or another format by its ending.
        rows: of axes.
        columns: of axes.
        size: width and height, inches.
        title: above all axes.
        dpi: of the file.

    Raises:
        ImportError: matplotlib is not installed.
        OutputError: the file cannot be written.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    drawn, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
    try:
        yield axes
        if title:
            drawn.suptitle(title, fontsize=9)
        drawn.tight_layout()
        save_figure(drawn, file, dpi=dpi, facecolor="white")
    finally:
        plt.close(drawn)


def draw_outlines(axes: Any, labels: NDArray[np.uint8], *, style: str = "solid", width: float = 1.0) -> None:
    """Draw the borders of labels ``(rows, columns)``: LV cavity, and cavity with myocardium.

    The steps of the pixels are smoothed. An outline has the area of its mask.
    """
    for mask, colour in ((labels == 1, _ENDO), (labels > 0, _EPI)):
        if 0 < (pixels := np.count_nonzero(mask)) < mask.size:
            smooth = gaussian_filter(mask.astype(float), _SMOOTHED_PIXELS)
            # The level that as many pixels exceed; at one half small masks would shrink or vanish.
            level = np.quantile(smooth, 1.0 - pixels / mask.size, method="midpoint")
            axes.contour(smooth, [level], colors=[colour], linestyles=style, linewidths=width)


def best_median_worst(
    file: Path,
    slices: Sequence[LabelledSlice],
    labels: Sequence[NDArray[np.uint8]],
    scores: Sequence[float],
) -> None:
    """Draw the slices of the best, the median and the worst score: reader's contours dashed, ours solid.

    Args:
        file: PNG to write.
        slices: with the first reader's labels.
        labels: found on each, ``(rows, columns)``.
        scores: Dice of each.
    """
    order = np.argsort(scores)[::-1]
    chosen = {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}
    with figure(file, 1, 3, (12, 4.7), title=_KEY, dpi=200) as row:
        for axes, (name, i) in zip(row.flat, chosen.items(), strict=True):
            image = slices[i].image
            bright = np.percentile(values, 98) if len(values := image[np.isfinite(image)]) else 1.0
            wide, tall = slices[i].spacing
            axes.imshow(image, cmap="gray", vmin=0, vmax=bright, aspect=tall / wide)
            draw_outlines(axes, slices[i].labels, style="dashed")
            draw_outlines(axes, labels[i])
            drawn = next(
                (each for each in (slices[i].labels, labels[i]) if each.any()), np.ones_like(labels[i])
            )
            ys, xs = np.nonzero(drawn)
            reach = 1.1 * max(np.ptp(ys) * tall, np.ptp(xs) * wide)
            axes.set_xlim(xs.mean() - reach / wide, xs.mean() + reach / wide)
            axes.set_ylim(ys.mean() + reach / tall, ys.mean() - reach / tall)
            axes.set_title(f"{name}: {slices[i].name}, Dice {scores[i]:.3f}", fontsize=9)
            axes.axis("off")


def bland_altman(file: Path, outcomes: Sequence[Outcome], unit: str) -> None:
    """Draw the differences of the myocardial medians over their means; nothing where no slice has both.

    Args:
        file: PNG to write.
        outcomes: of the slices.
        unit: of the medians.
    """
    valued = [each for each in outcomes if np.isfinite(each.median - each.reader_median)]
    if not valued:
        return
    ours = np.array([each.median for each in valued])
    readers = np.array([each.reader_median for each in valued])
    summary = summarise(valued)
    with figure(file, size=(6, 4)) as grid:
        axes = grid[0, 0]
        axes.scatter((ours + readers) / 2, ours - readers, s=18)
        for key, name, style in (
            ("bias", "bias", "-"),
            ("limits_low", "-1.96 SD", "--"),
            ("limits_high", "+1.96 SD", "--"),
        ):
            axes.axhline(summary[key], linestyle=style, color="0.4")
            if np.isfinite(summary[key]):
                place = (1.0, summary[key])
                text = f" {name}\n {summary[key]:+.1f}"
                axes.text(*place, text, transform=axes.get_yaxis_transform(), va="center", fontsize=8)
        axes.set_title(f"{len(valued)} slices", fontsize=9)
        axes.set_xlabel(f"mean of both medians, {unit}")
        axes.set_ylabel(f"myostream less reader, {unit}")
