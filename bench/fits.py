"""How fast the fits are, and how close to scipy's optimum: ``python -m bench.fits``."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.optimize import curve_fit

from bench import open_fits
from bench.simulated_pixels import Pixels, molli_pixels, scipy_t1, scipy_t2, t2_pixels
from bench.timing import median_ms
from inline.cli.errors import report_errors
from inline.cli.options import output_file
from model.machine import describe_machine
from model.output import write_json
from model.processes import fresh_processes
from model.relaxometry.molli import molli_map
from model.relaxometry.parametric_map import ParametricMap
from model.relaxometry.t2prep import t2_map

Fit = Callable[[NDArray[np.float32], NDArray[np.float64]], ParametricMap]
SIDE = 256
_QMRI_PIXELS = 40


def _milliseconds(fit: Fit, pixels: Pixels, repeats: int = 9) -> float:
    """Median time of a fit of a whole image of 256 x 256 pixels, after one run to warm up."""
    images = pixels.signal.reshape(-1, SIDE, SIDE)
    return median_ms(lambda: fit(images, pixels.times_ms), repeats)


def _curve_fit_milliseconds(pixels: Pixels, count: int) -> float:
    """Time that ``curve_fit`` takes for one pixel, knowing the polarity and starting at the truth, ms."""
    inversion = len(pixels.times_ms) > 3
    t = pixels.times_ms
    start = time.perf_counter()
    for index in range(count):
        y = pixels.signal[:, index].astype(float)
        truth = pixels.truth_ms[index]
        if inversion:
            y = np.where(t < truth * np.log(2.0), -y, y)
            curve_fit(lambda t, a, b, s: a - b * np.exp(-t / s), t, y, p0=(400.0, 800.0, truth), maxfev=2000)
        else:
            curve_fit(lambda t, c, s: c * np.exp(-t / s), t, y, p0=(400.0, truth), maxfev=2000)
    return 1e3 * (time.perf_counter() - start) / count


def _agreement(fit: Fit, reference: Callable[..., float], pixels: Pixels) -> dict[str, float]:
    """Differences from scipy's optimum, pixel by pixel."""
    ours = fit(pixels.signal[:, None, :], pixels.times_ms).values_ms[0]
    with fresh_processes() as pool:
        found = pool.map(partial(reference, times=pixels.times_ms), pixels.signal.T, chunksize=50)
        theirs = np.array(list(found))
    apart = np.abs(ours - theirs)
    return {
        "pixels": len(theirs),
        "within_0.5_ms": float((apart <= 0.5).mean()),
        "largest_ms": float(apart.max()),
        "p99.9_ms": float(np.quantile(apart, 0.999)),
    }


def compare(pixels: int) -> dict[str, dict[str, float]]:
    """Times of each fit beside ``curve_fit`` and, where it is installed, ``qmri``; and the same optimum.

    Args:
        pixels: simulated pixels whose optimum is compared with scipy's, for each fit.
    """
    cases: dict[str, tuple[Fit, Callable[..., float], Callable[[int, int], Pixels]]] = {
        "T1, 8 images": (molli_map, scipy_t1, lambda n, seed: molli_pixels(n, 8, seed)),
        "T1, 11 images": (molli_map, scipy_t1, lambda n, seed: molli_pixels(n, 11, seed)),
        "T2, 3 images": (t2_map, scipy_t2, t2_pixels),
    }
    report: dict[str, dict[str, float]] = {}
    # All times first and close together, then what takes minutes.
    for name, (fit, _, make) in cases.items():
        ours = _milliseconds(fit, make(SIDE * SIDE, 1))
        theirs = _curve_fit_milliseconds(make(300, 2), 300)
        report[name] = {
            "map_ms": ours,
            "curve_fit_ms_per_pixel": theirs,
            "ratio": theirs * SIDE * SIDE / ours,
        }
        if open_fits.installed():
            report[name] |= _beside_qmri(fit, make(_QMRI_PIXELS, 4), ours)
    for name, (fit, reference, make) in cases.items():
        report[name] |= _agreement(fit, reference, make(pixels, 3))
    return report


def _beside_qmri(fit: Fit, pixels: Pixels, ours_ms: float) -> dict[str, float]:
    """Its time a pixel, the ratio for a whole map, and the share of pixels on which both agree."""
    peer = open_fits.t1 if len(pixels.times_ms) > 3 else open_fits.t2
    start = time.perf_counter()
    theirs = peer(pixels.signal.astype(np.float64), pixels.times_ms)
    took = 1e3 * (time.perf_counter() - start) / len(theirs)
    ours = fit(pixels.signal[:, None, :], pixels.times_ms).values_ms[0]
    return {
        "qmri_ms_per_pixel": took,
        "qmri_ratio": took * SIDE * SIDE / ours_ms,
        "qmri_within_0.5_ms": float((np.abs(ours - theirs) <= 0.5).mean()),
    }


def table(report: dict[str, dict[str, float]]) -> Table:
    """The figures of :func:`compare`."""
    shown = Table(title=f"Fits of {SIDE} x {SIDE} pixels, {torch.get_num_threads()} threads")
    for column in (
        "fit",
        "whole map, ms",
        "curve_fit, ms a pixel",
        "faster",
        "within 0.5 ms of the optimum",
        "largest, ms",
        "qmri, ms a pixel",
        "faster",
        "alike",
    ):
        shown.add_column(column, justify="right")
    for name, case in report.items():
        beside = ["-", "-", "-"]
        if "qmri_ratio" in case:
            beside = [
                f"{case['qmri_ms_per_pixel']:.3f}",
                f"{case['qmri_ratio']:.0f} x",
                f"{100 * case['qmri_within_0.5_ms']:.1f} %",
            ]
        shown.add_row(
            name,
            f"{case['map_ms']:.1f}",
            f"{case['curve_fit_ms_per_pixel']:.3f}",
            f"{case['ratio']:.0f} x",
            f"{100 * case['within_0.5_ms']:.2f} %",
            f"{case['largest_ms']:.3f}",
            *beside,
        )
    return shown


def main(
    json_file: Annotated[
        Path | None, typer.Option("--json", callback=output_file, help="also write the figures here")
    ] = None,
    pixels: Annotated[int, typer.Option(help="simulated pixels compared with scipy, for each fit")] = 5000,
) -> None:
    """Time the fits of 256 x 256 images beside scipy's curve_fit, and compare both optima."""
    report = compare(pixels)
    Console().print(table(report))
    if json_file is not None:
        write_json(json_file, {"machine": describe_machine(), **report})


if __name__ == "__main__":
    with report_errors():
        typer.run(main)
