"""Compiled fits for the CPU.

The search is that of :mod:`model.relaxometry.exponential`, which makes about a hundred passes over whole
images. Here ``LANES`` pixels at a time go through all steps, side by side in vector registers and the
innermost cache: every inner loop runs over the lanes, without a call or a branch, so that it becomes vector
instructions.

All in one file: compiled code is kept until this file changes (:mod:`model.relaxometry.compiled`).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from model.relaxometry.compiled import kept

Floats = NDArray[np.float32]

LANES: Final = 64
_TILE: Final = 8 * LANES
"""Pixels whose candidates are collected before they are climbed, so that few lanes stay empty."""
_STEPS: Final = 24
_SMALL_STEP: Final = np.float32(1e-3)
_NONE: Final = np.float32(0.0)
_ONE: Final = np.float32(1.0)
_HALF: Final = np.float32(0.5)
_TWO: Final = np.float32(2.0)
_SMALLEST_A: Final = np.float32(1e-6)
_SMALLEST_VARIANCE: Final = np.float32(1e-12)

# Where the lanes of each quantity begin in the working memory. One array, at distances that the compiler
# knows: of a dozen it could not prove that none overlaps another, and would leave the loops as they are.
_X, _LOW, _HIGH, _RATE, _CLIMBING = (LANES * row for row in range(5))
_EY, _EY_T, _EY_TT, _EE, _EE_T, _EE_TT, _E, _E_T, _E_TT = (LANES * row for row in range(5, 14))
_MEAN, _MEAN_E, _MEAN_W, _EW, _WW, _VARIANCE, _SCALE, _SQUARES = (LANES * row for row in range(14, 22))
_WORK: Final = 22 * LANES
# Likewise of the search for the polarity; from ``_EACH`` on what each polarity explains, then its rate.
_SUM, _BEST, _BEST_K, _NEXT, _EACH = (LANES * row for row in range(5))

# Sums may be reordered and fused; infinity and NaN keep their meaning.
_ARITHMETIC: Final = {"contract", "reassoc", "nsz", "arcp"}
_inlined = njit(inline="always")


_kernel = kept({"nogil": True, "error_model": "numpy", "fastmath": _ARITHMETIC})


@_kernel
def fit_molli(
    magnitude: Floats,
    times: Floats,
    log_rates: Floats,
    directions: Floats,
    rival: float,
    longest: float,
    fields: Floats,
    negative: NDArray[np.int64],
    failed: NDArray[np.bool_],
    signed: bool,
) -> None:
    """Fit ``A - B exp(-t / T1*)`` to every pixel (:mod:`model.relaxometry.molli`).

    Args:
        magnitude: ``(times, pixels)``, times ascending.
        times: inversion times, ms.
        log_rates: of the grid, ascending and even, ``(rates,)``.
        directions: unit vectors along the grid's exponentials less their mean, ``(rates, times)``.
        rival: how much less of the signal than the best another polarity may explain at the grid, to be
            climbed as well.
        longest: T1 beyond which the fit has failed, ms.
        fields: written: T1, its standard deviation, T1*, A, B, R2, each ``(pixels,)``; 0 where failed.
        negative: written: number of negative images ``(pixels,)``.
        failed: written ``(pixels,)``.
        signed: the images have their sign, and no other polarity is tried.
    """
    n, pixels = magnitude.shape
    polarities = 1 if signed else n
    work, search = np.empty(_WORK, np.float32), np.empty(_EACH + 2 * polarities * LANES, np.float32)
    rates = _EACH + polarities * LANES
    signal, along = np.empty(n * LANES, np.float32), np.empty(len(log_rates) * LANES, np.float32)
    y, scale = np.empty(n * _TILE, np.float32), np.empty(_TILE, np.float32)
    least = np.empty(_TILE, np.float32)
    lane, flips = np.empty(polarities * _TILE, np.int64), np.empty(polarities * _TILE, np.int64)
    start = np.empty(polarities * _TILE, np.int64)
    for origin in range(0, pixels, _TILE):
        count = min(_TILE, pixels - origin)
        _load(magnitude, origin, count, y, scale, signed)
        candidates = count
        for group in range(0, count, LANES):
            _take(signal, y, group, n)
            _search(search, along, signal, n, polarities, directions)
            for p in range(min(LANES, count - group)):
                best = int(search[_BEST_K + p])
                lane[group + p], flips[group + p] = group + p, best
                start[group + p] = int(search[rates + best * LANES + p])
                level = search[_BEST + p] - rival
                # Where all images are 0 every polarity is the same.
                if search[_NEXT + p] > level and scale[group + p] > _NONE:
                    for k in range(polarities):
                        if k != best and search[_EACH + k * LANES + p] > level:
                            lane[candidates], flips[candidates] = group + p, k
                            start[candidates] = int(search[rates + k * LANES + p])
                            candidates += 1
        for group in range(0, candidates, LANES):
            filled = min(LANES, candidates - group)
            for p in range(LANES):
                at = group + min(p, filled - 1)
                _begin(work, p, log_rates, start[at])
                for i in range(n):
                    value = y[i * _TILE + lane[at]]
                    signal[i * LANES + p] = -value if i < flips[at] else value
            _less_mean(work, signal, n)
            _climb(work, signal, times, log_rates[0], log_rates[-1], True)
            _residuals(work, signal, times, True)
            _molli_deviation(work, n)
            for p in range(filled):
                at = group + p
                squares = work[_SQUARES + p]
                if at >= count and not squares < least[lane[at]]:
                    continue
                least[lane[at]] = squares
                pixel, unit, k = origin + lane[at], scale[lane[at]], flips[at]
                b = -work[_SCALE + p]
                a = work[_MEAN + p] + b * work[_MEAN_E + p]
                if k == 0 and a < _NONE:
                    # All negative is all positive mirrored: the sign of the asymptote decides.
                    a, b, k = -a, -b, n
                apparent = np.exp(-work[_X + p])
                t1 = apparent * (b / a - _ONE)
                inside = log_rates[0] < work[_X + p] < log_rates[-1]
                found = unit > _NONE and inside and a > _SMALLEST_A and b > a and t1 <= longest
                deviation = work[_EW + p]
                found = found and deviation < np.inf
                negative[pixel], failed[pixel] = k, not found
                fields[0, pixel] = t1 if found else _NONE
                fields[1, pixel] = deviation if found else _NONE
                fields[2, pixel] = apparent if found else _NONE
                fields[3, pixel] = a * unit if found else _NONE
                fields[4, pixel] = b * unit if found else _NONE
                fields[5, pixel] = _explained(work, p) if found else _NONE


@_kernel
def fit_t2prep(
    magnitude: Floats,
    times: Floats,
    log_rates: Floats,
    directions: Floats,
    fields: Floats,
    failed: NDArray[np.bool_],
) -> None:
    """Fit ``C exp(-t / T2)`` to every pixel (:mod:`model.relaxometry.t2prep`).

    Args:
        magnitude: ``(times, pixels)``.
        times: preparation times, ms.
        log_rates: of the grid, ascending and even, ``(rates,)``.
        directions: unit vectors along the grid's exponentials, ``(rates, times)``.
        fields: written: T2, its standard deviation, C, R2, each ``(pixels,)``; 0 where failed.
        failed: written ``(pixels,)``.
    """
    n, pixels = magnitude.shape
    work = np.empty(_WORK, np.float32)
    signal, y, scale = (
        np.empty(n * LANES, np.float32),
        np.empty(n * _TILE, np.float32),
        np.empty(_TILE, np.float32),
    )
    for origin in range(0, pixels, _TILE):
        tile = min(_TILE, pixels - origin)
        _load(magnitude, origin, tile, y, scale, False)
        for group in range(0, tile, LANES):
            _take(signal, y, group, n)
            for p in range(LANES):
                work[_E + p], work[_E_T + p] = -_ONE, _NONE
            for rate in range(len(log_rates)):
                at = np.float32(rate)
                for p in range(LANES):
                    work[_EY + p] = _NONE
                for i in range(n):
                    for p in range(LANES):
                        work[_EY + p] += directions[rate, i] * signal[i * LANES + p]
                for p in range(LANES):
                    higher = work[_EY + p] > work[_E + p]
                    work[_E + p] = work[_EY + p] if higher else work[_E + p]
                    work[_E_T + p] = at if higher else work[_E_T + p]
            for p in range(LANES):
                _begin(work, p, log_rates, int(work[_E_T + p]))
            _climb(work, signal, times, log_rates[0], log_rates[-1], False)
            _residuals(work, signal, times, False)
            for p in range(min(LANES, tile - group)):
                pixel, unit, c = origin + group + p, scale[group + p], work[_SCALE + p]
                t2 = np.exp(-work[_X + p])
                deviation = np.sqrt(work[_SQUARES + p] / max(n - 2, 1) / work[_WW + p]) * t2 / c
                inside = log_rates[0] < work[_X + p] < log_rates[-1]
                found = unit > _NONE and inside and _NONE < c < np.inf and deviation < np.inf
                failed[pixel] = not found
                fields[0, pixel] = t2 if found else _NONE
                fields[1, pixel] = deviation if found else _NONE
                fields[2, pixel] = c * unit if found else _NONE
                fields[3, pixel] = _explained(work, p) if found else _NONE


@_inlined
def _load(magnitude: Floats, origin: int, count: int, y: Floats, scale: Floats, signed: bool) -> None:
    """Load a tile in units of each pixel's largest signal; all 0 where that is 0 or a value is not finite."""
    n = len(magnitude)
    for p in range(_TILE):
        scale[p] = _NONE
    for i in range(n):
        for p in range(count):
            value = abs(magnitude[i, origin + p])
            y[i * _TILE + p] = magnitude[i, origin + p] if signed else value
            # Once infinite it stays so; NaN is not below anything.
            scale[p] = max(scale[p], value) if value < np.inf else np.float32(np.inf)
        for p in range(count, _TILE):
            y[i * _TILE + p] = _NONE
    for p in range(_TILE):
        scale[p] = scale[p] if scale[p] < np.inf else _NONE
    for i in range(n):
        for p in range(_TILE):
            y[i * _TILE + p] = y[i * _TILE + p] / scale[p] if scale[p] > _NONE else _NONE


