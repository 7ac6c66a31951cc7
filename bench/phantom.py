"""T1 of a scanned phantom by vial, beside a reference map: ``python -m bench.phantom FILE``.

The file is an npz with ``images`` (n, rows, columns), ``inversion_times_ms`` (n,) and ``reference_t1_ms``
(rows, columns), the map of another implementation.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from scipy import ndimage

from bench.values import write_results
from inline.cli.errors import report_errors
from inline.cli.options import JsonFile
from inline.terminal.tables import print_values
from inline.terminal.text import print_lines
from model.relaxometry.molli import molli_map

_WINDOW: Final = 5
_SPREAD: Final = 0.04
"""Relative standard deviation of the reference within a window, below which a pixel lies in a vial."""
_SMALLEST: Final = 40


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


def measure(file: Path) -> list[dict[str, float]]:
    """Return the vials of a phantom file, by increasing reference.

    Returns:
        ``pixels`` of the vial, those ``fitted``, and over these the median T1, ms: ``reference_ms``,
        ``fitted_ms``.
    """
    with np.load(file) as data:
        images, times = data["images"].astype(np.float32), data["inversion_times_ms"].astype(np.float64)
        reference = data["reference_t1_ms"].astype(np.float32)
    fitted = molli_map(images, times)
    vials = find_vials(reference)
    found = []
    for number in range(1, vials.max() + 1):
        inside = (vials == number) & ~fitted.failed
        if inside.any():
            found.append(
                {
                    "pixels": int((vials == number).sum()),
                    "fitted": int(inside.sum()),
                    "reference_ms": float(np.median(reference[inside])),
                    "fitted_ms": float(np.median(fitted.values_ms[inside])),
                }
            )
    return sorted(found, key=lambda vial: vial["reference_ms"])


def difference(vial: dict[str, float]) -> float:
    """Return the relative difference of the fitted from the reference T1."""
    return vial["fitted_ms"] / vial["reference_ms"] - 1.0


def main(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    json_file: JsonFile = None,
) -> None:
    """Print the table."""
    vials = measure(file)
    rows = {str(i): {**vial, "difference": difference(vial)} for i, vial in enumerate(vials, start=1)}
    # Where the times leave T1 undetermined (a vial recovered before the second image), most fits fail. The
    # median leaves such a vial out.
    vials = [vial for vial in vials if vial["fitted"] > vial["pixels"] / 2]
    middle = float(np.median([abs(difference(vial)) for vial in vials]))
    write_results(json_file, {"vials": vials, "median_difference": middle})
    print_values(
        "MOLLI phantom: median T1 by vial, ms",
        "vial",
        rows,
        "pixels, fitted, reference_ms .0f, fitted_ms .0f, difference +.2%",
    )
    print_lines(f"median over vials: {100 * middle:.2f} % from the reference")


if __name__ == "__main__":
    with report_errors():
        typer.run(main)
