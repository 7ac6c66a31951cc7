"""Simulated pixels with noise, and their least-squares optimum by ``scipy.optimize``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pixels:
    """Magnitude signals ``(times, pixels)``, their times in ms, and the true T1 or T2 in ms."""

    signal: NDArray[np.float32]
    times_ms: Array
    truth_ms: Array


def molli_times(count: int) -> Array:
    """Return the inversion times, ms, of 5(3)3 at 67 beats a minute, or with 11 images of 5(3)3(3)3."""
    first, second = 100.0 + 900.0 * np.arange(5), 180.0 + 900.0 * np.arange(3)
    groups = (first, second) if count == 8 else (first, second, 260.0 + 900.0 * np.arange(3))
    return np.concatenate(groups)


def _rician(clean: Array, rng: np.random.Generator) -> NDArray[np.float32]:
    snr = rng.uniform(25.0, 100.0, clean.shape[1])
    noise = rng.normal(size=(2, *clean.shape)) / snr
    magnitude: Array = 400.0 * np.hypot(clean + noise[0], noise[1])
    return magnitude.astype(np.float32)


def molli_pixels(count: int, images: int, seed: int) -> Pixels:
    """Simulate MOLLI pixels: T1 200 to 2000 ms, SNR 25 to 100, B/A 1.75 to 2."""
    rng = np.random.default_rng(seed)
    t1, ratio = rng.uniform(200.0, 2000.0, count), rng.uniform(1.75, 2.0, count)
    times = molli_times(images)
    clean = 1.0 - ratio * np.exp(-times[:, None] * (ratio - 1.0) / t1)
    return Pixels(_rician(clean, rng), times, t1)


def t2_pixels(count: int, seed: int) -> Pixels:
    """Simulate T2-prep pixels: T2 30 to 250 ms, SNR 25 to 100, preparation times 0, 25 and 55 ms."""
    rng = np.random.default_rng(seed)
    t2, times = rng.uniform(30.0, 250.0, count), np.array([0.0, 25.0, 55.0])
    return Pixels(_rician(np.exp(-times[:, None] / t2), rng), times, t2)


def scipy_t1(signal: Array, times: Array) -> float:
    """Return T1, ms, at the least-squares optimum over A, B, T1* and polarity; two starts for each
    polarity."""
    order = np.argsort(times)
    t, m = times[order], signal[order].astype(np.float64) / signal.max()
    best: Any = None
    for negative in range(len(t) + 1):
        y = np.where(np.arange(len(t)) < negative, -m, m)

        def residual(p: Array, y: Array = y) -> Array:
            off: Array = p[0] - p[1] * np.exp(-t * np.exp(-p[2])) - y
            return off

        def jacobian(p: Array, y: Array = y) -> Array:
            decay = np.exp(-t * np.exp(-p[2]))
            columns: Array = np.stack([np.ones_like(t), -decay, -p[1] * decay * t * np.exp(-p[2])], axis=1)
            return columns

        for star in (300.0, 1500.0):
            start = np.array([y[-1], y[-1] - y[0] + 1e-3, np.log(star)])
            with np.errstate(all="ignore"):
                found = least_squares(residual, start, jacobian, method="lm", xtol=1e-12, ftol=1e-12)
            if np.isfinite(found.x).all() and (best is None or found.cost < best.cost):
                best = found
    a, b, log_star = best.x
    return float(np.exp(log_star) * (b / a - 1.0))


def scipy_t2(signal: Array, times: Array) -> float:
    """Return T2, ms, at the least-squares optimum over C and T2."""
    y = signal.astype(np.float64) / signal.max()
    found = least_squares(
        lambda p: p[0] * np.exp(-times * np.exp(-p[1])) - y,
        [y[0], np.log(80.0)],
        method="lm",
        xtol=1e-12,
        ftol=1e-12,
    )
    return float(np.exp(found.x[1]))
