"""Slices on which the network may fail: synthetic maps spoilt on purpose, mildly to beyond use."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]
Labels = NDArray[np.uint8]


class Failure(StrEnum):
    """What is done to a map."""

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


SPOILING: Final = tuple(each for each in Failure if each is not Failure.NONE)
_SMALLEST: Final = 0.35
_LARGEST: Final = 2.4
"""Size of the smallest and largest heart in units of its own: far beyond any that the network learns from."""


def spoil(
    picture: Picture, labels: Labels, failure: Failure, severity: float, random: np.random.Generator
) -> tuple[Picture, Labels]:
    """A map and its true labels after something went wrong.

    Args:
        picture: map in ms, ``(rows, columns)``, 0 where there is no value.
        labels: 0 background, 1 LV cavity, 2 myocardium, of the same shape; some must be there.
        failure: what goes wrong.
        severity: 0 (hardly) to 1.
        random: source of randomness.

    Raises:
        ValueError: no heart in the labels.
    """
    rows, columns = np.nonzero(labels)
    if not len(rows):
        raise ValueError("a slice without a heart cannot be spoilt")
    centre = np.array([columns.mean(), rows.mean()])
    changed: NDArray[np.floating[Any]] = picture
    match failure:
        case Failure.NOISE:
            changed = _noise(picture, severity, random)
        case Failure.GHOST:
            shift, axis = int(random.uniform(0.1, 0.5) * len(picture)), int(random.integers(2))
            share = 0.1 + 0.5 * severity
            changed = (1.0 - share) * picture + share * np.roll(picture, shift, axis=axis)
        case Failure.MOTION:
            changed = _motion(picture, 2.0 + 20.0 * severity, random)
        case Failure.CONTRAST:
            # From the usual contrast over none at all to the opposite one.
            top = float(np.percentile(picture, 99.0))
            opposite = np.where(picture > 0.0, top - np.minimum(picture, top), 0.0)
            changed = (1.0 - severity) * picture + severity * opposite
        case Failure.BANDS:
            changed = picture * (1.0 - (0.3 + 0.7 * severity) * _bands(picture.shape, random))
        case Failure.HOLES:
            field = _smooth(picture.shape, 4.0, random)
            changed = np.where(field < np.quantile(field, 0.6 * severity), 0.0, picture)
        case Failure.CROPPED:
            kept = _half_plane(labels, centre, severity, random)
            return (picture * kept).astype(np.float32), (labels * kept).astype(np.uint8)
        case Failure.SMALL:
            return _scaled(picture, labels, centre, 1.0 + severity * (_SMALLEST - 1.0))
        case Failure.LARGE:
            return _scaled(picture, labels, centre, 1.0 + severity * (_LARGEST - 1.0))
        case Failure.ABSENT:
            return _without_heart(picture, labels, random), np.zeros_like(labels)
        case Failure.NONE:
            pass
    return changed.astype(np.float32), labels


def _noise(picture: Picture, severity: float, random: np.random.Generator) -> Picture:
    """Grains of some pixels' size; what becomes negative has no value."""
    body = float(np.median(picture[picture > 0.0])) if (picture > 0.0).any() else 1.0
    grain = _smooth(picture.shape, float(random.uniform(0.3, 1.5)), random)
    noisy: Picture = np.maximum(picture + (0.05 + 0.8 * severity) * body * grain, 0.0).astype(np.float32)
    return noisy


def _motion(picture: Picture, reach: float, random: np.random.Generator) -> Picture:
    """The mean of copies along a line of ``reach`` pixels: a fit of images that do not lie on each other."""
    angle = float(random.uniform(0.0, math.pi))
    copies = [
        _moved(picture, step * reach * math.cos(angle), step * reach * math.sin(angle))
        for step in random.uniform(-0.5, 0.5, 4)
    ]
    mean: Picture = np.mean(copies, axis=0).astype(np.float32)
    return mean


def _bands(shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.float64]:
    """Dark lines of off-resonance: 1 on a line, 0 between two."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    angle, distance = random.uniform(0.0, math.pi), random.uniform(15.0, 50.0)
    across = (x * math.cos(angle) + y * math.sin(angle)) / distance + random.uniform()
    bent = across + 0.3 * _smooth(shape, 20.0, random)
    lines: NDArray[np.float64] = np.exp(-((np.sin(math.pi * bent) / 0.4) ** 2))
    return lines


def _half_plane(
    labels: Labels, centre: NDArray[np.float64], severity: float, random: np.random.Generator
) -> NDArray[np.bool_]:
    """What is left when a straight edge of the field of view cuts off a share of the heart."""
    y, x = np.mgrid[: labels.shape[0], : labels.shape[1]]
    angle = random.uniform(0.0, 2.0 * math.pi)
    along = (x - centre[0]) * math.cos(angle) + (y - centre[1]) * math.sin(angle)
    kept: NDArray[np.bool_] = along <= np.quantile(along[labels > 0], 1.0 - 0.9 * severity)
    return kept


def _scaled(
    picture: Picture, labels: Labels, centre: NDArray[np.float64], factor: float
) -> tuple[Picture, Labels]:
    """Everything ``factor`` times as large around the heart, which moves to the middle."""
    rows, columns = picture.shape
    middle = np.array([(columns - 1) / 2, (rows - 1) / 2])
    matrix = np.array([[factor, 0.0, 0.0], [0.0, factor, 0.0]])
    matrix[:, 2] = middle - factor * centre
    large = cv2.warpAffine(picture, matrix, (columns, rows), flags=cv2.INTER_LINEAR)
    truth = cv2.warpAffine(labels, matrix, (columns, rows), flags=cv2.INTER_NEAREST)
    return large.astype(np.float32), truth.astype(np.uint8)


def _without_heart(picture: Picture, labels: Labels, random: np.random.Generator) -> Picture:
    """Another part of the body: the larger rest beside the heart along one axis, mirrored to full size."""
    axis = int(random.integers(2))
    occupied = np.nonzero(labels.any(axis=1 - axis))[0]
    lines = picture if axis == 0 else picture.T
    before, after = lines[: occupied.min()], lines[occupied.max() + 1 :]
    rest = before if len(before) >= len(after) else after
    if not len(rest):
        return np.zeros_like(picture)
    filled = np.pad(rest, ((0, len(lines) - len(rest)), (0, 0)), mode="symmetric")
    return np.ascontiguousarray(filled if axis == 0 else filled.T, dtype=np.float32)


def _moved(picture: Picture, x: float, y: float) -> Picture:
    rows, columns = picture.shape
    matrix = np.array([[1.0, 0.0, x], [0.0, 1.0, y]])
    moved = cv2.warpAffine(
        picture, matrix, (columns, rows), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return moved.astype(np.float32)


def _smooth(shape: tuple[int, ...], sigma: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Random field of unit variance whose neighbours within ``sigma`` pixels are alike."""
    field = cv2.GaussianBlur(random.standard_normal(shape), (0, 0), sigma)
    unit: NDArray[np.float64] = (field / max(float(field.std()), 1e-12)).astype(np.float64)
    return unit
