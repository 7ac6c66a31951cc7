"""Assembly of the images of one slice into its series: geometry, times, scales, values of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from inline.assembly import pixels
from inline.assembly.assembled import SATURATION, Assembled, Failed, Ready
from inline.assembly.completeness import remarks_on_times
from inline.assembly.geometry import Placed, differing_directions, differing_sizes, read_geometry
from inline.assembly.group import FEWEST, Group
from inline.assembly.image_metadata import ImageMetadata
from inline.assembly.timing import Remark, flags_of, timing
from inline.data.client_text import foreign, message
from inline.data.errors import SeriesError
from inline.data.flags import Flag
from inline.data.geometry import SliceGeometry
from inline.data.series import MappingSeries, MapSeries, Quantity, Series, SeriesIdentity
from inline.elements.scale import Scale
from inline.mrd.header import MeasurementHeader
from inline.mrd.image_header import ImageHeader
from inline.settings import AssemblySettings

_MOST_SLICES: Final = 256
"""Larger limits of the slice counter do not state a number of slices."""
_TOO_LARGE: Final = {Quantity.T1: "6 to 10 %", Quantity.T2: "32 to 49 %"}
"""Error of the value behind Gadgetron's AutoScaleGadget."""
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
            series = MapSeries(quantity, values, placed.geometry, identity, flags_of(findings))
        else:
            stack, times, signed = _weighted_images(group, header, settings, findings)
            series = MappingSeries(
                quantity, stack, times, placed.geometry, identity, flags_of(findings), signed=signed
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
        "flags": flags_of(findings),
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
    # T2 by T2 preparation does not depend on the recovery before it.
    if quantity is Quantity.T1 and any(each.recognised.saturation for each in metadata):
        findings.append((Flag.SATURATION_RECOVERY, ""))
        raise SeriesError(message(SATURATION, foreign(metadata[-1].description)))
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
    findings += remarks_on_times(quantity, ms, settings, group)
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
