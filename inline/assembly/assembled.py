"""One slice whose images are complete: a series that a map is made from, or the error that prevents one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from inline.assembly import pixels
from inline.assembly.geometry import Placed, differing_directions, differing_sizes, read_geometry
from inline.assembly.group import NUMBERING, SHORTEST, Group
from inline.assembly.image_metadata import ImageMetadata
from inline.assembly.repetition import NEAR_MS, SAME_MS, ascending
from inline.assembly.times import ROUNDING_MS, Milliseconds, within_a_heartbeat
from inline.assembly.timing import Remark, timing
from inline.data.client_text import foreign, message
from inline.data.errors import SeriesError
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
from inline.elements.scale import Scale
from inline.mrd.header import MeasurementHeader
from inline.mrd.image_header import ImageHeader
from inline.settings import AssemblySettings

FEWEST: Final = {Quantity.T1: 4, Quantity.T2: 2}
"""Images that a fit needs."""
_MOST_SLICES: Final = 256
"""Larger limits of the slice counter do not state a number of slices."""
_TOO_LARGE: Final = {Quantity.T1: "6 to 10 %", Quantity.T2: "32 to 49 %"}
"""Error of the value behind Gadgetron's AutoScaleGadget."""
LATEST_FIRST_MS: Final = 400.0
"""Latest first inversion time of a whole series. Groups of a MOLLI series begin at 100 to 350 ms
(Messroghli et al. 2004, Magn Reson Med 52:141: 100, 200, 350; Piechnik et al. 2010,
J Cardiovasc Magn Reson 12:69: 100, 180, 260)."""
_TWO_IMAGES: Final = (
    "A T2 series of two images seems to lack some: they show neither noise nor motion, which may make T2 "
    "wrong by a tenth and more. State the number (setting assembly.images) if it is whole."
)
_ALL_IMAGES: Final = (
    "The inversion times are those of ShMOLLI. All images are fitted, without its conditional choice of "
    "images (Piechnik et al. 2010), which makes native T1 some 10 % too short. Use the scanner's map."
)
_MOST_MISSING: Final = 0.5
"""Share of an image that is not finite from which a note names the image; scanners mask air by NaN."""
_NO_SCALE: Final = "{}: the pixels were taken as they are stored, and values in ms may be wrong."
_PARTLY_SCALED: Final = (
    "Some images state the scale of their pixels (RescaleSlope, GADGETRON_ScaleRatio) and others none: these "
    "were taken as they are stored. Export the series again."
)
_TWO_SCALES: Final = (
    "The images state two scales that contradict each other: {:g} x stored + {:g} (GADGETRON_ScaleRatio, "
    "GADGETRON_ScaleOffset), which was used, and {:g} x stored + {:g} (RescaleSlope, RescaleIntercept). "
    "Values in ms may be wrong."
)
_SAME_SCALE: Final = 1e-3
"""Relative difference of two scales that is rounding of their texts."""
_BY_THEIR_SCALE: Final = (
    "All {} images are equally bright in the scale that they state, {:g} x stored + {:g} (RescaleSlope, "
    "RescaleIntercept), and not as they are stored: the map is wrong or empty. If the stored pixels are the "
    "signal, export the images with the slope 1 and the intercept 0."
)
_WRAPPED: Final = (
    "Magnitudes of type int16 are below -16384 and above 16384 in one image: values above 32767 seem to have "
    "wrapped. The map may be wrong: send the images as uint16, or in a smaller scale."
)
_ALONE: Final = (
    ". If each image comes alone: those of one slice need one header, series index and plane; in DICOM, one "
    "Study Instance UID, Series Instance UID and Frame of Reference UID"
)
_LOSSY: Final = "Images were compressed with loss: their values are not exact."
_UNREADABLE: Final = (
    "Attributes of {} of {} images are unreadable ({}); of these, the headers alone were used."
)


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
    def of(cls, series: Series, settings: AssemblySettings | None = None) -> Ready:
        """Return the slice of a series made of arrays: no header states more than the series does.

        Images in another order than that of their times are sorted. What the times show is flagged.

        Args:
            series: of one slice.
            settings: with the number of images of a series; None for the defaults.
        """
        findings: list[Remark] = [(flag, "") for flag in series.flags]
        if isinstance(series, MappingSeries) and len(series.times_ms) == len(series.images):
            if len(series.images) >= FEWEST[series.quantity]:
                findings += _of_times(
                    series.quantity, series.times_ms.tolist(), settings or AssemblySettings()
                )
            order = np.argsort(series.times_ms, kind="stable")
            if np.any(np.diff(order) < 0):
                series = replace(series, images=series.images[order], times_ms=series.times_ms[order])
        if not series.geometry.oriented:
            findings.append((Flag.NO_ORIENTATION, ""))
        return cls(
            quantity=series.quantity,
            identity=series.identity,
            geometry=series.geometry,
            template=ImageHeader(),
            slice_count=None,
            flags=_flags(findings),
            arrived=0.0,
            notes=tuple(note for _, note in findings if note),
            series=series,
        )

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


