"""One slice whose images are complete: a series that a map is made from, or the error that prevents one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from inline.assembly.completeness import remarks_on_times
from inline.assembly.enhancement import stated_enhancement
from inline.assembly.group import FEWEST
from inline.assembly.recognition import ImageKind, Recognised, recognise
from inline.assembly.timing import Remark, flags_of
from inline.data.client_text import foreign, message
from inline.data.flags import Flag
from inline.data.geometry import SliceGeometry
from inline.data.series import (
    Enhancement,
    MappingSeries,
    MapSeries,
    Quantity,
    Series,
    SeriesIdentity,
    SlicePlace,
)
from inline.mrd.image_header import ImageHeader
from inline.settings import AssemblySettings

SATURATION: Final = (
    "not fitted: {} is saturation recovery by its name or its saturation times, for which the inversion "
    "recovery of a MOLLI fit would give a wrong T1"
)
"""Error of a series; the place is that of its description."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Slice:
    """Common part of :class:`Ready` and :class:`Failed`.

    Attributes:
        quantity: T1 or T2.
        identity: which acquisition.
        geometry: of the images; pixels of 1 mm without orientation where the headers give no pixel size.
        template: header of the slice's last image, for the images that go back.
        images: number of its images.
        slice_count: slices of the measurement, or None.
        first_slice: index that their counter begins at.
        flags: reason codes.
        arrived: time of the slice's last image, seconds of the caller's clock.
        notes: sentences for the result, beside ``flags``.
        motion_corrected: the images were corrected for motion by the scanner.
        enhancement: native or post-contrast, where the sender states it.
        enhancement_source: where it does, or empty.
        field_strength: of the magnet by the header, tesla; None where not stated.
        sex: of the patient by the header, M or F, or empty.
    """

    quantity: Quantity
    identity: SeriesIdentity
    geometry: SliceGeometry
    template: ImageHeader
    images: int = 1
    slice_count: int | None
    first_slice: int = 0
    flags: tuple[Flag, ...]
    arrived: float
    notes: tuple[str, ...] = ()
    motion_corrected: bool = False
    enhancement: Enhancement | None = None
    enhancement_source: str = ""
    field_strength: float | None = None
    sex: str = ""

    def slice_place(self, session: str = "") -> SlicePlace:
        """Return the place of the slice in the heart, as far as its headers state it."""
        return SlicePlace(
            self.identity,
            self.quantity,
            self.slice_count,
            self.geometry.known,
            session,
            self.enhancement,
            self.first_slice,
            self.scanner_made,
            self.motion_corrected,
        )

    @property
    def scanner_made(self) -> bool:
        """True for a map that the scanner made."""
        return False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ready(_Slice):
    """Slice with the series that a map is made from."""

    series: Series

    @property
    def scanner_made(self) -> bool:
        """See :class:`_Slice`."""
        return isinstance(self.series, MapSeries)

    @classmethod
    def of(cls, series: Series, settings: AssemblySettings | None = None) -> Assembled:
        """Return the slice of a series made of arrays: no header states more than the series does.

        Images in another order than that of their times are sorted. What the times show is flagged. The
        description can state saturation recovery, for which T1 is not fitted, motion correction and contrast
        agent.

        Args:
            series: of one slice.
            settings: with the number of images of a series; None for the defaults.
        """
        findings: list[Remark] = [(flag, "") for flag in series.flags]
        description = series.identity.description
        named = Recognised(ImageKind.MAP)
        if isinstance(series, MappingSeries):
            # The first description states the quantity.
            own = (f"{series.quantity} mapping", description)
            found = recognise(own=own, timed=True, listed=False)
            named = found if isinstance(found, Recognised) else named
        # T2 by T2 preparation does not depend on the recovery before it.
        saturation = named.saturation and series.quantity == Quantity.T1
        if saturation:
            findings.append((Flag.SATURATION_RECOVERY, ""))
        elif isinstance(series, MappingSeries) and len(series.times_ms) == len(series.images):
            if len(series.images) >= FEWEST[series.quantity]:
                findings += remarks_on_times(
                    series.quantity, series.times_ms.tolist(), settings or AssemblySettings()
                )
            order = np.argsort(series.times_ms, kind="stable")
            if np.any(np.diff(order) < 0):
                series = replace(series, images=series.images[order], times_ms=series.times_ms[order])
        if not series.geometry.oriented:
            findings.append((Flag.NO_ORIENTATION, ""))
        enhancement, stated_by = stated_enhancement((description,), ())
        common: dict[str, Any] = {
            "quantity": series.quantity,
            "identity": series.identity,
            "geometry": series.geometry,
            "template": ImageHeader(),
            "slice_count": None,
            "flags": flags_of(findings),
            "arrived": 0.0,
            "notes": tuple(note for _, note in findings if note),
            "motion_corrected": named.corrected,
            "enhancement": enhancement,
            "enhancement_source": stated_by,
        }
        if saturation:
            return Failed(error=message(SATURATION, foreign(description)), **common)
        return cls(series=series, **common)

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels."""
        return (
            self.series.values_ms.nbytes if isinstance(self.series, MapSeries) else self.series.images.nbytes
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Failed(_Slice):
    """Slice whose images do not form a series; ``error`` is the message for the user."""

    error: str


Assembled = Ready | Failed
