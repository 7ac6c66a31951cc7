"""Endocardial and epicardial contours from class probabilities.

The steps are those of Kalapos et al. 2023 (Front Cardiovasc Med 10:1147581, section 2.4): dominant points of
the outline of each mask, the elongated ones dropped, the largest kept, a C shape closed by its convex hull,
a closed B-spline through the points. Each is a function here and can be left out by :class:`ContourSteps`.

Points are ``(x, y)`` in pixels of the probabilities; whole numbers are pixel centres.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import splev, splprep

from inline.data.flags import Flag
from inline.data.results import Contours
from model.polygons import area, inside, outward, perimeter, resample, ring_labels

FloatArray = NDArray[np.float64]
Mask = NDArray[np.uint8]

LONGEST_RATIO: Final = 3.0
"""Largest ratio of length to width of a ventricle's outline (Kalapos: "not longer than 1:3")."""
C_SHAPE: Final = 0.85
"""Share of its convex hull's area below which an outline counts as a C."""
POINTS: Final = 96
_FINER: Final = 8
_SMOOTH: Final = 0.8
"""Standard deviation of the smoothing before the finer grid, pixels: removes the steps of a hard mask."""
_SMOOTH_OF_HEART: Final = 0.05
"""Upper limit of the smoothing, in diameters of the disc with the area of all parts; applies below 24 mm.

Without it contours of the true labels of hearts below 15 mm have a Dice coefficient of 0.93 with these
labels, with it 0.999.
"""
_MARGIN: Final = 2
KNOT_SPACING: Final = 2.0
"""Length of the outline between two knots of the spline, pixels: about what the network itself resolves."""
_FEWEST_KNOTS: Final = 6
_SAMPLES_PER_KNOT: Final = 4
_SMALL_CAVITY: Final = 12.0
_SMALL_HEART: Final = 79.0
"""Areas in pixels of the frame (1.5 mm): discs of 6 and 15 mm; a normal apical slice has some 100 and 400.

Below, contours are flagged: blood and fat share the pixels of the wall, so that even with true contours T2 of
thin walls is 10 ms too long in the median (``myostream evaluate --synthetic 100 --map t2 --apices``).
"""
_SMALLEST_CAVITY: Final = 2.2
_SMALLEST_HEART: Final = 22.0
"""Areas in pixels of the frame below which there are no contours: discs of 2.5 and 8 mm."""
_THINNEST_WALL: Final = 0.04
"""Area of the myocardium in units of the area inside the epicardial contour."""
_NESTED: Final = 0.97


@dataclass(frozen=True, slots=True)
class ContourSteps:
    """Selection of the steps of the published method; all by default, fewer for an ablation."""

    dominant_points: bool = True
    not_elongated: bool = True
    largest: bool = True
    close_c_shape: bool = True
    spline: bool = True


@dataclass(frozen=True, slots=True)
class ContourSearch:
    """Contours, or None with the reasons; with contours, ``too-small`` of a small cavity or heart."""

    contours: Contours | None
    flags: tuple[Flag, ...] = ()


def find_contours(probabilities: NDArray[np.float32], steps: ContourSteps | None = None) -> ContourSearch:
    """Return the contours of one slice.

    The endocardial contour surrounds the LV cavity, the epicardial one cavity and myocardium together.

    Args:
        probabilities: background, LV cavity and myocardium, ``(3, rows, columns)``.
        steps: which steps to take.
    """
    steps = steps or ContourSteps()
    masks, corner = finer_masks(probabilities)
    if masks is None:
        return ContourSearch(None, (Flag.NO_CAVITY, Flag.NO_MYOCARDIUM))
    found: list[FloatArray] = []
    for mask, none in zip(masks, (Flag.NO_CAVITY, Flag.NO_MYOCARDIUM), strict=True):
        outlines = outlines_left(mask, corner, steps)
        if not outlines:
            traced = trace_outlines(mask, dominant_points=steps.dominant_points)
            return ContourSearch(None, (Flag.ELONGATED if traced else none,))
        found.append(outlines[0])
    contours = Contours(endo=found[0], epi=found[1])
    if flags := _unacceptable(contours):
        return ContourSearch(None, flags)
    small = area(contours.endo) < _SMALL_CAVITY or area(contours.epi) < _SMALL_HEART
    return ContourSearch(contours, (Flag.TOO_SMALL,) if small else ())


def outlines_left(mask: Mask, corner: FloatArray, steps: ContourSteps) -> list[FloatArray]:
    """Return every outline that the steps leave of a mask of :func:`finer_masks`, in pixels of the image.

    With the step ``largest`` this is one, or none.
    """
    outlines = trace_outlines(mask, dominant_points=steps.dominant_points)
    if steps.not_elongated:
        outlines = drop_elongated(outlines)
    if steps.largest and outlines:
        outlines = [max(outlines, key=area)]
    if steps.close_c_shape:
        outlines = [close_c_shape(outline) for outline in outlines]
    if steps.spline:
        outlines = [spline(outline) for outline in outlines]
    # Outlines run through the centres of the outermost pixels: half a pixel inside the border.
    return [(outward(outline, 0.5) + 0.5) / _FINER - 0.5 + corner for outline in outlines]


