"""One slice whose images have come: the series that a map is made from, or why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from inline.assembly import pixels
from inline.assembly.geometry import Placed, read_geometry
from inline.assembly.image_metadata import ImageMetadata
from inline.assembly.timing import timing
from inline.data.client_text import foreign, message
from inline.data.errors import SeriesError
from inline.data.flags import Flag
from inline.data.geometry import SliceGeometry
from inline.data.series import MappingSeries, MapSeries, Quantity, Series, SeriesIdentity
from inline.mrd.header import MeasurementHeader
from inline.mrd.image_header import ImageHeader
from inline.mrd.messages import Image
from inline.settings import AssemblySettings

FEWEST: Final = {Quantity.T1: 4, Quantity.T2: 2}
"""Images that a fit needs."""
_MOST_SLICES: Final = 256
"""A larger limit of the slice counter is no number of slices."""
_TOO_LARGE: Final = {Quantity.T1: "6 to 10 %", Quantity.T2: "32 to 49 %"}
"""What Gadgetron's AutoScaleGadget in front of the module adds to a value."""
_UNREADABLE: Final = "Attributes of the images are unreadable; only what the headers say was used."


@dataclass(frozen=True, slots=True)
class Assembled:
    """One slice that is ready, or that cannot become so.

    Attributes:
        series: what a map is made from; None where ``error`` says why there is none.
        quantity: T1 or T2.
        identity: which acquisition.
        geometry: None only beside an error.
        template: header of the slice's last image, for the images that go back.
        slice_count: slices of the measurement, or None.
        oriented: the geometry's directions are the sender's.
        flags: reason codes.
        error: why ``series`` is None, or empty.
        arrived: time of the slice's last image, seconds of the caller's clock.
        notes: sentences for the result, beside ``flags``.
        motion_corrected: the images were corrected for motion by the scanner.
    """

    series: Series | None
    quantity: Quantity
    identity: SeriesIdentity
    geometry: SliceGeometry | None
    template: ImageHeader
    slice_count: int | None
    oriented: bool
    flags: tuple[Flag, ...]
    error: str
    arrived: float
    notes: tuple[str, ...] = ()
    motion_corrected: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels."""
        if self.series is None:
            return 0
        return (
            self.series.values_ms.nbytes if isinstance(self.series, MapSeries) else self.series.images.nbytes
        )


class _Findings:
    """Flags and notes as they come up, each once."""

    def __init__(self, flags: Sequence[Flag]) -> None:
        self.flags = tuple(flags)
        self.notes: tuple[str, ...] = ()

    def add(self, flag: Flag, note: str = "") -> None:
        self.flags += (flag,)
        self.notes += (note,) if note else ()


def from_images(
    images: Sequence[Image],
    metadata: Sequence[ImageMetadata],
    quantity: Quantity,
    header: MeasurementHeader,
    arrived: float,
    flags: Sequence[Flag] = (),
    settings: AssemblySettings | None = None,
) -> Assembled:
    """Return the series of the weighted images of one slice, sorted by time, in the scale that is stated.

    Args:
        images: in the order of their arrival.
        metadata: of each.
        quantity: that they measure.
        header: of the measurement.
        arrived: time of the last one, seconds.
        flags: what was unusual so far.
        settings: of the assembly, for the size of what is fitted; None for the defaults.
    """
    findings = _Findings(flags)
    last = metadata[-1]
    if not all(each.readable for each in metadata):
        findings.add(Flag.UNREADABLE_ATTRIBUTES, _UNREADABLE)
    identity = SeriesIdentity(
        series_index=images[-1].header.image_series_index,
        slice_index=images[-1].header.slice,
        description=last.description,
        time_stamp=max(image.header.acquisition_time_stamp for image in images),
    )
    placed: Placed | None = None
    series, error = None, ""
    try:
        placed = _placed(images[-1], last, findings)
        if any(each.recognised.saturation for each in metadata):
            findings.add(Flag.SATURATION_RECOVERY)
            raise SeriesError(
                message(
                    "not fitted: {} is saturation recovery by its name, for which the inversion "
                    "recovery of a MOLLI fit would give a wrong T1",
                    foreign(last.description),
                )
            )
        if large := too_large(images[-1].header, len(images), settings or AssemblySettings()):
            raise SeriesError(large)
        found = timing(images, metadata, quantity, header)
        findings.flags += found.flags
        findings.notes += found.notes
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
            findings.add(Flag.NON_FINITE_PIXELS)
        elif pixels.scaled_one_by_one(stack):
            findings.add(
                Flag.SCALED_IMAGES,
                f"All {len(stack)} images are equally bright (99th percentile, mean, standard deviation or "
                "maximum): something before myostream scales each image for itself, which makes "
                f"{quantity} too large (Gadgetron's AutoScaleGadget by {_TOO_LARGE[quantity]}). Take it out "
                "of the chain.",
            )
        times = np.array([time for time, _ in order])
        series = MappingSeries(
            quantity, stack, times, placed.geometry, identity, findings.flags, signed=signed
        )
    except SeriesError as problem:
        error = problem.message
    return _assembled(
        series, quantity, identity, placed, images[-1].header, header, findings, error, arrived,
        corrected=last.recognised.corrected,
    )  # fmt: skip


def from_map(
    image: Image,
    metadata: ImageMetadata,
    quantity: Quantity,
    header: MeasurementHeader,
    settings: AssemblySettings,
    arrived: float,
    flags: Sequence[Flag] = (),
) -> Assembled:
    """Return the series of a map that the scanner has made, in ms."""
    findings = _Findings(flags)
    if not metadata.readable:
        findings.add(Flag.UNREADABLE_ATTRIBUTES, _UNREADABLE)
    head = image.header
    identity = SeriesIdentity(
        head.image_series_index, head.slice, metadata.description, head.acquisition_time_stamp
    )
    placed: Placed | None = None
    series, error = None, ""
    try:
        placed = _placed(image, metadata, findings)
        if large := too_large(head, 1, settings):
            raise SeriesError(large)
        default = settings.t1_map_scale if quantity is Quantity.T1 else settings.t2_map_scale
        values = pixels.values(image, metadata.scale or pixels.Scale(default), signed=True)
        if not np.isfinite(values).all():
            findings.add(Flag.NON_FINITE_PIXELS)
        unit, size = pixels.map_unit(values, quantity)
        if unit != "ms":
            values = values * np.float32(size)
            findings.add(
                Flag.CONVERTED_UNIT,
                f"The scanner's {quantity} map was taken to be in {unit}, by the size of its values, and "
                "converted to ms. To be sure, state its scale: attribute RescaleSlope, or the setting "
                f"assembly.{quantity.lower()}_map_scale.",
            )
        series = MapSeries(quantity, values, placed.geometry, identity, findings.flags)
    except SeriesError as problem:
        error = problem.message
    return _assembled(
        series, quantity, identity, placed, head, header, findings, error, arrived,
        corrected=metadata.recognised.corrected,
    )  # fmt: skip


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


def _placed(image: Image, metadata: ImageMetadata, findings: _Findings) -> Placed:
    placed = read_geometry(image.header, metadata.plane)
    if not placed.oriented:
        findings.add(Flag.NO_ORIENTATION)
    if placed.contradiction:
        findings.add(Flag.CONTRADICTORY_GEOMETRY, placed.contradiction)
    return placed


def _assembled(
    series: Series | None,
    quantity: Quantity,
    identity: SeriesIdentity,
    placed: Placed | None,
    template: ImageHeader,
    header: MeasurementHeader,
    findings: _Findings,
    error: str,
    arrived: float,
    *,
    corrected: bool,
) -> Assembled:
    slices = header.maxima.get("slice", -1) + 1
    return Assembled(
        series=series,
        quantity=quantity,
        identity=identity,
        geometry=placed.geometry if placed else None,
        template=placed.header if placed else template,
        slice_count=slices if 0 < slices <= _MOST_SLICES else None,
        oriented=placed is not None and placed.oriented,
        flags=findings.flags,
        error=error,
        arrived=arrived,
        notes=findings.notes,
        motion_corrected=corrected,
    )
