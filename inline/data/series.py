"""Series: all images of one mapping acquisition of one slice, or a finished map."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inline.data.flags import Flag
from inline.data.geometry import SliceGeometry
from model.frame import LONGEST_MS


class Quantity(StrEnum):
    """Relaxation time that a series measures."""

    T1 = "T1"
    T2 = "T2"


class Enhancement(StrEnum):
    """State of the tissue by contrast agent."""

    NATIVE = "native"
    POST_CONTRAST = "post-contrast"


DIGITS: Final = {Quantity.T1: 0, Quantity.T2: 1}
"""Decimals of values in ms in reports, on the live page and in image comments."""
TISSUE_MS: Final = {Quantity.T1: (150.0, LONGEST_MS["T1"]), Quantity.T2: (10.0, LONGEST_MS["T2"])}
"""Shortest and longest plausible median relaxation time of a region of tissue or blood, ms."""

NAME_PATTERN: Final = r"series (\d{1,5}) slice (\d{1,5})"
"""Pattern of :attr:`SeriesIdentity.name`, by which a replay reads it in texts of a server."""


@dataclass(frozen=True, slots=True)
class SeriesIdentity:
    """Identity of one acquisition of one slice, carried unchanged from the images to every result.

    Attributes:
        series_index: MRD ``image_series_index`` of the images.
        slice_index: MRD ``slice``.
        description: series description as the sender gave it, or empty.
        time_stamp: largest acquisition time stamp of the images, in MRD ticks (2.5 ms).
    """

    series_index: int
    slice_index: int
    description: str = ""
    time_stamp: int = 0

    @property
    def name(self) -> str:
        """Name of the slice for a user; slices are counted from 0."""
        return f"series {self.series_index} slice {self.slice_index}"


@dataclass(frozen=True, slots=True, eq=False)
class MappingSeries:
    """Weighted images of one slice, sorted by time, from which a map is fitted.

    Attributes:
        quantity: T1 for a MOLLI series, T2 for a T2-prep series.
        images: magnitude images, float32 ``(n, rows, columns)``; with their sign where ``signed``.
        times_ms: inversion times (T1) or preparation times (T2) of the images, ms, ascending ``(n,)``.
        flags: reason codes of the assembly.
        signed: the images are phase-sensitive: their sign is the signal's polarity.
    """

    quantity: Quantity
    images: NDArray[np.float32]
    times_ms: NDArray[np.float64]
    geometry: SliceGeometry
    identity: SeriesIdentity
    flags: tuple[Flag, ...] = ()
    signed: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class MapSeries:
    """Parametric map that the scanner has made.

    Attributes:
        values_ms: the map in ms, float32 ``(rows, columns)``.
    """

    quantity: Quantity
    values_ms: NDArray[np.float32]
    geometry: SliceGeometry
    identity: SeriesIdentity
    flags: tuple[Flag, ...] = ()


Series = MappingSeries | MapSeries


@dataclass(frozen=True, slots=True)
class SlicePlace:
    """Place of one slice in the heart, as far as its headers state it.

    Attributes:
        identity: which acquisition.
        quantity: T1 or T2.
        slice_count: slices of its measurement by the header, or None.
        geometry: None where the image headers state no usable directions.
        session: name of the connection that it came on; slice counters are compared within one alone.
        enhancement: as far as the sender states it.
        first_slice: index that the slice counter of its measurement begins at.
    """

    identity: SeriesIdentity
    quantity: Quantity
    slice_count: int | None
    geometry: SliceGeometry | None
    session: str = ""
    enhancement: Enhancement | None = None
    first_slice: int = 0
