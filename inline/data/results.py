"""Result of one slice: contours, values, confidence and times."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inline.data.flags import Flag
from inline.data.geometry import SliceGeometry
from inline.data.series import Enhancement, Quantity, SeriesIdentity
from model.motion.state import MotionState
from model.relaxometry.parametric_map import ParametricMap

NO_LABELS: Final[NDArray[np.uint8]] = np.zeros((0, 0), np.uint8)
"""Labels of a result whose labels were dropped."""
RESULT_ATTRIBUTE: Final = "MYOSTREAM_RESULT"
"""MRD attribute of a map: the whole record of its slice as JSON."""


class SliceLevel(StrEnum):
    """Level of a short-axis slice between base and apex."""

    BASAL = "basal"
    MID = "mid"
    APICAL = "apical"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, eq=False)
class Contours:
    """Closed endocardial and epicardial contours of one slice.

    Attributes:
        endo: endocardial contour, float64 ``(n, 2)`` pixel coordinates (x, y) of the map, not repeating the
            first point; sub-pixel, whole numbers are pixel centres.
        epi: epicardial contour, likewise.
    """

    endo: NDArray[np.float64]
    epi: NDArray[np.float64]

    def in_mm(self, spacing: tuple[float, float]) -> Contours:
        """Return the contours in mm to the right of and below the centre of the first pixel.

        Args:
            spacing: pixel size (x, y), mm.

        Raises:
            ValueError: the pixel size is no pair.
        """
        if np.shape(spacing) != (2,):
            raise ValueError(f"spacing is (x, y) in mm, not {spacing!r}")
        return Contours(self.endo * spacing, self.epi * spacing)


class ContourOffsets(NamedTuple):
    """Contour convention: distances of the contours from the physical borders of the wall, mm.

    Positive is into the wall, negative away from it.
    """

    endo_mm: float
    epi_mm: float


@dataclass(frozen=True, slots=True)
class InsertionPoint:
    """Place where the wall of the right ventricle meets the left one.

    Attributes:
        x: pixel coordinate of the map; sub-pixel, whole numbers are pixel centres.
        y: likewise.
        confidence: 0 to 1, the network's heat there.
    """

    x: float
    y: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Insertions:
    """Insertion points of the right ventricle.

    Attributes:
        anterior: None where it is not found, and with weights without heat maps.
        inferior: likewise.
        objection: reason why the points do not give the septum; empty where they do, and with such weights.
    """

    anterior: InsertionPoint | None = None
    inferior: InsertionPoint | None = None
    objection: str = ""


@dataclass(frozen=True, slots=True)
class AngularReference:
    """Direction of the septum around the ventricle, in the image.

    Attributes:
        septum: direction from the centre of the cavity to the middle of the septum, radians from +x to +y.
        turn: +1 where going from the septum to the anterior wall turns x towards y (clockwise on screen),
            else -1.
        source: of the direction, for the result.
        width: angle of the septum, degrees; None where it is not known and the septum is the septal segments.
        aspect: height of a pixel over its width; angles are those in the patient.
    """

    septum: float
    turn: int
    source: str
    width: float | None = None
    aspect: float = 1.0

    def agrees(self, other: AngularReference) -> bool:
        """Return whether both have the anterior wall on the same side and septa at most 90 degrees apart."""
        return self.turn == other.turn and math.cos(self.septum - other.septum) >= 0.0


@dataclass(frozen=True, slots=True)
class RegionValues:
    """T1 or T2 over one region of the myocardium, ms; None where too little of it has a fit.

    Attributes:
        name: of the region.
        median, q1, q3, mean, sd: of the pixels, each counted by its share between the contours.
        pixels: area in pixels, shares added up; 0 without a value.
        z_score: distance of ``median`` from the mean of the site's normal values, in their SD; None without a
            reference range of this region.
    """

    name: str
    median: float | None
    q1: float | None
    q3: float | None
    mean: float | None
    sd: float | None
    pixels: int
    z_score: float | None = None


@dataclass(frozen=True, slots=True)
class BloodT1:
    """T1 of the blood in the LV cavity.

    Attributes:
        median_ms: median over the pixels of blood, ms.
        sd_ms: standard deviation over these pixels, ms.
        standard_error_ms: of ``median_ms``, as the fit's SD map implies it, ms; None for a scanner's map.
        pixels: number of pixels of blood.
    """

    median_ms: float
    sd_ms: float
    standard_error_ms: float | None
    pixels: int


@dataclass(frozen=True, slots=True)
class SliceMotion:
    """Motion of the images of a slice, and what became of it.

    Attributes:
        state: still, corrected, or left as acquired.
        r_squared_before: mean R2 of the fit to the images as acquired, over tissue within 75 mm of the middle
            of the image.
        r_squared_after: likewise of the corrected images; None where none were fitted.
        largest_shift_mm: largest displacement of an image from the mean position, mm.
    """

    state: MotionState
    r_squared_before: float
    r_squared_after: float | None
    largest_shift_mm: float


@dataclass(frozen=True, slots=True, eq=False)
class SliceResult:
    """Result of one slice of one series.

    Attributes:
        map: the fitted map, or the scanner's own with ``sd_ms`` and ``r_squared`` zero.
        labels: uint8 ``(rows, columns)``: 0 background, 1 LV cavity, 2 myocardium, as the contours enclose
            them; all 0 where there are no contours.
        contours: as drawn by the contour convention; None where no acceptable contour was found, and
            ``flags`` states the reason.
        offsets: distances of the contours from the borders of the wall, as applied; None without contours.
        convention: distances that the contour convention states, of which thin walls have smaller ones.
        inset: share of the thickness between the contours that ``regions`` leave out at each of them; None
            where not known.
        insertions: insertion points of the right ventricle, found with or without contours.
        regions: ``global`` first, then ``septum`` and the AHA segments; empty without contours.
        level: slice level as far as it was known when the result went out.
        level_source: source of the level.
        angular_reference: source of the AHA segments' angle.
        septum: direction of the septum from which segments are counted; None where it is not known.
        confidence: expected Dice coefficient of the labels, 0 to 1; 0 without contours, None without a
            calibration.
        confidence_source: source of the confidence, or why there is none.
        confidence_reason: signals that made the confidence low, in one sentence; empty unless it is below
            the threshold for review.
        flags: reason codes.
        notes: one sentence for each conversion, assumption and flag that concerns the values.
        motion_corrected: the map was fitted from images that the scanner had corrected for motion.
        t1_scale: factor that T1 was multiplied by after the fit (setting ``mapping.t1_scale``).
        motion: of the images, where they were examined for it; None for a map or a correction of the scanner,
            images of different scales, too few images, and with ``mapping.motion_correction`` off.
        uncorrected: map of the images as acquired, where ``map`` is that of images corrected here; else None.
        times_ms: wall time of each stage (``fit``, ``network``, ``contours``, ...), ms.
        error: message of the error that kept the slice from being processed, or empty.
        enhancement: native or post-contrast; None where it is not known.
        enhancement_source: source of that, or why it is not known.
        field_strength: of the magnet by the header, tesla; None where not stated.
        sex: of the patient by the header, M or F, or empty; for reference ranges alone, never sent.
        blood: T1 of the blood in the cavity; None for T2 and where it could not be measured.
        reference: source of the z-scores, or empty.
        boundary_uncertainty: entropy of the class probabilities over that of three equal ones, 0 to 1,
            float32 ``(rows, columns)``; None unless the setting ``emit.uncertainty`` is on.
    """

    identity: SeriesIdentity
    quantity: Quantity
    geometry: SliceGeometry
    map: ParametricMap | None
    scanner_made: bool
    labels: NDArray[np.uint8]
    contours: Contours | None
    insertions: Insertions = Insertions()
    regions: tuple[RegionValues, ...] = ()
    level: SliceLevel | None = None
    level_source: str = ""
    angular_reference: str = ""
    confidence: float | None = None
    confidence_source: str = ""
    confidence_reason: str = ""
    flags: tuple[Flag, ...] = ()
    notes: tuple[str, ...] = ()
    motion_corrected: bool = False
    t1_scale: float = 1.0
    times_ms: Mapping[str, float] = field(default_factory=dict)
    error: str = ""
    offsets: ContourOffsets | None = None
    enhancement: Enhancement | None = None
    enhancement_source: str = ""
    field_strength: float | None = None
    sex: str = ""
    blood: BloodT1 | None = None
    reference: str = ""
    boundary_uncertainty: NDArray[np.float32] | None = None
    motion: SliceMotion | None = None
    uncorrected: ParametricMap | None = None
    convention: ContourOffsets | None = None
    inset: float | None = None
    septum: AngularReference | None = None

    def without_pixels(self) -> SliceResult:
        """Return the result without its images; its contours stay."""
        return replace(self, map=None, labels=NO_LABELS, boundary_uncertainty=None, uncorrected=None)
