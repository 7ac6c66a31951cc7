"""Speed of the fits, and their distance from the least-squares optimum: ``python -m bench.fits``."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Final

import numpy as np
import typer
from numpy.typing import NDArray
from scipy.optimize import curve_fit

from bench.reference import qmri_fits
from bench.reference.published import molli_model, t2_model
from bench.simulated_pixels import Pixels, molli_pixels, scipy_t1, scipy_t2, t2_pixels
from bench.values import median_ms, write_results
from inline.cli.errors import report_errors
from inline.cli.options import JsonFile
from inline.terminal.tables import print_values
from model.processes import fresh_processes
from model.relaxometry.molli import molli_map
from model.relaxometry.parametric_map import ParametricMap
from model.relaxometry.t2prep import t2_map

SIDE: Final = 256
_CURVE_FIT_PIXELS: Final = 300
_QMRI_PIXELS: Final = 40
_COLUMNS: Final = (
    "map_ms .1f, curve_fit_ms_per_pixel .3f, ratio .0f, within_0.5_ms .2%, largest_ms .3f, "
    "qmri_ms_per_pixel .3f, qmri_ratio .0f, qmri_within_0.5_ms .1%"
)

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Case:
    """A fit, its references, and simulated pixels for it.

    Attributes:
        fit: of the product.
        optimum: value of one pixel at the least-squares optimum, by scipy.
        curve_fit: value of one pixel by ``curve_fit`` with known polarity, started at the truth.
        qmri: values of pixels by ``qmri``.
        pixels: simulates so many pixels with a seed.
    """

    fit: Callable[[NDArray[np.float32], Array], ParametricMap]
    optimum: Callable[..., float]
    curve_fit: Callable[[Array, Array, float], object]
    qmri: Callable[[Array, Array], Array]
    pixels: Callable[[int, int], Pixels]


def _curve_fit_t1(signal: Array, t: Array, truth: float) -> object:
    y = np.where(t < truth * np.log(2.0), -signal, signal)
    return curve_fit(molli_model, t, y, p0=(400.0, 800.0, truth), maxfev=2000)


def _curve_fit_t2(signal: Array, t: Array, truth: float) -> object:
    return curve_fit(t2_model, t, signal, p0=(400.0, truth), maxfev=2000)


def _molli(images: int) -> Case:
    return Case(
        molli_map, scipy_t1, _curve_fit_t1, qmri_fits.t1, lambda n, seed: molli_pixels(n, images, seed)
    )


CASES: Final = {
    "T1, 8 images": _molli(8),
    "T1, 11 images": _molli(11),
    "T2, 3 images": Case(t2_map, scipy_t2, _curve_fit_t2, qmri_fits.t2, t2_pixels),
}


def compare(pixels: int) -> dict[str, dict[str, float]]:
    """Return times beside ``curve_fit`` and ``qmri`` where it is installed, and distances from the optimum.

    Args:
        pixels: simulated pixels whose optimum is computed by scipy, for each fit.
    """
    # All times first and close together; the optima take minutes.
    results = {name: _times(case) for name, case in CASES.items()}
    for name, case in CASES.items():
        results[name] |= _distances(case, case.pixels(pixels, 3))
    return results


def _times(case: Case) -> dict[str, float]:
    whole = case.pixels(SIDE * SIDE, 1)
    images = whole.signal.reshape(-1, SIDE, SIDE)
    map_ms = median_ms(lambda: case.fit(images, whole.times_ms), 9)
    sample = case.pixels(_CURVE_FIT_PIXELS, 2)
    start = time.perf_counter()
    for signal, truth in zip(sample.signal.T.astype(float), sample.truth_ms, strict=True):
        case.curve_fit(signal, sample.times_ms, float(truth))
    pixel_ms = 1e3 * (time.perf_counter() - start) / _CURVE_FIT_PIXELS
    result = {
        "map_ms": map_ms,
        "curve_fit_ms_per_pixel": pixel_ms,
        "ratio": pixel_ms * SIDE * SIDE / map_ms,
    }
    if qmri_fits.INSTALLED:
        sample = case.pixels(_QMRI_PIXELS, 4)
        start = time.perf_counter()
        theirs = case.qmri(sample.signal.astype(np.float64), sample.times_ms)
        pixel_ms = 1e3 * (time.perf_counter() - start) / _QMRI_PIXELS
        ours = case.fit(sample.signal[:, None, :], sample.times_ms).values_ms[0]
        result |= {
            "qmri_ms_per_pixel": pixel_ms,
            "qmri_ratio": pixel_ms * SIDE * SIDE / map_ms,
            "qmri_within_0.5_ms": float((np.abs(ours - theirs) <= 0.5).mean()),
        }
    return result


def _distances(case: Case, pixels: Pixels) -> dict[str, float]:
    ours = case.fit(pixels.signal[:, None, :], pixels.times_ms).values_ms[0]
    with fresh_processes() as pool:
        found = pool.map(partial(case.optimum, times=pixels.times_ms), pixels.signal.T, chunksize=50)
        apart = np.abs(ours - np.array(list(found)))
    return {
        "pixels": len(apart),
        "within_0.5_ms": float((apart <= 0.5).mean()),
        "largest_ms": float(apart.max()),
        "p99.9_ms": float(np.quantile(apart, 0.999)),
    }


def show(results: dict[str, dict[str, float]]) -> None:
    """Print the results of :func:`compare`."""
    print_values(f"Fits of {SIDE} x {SIDE} pixels", "fit", results, _COLUMNS)


def main(
    json_file: JsonFile = None,
    pixels: Annotated[int, typer.Option(help="Simulated pixels compared with scipy, for each fit.")] = 5000,
) -> None:
    """Time the fits of 256 x 256 images beside scipy's curve_fit, and compare them with the optimum."""
    results = compare(pixels)
    write_results(json_file, results)
    show(results)


if __name__ == "__main__":
    with report_errors():
        typer.run(main)