def assemble(
    group: Group,
    header: MeasurementHeader,
    settings: AssemblySettings,
    flags: tuple[Flag, ...] = (),
    *,
    as_map: bool = False,
) -> Assembled:
    """Return the slice of a group of images, with its series or with the error that prevents one.

    Args:
        group: images of the slice.
        header: of the measurement.
        settings: with the largest size of what is fitted, and the scales of maps.
        flags: what was unusual so far.
        as_map: the only image is a map that the scanner has made; else weighted images are sorted by time.
    """
    quantity, last, metadata = group.quantity, group.images[-1].header, group.metadata[-1]
    identity = SeriesIdentity(
        series_index=last.image_series_index,
        slice_index=last.slice,
        description=metadata.description,
        time_stamp=max(group.counter("acquisition_time_stamp")),
    )
    findings: list[Remark] = [(flag, "") for flag in flags]
    if unreadable := [each.unreadable for each in group.metadata if each.unreadable]:
        note = _UNREADABLE.format(len(unreadable), len(group.images), unreadable[0])
        findings.append((Flag.UNREADABLE_ATTRIBUTES, note))
    if scales := [each.unusable_scale for each in group.metadata if each.unusable_scale]:
        findings.append((Flag.UNREADABLE_ATTRIBUTES, message(_NO_SCALE, scales[0])))
    if frames := next((each.frames for each in group.metadata if each.frames), None):
        findings.append((Flag.CONTRADICTORY_GEOMETRY if frames.misplaced else None, frames.note))
    if note := _two_scales(group.metadata, as_map=as_map):
        findings.append((Flag.UNREADABLE_ATTRIBUTES, note))
    columns, rows, _ = last.matrix_size
    placed = Placed(SliceGeometry.unoriented((1.0, 1.0), (rows, columns)), last)
    series: Series | None = None
    error = ""
    try:
        placed = read_geometry(
            last, metadata.plane, metadata.unusable_spacing, header.recon_spaces, metadata.directions
        )
        if not placed.geometry.oriented:
            findings.append((Flag.NO_ORIENTATION, ""))
        if placed.contradiction:
            findings.append((Flag.CONTRADICTORY_GEOMETRY, placed.contradiction))
        stated = [(each.plane, each.directions) for each in group.metadata]
        images = zip(group.images, stated, strict=True)
        if turned := differing_directions((image.header, *own) for image, own in images):
            findings.append((Flag.CONTRADICTORY_GEOMETRY, turned))
        planes = (each.plane for each in group.metadata)
        if resized := differing_sizes(zip((image.header for image in group.images), planes, strict=True)):
            findings.append((Flag.CONTRADICTORY_GEOMETRY, resized))
        if as_map:
            values = _map_values(group, settings, findings)
            series = MapSeries(quantity, values, placed.geometry, identity, _flags(findings))
        else:
            stack, times, signed = _weighted_images(group, header, settings, findings)
            series = MappingSeries(
                quantity, stack, times, placed.geometry, identity, _flags(findings), signed=signed
            )
    except SeriesError as problem:
        error = problem.message
    slices = header.values("slice")
    lossy = _LOSSY if any(each.lossy for each in group.metadata) else ""
    common: dict[str, Any] = {
        "quantity": quantity,
        "identity": identity,
        "geometry": placed.geometry,
        "template": placed.header,
        "images": len(group.images),
        "slice_count": slices if 0 < slices <= _MOST_SLICES else None,
        "first_slice": header.first("slice"),
        "flags": _flags(findings),
        "arrived": group.arrived,
        "notes": tuple(note for note in (*(note for _, note in findings), placed.note, lossy) if note),
        "motion_corrected": metadata.recognised.corrected and not as_map,
        "enhancement": metadata.enhancement,
        "enhancement_source": metadata.enhancement_source,
        "field_strength": header.field_strength or None,
        "sex": header.sex,
    }
    return Failed(error=error, **common) if series is None else Ready(series=series, **common)


