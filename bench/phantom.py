"""T1 of a scanned phantom by vial, beside a reference map: ``python -m bench.phantom FILE``.

The file is an npz with ``images`` (n, rows, columns), ``inversion_times_ms`` (n,) and ``reference_t1_ms``
(rows, columns), the map of another implementation.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from scipy import ndimage

from bench.output import print_lines, print_values, write_results
from inline.cli.errors import report_errors
from inline.cli.options import JsonFile
from model.relaxometry.molli import molli_map

_WINDOW: Final = 5
_SPREAD: Final = 0.04
"""Relative standard deviation of the reference within a window, below which a pixel lies in a vial."""
_SMALLEST: Final = 40
_COLUMNS: Final = (
    ("pixels", "pixels", "{:d}"),
    ("fitted", "fitted", "{:d}"),
    ("reference", "reference_ms", "{:.0f}"),
    ("myostream", "fitted_ms", "{:.0f}"),
    ("difference", "difference", "{:+.2%}"),
)


@dataclass(frozen=True, slots=True)
class Vial:
    """Median T1 of one vial, ms, fitted and in the reference, over the ``fitted`` of its ``pixels``."""

    pixels: int
    fitted: int
    reference_ms: float
    fitted_ms: float

    @property
    def difference(self) -> float:
        """Relative difference from the reference."""
        return self.fitted_ms / self.reference_ms - 1.0


def find_vials(reference_ms: NDArray[np.float32]) -> NDArray[np.int32]:
    """Return the number of the vial of each pixel, 0 outside.

    A vial is a connected area in which the reference varies by less than 4 %.
    """
    window = (_WINDOW, _WINDOW)
    mean = cv2.blur(reference_ms.astype(np.float64), window)
    spread = np.sqrt(np.maximum(cv2.blur(reference_ms.astype(np.float64) ** 2, window) - mean**2, 0.0))
    smooth = (spread < _SPREAD * np.abs(mean)) & (mean > 50.0)
    labels, _ = ndimage.label(smooth)
    sizes = np.bincount(labels.ravel())
    kept = (sizes >= _SMALLEST) & (np.arange(len(sizes)) > 0)
    numbers: NDArray[np.int32] = np.where(kept, np.cumsum(kept), 0).astype(np.int32)[labels]
    return numbers


def measure(file: Path) -> list[Vial]:
    """Return the vials of a phantom file, by increasing reference."""
    with np.load(file) as data:
        images, times = data["images"].astype(np.float32), data["inversion_times_ms"].astype(np.float64)
        reference = data["reference_t1_ms"].astype(np.float32)
    fitted = molli_map(images, times)
    vials = find_vials(reference)
    found = []
    for number in range(1, vials.max() + 1):
        vial = vials == number
        inside = vial & ~fitted.failed
        if inside.any():
            medians = (float(np.median(values[inside])) for values in (reference, fitted.values_ms))
            found.append(Vial(int(vial.sum()), int(inside.sum()), *medians))
    return sorted(found, key=lambda vial: vial.reference_ms)


def main(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    json_file: JsonFile = None,
) -> None:
    """Print the table."""
    vials = measure(file)
    rows = {str(i): {**asdict(vial), "difference": vial.difference} for i, vial in enumerate(vials, start=1)}
    print_values("MOLLI phantom: median T1 by vial, ms", "vial", rows, _COLUMNS)
    # Where the times leave T1 undetermined (a vial recovered before the second image), most fits fail. The
    # median leaves such a vial out.
    vials = [vial for vial in vials if vial.fitted > vial.pixels / 2]
    middle = float(np.median([abs(vial.difference) for vial in vials]))
    print_lines([f"median over vials: {100 * middle:.2f} % from the reference"])
    write_results(json_file, {"vials": [asdict(vial) for vial in vials], "median_difference": middle})


if __name__ == "__main__":
    with report_errors():
        typer.run(main)
