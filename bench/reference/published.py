"""The published pipeline by common libraries, pixel by pixel.

Eager torch, fits by ``scipy.optimize.curve_fit``, contours by OpenCV and scipy on the network's own grid.
Only the network's weights are the product's.
"""

from __future__ import annotations

import warnings
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import splev, splprep
from scipy.optimize import OptimizeWarning, curve_fit

Array = NDArray[np.float64]


def molli_model(t: Array, a: float, b: float, star: float) -> Any:
    """Signal A - B exp(-t / T1*) at times ``t``, ms."""
    return a - b * np.exp(-t / star)


def t2_model(t: Array, c: float, t2: float) -> Any:
    """Signal C exp(-t / T2) at times ``t``, ms."""
    return c * np.exp(-t / t2)


def t1_pixel(signal: Array, times_ms: Array) -> float:
    """Return T1 of one pixel, ms; NaN where no polarity can be fitted.

    Two polarities are tried: negative before the smallest image, and up to and including it.
    """
    order = np.argsort(times_ms)
    t, m = times_ms[order], signal[order]
    smallest = int(np.argmin(m))
    best, t1 = np.inf, float("nan")
    for negative in (smallest, smallest + 1):
        y = np.where(np.arange(len(t)) < negative, -m, m)
        try:
            (a, b, star), _ = curve_fit(molli_model, t, y, p0=(y[-1], y[-1] - y[0], 1000.0), maxfev=2000)
        except RuntimeError:
            continue
        residual = float(((molli_model(t, a, b, star) - y) ** 2).sum())
        if residual < best and a != 0:
            best, t1 = residual, float(star * (b / a - 1.0))
    return t1


def t2_pixel(signal: Array, times_ms: Array) -> float:
    """Return T2 of one pixel, ms; NaN where it cannot be fitted."""
    try:
        (_, t2), _ = curve_fit(t2_model, times_ms, signal, p0=(signal[0], 50.0), maxfev=2000)
    except RuntimeError:
        return float("nan")
    return float(t2)


def fit_map(images: NDArray[np.float32], times_ms: Array, *, t1: bool) -> Array:
    """Return the map ``(rows, columns)`` of images ``(n, rows, columns)``, ms; 0 where the fit fails."""
    pixel = t1_pixel if t1 else t2_pixel
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        values = np.apply_along_axis(pixel, 0, images.astype(np.float64), times_ms)
    finite: Array = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    return finite


def segment(network: torch.nn.Module, image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return classes ``(224, 224)`` of a network input, by eager torch."""
    with torch.no_grad():
        scores = network(torch.from_numpy(image)[None, None])
        classes: NDArray[np.uint8] = scores.argmax(dim=1)[0].numpy().astype(np.uint8)
    return classes


def contours(classes: NDArray[np.uint8]) -> list[Any]:
    """Return the endocardial and the epicardial contour, None where there is none."""
    found: list[Any] = []
    for mask in (classes == 1, classes > 0):
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_TC89_L1)
        outlines = [each for each in outlines if len(each) > 3]
        if not outlines:
            found.append(None)
            continue
        points = max(outlines, key=cv2.contourArea)[:, 0].astype(float)
        curve, _ = splprep(np.vstack([points, points[:1]]).T, s=0.0, per=1, quiet=2)
        found.append(np.stack(splev(np.linspace(0, 1, 96), curve), axis=1))
    return found
