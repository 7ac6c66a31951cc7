"""Figures as files, and the outlines that overlays share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inline.emit.overlay import ENDO_COLOUR, EPI_COLOUR
from model.output import save_figure


@contextmanager
def figure(
    file: Path, rows: int = 1, columns: int = 1, size: tuple[float, float] = (7.0, 4.5), **options: Any
) -> Iterator[NDArray[Any]]:
    """Give the axes ``(rows, columns)`` of a new figure; write it at the end of the block.

    Args:
        file: PNG, or another format by its ending.
        rows: of axes.
        columns: of axes.
        size: width and height, inches.
        options: ``title`` above all, ``dpi`` of the file, and those of ``matplotlib.pyplot.subplots``.

    Raises:
        ImportError: matplotlib is not installed (extra ``bench``).
        OutputError: the file cannot be written.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    title, dpi = options.pop("title", ""), options.pop("dpi", 120)
    drawn, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, **options)
    try:
        yield axes
        if title:
            drawn.suptitle(title, fontsize=9, wrap=True)
        drawn.tight_layout()
        save_figure(drawn, file, dpi=dpi, facecolor="white")
    finally:
        plt.close(drawn)


def draw_outlines(axes: Any, labels: NDArray[np.uint8], *, style: str = "solid", width: float = 1.0) -> None:
    """Draw the borders of labels: LV cavity, and cavity with myocardium."""
    for mask, colour in ((labels == 1, ENDO_COLOUR), (labels > 0, EPI_COLOUR)):
        if mask.any():
            shade = tuple(part / 255 for part in colour)
            axes.contour(mask, [0.5], colors=[shade], linestyles=style, linewidths=width)
