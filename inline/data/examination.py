"""Results of a whole examination: its slices, and ECV from native and post-contrast T1.

Fractions of volume are in percent (ECV) or between 0 and 1 (haematocrit, partition coefficient).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inline.data.flags import Flag
from inline.data.geometry import SliceGeometry
from inline.data.results import BloodT1 as BloodT1
from inline.data.results import Contours, RegionValues, SliceLevel, SliceResult
from inline.data.series import Enhancement as Enhancement
from inline.data.series import SeriesIdentity

FloatMap = NDArray[np.float32]

SLICE_FLAGS: Final = "Flags of the"
"""Beginning of the notes of an ECV result that repeat the flags of its slices."""


class HaematocritSource(StrEnum):
    """Source of a haematocrit."""

    GIVEN = "given"
    """Stated by the user or a client; whether of a blood sample is not known here."""
    FILE = "file"
    """Of the study, by the site's file (setting ``ecv.haematocrits``)."""
    SYNTHETIC = "synthetic"
    """Computed from native blood T1."""


@dataclass(frozen=True, slots=True)
class Haematocrit:
    """Volume fraction of red cells in blood.

    Attributes:
        value: 0 to 1.
        source: given, the site's file, or native blood T1.
    """

    value: float
    source: HaematocritSource


class Registration(NamedTuple):
    """Movement of the post-contrast map onto the native one.

    Attributes:
        x_mm: shift of the heart's centre to the right of the image, mm.
        y_mm: likewise downwards.
        rotation_degrees: clockwise on screen about that centre; 0 where insertion points do not give it.
        source: of the movement, for the result.
    """

    x_mm: float
    y_mm: float
    rotation_degrees: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EcvRegion(RegionValues):
    """ECV over one region of the myocardium, percent; None without haematocrit or enough valid pixels.

    Attributes:
        standard_error: of ``mean``, as the SD of both T1 maps and the standard errors of both blood values
            imply it, percentage points; None for a scanner's map. The haematocrit counts as exact.
        partition_coefficient: median of the partition coefficient.
        partition_standard_error: of its mean, likewise.
    """

    standard_error: float | None = None
    partition_coefficient: float | None = None
    partition_standard_error: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class EcvResult:
    """ECV of one slice position, on the pixels of its native map.

    Attributes:
        native: acquisition of the native map.
        post: of the post-contrast map; None where there is none.
        geometry: of the native slice.
        level: slice level of the native slice.
        haematocrit: None where it is not known; then there is the partition coefficient alone.
        native_blood: None where it could not be measured; likewise ``post_blood``.
        partition: partition coefficient, float32 ``(rows, columns)``, 0 where not ``valid``; None with an
            ``error``.
        partition_sd: standard deviation of each of its pixels, as the SD of both T1 maps and of both blood
            values imply it; None with an ``error`` and for a scanner's map.
        valid: True where both maps have a value and the partition coefficient lies in its physical range.
        masked: pixels of the myocardium with a value outside the physical range.
        contours: of the native slice.
        regions: ``global`` first, then the other regions of the native slice.
        registration: movement of the post-contrast map; None with ``error``.
        flags: reason codes, those of both slices among them.
        native_flags: those of the native slice, which decide on segments.
        notes: one sentence for each assumption and flag.
        pairing: source of the distinction between native and post-contrast.
        reference: source of the z-scores, or empty.
        error: message of the error that kept the slice from having a partition coefficient, or empty.
    """

    native: SeriesIdentity
    post: SeriesIdentity | None
    geometry: SliceGeometry
    level: SliceLevel | None = None
    haematocrit: Haematocrit | None = None
    native_blood: BloodT1 | None = None
    post_blood: BloodT1 | None = None
    partition: FloatMap | None = None
    partition_sd: FloatMap | None = None
    valid: NDArray[np.bool_] | None = None
    masked: int = 0
    contours: Contours | None = None
    regions: tuple[EcvRegion, ...] = ()
    registration: Registration | None = None
    flags: tuple[Flag, ...] = ()
    native_flags: tuple[Flag, ...] = ()
    notes: tuple[str, ...] = ()
    pairing: str = ""
    reference: str = ""
    error: str = ""

    @property
    def ecv(self) -> FloatMap | None:
        """ECV in percent, float32 ``(rows, columns)``, 0 where not ``valid``; None without haematocrit."""
        return self._percent(self.partition)

    @property
    def ecv_sd(self) -> FloatMap | None:
        """Standard deviation of each pixel of ``ecv``, percentage points; None without haematocrit."""
        return self._percent(self.partition_sd)

    def without_pixels(self) -> EcvResult:
        """Return the result without its images; its contours stay."""
        return replace(self, partition=None, partition_sd=None, valid=None)

    def _percent(self, values: FloatMap | None) -> FloatMap | None:
        if values is None or self.haematocrit is None:
            return None
        return values * np.float32(100.0 * (1.0 - self.haematocrit.value))


@dataclass(frozen=True, slots=True, eq=False)
class Examination:
    """All results of one examination.

    Attributes:
        slices: in the order of their results.
        ecv: of each slice position with native and post-contrast T1, and of each that lacks one of them.
    """

    slices: tuple[SliceResult, ...]
    ecv: tuple[EcvResult, ...] = ()
