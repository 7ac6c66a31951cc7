"""Maps of a report: those of slices and of the extracellular volume fraction, in one form."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from inline.contouring.plausibility import poorly_fitted
from inline.data.examination import EcvResult, Examination, Haematocrit
from inline.data.geometry import SliceGeometry
from inline.data.results import ContourOffsets, Contours, SliceLevel, SliceResult
from inline.data.series import DIGITS, Enhancement, Quantity, SeriesIdentity
from inline.data.time_stamps import unwrapped
from inline.emit.record import Record, ecv_region_record, region_record

HEART_MM: Final = 110.0
"""Side of the square about the contours that a report shows."""
CHEST_MM: Final = 200.0
"""Likewise about the middle of an image without contours."""
_AROUND: Final = 1.5
"""Smallest side of the square over the diameter of the epicardial contour."""


class Kind(StrEnum):
    """Quantity of a map, in the order of the report."""

    T1_NATIVE = "T1 native"
    T1 = "T1"
    T1_POST = "T1 post-contrast"
    ECV = "ECV"
    PARTITION = "Partition coefficient"
    T2 = "T2"

    @property
    def short(self) -> str:
        """Name for a narrow column."""
        return {Kind.T1_POST: "T1 post", Kind.PARTITION: "Partition"}.get(self, self.value)

    @property
    def unit(self) -> str:
        """Unit of the values, or empty."""
        return {Kind.ECV: "%", Kind.PARTITION: ""}.get(self, "ms")

    @property
    def digits(self) -> int:
        """Decimals that are printed."""
        other = {Kind.ECV: 1, Kind.PARTITION: 2, Kind.T2: DIGITS[Quantity.T2]}
        return other.get(self, DIGITS[Quantity.T1])


@dataclass(frozen=True, slots=True)
class RegionValue:
    """Value of a region, in the unit of its map; None where it has none.

    Attributes:
        name: as in :class:`~inline.data.results.RegionValues`.
        value: median.
        spread: standard deviation over the pixels.
        pixels: area.
        z_score: None without a reference range.
    """

    name: str
    value: float | None
    spread: float | None
    pixels: int
    z_score: float | None = None

    @classmethod
    def of_record(cls, region: Record, value: str = "median") -> Self:
        """Return a region of a record; ``value`` is the key of its value."""
        spread = region["sd"] if value == "median" else None
        return cls(region["name"], region[value], spread, region["pixels"], region["z_score"])


@dataclass(frozen=True, slots=True)
class Section:
    """Square part of a map, with what is drawn on it.

    Attributes:
        values: float32 ``(rows, columns)`` in the unit of the map, NaN where it has no value.
        spacing: pixel size (x, y), mm.
        contours: in pixels of the part, or None.
        points: insertion points (x, y), likewise.
        lost: pixels without a value or with a poor fit, ``(rows, columns)``; None where they are not known.
    """

    values: NDArray[np.float32]
    spacing: tuple[float, float]
    contours: Contours | None
    points: tuple[tuple[float, float], ...]
    lost: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class ReportMap:
    """One map with its values and what is to be said of it.

    Attributes:
        kind: quantity.
        identity: acquisition; of ECV, the native one.
        level: as far as known.
        geometry: of the slice; None where the headers state no directions.
        section: None without a map.
        regions: ``global`` first; empty without contours.
        flags, notes, error: of the result.
        offsets: contour convention as applied.
        scanner_made: the scanner made the map.
        motion_corrected: the scanner had corrected the images for motion.
        t1_scale: factor that the fitted T1 was multiplied by.
        haematocrit: of ECV.
        field_strength: tesla, where stated.
        reference: source of the z-scores, or empty.
        confidence_source: names the weights where the confidence is calibrated.
        confidence_reason: note that states what made the confidence low, or empty.
        post: of ECV, the post-contrast acquisition.
    """

    kind: Kind
    identity: SeriesIdentity
    level: SliceLevel
    geometry: SliceGeometry | None
    section: Section | None
    regions: tuple[RegionValue, ...] = ()
    flags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    error: str = ""
    offsets: ContourOffsets | None = None
    scanner_made: bool = False
    motion_corrected: bool = False
    t1_scale: float = 1.0
    haematocrit: Haematocrit | None = None
    field_strength: float | None = None
    reference: str = ""
    confidence_source: str = ""
    confidence_reason: str = ""
    post: SeriesIdentity | None = None

    @classmethod
    def of_slice(cls, result: SliceResult) -> Self:
        """Return the map of a slice."""
        section = None
        if result.map is not None:
            values = np.where(result.map.failed, np.float32(np.nan), result.map.values_ms)
            found = (result.insertions.anterior, result.insertions.inferior)
            points = tuple((each.x, each.y) for each in found if each is not None)
            lost = poorly_fitted(result.map)
            section = cut(values, result.geometry.spacing, result.contours, points, lost=lost)
        return cls(
            kind=slice_kind(result.quantity, result.enhancement),
            identity=result.identity,
            level=result.level or SliceLevel.UNKNOWN,
            geometry=result.geometry.known,
            section=section,
            regions=tuple(RegionValue.of_record(region_record(each)) for each in result.regions),
            flags=tuple(result.flags),
            notes=result.notes,
            error=result.error,
            offsets=result.offsets,
            scanner_made=result.scanner_made,
            motion_corrected=result.motion_corrected,
            t1_scale=result.t1_scale,
            field_strength=result.field_strength,
            reference=result.reference,
            confidence_source=result.confidence_source,
            confidence_reason=result.confidence_reason,
        )

    @classmethod
    def of_ecv(cls, result: EcvResult) -> Self:
        """Return the ECV map of a slice position; without haematocrit, that of the partition coefficient."""
        known = result.haematocrit is not None
        values, section = result.ecv if known else result.partition, None
        if values is not None and result.valid is not None:
            masked = np.where(result.valid, values, np.float32(np.nan))
            section = cut(masked, result.geometry.spacing, result.contours)
        value = "median" if known else "partition_coefficient"
        regions = tuple(RegionValue.of_record(ecv_region_record(each), value) for each in result.regions)
        return cls(
            kind=Kind.ECV if known else Kind.PARTITION,
            identity=result.native,
            level=result.level or SliceLevel.UNKNOWN,
            geometry=result.geometry.known,
            section=section,
            regions=regions,
            flags=tuple(result.flags),
            notes=result.notes,
            error=result.error,
            haematocrit=result.haematocrit,
            reference=result.reference,
            post=result.post,
        )

    @property
    def time_stamp(self) -> int:
        """Time stamp of the acquisition; of ECV, of the later one, without stamps the post-contrast one."""
        native, post = self.identity.time_stamp, (self.post or self.identity).time_stamp
        before, after = unwrapped([native, post])
        return native if post and before > after else post

    @property
    def pixel_mm2(self) -> float:
        """Area of a pixel, mm2; 1 where its size is not known."""
        placed = self.section or self.geometry
        return placed.spacing[0] * placed.spacing[1] if placed else 1.0

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels."""
        if self.section is None:
            return 0
        return self.section.values.nbytes + (0 if self.section.lost is None else self.section.lost.nbytes)


