"""Slices with what a reader drew and what was found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inline.emit.overlay import ENDO_COLOUR, EPI_COLOUR
from model.evaluation.cases import LabelledSlice
from model.output import save_figure


def best_median_worst(
    file: Path,
    slices: Sequence[LabelledSlice],
    labels: Sequence[NDArray[np.uint8]],
    scores: Sequence[float],
) -> None:
    """Draw the slices of the best, the median and the worst score: reader's borders dashed, ours solid.

    Args:
        file: PNG to write.
        slices: with the first reader's labels.
        labels: what was found on each, ``(rows, columns)``.
        scores: Dice of each.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    order = np.argsort(scores)[::-1]
    chosen = {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}
    figure, row = plt.subplots(1, 3, figsize=(12, 4.4))
    for axes, (name, i) in zip(row, chosen.items(), strict=True):
        image = slices[i].image
        axes.imshow(image, cmap="gray", vmin=0, vmax=np.percentile(image, 98))
        for picture, style in ((slices[i].labels, "dashed"), (labels[i], "solid")):
            for mask, colour in ((picture == 1, ENDO_COLOUR), (picture > 0, EPI_COLOUR)):
                if mask.any():
                    shade = tuple(part / 255 for part in colour)
                    axes.contour(mask, [0.5], colors=[shade], linestyles=style, linewidths=1)
        ys, xs = np.nonzero(slices[i].labels)
        reach = 1.1 * max(np.ptp(ys), np.ptp(xs)) if len(ys) else 60
        axes.set_xlim(xs.mean() - reach, xs.mean() + reach)
        axes.set_ylim(ys.mean() + reach, ys.mean() - reach)
        axes.set_title(f"{name}: {slices[i].name}, Dice {scores[i]:.3f}", fontsize=9)
        axes.axis("off")
    figure.tight_layout()
    save_figure(figure, file, dpi=120)
    plt.close(figure)
