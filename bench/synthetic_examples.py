"""Figure of synthetic training slices: ``python -m bench.synthetic_examples docs/synthetic.jpg``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import torch
import typer

from inline.cli.errors import report_errors
from model.evaluation.figures import draw_outlines, figure
from model.frame import FRAME_PIXELS
from model.synthesis.contrast import ImageKind, Mix
from model.synthesis.generator import make_batch

_ROWS: Final = (
    ("T1 native", ImageKind.T1_MAP),
    ("T1 after contrast agent", ImageKind.T1_MAP_POST),
    ("T2", ImageKind.T2_MAP),
    ("random contrast", ImageKind.RANDOM_CONTRAST),
)
_COLUMNS: Final = 6


def main(
    file: Annotated[Path, typer.Argument(help="PNG or JPEG to write.")],
    seed: Annotated[int, typer.Option()] = 11,
) -> None:
    """Draw a row of each kind of image, with borders and insertion points on every second column."""
    generator = torch.Generator().manual_seed(seed)
    with figure(file, len(_ROWS), _COLUMNS, (2.4 * _COLUMNS, 2.6 * len(_ROWS)), dpi=75) as grid:
        for row, (name, kind) in zip(grid, _ROWS, strict=True):
            mix = Mix(*(float(kind is each) for each in ImageKind))
            # A batch is made from tissue values or from simulated images: here one of each.
            halves = [make_batch(_COLUMNS // 2, FRAME_PIXELS, generator, mix) for _ in "ab"]
            images = torch.cat([half.images for half in halves])
            labels = torch.cat([half.labels for half in halves])
            points = torch.cat([half.insertions for half in halves])
            for column, axes in enumerate(row):
                axes.imshow(images[column], cmap="gray")
                axes.axis("off")
                if column % 2:
                    draw_outlines(axes, labels[column].numpy(), width=0.8)
                    axes.plot(*points[column].T.numpy(), "y+", markersize=5)
            row[0].set_title(name, fontsize=9, loc="left")


if __name__ == "__main__":
    with report_errors():
        typer.run(main)
