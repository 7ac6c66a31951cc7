"""Degraded synthetic maps, on which the network may fail: mild to useless."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Labels = NDArray[np.uint8]


class Degradation(StrEnum):
    """Kind of degradation of a map."""

    NONE = "none"
    NOISE = "noise"
    GHOST = "ghost"
    MOTION = "motion"
    CONTRAST = "contrast"
    BANDS = "bands"
    HOLES = "holes"
    CROPPED = "cropped"
    SMALL = "small"
    LARGE = "large"
    ABSENT = "absent"


KINDS: Final = tuple(each for each in Degradation if each is not Degradation.NONE)
_SMALLEST: Final = 0.35
_LARGEST: Final = 2.4
"""Scale of the smallest and largest heart: far beyond those of the training images."""


def degrade(
    image: Image, labels: Labels, kind: Degradation, severity: float, random: np.random.Generator
) -> tuple[Image, Labels]:
    """Return a degraded map and its true labels.

    Args:
        image: map in ms, ``(rows, columns)``, 0 where there is no value.
        labels: 0 background, 1 LV cavity, 2 myocardium, of the same shape, not all 0.
        kind: of degradation.
        severity: 0 (mild) to 1.
        random: source of randomness.
    """
    rows, columns = np.nonzero(labels)
    centre = np.array([columns.mean(), rows.mean()])
    changed: NDArray[np.floating[Any]] = image
    match kind:
        case Degradation.NOISE:
            changed = _noise(image, severity, random)
        case Degradation.GHOST:
            shift, axis = int(random.uniform(0.1, 0.5) * len(image)), int(random.integers(2))
            share = 0.1 + 0.5 * severity
            changed = (1.0 - share) * image + share * np.roll(image, shift, axis=axis)
        case Degradation.MOTION:
            changed = _motion(image, 2.0 + 20.0 * severity, random)
        case Degradation.CONTRAST:
            # From the usual contrast over none to the opposite one.
            top = float(np.percentile(image, 99.0))
            opposite = np.where(image > 0.0, top - np.minimum(image, top), 0.0)
            changed = (1.0 - severity) * image + severity * opposite
        case Degradation.BANDS:
            changed = image * (1.0 - (0.3 + 0.7 * severity) * _bands(image.shape, random))
        case Degradation.HOLES:
            field = _smooth(image.shape, 4.0, random)
            changed = np.where(field < np.quantile(field, 0.6 * severity), 0.0, image)
        case Degradation.CROPPED:
            kept = _half_plane(labels, centre, severity, random)
            return (image * kept).astype(np.float32), (labels * kept).astype(np.uint8)
        case Degradation.SMALL:
            return _scaled(image, labels, centre, 1.0 + severity * (_SMALLEST - 1.0))
        case Degradation.LARGE:
            return _scaled(image, labels, centre, 1.0 + severity * (_LARGEST - 1.0))
        case Degradation.ABSENT:
            return _without_heart(image, labels, random), np.zeros_like(labels)
        case Degradation.NONE:
            pass
    return changed.astype(np.float32), labels


def _noise(image: Image, severity: float, random: np.random.Generator) -> Image:
    """Add noise with a grain of some pixels; negative values become 0, no value."""
    body = float(np.median(image[image > 0.0])) if (image > 0.0).any() else 1.0
    grain = _smooth(image.shape, float(random.uniform(0.3, 1.5)), random)
    noisy: Image = np.maximum(image + (0.05 + 0.8 * severity) * body * grain, 0.0).astype(np.float32)
    return noisy


def _motion(image: Image, reach: float, random: np.random.Generator) -> Image:
    """Return the mean of copies along a line of ``reach`` pixels, like a fit without alignment."""
    angle = float(random.uniform(0.0, math.pi))
    copies = [
        _moved(image, step * reach * math.cos(angle), step * reach * math.sin(angle))
        for step in random.uniform(-0.5, 0.5, 4)
    ]
    mean: Image = np.mean(copies, axis=0).astype(np.float32)
    return mean


def _bands(shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.float64]:
    """Return dark bands of off-resonance: 1 on a band, 0 between two."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    angle, distance = random.uniform(0.0, math.pi), random.uniform(15.0, 50.0)
    across = (x * math.cos(angle) + y * math.sin(angle)) / distance + random.uniform()
    bent = across + 0.3 * _smooth(shape, 20.0, random)
    lines: NDArray[np.float64] = np.exp(-((np.sin(math.pi * bent) / 0.4) ** 2))
    return lines


def _half_plane(
    labels: Labels, centre: NDArray[np.float64], severity: float, random: np.random.Generator
) -> NDArray[np.bool_]:
    """Return the pixels left when a straight edge of the field of view cuts off a share of the heart."""
    y, x = np.mgrid[: labels.shape[0], : labels.shape[1]]
    angle = random.uniform(0.0, 2.0 * math.pi)
    along = (x - centre[0]) * math.cos(angle) + (y - centre[1]) * math.sin(angle)
    kept: NDArray[np.bool_] = along <= np.quantile(along[labels > 0], 1.0 - 0.9 * severity)
    return kept


def _scaled(image: Image, labels: Labels, centre: NDArray[np.float64], factor: float) -> tuple[Image, Labels]:
    """Scale map and labels by ``factor`` around the heart, which moves to the centre."""
    rows, columns = image.shape
    middle = np.array([(columns - 1) / 2, (rows - 1) / 2])
    matrix = np.array([[factor, 0.0, 0.0], [0.0, factor, 0.0]])
    matrix[:, 2] = middle - factor * centre
    large = cv2.warpAffine(image, matrix, (columns, rows), flags=cv2.INTER_LINEAR)
    truth = cv2.warpAffine(labels, matrix, (columns, rows), flags=cv2.INTER_NEAREST)
    return large.astype(np.float32), truth.astype(np.uint8)


def _without_heart(image: Image, labels: Labels, random: np.random.Generator) -> Image:
    """Return the larger part of the body beside the heart along one axis, mirrored to full size."""
    axis = int(random.integers(2))
    occupied = np.nonzero(labels.any(axis=1 - axis))[0]
    lines = image if axis == 0 else image.T
    before, after = lines[: occupied.min()], lines[occupied.max() + 1 :]
    rest = before if len(before) >= len(after) else after
    if not len(rest):
        return np.zeros_like(image)
    filled = np.pad(rest, ((0, len(lines) - len(rest)), (0, 0)), mode="symmetric")
    return np.ascontiguousarray(filled if axis == 0 else filled.T, dtype=np.float32)


def _moved(image: Image, x: float, y: float) -> Image:
    rows, columns = image.shape
    matrix = np.array([[1.0, 0.0, x], [0.0, 1.0, y]])
    moved = cv2.warpAffine(
        image, matrix, (columns, rows), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return moved.astype(np.float32)


def _smooth(shape: tuple[int, ...], sigma: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Return a random field of unit variance, smooth over ``sigma`` pixels."""
    field = cv2.GaussianBlur(random.standard_normal(shape), (0, 0), sigma)
    unit: NDArray[np.float64] = (field / max(float(field.std()), 1e-12)).astype(np.float64)
    return unit
