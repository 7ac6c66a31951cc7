"""One slice whose images are complete: a series that a map is made from, or the error that prevents one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np

from inline.assembly import pixels
from inline.assembly.geometry import Placed, read_geometry
from inline.assembly.image_metadata import ImageMetadata
from inline.assembly.timing import timing
from inline.data.client_text import foreign, message
from inline.data.errors import SeriesError
from inline.data.flags import Flag
from inline.data.geometry import SliceGeometry
from inline.data.series import MappingSeries, MapSeries, Quantity, Series, SeriesIdentity, SlicePlace
from inline.mrd.header import MeasurementHeader
from inline.mrd.image_header import ImageHeader
from inline.mrd.messages import Image
from inline.settings import AssemblySettings

FEWEST: Final = {Quantity.T1: 4, Quantity.T2: 2}
"""Images that a fit needs."""
_MOST_SLICES: Final = 256
"""Larger limits of the slice counter do not state a number of slices."""
_TOO_LARGE: Final = {Quantity.T1: "6 to 10 %", Quantity.T2: "32 to 49 %"}
"""Error of the value behind Gadgetron's AutoScaleGadget."""
_UNREADABLE: Final = "Attributes of the images are unreadable; only what the headers say was used."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slice:
    """Common part of :class:`Ready` and :class:`Failed`.

    Attributes:
        quantity: T1 or T2.
        identity: which acquisition.
        geometry: of the images; pixels of 1 mm without orientation where the headers give no pixel size.
        template: header of the slice's last image, for the images that go back.
        slice_count: slices of the measurement, or None.
        oriented: the geometry's directions are the sender's.
        flags: reason codes.
        arrived: time of the slice's last image, seconds of the caller's clock.
        notes: sentences for the result, beside ``flags``.
        motion_corrected: the images were corrected for motion by the scanner.
    """

    quantity: Quantity
    identity: SeriesIdentity
    geometry: SliceGeometry
    template: ImageHeader
    slice_count: int | None
    oriented: bool
    flags: tuple[Flag, ...]
    arrived: float
    notes: tuple[str, ...] = ()
    motion_corrected: bool = False

    def slice_place(self, session: str = "") -> SlicePlace:
        """Return the place of the slice in the heart, as far as its headers state it."""
        geometry = self.geometry if self.oriented else None
        return SlicePlace(self.identity, self.quantity, self.slice_count, geometry, session)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready(_Slice):
    """Slice with the series that a map is made from."""

    series: Series

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels."""
        return (
            self.series.values_ms.nbytes if isinstance(self.series, MapSeries) else self.series.images.nbytes
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(_Slice):
    """Slice whose images do not form a series; ``error`` is the message for the user."""

    error: str


Assembled = Ready | Failed


class _Draft:
    """Slice in the making, with its flags and notes so far."""

    def __init__(
        self,
        images: Sequence[Image],
        metadata: Sequence[ImageMetadata],
        quantity: Quantity,
        header: MeasurementHeader,
        arrived: float,
        flags: Sequence[Flag],
    ) -> None:
        self.images, self.metadata, self.quantity, self.header = images, metadata, quantity, header
        self.flags, self._arrived = tuple(flags), arrived
        self.notes: tuple[str, ...] = ()
        self.identity = SeriesIdentity(
            series_index=images[-1].header.image_series_index,
            slice_index=images[-1].header.slice,
            description=metadata[-1].description,
            time_stamp=max(image.header.acquisition_time_stamp for image in images),
        )
        if not all(each.readable for each in metadata):
            self.add(Flag.UNREADABLE_ATTRIBUTES, _UNREADABLE)

    def add(self, flag: Flag, note: str = "") -> None:
        self.flags += (flag,)
        self.notes += (note,) if note else ()

    def finish(self, make: Callable[[SliceGeometry], Series]) -> Assembled:
        """Return the slice with the series that ``make`` returns for its geometry, or with its error."""
        header, metadata = self.images[-1].header, self.metadata[-1]
        columns, rows, _ = header.matrix_size
        nowhere = SliceGeometry(
            (0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.0, 1.0), (rows, columns)
        )
        placed = Placed(nowhere, header, oriented=False)
        series, error = None, ""
        try:
            placed = read_geometry(header, metadata.plane)
            if not placed.oriented:
                self.add(Flag.NO_ORIENTATION)
            if placed.contradiction:
                self.add(Flag.CONTRADICTORY_GEOMETRY, placed.contradiction)
            series = make(placed.geometry)
        except SeriesError as problem:
            error = problem.message
        slices = self.header.maxima.get("slice", -1) + 1
        common: dict[str, Any] = {
            "quantity": self.quantity,
            "identity": self.identity,
            "geometry": placed.geometry,
            "template": placed.header,
            "slice_count": slices if 0 < slices <= _MOST_SLICES else None,
            "oriented": placed.oriented,
            "flags": self.flags,
            "arrived": self._arrived,
            "notes": self.notes,
            "motion_corrected": metadata.recognised.corrected,
        }
        return Failed(error=error, **common) if series is None else Ready(series=series, **common)


def from_images(
    images: Sequence[Image],
    metadata: Sequence[ImageMetadata],
    quantity: Quantity,
    header: MeasurementHeader,
    arrived: float,
    flags: Sequence[Flag] = (),
    settings: AssemblySettings | None = None,
) -> Assembled:
    """Return the slice of weighted images, sorted by time, in the scale that is stated.

    Args:
        images: in the order of their arrival.
        metadata: of each.
        quantity: that they measure.
        header: of the measurement.
        arrived: time of the last one, seconds.
        flags: what was unusual so far.
        settings: of the assembly, for the size of what is fitted; None for the defaults.
    """
    draft = _Draft(images, metadata, quantity, header, arrived, flags)
    return draft.finish(partial(_mapping_series, draft, settings or AssemblySettings()))


def from_map(
    image: Image,
    metadata: ImageMetadata,
    quantity: Quantity,
    header: MeasurementHeader,
    settings: AssemblySettings,
    arrived: float,
    flags: Sequence[Flag] = (),
) -> Assembled:
    """Return the slice of a map that the scanner has made, in ms."""
    draft = _Draft([image], [metadata], quantity, header, arrived, flags)
    return draft.finish(partial(_map_series, draft, settings))


def too_large(header: ImageHeader, images: int, settings: AssemblySettings) -> str:
    """Return why images of this size are not made into a map; empty where they are.

    Args:
        header: of one of them.
        images: of the series.
        settings: with the limits.
    """
    columns, rows, _ = header.matrix_size
    size = f"{rows} x {columns} pixels"
    if rows * columns > settings.fitted_pixels:
        return (
            f"images of {size} are not made into maps; the setting assembly.fitted_pixels allows "
            f"{settings.fitted_pixels} pixels"
        )
    if images * rows * columns > settings.fitted_values:
        return (
            f"a series of {images} images of {size} is not fitted; the setting assembly.fitted_values allows "
            f"{settings.fitted_values} pixels in all"
        )
    return ""


def _mapping_series(draft: _Draft, settings: AssemblySettings, geometry: SliceGeometry) -> MappingSeries:
    images, metadata, quantity = draft.images, draft.metadata, draft.quantity
    if any(each.recognised.saturation for each in metadata):
        draft.add(Flag.SATURATION_RECOVERY)
        raise SeriesError(
            message(
                "not fitted: {} is saturation recovery by its name, for which the inversion "
                "recovery of a MOLLI fit would give a wrong T1",
                foreign(draft.identity.description),
            )
        )
    if large := too_large(images[-1].header, len(images), settings):
        raise SeriesError(large)
    found = timing(images, metadata, quantity, draft.header)
    draft.flags += found.flags
    draft.notes += found.notes
    order = sorted((time, place) for place, time in enumerate(found.ms) if time is not None)
    if len(order) < FEWEST[quantity]:
        usable = "" if len(order) == len(images) else " with a usable time"
        raise SeriesError(
            f"{len(order)} images{usable} are too few for a {quantity} map; "
            f"at least {FEWEST[quantity]} are needed"
        )
    signed = quantity is Quantity.T1 and all(each.signed for each in metadata)
    stack = np.stack([pixels.values(images[i], metadata[i].scale, signed=signed) for _, i in order])
    # Some senders call magnitudes REAL. Fitted as magnitudes, all-positive signed images are right too.
    signed = signed and bool((stack < 0.0).any())
    if not np.isfinite(stack).all():
        draft.add(Flag.NON_FINITE_PIXELS)
    elif pixels.scaled_one_by_one(stack):
        draft.add(
            Flag.SCALED_IMAGES,
            f"All {len(stack)} images are equally bright (99th percentile, mean, standard deviation or "
            "maximum): something before myostream scales each image for itself, which makes "
            f"{quantity} too large (Gadgetron's AutoScaleGadget by {_TOO_LARGE[quantity]}). Take it out "
            "of the chain.",
        )
    times = np.array([time for time, _ in order])
    return MappingSeries(quantity, stack, times, geometry, draft.identity, draft.flags, signed=signed)


def _map_series(draft: _Draft, settings: AssemblySettings, geometry: SliceGeometry) -> MapSeries:
    image, quantity, scale = draft.images[0], draft.quantity, draft.metadata[0].scale
    if large := too_large(image.header, 1, settings):
        raise SeriesError(large)
    default = settings.t1_map_scale if quantity is Quantity.T1 else settings.t2_map_scale
    values = pixels.values(image, scale or pixels.Scale(default), signed=True)
    if not np.isfinite(values).all():
        draft.add(Flag.NON_FINITE_PIXELS)
    unit, size = pixels.map_unit(values, quantity)
    if unit != "ms":
        values = values * np.float32(size)
        draft.add(
            Flag.CONVERTED_UNIT,
            f"The scanner's {quantity} map was taken to be in {unit}, by the size of its values, and "
            "converted to ms. To be sure, state its scale: attribute RescaleSlope, or the setting "
            f"assembly.{quantity.lower()}_map_scale.",
        )
    return MapSeries(quantity, values, geometry, draft.identity, draft.flags)