@_inlined
def _take(signal: Floats, y: Floats, group: int, n: int) -> None:
    """Copy the pixels of a tile from ``group`` on, one into each lane."""
    for i in range(n):
        for p in range(LANES):
            signal[i * LANES + p] = y[i * _TILE + group + p]


@_inlined
def _search(s: Floats, along: Floats, y: Floats, n: int, polarities: int, directions: Floats) -> None:
    """Find what each of the first ``polarities`` explains at the grid, its rate, the best and the second.

    The offset's part of what is explained depends on the polarity alone; from one polarity to the next a
    single image changes sign.
    """
    share = _ONE / np.float32(n)
    for p in range(LANES):
        s[_SUM + p] = s[_BEST_K + p] = _NONE
        s[_BEST + p] = s[_NEXT + p] = -_ONE
    for i in range(n):
        for p in range(LANES):
            s[_SUM + p] += y[i * LANES + p]
    for rate in range(len(directions)):
        for p in range(LANES):
            along[rate * LANES + p] = _NONE
        for i in range(n):
            for p in range(LANES):
                along[rate * LANES + p] += directions[rate, i] * y[i * LANES + p]
    for k in range(polarities):
        flipped = max(k - 1, 0)
        change = _TWO if k > 0 else _NONE
        top, top_at = _EACH + k * LANES, _EACH + (polarities + k) * LANES
        for p in range(LANES):
            s[_SUM + p] -= change * y[flipped * LANES + p]
            s[top + p], s[top_at + p] = -_ONE, _NONE
        for rate in range(len(directions)):
            at, weight = np.float32(rate), change * directions[rate, flipped]
            for p in range(LANES):
                value = along[rate * LANES + p] - weight * y[flipped * LANES + p]
                along[rate * LANES + p] = value
                higher = abs(value) > s[top + p]
                s[top + p] = abs(value) if higher else s[top + p]
                s[top_at + p] = at if higher else s[top_at + p]
        polarity = np.float32(k)
        for p in range(LANES):
            explained = s[_SUM + p] * s[_SUM + p] * share + s[top + p] * s[top + p]
            first, second = explained > s[_BEST + p], explained > s[_NEXT + p]
            s[_NEXT + p] = s[_BEST + p] if first else (explained if second else s[_NEXT + p])
            s[_BEST + p] = explained if first else s[_BEST + p]
            s[_BEST_K + p] = polarity if first else s[_BEST_K + p]
            s[top + p] = explained


