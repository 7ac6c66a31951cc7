"""Simulated readers of slices whose truth is known."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.evaluation.cases import LabelledSlice
from model.evaluation.outlines import smooth_outlines
from model.polygons import distances, inside

Labels = NDArray[np.uint8]
FloatArray = NDArray[np.float64]

_HARMONICS: Final = 4
_THINNEST: Final = 1.0
"""Least thickness of the drawn wall, pixels."""
_BEYOND: Final = 16
"""Pixels that a mask goes on beyond the edge of its image."""
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
    borders = find_borders(slice_.labels, slice_.spacing)
    drawn = {name: draw_labels(borders, reader, spread.random_mm, random) for name, reader in readers.items()}
    return replace(slice_, readers=drawn)


@dataclass(frozen=True, slots=True)
class Borders:
    """True borders of a slice, by the distance of each pixel from them.

    Attributes:
        shape: rows and columns of the slice.
        part: in which readers draw.
        angle: of each pixel of the part about the centre of the heart, rad.
        from_endo: distance of each pixel centre of the part from the border of the cavity, pixels, negative
            inside (:func:`signed_distance`).
        from_epi: likewise from the outer border of the wall.
        pixel_mm: size of a pixel.
    """

    shape: tuple[int, ...]
    part: tuple[slice, slice]
    angle: FloatArray
    from_endo: FloatArray
    from_epi: FloatArray
    pixel_mm: float


def find_borders(truth: Labels, spacing: tuple[float, float]) -> Borders:
    """Return the borders of true labels; without a heart readers draw nothing.

    Args:
        truth: 0 background, 1 LV cavity, 2 myocardium, ``(rows, columns)``.
        spacing: pixel size (x, y), mm.
    """
    size = float(np.mean(spacing))
    if not truth.any():
        nothing = np.empty((0, 0))
        return Borders(truth.shape, np.s_[:0, :0], nothing, nothing, nothing, size)
    ys, xs = np.nonzero(truth)
    margin = math.ceil(_FURTHEST_MM / size)
    part = np.s_[
        max(ys.min() - margin, 0) : ys.max() + margin + 1, max(xs.min() - margin, 0) : xs.max() + margin + 1
    ]
    y, x = np.indices(truth.shape)[:, *part]
    angle = np.arctan2(y - ys.mean(), x - xs.mean())
    endo, epi = signed_distance(truth[part] == 1), signed_distance(truth[part] > 0)
    return Borders(truth.shape, part, angle, endo, epi, size)


def draw_labels(borders: Borders, reader: Reader, random_mm: float, random: np.random.Generator) -> Labels:
    """Return the labels ``(rows, columns)`` of a reader.

    Args:
        borders: the true ones.
        reader: its bias.
        random_mm: standard deviation of the random offset along a contour, mm.
        random: source of randomness.
    """
    endo, epi = (
        (bias + random_mm * smooth_offset(borders.angle, random)) / borders.pixel_mm for bias in reader
    )
    from_epi = borders.from_epi - epi
    cavity = (borders.from_endo < endo) & (from_epi < -_THINNEST)
    drawn = np.zeros(borders.shape, np.uint8)
    drawn[borders.part] = np.where(cavity, 1, np.where(from_epi < 0.0, 2, 0))
    return drawn


def smooth_offset(angle: FloatArray, random: np.random.Generator) -> FloatArray:
    """Return a smooth periodic random function of the angle (rad), mean 0 and variance 1 over its draws."""
    constant = random.standard_normal()
    waves = random.standard_normal((_HARMONICS, 2))
    number = np.arange(1, _HARMONICS + 1)[:, None]
    at = number * angle.reshape(1, -1)
    total = constant + (waves[:, :1] * np.cos(at) + waves[:, 1:] * np.sin(at)).sum(axis=0)
    offset: FloatArray = (total / np.sqrt(1.0 + _HARMONICS)).reshape(angle.shape)
    return offset


def signed_distance(mask: NDArray[np.bool_]) -> FloatArray:
    """Return the distance of each pixel centre from the smooth outline of a mask, pixels, negative inside.

    The outline runs between pixel centres. The nearest pixel of the other side is never nearer than half a
    pixel, so that with distances from pixels an offset of less would move nothing. A mask goes on beyond the
    edge of the image. Infinite without a pixel inside.
    """
    if not mask.any():
        return np.full(mask.shape, np.inf)
    beyond = _BEYOND
    outlines = [each - beyond for each in smooth_outlines(np.pad(mask, beyond, mode="edge"))]
    y, x = np.indices(mask.shape)
    points = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64)
    shape = (mask.shape[0], mask.shape[1])
    within = np.logical_or.reduce([inside(each, shape) for each in outlines])
    to_border: FloatArray = np.min([distances(points, each) for each in outlines], axis=0).reshape(shape)
    return np.where(within, -to_border, to_border)
