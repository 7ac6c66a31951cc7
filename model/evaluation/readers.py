"""Simulated readers of slices whose truth is known."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.evaluation.cases import LabelledSlice

Labels = NDArray[np.uint8]

_HARMONICS: Final = 4
_THINNEST: Final = 1.0
"""Least thickness of the drawn wall, pixels."""
_FURTHEST_MM: Final = 15.0
"""Margin around the true heart within which a reader draws."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Differences between simulated readers; standard deviations, mm.

    Attributes:
        bias_mm: of a reader's own offset of each contour, the same on all slices.
        random_mm: of the offset along a contour, a smooth function of the angle, new for each slice.
    """

    bias_mm: float = 0.4
    random_mm: float = 0.6

    def __str__(self) -> str:
        return (
            f"smooth random radial offsets of {self.random_mm:g} mm (standard deviation along each contour) "
            f"and a bias of each reader of {self.bias_mm:g} mm (between readers)"
        )


Reader = tuple[float, float]
"""A reader's own offsets of the endocardial and the epicardial contour, mm outwards."""


def make_readers(count: int, spread: Spread, random: np.random.Generator) -> dict[str, Reader]:
    """Return readers by name, with biases drawn from the spread."""
    offsets = spread.bias_mm * random.standard_normal((count, 2))
    return {
        f"simulated {number}": (float(endo), float(epi))
        for number, (endo, epi) in enumerate(offsets, start=1)
    }


def read(
    slice_: LabelledSlice, readers: dict[str, Reader], spread: Spread, random: np.random.Generator
) -> LabelledSlice:
    """Return a slice with the labels of simulated readers in place of its truth."""
    drawn = {
        name: draw(slice_.labels, slice_.spacing, reader, spread.random_mm, random)
        for name, reader in readers.items()
    }
    return replace(slice_, readers=drawn)


def draw(
    truth: Labels,
    spacing: tuple[float, float],
    reader: Reader,
    random_mm: float,
    random: np.random.Generator,
) -> Labels:
    """Return the labels ``(rows, columns)`` of a reader.

    Args:
        truth: true labels; 0 background, 1 LV cavity, 2 myocardium.
        spacing: pixel size (x, y), mm.
        reader: its bias.
        random_mm: standard deviation of the random offset along a contour, mm.
        random: source of randomness.
    """
    if not truth.any():
        return truth
    size = float(np.mean(spacing))
    ys, xs = np.nonzero(truth)
    margin = math.ceil(_FURTHEST_MM / size)
    part = np.s_[
        max(ys.min() - margin, 0) : ys.max() + margin + 1, max(xs.min() - margin, 0) : xs.max() + margin + 1
    ]
    y, x = np.indices(truth.shape)[:, *part]
    angle = np.arctan2(y - ys.mean(), x - xs.mean())
    endo, epi = ((bias + random_mm * smooth_offset(angle, random)) / size for bias in reader)
    from_epi = signed_distance(truth[part] > 0) - epi
    heart = from_epi < 0.0
    cavity = (signed_distance(truth[part] == 1) < endo) & (from_epi < -_THINNEST)
    drawn = np.zeros(truth.shape, np.uint8)
    drawn[part] = np.where(cavity, 1, np.where(heart, 2, 0))
    return drawn


def smooth_offset(angle: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """Return a smooth periodic random function of the angle (rad), mean 0 and variance 1 over its draws."""
    constant = random.standard_normal()
    waves = random.standard_normal((_HARMONICS, 2))
    number = np.arange(1, _HARMONICS + 1)[:, None]
    at = number * angle.reshape(1, -1)
    total = constant + (waves[:, :1] * np.cos(at) + waves[:, 1:] * np.sin(at)).sum(axis=0)
    offset: NDArray[np.float64] = (total / np.sqrt(1.0 + _HARMONICS)).reshape(angle.shape)
    return offset


def signed_distance(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the distance of each pixel centre from the border of a mask, pixels, negative inside."""
    inside = mask.astype(np.uint8)
    # Distances to the nearest pixel of the other kind; the border lies half a pixel before it.
    within = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    without = cv2.distanceTransform(1 - inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    distance: NDArray[np.float64] = np.where(mask, 0.5 - within, without - 0.5).astype(np.float64)
    return distance