@_inlined
def _begin(w: Floats, p: int, log_rates: Floats, start: int) -> None:
    """Put one lane at a point of the grid."""
    width = log_rates[1] - log_rates[0]
    w[_X + p] = log_rates[start]
    w[_LOW + p], w[_HIGH + p] = log_rates[start] - width, log_rates[start] + width


@_inlined
def _less_mean(w: Floats, signal: Floats, n: int) -> None:
    share = _ONE / np.float32(n)
    for p in range(LANES):
        w[_MEAN + p] = _NONE
    for i in range(n):
        for p in range(LANES):
            w[_MEAN + p] += signal[i * LANES + p] * share
    for i in range(n):
        for p in range(LANES):
            signal[i * LANES + p] -= w[_MEAN + p]


@_inlined
def _climb(w: Floats, signal: Floats, times: Floats, first: Any, last: Any, offset: bool) -> None:
    """Climb every lane to the top of its peak; end and derivatives as in ``exponential``."""
    n = len(times)
    share = _ONE / np.float32(n)
    for p in range(LANES):
        w[_CLIMBING + p] = _ONE
    for _ in range(_STEPS):
        for p in range(LANES):
            w[_RATE + p] = _exp(w[_X + p])
        for p in range(_EY, _MEAN):
            w[p] = _NONE
        for i in range(n):
            t = times[i]
            for p in range(LANES):
                e = _exp(-w[_RATE + p] * t)
                ey, e_t = e * signal[i * LANES + p], e * t
                w[_EY + p] += ey
                w[_EY_T + p] += ey * t
                w[_EY_TT + p] += ey * t * t
                w[_EE + p] += e * e
                w[_EE_T + p] += e * e_t
                w[_EE_TT + p] += e_t * e_t
                if offset:
                    w[_E + p] += e
                    w[_E_T + p] += e_t
                    w[_E_TT + p] += e_t * t
        climbing = _NONE
        for p in range(LANES):
            e, e_t = w[_E + p], w[_E_T + p]  # without an offset all 0
            ee = w[_EE + p] - e * e * share
            by_signal, by_decay = w[_EY_T + p] / w[_EY + p], (w[_EE_T + p] - e * e_t * share) / ee
            bends = (w[_EE_TT + p] - (e_t * e_t + e * w[_E_TT + p]) * _HALF * share) / ee
            rate = w[_RATE + p]
            slope = _TWO * rate * (by_decay - by_signal)
            curvature = (
                w[_EY_TT + p] / w[_EY + p] - by_signal * by_signal + _TWO * (by_decay * by_decay - bends)
            )
            bend = _TWO * rate * rate * curvature + slope
            x, uphill = w[_X + p], slope > _NONE
            low, high = (x, w[_HIGH + p]) if uphill else (w[_LOW + p], x)
            newton = x - slope / bend
            trusted = (bend < _NONE) & (newton >= low) & (newton <= high)
            new = newton if trusted else _HALF * (low + high)
            new = new if w[_CLIMBING + p] > _NONE else x
            moves = (abs(new - x) > _SMALL_STEP) & (new > first) & (new < last)
            w[_X + p], w[_LOW + p], w[_HIGH + p] = new, low, high
            w[_CLIMBING + p] = w[_CLIMBING + p] if moves else _NONE
            climbing += w[_CLIMBING + p]
        if climbing == _NONE:
            break


