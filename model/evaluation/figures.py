"""Figures of an evaluation: contours on the slices, and Bland-Altman plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.evaluation.cases import LabelledSlice
from model.evaluation.evaluate import Outcome, summarise
from model.output import save_figure

_ENDO: Final = "#ff4040"
_EPI: Final = "#40e060"
"""Colours of the contours, as in the overlays."""


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
    plt = _pyplot()
    order = np.argsort(scores)[::-1]
    chosen = {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}
    figure, row = plt.subplots(1, 3, figsize=(12, 4.4))
    for axes, (name, i) in zip(row, chosen.items(), strict=True):
        image = slices[i].image
        axes.imshow(image, cmap="gray", vmin=0, vmax=np.percentile(image, 98))
        for drawn, style in ((slices[i].labels, "dashed"), (labels[i], "solid")):
            for mask, colour in ((drawn == 1, _ENDO), (drawn > 0, _EPI)):
                if mask.any():
                    axes.contour(mask, [0.5], colors=[colour], linestyles=style, linewidths=1)
        ys, xs = np.nonzero(slices[i].labels)
        reach = 1.1 * max(np.ptp(ys), np.ptp(xs)) if len(ys) else 60
        axes.set_xlim(xs.mean() - reach, xs.mean() + reach)
        axes.set_ylim(ys.mean() + reach, ys.mean() - reach)
        axes.set_title(f"{name}: {slices[i].name}, Dice {scores[i]:.3f}", fontsize=9)
        axes.axis("off")
    _save(figure, file)


def bland_altman(file: Path, outcomes: Sequence[Outcome], unit: str) -> None:
    """Draw the differences of the myocardial medians over their means; nothing without contours.

    Args:
        file: PNG to write.
        outcomes: of the slices.
        unit: of the medians.
    """
    there = [each for each in outcomes if each.contour]
    if not there:
        return
    ours = np.array([each.median for each in there])
    readers = np.array([each.reader_median for each in there])
    summary = summarise(there)
    figure, axes = _pyplot().subplots(figsize=(6, 4))
    axes.scatter((ours + readers) / 2, ours - readers, s=18)
    for key, style in (("bias", "-"), ("limits_low", "--"), ("limits_high", "--")):
        axes.axhline(summary[key], linestyle=style, color="0.4")
    axes.set_xlabel(f"mean of both medians, {unit}")
    axes.set_ylabel(f"myostream less reader, {unit}")
    _save(figure, file)


def _pyplot() -> Any:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    return plt


def _save(figure: Any, file: Path) -> None:
    figure.tight_layout()
    save_figure(figure, file, dpi=120)
    _pyplot().close(figure)
