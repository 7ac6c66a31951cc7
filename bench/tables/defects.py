"""Defects of masks that the contour search removes.

Each function takes labels ``(rows, columns)`` (0 background, 1 LV cavity, 2 myocardium) and returns others.
Lengths are pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.uint8]
Defect = Callable[[Labels, np.random.Generator], Labels]


def specks(labels: Labels, random: np.random.Generator) -> Labels:
    """Add one to three discs beside the heart, radius 2 to 4."""
    centre, reach = _heart(labels)
    for _ in range(random.integers(1, 4)):
        at = centre + random.uniform(reach + 8.0, reach + 30.0) * _direction(random)
        disc = np.zeros_like(labels)
        cv2.circle(disc, _rounded(at), int(random.integers(2, 5)), 1, -1)
        labels = _add(labels, disc, int(random.integers(1, 3)))
    return labels


def streak(labels: Labels, random: np.random.Generator) -> Labels:
    """Add a band beside the heart, 16 to 40 long and 3 wide."""
    centre, reach = _heart(labels)
    towards = _direction(random)
    middle = centre + random.uniform(reach + 8.0, reach + 20.0) * towards
    half = random.uniform(8.0, 20.0) * np.array([-towards[1], towards[0]])
    band = np.zeros_like(labels)
    cv2.line(band, _rounded(middle - half), _rounded(middle + half), 1, 3)
    return _add(labels, band, int(random.integers(1, 3)))


def spur(labels: Labels, random: np.random.Generator) -> Labels:
    """Add a band of myocardium that protrudes by up to 8, 3 wide."""
    centre, reach = _heart(labels)
    band = np.zeros_like(labels)
    tip = centre + random.uniform(reach + 3.0, reach + 8.0) * _direction(random)
    cv2.line(band, _rounded(centre), _rounded(tip), 1, 3)
    return _add(labels, band, 2)


def gap(labels: Labels, random: np.random.Generator) -> Labels:
    """Remove a sector of 10 to 40 degrees of the wall."""
    return _remove(labels, random, 10.0, 40.0, values=(2,))


def c_shape(labels: Labels, random: np.random.Generator) -> Labels:
    """Remove a sector of 75 to 130 degrees of cavity and wall."""
    return _remove(labels, random, 75.0, 130.0, values=(1, 2))


DEFECTS: Final[tuple[Defect, ...]] = (specks, streak, spur, gap, c_shape)


def with_defects(labels: Labels, random: np.random.Generator) -> Labels:
    """Return the labels with at least one defect, each with probability one half."""
    chosen = random.random(len(DEFECTS)) < 0.5
    chosen[random.integers(len(DEFECTS))] = True
    # Removals first: parts beside the heart must not be cut with it.
    for defect in (each for each, there in zip(DEFECTS[::-1], chosen[::-1], strict=True) if there):
        labels = defect(labels, random)
    return labels


def _heart(labels: Labels) -> tuple[NDArray[np.float64], float]:
    """Return centre (x, y) and largest radius."""
    ys, xs = np.nonzero(labels)
    centre = np.array([xs.mean(), ys.mean()])
    return centre, float(np.hypot(xs - centre[0], ys - centre[1]).max())


def _direction(random: np.random.Generator) -> NDArray[np.float64]:
    angle = random.uniform(0.0, 2.0 * np.pi)
    return np.array([np.cos(angle), np.sin(angle)])


def _rounded(point: NDArray[np.float64]) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def _add(labels: Labels, shape: Labels, value: int) -> Labels:
    return np.where((shape > 0) & (labels == 0), np.uint8(value), labels)


def _remove(
    labels: Labels, random: np.random.Generator, low: float, high: float, values: tuple[int, ...]
) -> Labels:
    """Remove a sector of ``low`` to ``high`` degrees from some classes."""
    centre, _ = _heart(labels)
    y, x = np.indices(labels.shape)
    middle, width = random.uniform(-np.pi, np.pi), np.radians(random.uniform(low, high))
    apart = (np.arctan2(y - centre[1], x - centre[0]) - middle + np.pi) % (2.0 * np.pi) - np.pi
    cut = (np.abs(apart) < width / 2.0) & np.isin(labels, values)
    return np.where(cut, np.uint8(0), labels)