@_inlined
def _residuals(w: Floats, signal: Floats, times: Floats, offset: bool) -> None:
    """Compute the exponential's share of the signal, the residuals, and the derivatives by the rate.

    Beside the exponential e stands ``w = e t rate``, its derivative by the logarithm of the decay time;
    ``_WW`` is the square of w less its part along e.
    """
    n = len(times)
    share = _ONE / np.float32(n) if offset else _NONE
    for p in range(LANES):
        w[_RATE + p] = _exp(w[_X + p])
        w[_MEAN_E + p] = w[_MEAN_W + p] = w[_E + p] = w[_EE + p] = w[_EW + p] = w[_EY + p] = _NONE
        w[_WW + p] = w[_SQUARES + p] = w[_VARIANCE + p] = _NONE
    for i in range(n):
        t = times[i]
        for p in range(LANES):
            e = _exp(-w[_RATE + p] * t)
            w[_MEAN_E + p] += e * share
            w[_MEAN_W + p] += e * t * w[_RATE + p] * share
            w[_E + p] += signal[i * LANES + p] / np.float32(n)
    for i in range(n):
        t = times[i]
        for p in range(LANES):
            decay = _exp(-w[_RATE + p] * t)
            e, along = decay - w[_MEAN_E + p], decay * t * w[_RATE + p] - w[_MEAN_W + p]
            apart = signal[i * LANES + p] - w[_E + p]
            w[_EE + p] += e * e
            w[_EW + p] += e * along
            w[_EY + p] += e * signal[i * LANES + p]
            w[_VARIANCE + p] += apart * apart
    for p in range(LANES):
        w[_SCALE + p] = w[_EY + p] / w[_EE + p]
        w[_EW + p] = w[_EW + p] / w[_EE + p]
    for i in range(n):
        t = times[i]
        for p in range(LANES):
            decay = _exp(-w[_RATE + p] * t)
            e, along = decay - w[_MEAN_E + p], decay * t * w[_RATE + p] - w[_MEAN_W + p]
            left, across = signal[i * LANES + p] - w[_SCALE + p] * e, along - w[_EW + p] * e
            w[_SQUARES + p] += left * left
            w[_WW + p] += across * across


