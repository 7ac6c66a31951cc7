"""The published pipeline done plainly: what a laboratory would write first; ours is measured against it.

Eager torch, fits by ``scipy.optimize.curve_fit`` pixel by pixel, contours by OpenCV and scipy on the
network's own grid. It shares no code with the product but the network's weights and the frame.
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


def t1_pixel(signal: Array, times_ms: Array) -> float:
    """T1 of one pixel, ms; NaN where no polarity can be fitted.

    Polarity as is usual: the images up to each of the two around the smallest are tried negative.
    """

    def model(t: Array, a: float, b: float, star: float) -> Array:
        values: Array = a - b * np.exp(-t / star)
        return values

    order = np.argsort(times_ms)
    t, m = times_ms[order], signal[order]
    smallest = int(np.argmin(m))
    best, found = np.inf, float("nan")
    for negative in (smallest, smallest + 1):
        y = np.where(np.arange(len(t)) < negative, -m, m)
        start = (y[-1], y[-1] - y[0], 1000.0)
        try:
            (a, b, star), _ = curve_fit(model, t, y, p0=start, maxfev=2000)
        except RuntimeError:
            continue
        residual = float(((model(t, a, b, star) - y) ** 2).sum())
        if residual < best and a != 0:
            best, found = residual, float(star * (b / a - 1.0))
    return found


def t2_pixel(signal: Array, times_ms: Array) -> float:
    """T2 of one pixel, ms; NaN where it cannot be fitted."""

    def model(t: Array, c: float, t2: float) -> Array:
        values: Array = c * np.exp(-t / t2)
        return values

    try:
        (_, t2), _ = curve_fit(model, times_ms, signal, p0=(signal[0], 50.0), maxfev=2000)
    except RuntimeError:
        return float("nan")
    return float(t2)


def fit_map(images: NDArray[np.float32], times_ms: Array, *, t1: bool) -> Array:
    """A map ``(rows, columns)`` of images ``(n, rows, columns)``, pixel by pixel."""
    _, rows, columns = images.shape
    fit = t1_pixel if t1 else t2_pixel
    values = np.empty((rows, columns))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        for row in range(rows):
            for column in range(columns):
                values[row, column] = fit(images[:, row, column].astype(np.float64), times_ms)
    return np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)


def segment(network: torch.nn.Module, picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Classes ``(224, 224)`` of a prepared picture, by eager torch."""
    with torch.no_grad():
        scores = network(torch.from_numpy(picture)[None, None])
        classes: NDArray[np.uint8] = scores.argmax(dim=1)[0].numpy().astype(np.uint8)
    return classes


def contours(classes: NDArray[np.uint8]) -> list[Any]:
    """Endocardial and epicardial contour, None where there is none."""
    found: list[Any] = []
    for mask in (classes == 1, classes > 0):
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_TC89_L1)
        outlines = [each for each in outlines if len(each) > 3]
        if not outlines:
            found.append(None)
            continue
        points = max(outlines, key=cv2.contourArea)[:, 0].astype(float)
        closed = np.vstack([points, points[:1]])
        curve, _ = splprep(closed.T, s=0.0, per=1, quiet=2)
        found.append(np.stack(splev(np.linspace(0, 1, 96), curve), axis=1))
    return found
