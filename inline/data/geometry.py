"""Position of a slice's pixels in the patient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

SAME_MM: Final = 3.0
"""Largest distance along the normal of slices of one position, planned anew or of another breath-hold, mm:
three eighths of the usual thickness of 8 mm."""
PARALLEL: Final = float(np.cos(np.radians(10.0)))
"""Smallest cosine between the directions of slices that count as parallel."""
_ROUNDED: Final = 0.02
"""Tolerance of cosines: some senders round them to one or two digits."""
_SIZES_MM: Final = 0.05, 20.0
"""Smallest and largest size of a pixel, mm."""


@dataclass(frozen=True, slots=True)
class SliceGeometry:
    """Plane of one 2D image in patient coordinates (LPS, mm), as an MRD image header states it.

    Pixel coordinates are ``(x, y)`` = (column, row); whole numbers are pixel centres.

    Attributes:
        position: patient coordinates of the centre of the field of view, mm.
        row_direction: unit vector along increasing column index (MRD ``read_dir``).
        column_direction: unit vector along increasing row index (MRD ``phase_dir``).
        spacing: pixel size ``(x, y)``, mm.
        shape: ``(rows, columns)``.
        slice_direction: unit vector along rising slice indices (MRD ``slice_dir``); None where not stated.
        oriented: the directions are those in the patient; else the image's own axes stand in for them, and
            nothing is known of where the septum lies.
        positioned: the position is the sender's, which may be zeros; else zeros stand in for it.
        table: position of the patient table (MRD ``patient_table_position``), mm; None where DICOM states the
            position of the image, or where it is not finite.
    """

    position: tuple[float, float, float]
    row_direction: tuple[float, float, float]
    column_direction: tuple[float, float, float]
    spacing: tuple[float, float]
    shape: tuple[int, int]
    slice_direction: tuple[float, float, float] | None = None
    oriented: bool = True
    positioned: bool = True
    table: tuple[float, float, float] | None = None

    @classmethod
    def unoriented(cls, spacing: tuple[float, float], shape: tuple[int, int]) -> SliceGeometry:
        """Return the geometry of an image whose place in the patient is not known."""
        zeros, right, down = (0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)
        return cls(zeros, right, down, spacing, shape, oriented=False, positioned=False)

    @property
    def normal(self) -> FloatArray:
        """Unit vector perpendicular to the slice, ``row_direction x column_direction``; read-only."""
        return _normal(tuple(self.row_direction), tuple(self.column_direction))

    @property
    def placed(self) -> bool:
        """True where the position is stated; senders that do not know it write zeros."""
        return any(self.position)

    @property
    def known(self) -> SliceGeometry | None:
        """Itself; None where the directions in the patient are not known."""
        return self if self.oriented else None

    @property
    def located(self) -> bool:
        """True where pixels have patient coordinates, as far as zeros are a position."""
        return self.oriented and self.positioned

    def to_patient(self, points: FloatArray) -> FloatArray:
        """Return patient coordinates ``(n, 3)`` in mm of pixel coordinates ``(n, 2)``."""
        rows, columns = self.shape
        # Gadgetron's DICOM writer puts the centre of the first pixel half a field of view before the
        # position, so the position lies on pixel N/2, where the FFT has its centre.
        offset = (np.asarray(points, dtype=np.float64) - (columns / 2, rows / 2)) * self.spacing
        basis = np.array([self.row_direction, self.column_direction])
        patient: FloatArray = np.asarray(self.position) + offset @ basis
        return patient


@lru_cache(maxsize=4096)
def _normal(row: tuple[float, float, float], column: tuple[float, float, float]) -> FloatArray:
    # Each slice is compared with all others of its study.
    (a, b, c), (x, y, z) = row, column
    across = np.array([b * z - c * y, c * x - a * z, a * y - b * x])
    unit: FloatArray = across / np.linalg.norm(across)
    unit.flags.writeable = False
    return unit


def perpendicular(row: Sequence[float], column: Sequence[float]) -> bool:
    """Return whether directions are perpendicular unit vectors."""
    across = sum(one * other for one, other in zip(row, column, strict=True))
    lengths = (math.hypot(*row), math.hypot(*column))
    return all(abs(length - 1.0) < _ROUNDED for length in lengths) and abs(across) < _ROUNDED


def usable_spacing(spacing: Sequence[float]) -> bool:
    """Return whether numbers are sizes of a pixel, mm."""
    smallest, largest = _SIZES_MM
    return all(smallest <= size <= largest for size in spacing)