def _two_scales(metadata: Sequence[ImageMetadata], *, as_map: bool) -> str:
    """Return a sentence on a rescale that contradicts Gadgetron's scale; empty where none does.

    Weighted images may differ by a factor that all have in common: neither T1 nor T2 depends on it.
    """
    pairs = [(each.scale, each.rescale) for each in metadata if each.scale and each.rescale]
    if not pairs:
        return ""
    factor = 1.0 if as_map else pairs[0][1].slope / pairs[0][0].slope
    for own, other in pairs:
        expected = (factor * own.slope, factor * own.intercept)
        if not np.allclose((other.slope, other.intercept), expected, rtol=_SAME_SCALE, atol=0.0):
            return _TWO_SCALES.format(own.slope, own.intercept, other.slope, other.intercept)
    return ""


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


def _weighted_images(
    group: Group, header: MeasurementHeader, settings: AssemblySettings, findings: list[Remark]
) -> tuple[NDArray[np.float32], NDArray[np.float64], bool]:
    """Return images sorted by time in the scale that is stated, their times, and whether they are signed."""
    images, metadata, quantity = group.images, group.metadata, group.quantity
    if any(each.recognised.saturation for each in metadata):
        findings.append((Flag.SATURATION_RECOVERY, ""))
        raise SeriesError(
            message(
                "not fitted: {} is saturation recovery by its name or its saturation times, for which the "
                "inversion recovery of a MOLLI fit would give a wrong T1",
                foreign(metadata[-1].description),
            )
        )
    if large := too_large(images[-1].header, len(images), settings):
        raise SeriesError(large)
    ms, found = timing(group, header)
    findings += found
    order = sorted((time, place) for place, time in enumerate(ms) if time is not None)
    if len(order) < FEWEST[quantity]:
        usable = "" if len(order) == len(images) else " with a usable time"
        came = f"1 image{usable} is" if len(order) == 1 else f"{len(order)} images{usable} are"
        alone = _ALONE if len(images) == 1 else ""
        raise SeriesError(
            f"{came} too few for a {quantity} map; at least {FEWEST[quantity]} are needed{alone}"
        )
    findings += _of_times(quantity, ms, settings, group)
    if pixels.wrapped(images) and not any(each.scale and each.scale.intercept for each in metadata):
        findings.append((Flag.CLIPPED_IMAGES, _WRAPPED))
    scales = [metadata[i].scale for _, i in order if not metadata[i].unusable_scale]
    if None in scales and not {*scales} <= {None, Scale()}:
        # A single image with a scale may be the only one that needs it.
        one = len(scales) - scales.count(None) == 1
        findings.append((None if one else Flag.SCALED_IMAGES, _PARTLY_SCALED))
    signed = quantity is Quantity.T1 and all(each.signed for each in metadata)
    stack = np.stack([pixels.values(images[i], metadata[i].scale, signed=signed) for _, i in order])
    missing = 1.0 - np.isfinite(stack).mean(axis=(1, 2))
    if missing.any():
        findings.append((Flag.NON_FINITE_PIXELS, _without_numbers(missing, [time for time, _ in order])))
    if pixels.scaled_one_by_one(stack):
        note = (
            f"All {len(stack)} images are equally bright (99th percentile, mean, standard deviation or "
            "maximum): something before myostream scales each image for itself, which makes "
            f"{quantity} too large (Gadgetron's AutoScaleGadget by {_TOO_LARGE[quantity]}). Take it out "
            "of the chain."
        )
        scale = metadata[order[0][1]].scale
        stored = np.stack([pixels.values(images[i], None, signed=signed) for _, i in order])
        if scale is not None and not pixels.scaled_one_by_one(stored):
            note = _BY_THEIR_SCALE.format(len(stack), scale.slope, scale.intercept)
        findings.append((Flag.SCALED_IMAGES, note))
    if signed and not pixels.has_sign(stack):
        stack, signed = np.abs(stack), False
    return stack, np.array([time for time, _ in order]), signed


