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

from bench.output import print_lines, print_table
from inline.cli.errors import report_errors
from inline.cli.options import JsonFile
from model.machine import describe_machine
from model.output import write_json
from model.relaxometry.molli import molli_map

_WINDOW: Final = 5
_SPREAD: Final = 0.04
"""Relative standard deviation of the reference within a window, below which a pixel lies in a vial."""
_SMALLEST: Final = 40


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
    _, labels, stats, _ = cv2.connectedComponentsWithStats(smooth.astype(np.uint8), connectivity=4)
    kept = [number for number in range(1, len(stats)) if stats[number, cv2.CC_STAT_AREA] >= _SMALLEST]
    vials = np.zeros(reference_ms.shape, np.int32)
    for vial, number in enumerate(kept, start=1):
        vials[labels == number] = vial
    return vials


def measure(file: Path) -> list[Vial]:
    """Return the vials of a phantom file, by increasing reference."""
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
                Vial(
                    int((vials == number).sum()),
                    int(inside.sum()),
                    float(np.median(reference[inside])),
                    float(np.median(fitted.values_ms[inside])),
                )
            )
    return sorted(found, key=lambda vial: vial.reference_ms)


def main(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    json_file: JsonFile = None,
) -> None:
    """Print the table."""
    vials = measure(file)
    rows = [
        (
            str(number),
            f"{vial.fitted} of {vial.pixels}",
            f"{vial.reference_ms:.0f}",
            f"{vial.fitted_ms:.0f}",
            f"{100 * vial.difference:+.2f} %",
        )
        for number, vial in enumerate(vials, start=1)
    ]
    columns = ("vial", "pixels fitted", "reference", "myostream", "difference")
    print_table("MOLLI phantom: median T1 by vial, ms", columns, rows)
    # Where the times leave T1 undetermined (a vial recovered before the second image), most fits fail. The
    # median leaves such a vial out.
    vials = [vial for vial in vials if vial.fitted > vial.pixels / 2]
    middle = float(np.median([abs(vial.difference) for vial in vials]))
    print_lines([f"median over vials: {100 * middle:.2f} % from the reference"])
    if json_file is not None:
        content = {
            "machine": describe_machine(),
            "vials": [asdict(vial) for vial in vials],
            "median_difference": middle,
        }
        write_json(json_file, content)


if __name__ == "__main__":
    with report_errors():
        typer.run(main)
