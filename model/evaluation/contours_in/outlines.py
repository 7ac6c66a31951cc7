"""Contours of one reader on one slice, and the map that they are drawn on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.evaluation.errors import CaseError

FloatArray = NDArray[np.float64]

_FURTHEST: Final = 1e6
"""Pixels from the corner of an image that no point of a contour exceeds."""
SAME_PLANE_MM: Final = 2.0
"""Distance from the plane of a map at which a contour in patient coordinates is of another slice."""


class Outlines(NamedTuple):
    """Endocardial and epicardial contour, each ``(n, 2)``: x, y in pixels; whole numbers are centres."""

    endo: FloatArray
    epi: FloatArray


@dataclass(frozen=True, slots=True)
class Plane:
    """Plane of a DICOM image in patient coordinates (LPS, mm).

    Attributes:
        first: centre of the first pixel.
        row: unit vector along increasing columns.
        column: unit vector along increasing rows.
        spacing: pixel size (x, y), mm.
    """

    first: tuple[float, float, float]
    row: tuple[float, float, float]
    column: tuple[float, float, float]
    spacing: tuple[float, float]

    def to_pixels(self, points: FloatArray) -> tuple[FloatArray, float]:
        """Return pixel coordinates ``(n, 2)`` of points ``(n, 3)``, and their largest distance, mm."""
        apart = points - np.array(self.first)
        pixels = apart @ np.array([self.row, self.column]).T / np.array(self.spacing)
        distance = np.abs(apart @ np.cross(self.row, self.column)).max()
        return pixels, float(distance)


@dataclass(frozen=True, slots=True)
class MapImage:
    """Map that contours belong to.

    Attributes:
        file: of the map.
        shape: ``(rows, columns)``.
        instances: SOP instance UIDs of the map and of its weighted images; empty where these are not DICOM.
        plane: of a DICOM map that states it, or None.
    """

    file: Path
    shape: tuple[int, int]
    instances: frozenset[str] = frozenset()
    plane: Plane | None = None


def checked(path: Path, endo: Any, epi: Any) -> Outlines:
    """Return the contours as arrays.

    Raises:
        CaseError: one is no list of three or more points in an image.
    """
    found = []
    for points in (endo, epi):
        try:
            array = np.asarray(points, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise CaseError(f"{path}: a contour is a list of three or more points [x, y]") from error
        if array.ndim != 2 or array.shape[1] != 2 or len(array) < 3:
            raise CaseError(f"{path}: a contour is a list of three or more points [x, y]")
        if not (np.abs(array) < _FURTHEST).all():  # NaN included
            raise CaseError(f"{path}: a contour has a point that is no position in an image")
        found.append(array)
    return Outlines(*found)


def shown(names: Iterable[object]) -> str:
    """Return the first names of a list for a message."""
    listed = [str(name)[:64] for name in names]
    return ", ".join(listed[:8]) + (", ..." if len(listed) > 8 else "") if listed else "none"