def _without_numbers(missing: NDArray[np.floating[Any]], times: list[float]) -> str:
    """Return a sentence on images of which much is not finite; empty if it is little.

    Args:
        missing: share of each image that is not finite.
        times: of the images, ms.
    """
    named = [f"{time:g} ms" for time, share in zip(times, missing, strict=True) if share >= _MOST_MISSING]
    if not named:
        return ""
    which = "the pixels of all images" if len(named) == len(times) else f"the pixels at {', '.join(named)}"
    most = 100.0 * float(missing.max())
    return f"{most:.0f} % of {which} are not finite numbers and have no fit: check the reconstruction."


def _of_times(
    quantity: Quantity, ms: Milliseconds, settings: AssemblySettings, group: Group | None = None
) -> list[Remark]:
    """Return what the times of a slice's images show: ShMOLLI, images that came twice or are missing.

    Args:
        quantity: T1 or T2.
        ms: times in the order of arrival, at least as many as a fit needs.
        settings: with the number of images.
        group: the images with their counters; None for those of arrays, which have none.
    """
    times = sorted(time for time in ms if time is not None)
    averages = [0] * len(ms) if group is None else group.counter("average")
    twice = "" if group is None else _mixed(group, ms)
    if quantity is Quantity.T1:
        twice = _first_anew(ms, averages) or twice
        # Where no counter but the image index runs, equal times are those of averages.
        if group is None or group.running:
            twice = twice or _doubled(ms, averages)
    findings: list[Remark] = []
    if quantity is Quantity.T1 and _is_shmolli(times):
        findings.append((Flag.SHMOLLI, _ALL_IMAGES))
    if twice:
        findings.append((Flag.DUPLICATE_IMAGES, twice))
    if missing := _incomplete(quantity, times, settings):
        findings.append((Flag.MISSING_IMAGES, missing))
    return findings


def _is_shmolli(times: list[float]) -> bool:
    """Return whether ascending inversion times, ms, are of three inversions with 5, 1 and 1 image.

    The first images of the three inversions have short times; those of the first follow a heartbeat apart. In
    other schemes a second inversion gives a time beside each of these.
    """
    short = sum(time <= LATEST_FIRST_MS for time in times)
    return len(times) == 7 and short == 3 and bool((np.diff(times[3:]) > LATEST_FIRST_MS / 2).all())


def _first_anew(ms: Milliseconds, averages: Sequence[int]) -> str:
    """Return that the first image of a T1 series came again after at most three; empty if it did not.

    Its inversion time is that of the protocol, the shortest, and comes once in most acquisitions: those after
    other inversions are longer. Of averages, each time comes equally often.

    Args:
        ms: times in the order of arrival.
        averages: number of the average of each image.
    """
    first = ms[0]
    if first is None or first > min(time for time in ms if time is not None):
        return ""

    def places(time: float) -> list[int]:
        return [
            place for place, each in enumerate(ms) if each is not None and abs(each - time) <= ROUNDING_MS
        ]

    again = places(first)
    if len(again) != 2 or again[1] >= FEWEST[Quantity.T1]:
        return ""
    in_pairs = all(len(places(time)) == 2 for time in ms if time is not None)
    if in_pairs or averages[again[0]] != averages[again[1]]:
        return ""
    return (
        f"The first inversion time, {first:g} ms, came twice, and both images are fitted: the first one was "
        "acquired anew, the acquisition was broken off and repeated, or the protocol has two inversions with "
        "the same time. Send a repetition as its own series."
    )


def _mixed(group: Group, ms: Milliseconds) -> str:
    """Return that the images seem to be those of two acquisitions; empty if they do not.

    Two of them have the same time and the same counters but the image index, and follow each other, or all
    images are such pairs. Counters that begin again at an inversion of the same nominal time fall before it,
    and no scheme has inversions of equal length alone. Where no other counter runs, equal times are those of
    averages.

    Args:
        group: images of the slice.
        ms: times in the order of arrival.
    """
    near = min(SAME_MS[group.quantity], NEAR_MS)
    counters = zip(*(group.counter(name) for name in NUMBERING if name != "image_index"), strict=True)
    timed = [(each, time) for each, time in zip(counters, ms, strict=True) if time is not None]

    def alike(images: list[tuple[tuple[int, ...], float]]) -> list[bool]:
        return [one == two and abs(later - time) <= near for (one, time), (two, later) in pairwise(images)]

    in_turn = any(alike(timed[: ascending([each for each, _ in timed])]))
    beside = [False, *alike(sorted(timed)), False]
    all_twice = all(before or after for before, after in pairwise(beside))
    if len({each for each, _ in timed}) < 2 or not (in_turn or all_twice):
        return ""
    return (
        "Images differ in the image index, not in time or another counter, and all are fitted. They may be "
        "averages, or those of two acquisitions, or as acquired and corrected, whose map is a mixture. "
        "Send each acquisition as its own series, and number averages by the counter average."
    )