def report_maps(examination: Examination) -> tuple[ReportMap, ...]:
    """Return all maps of an examination."""
    slices = (ReportMap.of_slice(each) for each in examination.slices)
    return (*slices, *(ReportMap.of_ecv(each) for each in examination.ecv))


def slice_kind(quantity: Quantity, enhancement: Enhancement | None) -> Kind:
    """Return the kind of a fitted map."""
    if quantity is Quantity.T2:
        return Kind.T2
    if enhancement is None:
        return Kind.T1
    return Kind.T1_NATIVE if enhancement is Enhancement.NATIVE else Kind.T1_POST


def cut(
    values: NDArray[np.float32],
    spacing: tuple[float, float],
    contours: Contours | None,
    points: tuple[tuple[float, float], ...] = (),
    lost: NDArray[np.bool_] | None = None,
) -> Section:
    """Return the square part of a map that a report shows: the heart, or the chest without contours.

    Args:
        values: ``(rows, columns)``, NaN where there is no value.
        spacing: pixel size (x, y), mm.
        contours: in pixels of the map.
        points: likewise (x, y).
        lost: see :class:`Section`.
    """
    size = np.array(values.shape[::-1])
    if contours is None:
        centre, side_mm = (size - 1) / 2.0, CHEST_MM
    else:
        low, high = contours.epi.min(axis=0), contours.epi.max(axis=0)
        centre = (low + high) / 2.0
        side_mm = max(HEART_MM, _AROUND * float(((high - low) * spacing).max()))
    half = side_mm / 2.0 / np.asarray(spacing)
    first = np.clip(np.floor(centre - half), 0, size - 1).astype(int)
    last = np.clip(np.ceil(centre + half) + 1, 1, size).astype(int)
    place = slice(first[1], last[1]), slice(first[0], last[0])
    moved = None if contours is None else Contours(contours.endo - first, contours.epi - first)
    return Section(
        values[place].copy(),
        spacing,
        moved,
        tuple((x - int(first[0]), y - int(first[1])) for x, y in points),
        None if lost is None else lost[place].copy(),
    )
