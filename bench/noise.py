"""Error of T1 and T2 by noise of magnitude images, and its estimate: ``python -m bench.noise``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from bench.values import write_results
from inline.cli.errors import report_errors
from inline.cli.options import JsonFile
from inline.terminal.tables import print_values
from model.relaxometry.molli import fit_molli
from model.relaxometry.noise import molli_noise, t2prep_noise
from model.relaxometry.t2prep import fit_t2prep
from model.synthesis.sequences import Molli, molli_signals
from model.synthesis.tissues import TissueValues

Array = NDArray[np.float64]

SNRS: Final = (5, 7, 10, 12, 15, 20, 30)
RING: Final = 600
"""Pixels of a myocardium, of which the noise is estimated."""
_RINGS: Final = 8
_T1_MS: Final = {"5(3)3": (450, 1000, 1200, 1400), "3(3)3(3)5": (450, 1000, 1200, 1400)}
_T2_MS: Final = {(0.0, 25.0, 55.0): (35, 45, 55, 80)}
_HEARTBEAT_MS: Final = 900.0


def measure() -> dict[str, dict[str, float]]:
    """Return error of the median and its estimate, %, of each tissue at each SNR."""
    rng = np.random.default_rng(1)
    rows: dict[str, dict[str, float]] = {}
    for name, times, clean, t1 in _signals():
        truth = _median(clean[:, None], times, t1=t1, signed=True)
        row: dict[str, float] = {}
        for snr in SNRS:
            images = noisy(clean, snr, rng)
            error = _median(images, times, t1=t1) / truth - 1.0
            estimate = molli_noise if t1 else t2prep_noise
            found = [estimate(ring, times) for ring in np.split(images, _RINGS, axis=1)]
            bias = float(np.median([each.bias for each in found if each is not None]))
            row |= {f"error_{snr}": 100.0 * error, f"estimate_{snr}": 100.0 * bias}
        rows[name] = row
    return rows


def noisy(clean: Array, snr: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return magnitudes ``(n, pixels)`` of a signal ``(n,)`` in units of the recovered one, of all rings."""
    along, across = rng.normal(size=(2, len(clean), _RINGS * RING)) / snr
    magnitude: NDArray[np.float32] = np.hypot(clean[:, None] + along, across).astype(np.float32)
    return magnitude


def _signals() -> Iterator[tuple[str, Array, Array, bool]]:
    """Yield name, times, signal in units of the recovered one, and whether it is T1."""
    for scheme, values in _T1_MS.items():
        molli = Molli.parse(scheme)
        times = np.array(molli.times_ms(_HEARTBEAT_MS))
        order = np.argsort(times)
        for value in values:
            tissue = TissueValues(*(torch.tensor([[each]]) for each in (float(value), 45.0, 1.0)))
            signal = molli_signals(tissue, molli, _HEARTBEAT_MS)[0, :, 0].double().numpy()[order]
            recovered = float(fit_molli(signal[:, None], times[order], signed=True).a[0])
            yield f"T1 {value} ms, {scheme}", times[order], signal / recovered, True
    for preparation, values in _T2_MS.items():
        times = np.array(preparation)
        for value in values:
            yield f"T2 {value} ms, {len(times)} images", times, np.exp(-times / value), False


def _median(images: NDArray[np.floating[Any]], times: Array, *, t1: bool, signed: bool = False) -> float:
    if t1:
        molli = fit_molli(images, times, signed=signed)
        return float(np.median(molli.t1[~molli.failed]))
    t2 = fit_t2prep(images, times)
    return float(np.median(t2.t2[~t2.failed]))


def main(json_file: JsonFile = None) -> None:
    """Simulate rings of one tissue with Rician noise, and fit them."""
    results = measure()
    write_results(json_file, results)
    shown = {
        name: {f"snr_{snr}": f"{row[f'error_{snr}']:+.1f} / {row[f'estimate_{snr}']:+.1f}" for snr in SNRS}
        for name, row in results.items()
    }
    title = "Error of the median by noise / its estimate, %"
    print_values(title, "tissue", shown, ", ".join(f"snr_{snr} s" for snr in SNRS))


if __name__ == "__main__":
    with report_errors():
        typer.run(main)