def _doubled(ms: Milliseconds, averages: Sequence[int]) -> str:
    """Return that inversion times come twice, as in two acquisitions; empty if they do not.

    At most three times after one inversion are those after another, even where both are nominal. Of two
    acquisitions at different heart rates only the times of the first images after an inversion agree, the
    shortest among them, and the images are more than those of a scheme in use.

    Args:
        ms: times in the order of arrival.
        averages: number of the average of each image.
    """
    timed = sorted((each, time) for each, time in zip(averages, ms, strict=True) if time is not None)
    near = [one == two and later - time <= NEAR_MS for (one, time), (two, later) in pairwise(timed)]
    come_again = sum(now and not before for before, now in pairwise([False, *near]))
    if come_again < FEWEST[Quantity.T1] and not (near[0] and len(timed) >= 2 * SHORTEST[Quantity.T1]):
        return ""
    return (
        "Inversion times come twice, and all images are fitted. Of averages that is right. Of two "
        "acquisitions T1 is a mixture: send each as its own series (in DICOM, under its own Series Instance "
        "UID), and in MRD number averages by the counter average."
    )


def _incomplete(quantity: Quantity, times_ms: list[float], settings: AssemblySettings) -> str:
    """Return why a series seems to lack images although none is known to be missing; empty if it does not.

    A sender that sends a part of a series may state no number of images, or that of the part.

    Args:
        quantity: T1 or T2.
        times_ms: of the images, ascending.
        settings: with the number of images.
    """
    images, first_ms = len(times_ms), times_ms[0]
    few = images < min(settings.images or SHORTEST[quantity], SHORTEST[quantity])
    if quantity is Quantity.T2:
        return _TWO_IMAGES if few else ""
    if first_ms > LATEST_FIRST_MS:
        return (
            f"The shortest inversion time is {first_ms:g} ms, that of a whole MOLLI series 100 to 350 ms: "
            "images seem to be missing, without which T1 may be wrong by a tenth and more."
        )
    if within_a_heartbeat(times_ms):
        return (
            "No inversion time is a heartbeat after the one before, as in a TI scout. If this is MOLLI, "
            "images seem to be missing, without which T1 may be wrong by a tenth and more."
        )
    if few:
        return (
            f"A T1 series of {images} images seems to lack some, without which T1 may be wrong by a tenth "
            "and more: MOLLI has 7 to 11. State the number (setting assembly.images) if it is whole."
        )
    return ""


def _map_values(group: Group, settings: AssemblySettings, findings: list[Remark]) -> NDArray[np.float32]:
    """Return the values of a map in ms."""
    image, quantity, stated = group.images[0], group.quantity, group.metadata[0].scale
    if large := too_large(image.header, 1, settings):
        raise SeriesError(large)
    default = settings.t1_map_scale if quantity is Quantity.T1 else settings.t2_map_scale
    scale = stated or Scale(default)
    values = pixels.values(image, scale, signed=True)
    if not np.isfinite(values).all():
        findings.append((Flag.NON_FINITE_PIXELS, ""))
    unit, size = pixels.map_unit(values, quantity)
    if (unit != "ms" or scale == Scale()) and pixels.are_labels(image):
        raise SeriesError(f"the {quantity} map holds small whole numbers alone, as a mask or labels do")
    if unit != "ms":
        values = values * np.float32(size)
        # The unit is that of the stored values, not of those that a wrong scale made of them.
        unit = pixels.UNITS.get(round(scale.slope * size, 9), f"{scale.slope * size:g} ms")
        why = (
            "To be sure, state its scale: in NIfTI by Units of the sidecar, else by the attribute "
            f"RescaleSlope or the setting assembly.{quantity.lower()}_map_scale."
            if stated is None
            else f"The scale that it states (slope {scale.slope:g}) gives values that no tissue has in ms."
        )
        note = (
            f"The scanner's {quantity} map was taken to be in {unit}, by the size of its values, and "
            f"converted to ms. {why}"
        )
        findings.append((Flag.CONVERTED_UNIT, note))
    return values


def _flags(findings: list[Remark]) -> tuple[Flag, ...]:
    return tuple(dict.fromkeys(flag for flag, _ in findings if flag is not None))
