"""A sheet of synthetic slices to look at: ``python -m bench.sheet docs/synthetic.jpg``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import torch
import typer

from inline.cli.errors import report_errors
from inline.emit.overlay import ENDO_COLOUR, EPI_COLOUR
from model.frame import FRAME_PIXELS
from model.output import save_figure
from model.relaxometry.fits import PRODUCT_FITS
from model.synthesis.contrast import Mix, Picture
from model.synthesis.generator import make_batch

_ROWS: Final = (
    ("T1 native", Picture.T1_MAP),
    ("T1 after contrast agent", Picture.T1_MAP_POST),
    ("T2", Picture.T2_MAP),
    ("random contrast", Picture.RANDOM_CONTRAST),
)
_COLUMNS: Final = 6


def main(
    file: Annotated[Path, typer.Argument(help="PNG or JPEG to write.")],
    seed: Annotated[int, typer.Option()] = 11,
) -> None:
    """Draw a row of each kind of picture, the labels' borders on every second column."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    generator = torch.Generator().manual_seed(seed)
    figure, grid = plt.subplots(len(_ROWS), _COLUMNS, figsize=(2.4 * _COLUMNS, 2.6 * len(_ROWS)))
    for row, (name, kind) in zip(grid, _ROWS, strict=True):
        mix = Mix(*(float(kind is each) for each in Picture))
        # Half from tissue values, half from simulated images: a batch is one or the other.
        halves = [make_batch(_COLUMNS // 2, FRAME_PIXELS, generator, mix, fits=PRODUCT_FITS) for _ in "ab"]
        images = torch.cat([half.images for half in halves])
        labels = torch.cat([half.labels for half in halves])
        for column, axes in enumerate(row):
            axes.imshow(images[column], cmap="gray")
            axes.axis("off")
            if column % 2:
                for mask, colour in ((labels[column] == 1, ENDO_COLOUR), (labels[column] > 0, EPI_COLOUR)):
                    if mask.any():
                        axes.contour(mask, [0.5], colors=[tuple(c / 255 for c in colour)], linewidths=0.8)
        row[0].set_title(name, fontsize=9, loc="left")
    figure.tight_layout(pad=0.3, h_pad=1.0)
    save_figure(figure, file, dpi=75, facecolor="white")
    plt.close(figure)


if __name__ == "__main__":
    with report_errors():
        typer.run(main)
