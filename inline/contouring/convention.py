"""Contour convention: contours as readers of maps draw them, from the physical borders of the wall.

The network returns the borders of the wall. Readers draw further inside the wall, because the pixels at the
borders also contain blood or fat. Their distance from the borders differs from centre to centre. The
convention is two distances in mm, applied as parallel curves. It decides what is drawn and counted as
myocardium; the inset (:mod:`inline.contouring.regions`) decides which part of that gives the values.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inline.contouring.contours import rasterise
from inline.contouring.segment import Segmentation
from inline.data.flags import Flag
from inline.data.results import ContourOffsets, Contours
from model.polygons import area, contains, distances, parallel, perimeter

KEPT: Final = 1 / 3
"""Share of the wall that remains between the contours at its thinnest place.

The default offsets are applied in full to walls of at least 4.5 mm; at least one pixel of 1.5 mm remains.
"""
_LITTLE: Final = 0.5
"""Share of an offset below which a flag states that it was not applied."""
_SHOWN: Final = 0.01
"""Change of an offset, mm, from which a note states it."""


class Drawn(NamedTuple):
    """Labels and contours of one slice by a convention.

    Attributes:
        labels: uint8 ``(rows, columns)``: 0 background, 1 LV cavity, 2 myocardium; all 0 without contours.
        contours: in pixels of the image; None where there are none.
        offsets: as applied; None without contours.
        note: one sentence where the offsets are smaller than those of the convention; else empty.
        flags: ``thin-wall`` where less than half of the convention was applied.
    """

    labels: NDArray[np.uint8]
    contours: Contours | None
    offsets: ContourOffsets | None
    note: str = ""
    flags: tuple[Flag, ...] = ()


def draw(found: Segmentation, spacing: tuple[float, float], offsets: ContourOffsets) -> Drawn:
    """Return labels and contours of one slice by a convention.

    Args:
        found: labels and physical borders, in pixels of the image.
        spacing: pixel size (x, y), mm.
        offsets: the convention; 0 and 0 leave labels and contours as they are.
    """
    if found.contours is None:
        return Drawn(found.labels, None, None)
    if offsets == (0.0, 0.0):
        return Drawn(found.labels, found.contours, offsets)
    contours, applied = move(found.contours, spacing, offsets)
    rows, columns = found.labels.shape
    note = ""
    if any(abs(wanted - made) >= _SHOWN for wanted, made in zip(offsets, applied, strict=True)):
        note = (
            f"The contours were drawn {applied.endo_mm:.2f} and {applied.epi_mm:.2f} mm (endo, epi) into the "
            f"wall in place of {offsets.endo_mm:g} and {offsets.epi_mm:g}: the cavity or the wall "
            "is too small for them."
        )
    little = any(abs(made) < _LITTLE * abs(wanted) for wanted, made in zip(offsets, applied, strict=True))
    flags = (Flag.THIN_WALL,) if little else ()
    return Drawn(rasterise(contours, (rows, columns)), contours, applied, note, flags)


def move(
    borders: Contours, spacing: tuple[float, float], offsets: ContourOffsets
) -> tuple[Contours, ContourOffsets]:
    """Return the contours at two distances from the physical borders, and the distances as applied.

    Both are scaled down together where the wall is too thin for them (:func:`within_wall`), so that the ring
    is never empty and the contours never cross. Parallel curves lose the narrowest tips and inlets of a
    border; where they cross for that, or the borders do, no contour moves. Each keeps its number of points.

    Args:
        borders: in pixels.
        spacing: pixel size (x, y), mm.
        offsets: positive into the wall.
    """
    in_mm = borders.in_mm(spacing)
    applied = within_wall(in_mm, offsets)
    # An offset of 0 leaves a contour bit-exact.
    endo = parallel(in_mm.endo, applied.endo_mm) / spacing if applied.endo_mm else borders.endo
    epi = parallel(in_mm.epi, -applied.epi_mm) / spacing if applied.epi_mm else borders.epi
    moved = Contours(endo, epi)
    if not _nested(moved):
        return borders, ContourOffsets(0.0, 0.0)
    return moved, applied


def within_wall(borders: Contours, offsets: ContourOffsets) -> ContourOffsets:
    """Return the offsets, scaled down together by one factor where wall or cavity is too small for them.

    At the thinnest place of the wall at least the share :data:`KEPT` of it remains: the sum of the offsets is
    at most the rest, and so is each of them, so that a ring that moves as a whole still holds that share of
    the wall. Where borders touch or cross, nothing is taken off. A cavity shrinks by at most half its
    area over its perimeter, a quarter of the radius of a disc. The largest circle within it has more than
    twice that as its radius (Osserman 1979, Am Math Mon 86:1), so that something is left.

    Args:
        borders: in mm.
        offsets: positive into the wall.
    """
    factor = 1.0
    into_wall = max(offsets.endo_mm + offsets.epi_mm, *offsets)
    if into_wall > 0.0:
        factor = (1.0 - KEPT) * thinnest(borders) / into_wall
    if offsets.endo_mm < 0.0:
        factor = min(factor, 0.5 * area(borders.endo) / perimeter(borders.endo) / -offsets.endo_mm)
    return offsets if factor >= 1.0 else ContourOffsets(offsets.endo_mm * factor, offsets.epi_mm * factor)


def thinnest(borders: Contours) -> float:
    """Return the thickness of the wall at its thinnest place, in units of the points; 0 where they cross."""
    if not _nested(borders):
        return 0.0
    inner, outer = borders.endo, borders.epi
    return float(min(distances(inner, outer).min(), distances(outer, inner).min()))


def _nested(contours: Contours) -> bool:
    """Return whether the endocardial contour lies within the epicardial one and apart from it."""
    return bool(
        contains(contours.epi, contours.endo).all() and not contains(contours.endo, contours.epi).any()
    )
