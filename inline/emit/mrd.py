"""MRD images of a result: map, labels, overlay, with contours and values as meta attributes.

The attributes are those that python-ismrmrd-server and Gadgetron write and scanners read
(``docs/protocol.md``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from inline.data.examination import EcvResult
from inline.data.flags import Flag
from inline.data.geometry import SliceGeometry
from inline.data.results import RESULT_ATTRIBUTE, Contours, SliceResult
from inline.data.series import Quantity
from inline.emit.numbers import SeriesNumbers
from inline.emit.overlay import ENDO_COLOUR, EPI_COLOUR, WINDOW_MS, draw, draw_uncertainty
from inline.emit.record import ECV_ATTRIBUTE, ecv_record, record
from inline.mrd.image_header import ImageHeader, ImageType
from inline.mrd.messages import Image
from inline.mrd.meta import MetaValue
from inline.settings import EmitSettings

SCALE: Final = {Quantity.T1: 1.0, Quantity.T2: 10.0}
"""Pixels of a map per ms, as the scanners of one vendor and Gadgetron scale theirs."""
REPORT_PIXEL_MM: Final = 25.4 / 150
"""Size of a pixel of a report on paper."""
ECV_WINDOW: Final = (0.0, 80.0)
"""Display window of an ECV map, percent: blood has some 58, healthy muscle 26, scar 60."""
PARTITION_WINDOW: Final = (0.0, 1.4)
"""Likewise of a partition coefficient; blood has 1."""
_SD_MAP, _BOUNDARY, _ECV_MAP, _ECV_SD = 3, 4, 5, 6
"""Places in the block of ten series numbers, after map, labels and overlay."""
_UNCHANGED: Final[dict[str, MetaValue]] = {"InternalSend": 1}
"""Colours must not be corrected or windowed on their way to the console."""
_STYLE: Final = ("1.000000", "0", "1")
"""Line of a contour: thickness, solid, visible."""


def images(
    result: SliceResult,
    template: ImageHeader,
    settings: EmitSettings | None = None,
    numbers: SeriesNumbers | None = None,
) -> list[Image]:
    """Return the images that go back for a slice, each with the position and counters of ``template``.

    The map (uint16, ms times :data:`SCALE`, 0 where it has no value), the labels (0, 1 cavity, 2 myocardium)
    and the overlay (RGB); none without a map.

    Args:
        result: of the slice.
        template: header of one of its images.
        settings: choice of the images; the defaults if None.
        numbers: series numbers of the connection's results; those of an empty connection if None.
    """
    settings = settings or EmitSettings()
    if result.map is None:
        return []
    first = (numbers or SeriesNumbers(settings.series_offset)).first(result.identity.series_index)
    low, high = WINDOW_MS[result.quantity]
    scale = SCALE[result.quantity]
    meta = _common(result.geometry, result.quantity.value, _comment(result))

    def made(pixels: NDArray[np.generic], kind: int, name: str, extra: dict[str, MetaValue]) -> Image:
        return _image(pixels, template, first + kind, result.identity.slice_index, name, meta, extra)

    scaled = np.round(result.map.values_ms.astype(np.float64) * scale)
    quantitative: dict[str, MetaValue] = {
        "DataRole": ["Image", "Quantitative", result.quantity.value],
        "ImageType": [f"{result.quantity.value} MAP"],
        "GADGETRON_DataRole": [result.quantity.value],
        **_scaled(scale, (low, high)),
        "MYOSTREAM_MAX_PIXEL": settings.max_pixel,
        "MYOSTREAM_CLIPPED_PIXELS": int(np.count_nonzero((scaled < 0) | (scaled > settings.max_pixel))),
        **_rois(result.contours),
        **_values(result),
    }
    pixels = np.clip(scaled, 0, settings.max_pixel).astype(np.uint16)
    sent = [made(pixels[None, None], 0, result.quantity.value, quantitative)]
    if settings.segmentation:
        labels = result.labels.astype(np.uint16)[None, None]
        extra: dict[str, MetaValue] = {"WindowCenter": "1", "WindowWidth": "2"}
        sent.append(made(labels, 1, f"{result.quantity}_LABELS", extra))
    if settings.overlay:
        review = Flag.REVIEW in result.flags
        found = (result.insertions.anterior, result.insertions.inferior)
        crosses = [(point.x, point.y) for point in found if point is not None]
        overlay = draw(result.map.values_ms, result.quantity, result.contours, crosses=crosses, review=review)
        colours = overlay.astype(np.uint16).transpose(2, 0, 1)[:, None]
        sent.append(made(colours, 2, f"{result.quantity}_CONTOURS", _UNCHANGED))
    if settings.uncertainty:
        sent += [made(*each) for each in _uncertainty(result, settings)]
    return sent


def ecv_images(
    result: EcvResult,
    template: ImageHeader,
    settings: EmitSettings | None = None,
    numbers: SeriesNumbers | None = None,
    *,
    series_index: int | None = None,
) -> list[Image]:
    """Return the images of an ECV result: the map in the place of the native slice; none with an error.

    ECV in tenths of a percent or, without haematocrit, the partition coefficient in thousandths, uint16, 0
    where it has no value; with ``settings.uncertainty`` its SD in the same unit.

    Args:
        result: of one slice position.
        template: header of an image of the examination; its place is replaced where the native slice has one.
        settings: choice of the images; the defaults if None.
        numbers: series numbers of the connection's results; those of an empty connection if None.
        series_index: series of the connection that completed the pair; None for the native one.
    """
    settings = settings or EmitSettings()
    known = result.haematocrit is not None
    values, sd = (result.ecv, result.ecv_sd) if known else (result.partition, result.partition_sd)
    if values is None:
        return []
    name, scale, window = ("ECV", 10.0, ECV_WINDOW) if known else ("LAMBDA", 1000.0, PARTITION_WINDOW)
    series = result.native.series_index if series_index is None else series_index
    first = (numbers or SeriesNumbers(settings.series_offset)).first(series)
    meta = _common(result.geometry, name, _ecv_comment(result))
    place = _placed(template, result.geometry, oriented=result.oriented)
    maps = [(values, _ECV_MAP, name, window)]
    if settings.uncertainty and sd is not None:
        maps.append((sd, _ECV_SD, f"{name}_SD", (0.0, window[1] / 8.0)))
    sent = []
    for pixels, kind, named, shown in maps:
        extra: dict[str, MetaValue] = {
            "DataRole": ["Image", "Quantitative", named],
            "ImageType": [f"{named} MAP"],
            "GADGETRON_DataRole": [named],
            **_scaled(scale, shown),
            **_rois(result.contours),
        }
        if kind == _ECV_MAP:
            extra["MYOSTREAM_FLAGS"] = [flag.value for flag in result.flags]
            extra["MYOSTREAM_NOTES"] = list(result.notes)
            extra |= _ecv_values(result)
        clipped = np.clip(np.round(pixels.astype(np.float64) * scale), 0, settings.max_pixel)
        stack = clipped.astype(np.uint16)[None, None]
        sent.append(_image(stack, place, first + kind, result.native.slice_index, named, meta, extra))
    return sent


def report_image(pixels: NDArray[np.uint8], template: ImageHeader, series: int) -> Image:
    """Return the page of a report as an RGB image.

    Args:
        pixels: uint8 ``(rows, columns, 3)``.
        template: header of an image of the examination.
        series: number of the series.
    """
    rows, columns, _ = pixels.shape
    size = (columns * REPORT_PIXEL_MM, rows * REPORT_PIXEL_MM, template.field_of_view[2])
    place = replace(template, field_of_view=size, slice=0)
    comment = "myostream report research only"
    meta: dict[str, MetaValue] = {
        "DataRole": "Image",
        "ImageProcessingHistory": ["PYTHON", "MYOSTREAM", "REPORT"],
        "Keep_image_geometry": 1,
        **dict.fromkeys(("ImageComment", "ImageComments", "GADGETRON_ImageComment"), comment),
    }
    colours = pixels.astype(np.uint16).transpose(2, 0, 1)[:, None]
    return _image(colours, place, series, 0, "REPORT", meta, _UNCHANGED)


def _ecv_values(result: EcvResult) -> dict[str, MetaValue]:
    """Return the values by region as single attributes, and the whole record as JSON."""
    haematocrit = result.haematocrit
    values: dict[str, MetaValue] = {ECV_ATTRIBUTE: _json(ecv_record(result))}
    if haematocrit is None:
        medians = {each.name: each.partition_coefficient for each in result.regions}
        name, digits = "MYOSTREAM_MEDIAN_LAMBDA", 5
    else:
        medians = {each.name: each.median for each in result.regions}
        name, digits = "MYOSTREAM_MEDIAN_PERCENT", 3
        values["MYOSTREAM_HAEMATOCRIT"] = [f"{haematocrit.value:.4f}", haematocrit.source.value]
    known = {region: median for region, median in medians.items() if median is not None}
    values["MYOSTREAM_REGIONS"] = list(known)
    values[name] = [f"{median:.{digits}f}" for median in known.values()]
    return values


def _placed(template: ImageHeader, geometry: SliceGeometry, *, oriented: bool) -> ImageHeader:
    """Return the template in the place of a slice; as it is where the slice has no orientation."""
    if not oriented:
        return template
    rows, columns = geometry.shape
    width, height = geometry.spacing
    normal = geometry.normal if geometry.slice_direction is None else geometry.slice_direction
    x, y, z = map(float, normal)
    return replace(
        template,
        position=geometry.position,
        read_dir=geometry.row_direction,
        phase_dir=geometry.column_direction,
        slice_dir=(x, y, z),
        field_of_view=(columns * width, rows * height, template.field_of_view[2]),
    )


def _ecv_comment(result: EcvResult) -> str:
    """Return one line for the person at the console."""
    ring = result.regions[0] if result.regions else None
    if ring is None or ring.partition_coefficient is None:
        text = "ECV myostream: no values"
    elif ring.median is not None:
        text = f"ECV myostream {ring.median:.1f} % [{ring.q1:.1f}-{ring.q3:.1f}]"
    else:
        text = f"partition coefficient myostream {ring.partition_coefficient:.3f}"
    reasons = ", ".join(result.flags)
    return f"{text} ({reasons}) research only" if reasons else f"{text} research only"


def _uncertainty(
    result: SliceResult, settings: EmitSettings
) -> Iterator[tuple[NDArray[np.generic], int, str, dict[str, MetaValue]]]:
    """Yield pixels, kind, name and attributes of SD map and boundary uncertainty, as far as known."""
    assert result.map is not None
    quantity, (_, high) = result.quantity, WINDOW_MS[result.quantity]
    scale = 10.0
    if not result.scanner_made:
        sd = np.clip(np.round(result.map.sd_ms.astype(np.float64) * scale), 0, settings.max_pixel)
        extra: dict[str, MetaValue] = {
            "DataRole": ["Image", "Quantitative", f"{quantity}SD"],
            "ImageType": [f"{quantity} SD MAP"],
            "GADGETRON_DataRole": [f"{quantity}SD"],
            **_scaled(scale, (0.0, 0.1 * high)),
            **_rois(result.contours),
        }
        yield sd.astype(np.uint16)[None, None], _SD_MAP, f"{quantity}_SD", extra
    if result.boundary_uncertainty is not None:
        shown = draw_uncertainty(result.map.values_ms, quantity, result.boundary_uncertainty)
        colours = shown.astype(np.uint16).transpose(2, 0, 1)[:, None]
        yield colours, _BOUNDARY, f"{quantity}_UNCERTAINTY", _UNCHANGED


def _image(
    pixels: NDArray[np.generic],
    template: ImageHeader,
    series: int,
    slice_index: int,
    name: str,
    meta: dict[str, MetaValue],
    extra: dict[str, MetaValue],
) -> Image:
    """Return an image of a series of results, with the place and counters of the template."""
    number = slice_index % 65535 + 1  # 16 bits hold it for any slice counter
    header = replace(
        template,
        image_type=ImageType.RGB if pixels.shape[0] == 3 else ImageType.MAGNITUDE,
        image_series_index=series,
        image_index=number,
        contrast=0,
        set=0,
        phase=0,
        flags=0,
    )
    names: dict[str, MetaValue] = {
        "SequenceDescriptionAdditional": f"myostream_{name}",
        "SeriesDescriptionAdditional": f"myostream_{name}",
        "GADGETRON_SeqDescription": f"_{name}",
        "GADGETRON_ImageNumber": number,
    }
    return Image.from_pixels(pixels, header, {**meta, **names, **extra})


def _scaled(scale: float, window: tuple[float, float]) -> dict[str, MetaValue]:
    """Return the scale of quantitative pixels, per unit of the quantity, and their window in that unit."""
    low, high = window
    centre, width = (low + high) / 2, high - low
    return {
        # With the role Quantitative, the scanner's chain does not rescale the pixels.
        "GADGETRON_ScaleRatio": scale,
        "GADGETRON_ScaleOffset": 0.0,
        "RescaleSlope": f"{1.0 / scale:g}",
        "RescaleIntercept": "0",
        # IceFire applies its window to rescaled values, Gadgetron's writer to the pixels.
        "WindowCenter": f"{centre:g}",
        "WindowWidth": f"{width:g}",
        "GADGETRON_WindowCenter": f"{centre * scale:g}",
        "GADGETRON_WindowWidth": f"{width * scale:g}",
    }


def _common(geometry: SliceGeometry, quantity: str, comment: str) -> dict[str, MetaValue]:
    return {
        "DataRole": "Image",
        "ImageProcessingHistory": ["PYTHON", "MYOSTREAM", quantity],
        "Keep_image_geometry": 1,
        "ImageRowDir": [f"{value:.18f}" for value in geometry.row_direction],
        "ImageColumnDir": [f"{value:.18f}" for value in geometry.column_direction],
        **dict.fromkeys(("ImageComment", "ImageComments", "GADGETRON_ImageComment"), comment),
    }


def _comment(result: SliceResult) -> str:
    """Return one line for the person at the console."""
    kind = f"{result.quantity} myostream"
    if result.quantity is Quantity.T1 and result.t1_scale != 1.0:
        kind += f" x {result.t1_scale:g}"
    ring = result.regions[0] if result.regions else None
    if ring is None:
        text = f"{kind}: no contour"
    elif ring.median is None:
        text = f"{kind}: no values"
    else:
        text = f"{kind} {ring.median:.0f} ms [{ring.q1:.0f}-{ring.q3:.0f}]"
    reasons = ", ".join(result.flags) or result.error
    return f"{text} ({reasons}) research only" if reasons else f"{text} research only"


def _rois(contours: Contours | None) -> dict[str, MetaValue]:
    """Return contours as scanners draw them: colour, thickness, style, visibility, x and y of each point.

    The first point is repeated at the end; without it a scanner draws an open line.
    """
    if contours is None:
        return {}
    rois: dict[str, MetaValue] = {}
    for name, points, colour in (
        ("ROI_endo", contours.endo, ENDO_COLOUR),
        ("ROI_epi", contours.epi, EPI_COLOUR),
    ):
        closed = np.vstack([points, points[:1]])
        rois[name] = [
            *(f"{part / 255:f}" for part in colour),
            *_STYLE,
            *(f"{value:f}" for value in closed.flat),
        ]
    return rois


def _values(result: SliceResult) -> dict[str, MetaValue]:
    """Return the values by region as single attributes, and the whole record as JSON.

    Regions without values are in the record alone.
    """
    medians = {region.name: region.median for region in result.regions if region.median is not None}
    scaled = result.quantity is Quantity.T1 and result.t1_scale != 1.0
    offsets = [f"{offset:.3f}" for offset in result.offsets or ()]
    return {
        "MYOSTREAM_REGIONS": list(medians),
        "MYOSTREAM_MEDIAN_MS": [f"{median:.3f}" for median in medians.values()],
        "MYOSTREAM_FLAGS": [flag.value for flag in result.flags],
        "MYOSTREAM_NOTES": list(result.notes),
        **({"MYOSTREAM_T1_SCALE": f"{result.t1_scale:g}"} if scaled else {}),
        **({"MYOSTREAM_MOTION_CORRECTED": 1} if result.motion_corrected else {}),
        **_motion(result),
        **({"MYOSTREAM_CONTOUR_OFFSETS_MM": offsets} if offsets else {}),
        **({} if result.confidence is None else {"MYOSTREAM_CONFIDENCE": f"{result.confidence:.4f}"}),
        # Escapes of JSON would carry halves of surrogate pairs past the check of the attribute string.
        RESULT_ATTRIBUTE: _json(record(result)),
    }


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _motion(result: SliceResult) -> dict[str, MetaValue]:
    """Return the state of the motion correction, the largest shift, and R2 before and after; none unseen."""
    motion = result.motion
    if motion is None:
        return {}
    after = [] if motion.r_squared_after is None else [f"{motion.r_squared_after:.4f}"]
    shift, before = f"{motion.largest_shift_mm:.2f}", f"{motion.r_squared_before:.4f}"
    return {"MYOSTREAM_MOTION": [motion.state.value, shift, before, *after]}
