"""Report as PNG, PDF and pixels; equal results give equal bytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from inline.data.errors import MyostreamError
from inline.report.content import Page
from inline.report.drawing import draw
from model.output import save_figure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SUFFIXES: Final = (".png", ".pdf")
NAME: Final = "report"
"""Name of the files in a folder, without suffix."""
DPI: Final = 150
"""Pixels per inch of a PNG and of the image for a console: 1753 x 1240."""
# Dates and versions of other programs would make each run another file.
_METADATA: Final[Mapping[str, dict[str, Any]]] = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": "myostream"},
}


class ReportError(MyostreamError):
    """A report cannot be made as asked."""


def check_suffix(file: Path) -> None:
    """Check that a report can have this name.

    Raises:
        ReportError: it ends neither in .png nor in .pdf.
    """
    if file.suffix.lower() not in SUFFIXES:
        raise ReportError(f"{file} is no name of a report; it ends in .png or .pdf")


def report_files(given: Iterable[Path]) -> list[Path]:
    """Return the files to write: those named, and a PNG and a PDF in each folder.

    Raises:
        ReportError: a name is neither that of a folder nor ends in .png or .pdf.
    """
    files: list[Path] = []
    for each in given:
        if each.is_dir():
            files += [each / f"{NAME}{suffix}" for suffix in SUFFIXES]
        else:
            check_suffix(each)
            files.append(each)
    return files


def write_report(file: Path, page: Page) -> None:
    """Write a page as PNG or PDF, by the name of the file, with mode 0600.

    Raises:
        ReportError: another name.
        OutputError: it cannot be written.
        ImportError: matplotlib or cmcrameri is not installed (extra ``report``).
    """
    check_suffix(file)
    save_figure(draw(page), file, private=True, dpi=DPI, metadata=_METADATA[file.suffix.lower()])


def pixels(page: Page) -> NDArray[np.uint8]:
    """Return a page as RGB, uint8 ``(rows, columns, 3)``.

    Raises:
        ImportError: matplotlib or cmcrameri is not installed (extra ``report``).
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = draw(page)
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    drawn: NDArray[np.uint8] = np.asarray(canvas.buffer_rgba())[:, :, :3].copy()  # type: ignore[no-untyped-call]
    return drawn
