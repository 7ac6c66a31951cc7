"""Contours of one reader on one slice, and the map that they are drawn on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
SAME_PLACE_MM: Final = 0.1
"""Distance in the plane at which two grids of pixels are others."""


class Outlines(NamedTuple):
    """Endocardial and epicardial contour, each ``(n, 2)``: x, y in pixels; whole numbers are centres."""

    endo: FloatArray
    epi: FloatArray


@dataclass(frozen=True, slots=True)
class PixelGrid:
    """Grid of an image's pixels in patient coordinates (LPS, mm).

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

    @classmethod
    def of(cls, position: Sequence[Any], cosines: Sequence[Any], between: Sequence[Any]) -> PixelGrid:
        """Return the grid of the values of (0020,0032), (0020,0037) and (0028,0030).

        Raises:
            TypeError, ValueError: they are not three, six and two numbers.
        """
        x, y, z = map(float, position)
        row, column = np.reshape(np.array(cosines, np.float64), (2, 3))
        spacing_y, spacing_x = map(float, between)
        return cls((x, y, z), _unit(row), _unit(column), (spacing_x, spacing_y))

    def to_patient(self, pixels: FloatArray) -> FloatArray:
        """Return points ``(n, 3)`` in mm of pixel coordinates ``(n, 2)``."""
        patient: FloatArray = np.array(self.first) + pixels * self.spacing @ np.array([self.row, self.column])
        return patient

    def to_pixels(self, points: FloatArray) -> tuple[FloatArray, float]:
        """Return pixel coordinates ``(n, 2)`` of points ``(n, 3)``, and their largest distance, mm."""
        apart = points - np.array(self.first)
        pixels = apart @ np.array([self.row, self.column]).T / np.array(self.spacing)
        distance = np.abs(apart @ np.cross(self.row, self.column)).max()
        return pixels, float(distance)

    def apart(self, other: PixelGrid, shape: tuple[int, int]) -> tuple[float, float]:
        """Return the largest distance of the corners of two images, in the plane and along its normal, mm."""
        rows, columns = shape
        corners = np.array([[0.0, 0.0], [columns - 1.0, 0.0], [0.0, rows - 1.0]])
        moved = self.to_patient(corners) - other.to_patient(corners)
        in_plane = np.abs(moved @ np.array([self.row, self.column]).T).max()
        return float(in_plane), float(np.abs(moved @ np.cross(self.row, self.column)).max())


@dataclass(frozen=True, slots=True)
class MapImage:
    """Map that contours belong to.

    Attributes:
        file: of the map.
        shape: ``(rows, columns)``.
        instances: SOP instance UIDs of the map and of its weighted images; empty where these are not DICOM.
        grid: of a DICOM or NIfTI map that states it, or None.
        spacing: pixel size (x, y), mm, or None where masks need not agree with it.
    """

    file: Path
    shape: tuple[int, int]
    instances: frozenset[str] = frozenset()
    grid: PixelGrid | None = None
    spacing: tuple[float, float] | None = None


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


def _unit(vector: FloatArray) -> tuple[float, float, float]:
    x, y, z = vector / np.linalg.norm(vector)
    return float(x), float(y), float(z)