def finer_masks(probabilities: NDArray[np.float32]) -> tuple[tuple[Mask, Mask] | None, FloatArray]:
    """Return the masks of the cavity, and of cavity with wall, on an eight times finer grid, and its corner.

    Borders between classes then lie where the probabilities cross, not on the network's pixels: on discs of
    6 to 25 pixels the area is right to 1 %, where dominant points of the network's own grid enclose 4 % too
    much. Where there is no heart at all: None.
    """
    heart = probabilities[0] < 0.5
    rows, columns = heart.shape
    ys, xs = np.flatnonzero(heart.any(axis=1)), np.flatnonzero(heart.any(axis=0))
    if not len(ys):
        return None, np.zeros(2)
    top, bottom = max(ys[0] - _MARGIN, 0), min(ys[-1] + _MARGIN + 1, rows)
    left, right = max(xs[0] - _MARGIN, 0), min(xs[-1] + _MARGIN + 1, columns)
    part = np.ascontiguousarray(probabilities[:, top:bottom, left:right].transpose(1, 2, 0))
    diameter = math.sqrt(4.0 / math.pi * np.count_nonzero(heart))
    smooth = cv2.GaussianBlur(part, (0, 0), min(_SMOOTH, _SMOOTH_OF_HEART * diameter))
    size = ((right - left) * _FINER, (bottom - top) * _FINER)
    winner = cv2.resize(smooth, size, interpolation=cv2.INTER_LINEAR).argmax(axis=2)
    masks = (winner == 1).astype(np.uint8), (winner > 0).astype(np.uint8)
    return masks, np.array([left, top], dtype=np.float64)


def trace_outlines(mask: Mask, *, dominant_points: bool) -> list[FloatArray]:
    """Return the outer outline ``(n, 2)`` of every connected part of a mask that encloses an area.

    Args:
        mask: ``(rows, columns)``, 0 or 1; holes count as filled.
        dominant_points: keep only the dominant points (Teh and Chin 1989, IEEE PAMI 11:859).
    """
    method = cv2.CHAIN_APPROX_TC89_L1 if dominant_points else cv2.CHAIN_APPROX_NONE
    outlines = []
    # OpenCV ignores the border of the image; padding with zeros keeps it.
    padded = np.pad(mask, 1)
    for found in cv2.findContours(padded, cv2.RETR_EXTERNAL, method)[0]:
        outline = found.reshape(-1, 2).astype(np.float64) - 1.0
        if len(outline) >= 3 and area(outline) > 0:
            outlines.append(outline)
    return outlines


def drop_elongated(outlines: list[FloatArray]) -> list[FloatArray]:
    """Return the outlines whose smallest enclosing rectangle is at most three times as long as wide."""

    def elongation(outline: FloatArray) -> float:
        sides = cv2.minAreaRect(outline.astype(np.float32))[1]
        return max(sides) / max(min(sides), 1e-6)

    return [outline for outline in outlines if elongation(outline) <= LONGEST_RATIO]


def close_c_shape(outline: FloatArray) -> FloatArray:
    """Return the convex hull of an outline that fills too little of it; else the outline itself."""
    hull: FloatArray = cv2.convexHull(outline.astype(np.float32)).reshape(-1, 2).astype(np.float64)
    return hull if area(outline) < C_SHAPE * area(hull) else outline


def spline(outline: FloatArray) -> FloatArray:
    """Return :data:`POINTS` points at equal distances of the closed cubic B-spline closest to an outline.

    Single pixels decide which points of an outline are dominant, but not the line through them. The spline is
    therefore fitted to even points of that line, with even knots: it depends on them linearly and is stable
    under small changes of the probabilities. Through the dominant points alone, or with knots chosen by a
    tolerance, it varies by a quarter of a pixel.

    Args:
        outline: closed polygon ``(n, 2)``, in pixels of the finer grid.
    """
    length = perimeter(outline)
    if length == 0.0:
        return outline
    knots = max(round(length / (KNOT_SPACING * _FINER)), _FEWEST_KNOTS)
    at = np.linspace(0.0, 1.0, knots * _SAMPLES_PER_KNOT + 1)
    even = resample(outline, len(at) - 1)
    # Three more knots at either end, as a periodic cubic spline has them.
    curve, _ = splprep(
        np.vstack([even, even[:1]]).T, u=at, task=-1, t=np.arange(-3, knots + 4) / knots, per=1, quiet=2
    )
    fine = np.stack(splev(np.linspace(0.0, 1.0, 4 * POINTS, endpoint=False), curve), axis=1)
    return resample(fine, POINTS)


def rasterise(contours: Contours, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return labels ``(rows, columns)``: 1 inside the endocardial contour, 2 from there to the epicardial."""
    return ring_labels(contours.endo, contours.epi, shape)


def _unacceptable(contours: Contours) -> tuple[Flag, ...]:
    """Return the reasons why these contours cannot be those of a left ventricle."""
    cavity, heart = area(contours.endo), area(contours.epi)
    if cavity < _SMALLEST_CAVITY or heart < _SMALLEST_HEART:
        return (Flag.TOO_SMALL,)
    if heart - cavity < _THINNEST_WALL * heart:
        return (Flag.NO_MYOCARDIUM,)
    x, y = np.ceil(np.vstack([contours.endo, contours.epi]).max(axis=0)).astype(int) + 2
    endo, epi = inside(contours.endo, (y, x)), inside(contours.epi, (y, x))
    if (endo & epi).sum() < _NESTED * endo.sum():
        return (Flag.NOT_NESTED,)
    return ()