@_inlined
def _molli_deviation(w: Floats, n: int) -> None:
    """Write the standard deviation of T1 to ``_EW``: equations of ``molli._standard_deviation``."""
    root, free = np.float32(np.sqrt(n)), np.float32(max(n - 3, 1))
    for p in range(LANES):
        apparent, b = _ONE / w[_RATE + p], -w[_SCALE + p]
        a = w[_MEAN + p] + b * w[_MEAN_E + p]
        # Of a mirrored fit both are negative, and their ratio is the same.
        ratio = b / a
        norm_e, norm_w = np.sqrt(w[_EE + p]), np.sqrt(w[_WW + p])
        z1 = -apparent * ratio / a / root
        z2 = (-apparent / a - root * w[_MEAN_E + p] * z1) / norm_e
        z3 = ((_ONE - ratio) * apparent / b - root * w[_MEAN_W + p] * z1 - w[_EW + p] * norm_e * z2) / norm_w
        w[_EW + p] = np.sqrt(w[_SQUARES + p] / free * (z1 * z1 + z2 * z2 + z3 * z3))


@_inlined
def _explained(w: Floats, p: int) -> Any:
    """Return R2 of one lane."""
    explained = _ONE - w[_SQUARES + p] / max(w[_VARIANCE + p], _SMALLEST_VARIANCE)
    return min(max(explained, _NONE), _ONE)


@_inlined
def _exp(x: Any) -> Any:
    """Return ``exp(x)``, x up to 80, with a relative error of 2e-7 (Cody and Waite 1980, chapter 6)."""
    x = max(x, np.float32(-87.0))
    n = np.floor(x * np.float32(1.44269504) + _HALF)
    f = x - n * np.float32(0.693359375) + n * np.float32(2.12194440e-4)
    p = np.float32(1.98756915e-4)
    p = p * f + np.float32(1.39819995e-3)
    p = p * f + np.float32(8.33345191e-3)
    p = p * f + np.float32(4.16657959e-2)
    p = p * f + np.float32(1.66666655e-1)
    p = p * f + np.float32(5.00000012e-1)
    p = p * f * f + f + _ONE
    power = np.int32((np.int32(n) + np.int32(127)) << np.int32(23))
    return p * power.view(np.float32)
