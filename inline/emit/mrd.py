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

from inline.data.flags import Flag
from inline.data.geometry import SliceGeometry
from inline.data.results import RESULT_ATTRIBUTE, Contours, SliceResult
from inline.data.series import DIGITS, Quantity
from inline.emit.numbers import SeriesNumbers
from inline.emit.overlay import ENDO_COLOUR, EPI_COLOUR, WINDOW_MS, draw, draw_uncertainty
from inline.emit.record import printed, region_record, slice_record
from inline.mrd.image_header import ImageHeader, ImageType
from inline.mrd.messages import Image
from inline.mrd.meta import MetaValue
from inline.settings import EmitSettings

SCALE: Final = {Quantity.T1: 1.0, Quantity.T2: 10.0}
"""Pixels of a map per ms, as the scanners of one vendor and Gadgetron scale theirs."""
_SD_SCALE: Final = 10.0
"""Pixels of an SD map per ms."""
_SD_MAP, _BOUNDARY = 3, 4
"""Places in the block of ten series numbers, after map, labels and overlay and before those of ECV."""
UNCHANGED: Final[dict[str, MetaValue]] = {"InternalSend": 1}
"""Attribute of RGB images: their colours are neither corrected nor windowed on the way to the console."""
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
    window = WINDOW_MS[result.quantity]
    meta = common_attributes(result.geometry, result.quantity.value, _comment(result))

    def made(pixels: NDArray[np.generic], kind: int, name: str, extra: dict[str, MetaValue]) -> Image:
        return result_image(pixels, template, first + kind, result.identity.slice_index, name, meta, extra)

    pixels, attributes = quantitative(
        result.map.values_ms, result.quantity.value, SCALE[result.quantity], window, settings.max_pixel
    )
    attributes |= {**roi_attributes(result.contours), **_values(result)}
    sent = [made(pixels, 0, result.quantity.value, attributes)]
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
        sent.append(made(colours, 2, f"{result.quantity}_CONTOURS", UNCHANGED))
    if settings.uncertainty:
        sent += [made(*each) for each in _uncertainty(result, settings)]
    return sent


def _uncertainty(
    result: SliceResult, settings: EmitSettings
) -> Iterator[tuple[NDArray[np.generic], int, str, dict[str, MetaValue]]]:
    """Yield pixels, kind, name and attributes of SD map and boundary uncertainty, as far as known."""
    assert result.map is not None
    quantity, (_, high) = result.quantity, WINDOW_MS[result.quantity]
    if not result.scanner_made:
        window = (0.0, 0.1 * high)
        pixels, extra = quantitative(result.map.sd_ms, f"{quantity}SD", _SD_SCALE, window, settings.max_pixel)
        extra |= roi_attributes(result.contours)
        yield pixels, _SD_MAP, f"{quantity}_SD", extra
    if result.boundary_uncertainty is not None:
        shown = draw_uncertainty(result.map.values_ms, quantity, result.boundary_uncertainty)
        colours = shown.astype(np.uint16).transpose(2, 0, 1)[:, None]
        yield colours, _BOUNDARY, f"{quantity}_UNCERTAINTY", UNCHANGED


def result_image(
    pixels: NDArray[np.generic],
    template: ImageHeader,
    series: int,
    slice_index: int,
    name: str,
    meta: dict[str, MetaValue],
    extra: dict[str, MetaValue],
) -> Image:
    """Return an image of a series of results, at the place of the template.

    Args:
        pixels: ``(channels, slices, rows, columns)``; three channels are RGB.
        template: header of an image of the examination.
        series: series number.
        slice_index: of the slice; the image number follows from it.
        name: suffix of the series description.
        meta: attributes of all images of the result.
        extra: attributes of this image, which replace those of the same name.
    """
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


def quantitative(
    values: NDArray[np.floating[Any]], role: str, scale: float, window: tuple[float, float], max_pixel: int
) -> tuple[NDArray[np.uint16], dict[str, MetaValue]]:
    """Return the pixels of a map as MRD has them, ``(1, 1, rows, columns)``, and their attributes.

    Args:
        values: ``(rows, columns)``.
        role: quantity, for the attributes ``DataRole`` and ``ImageType``.
        scale: pixels per unit of the values.
        window: darkest and brightest value of the display.
        max_pixel: largest pixel; larger ones are clipped to it.
    """
    low, high = window
    centre, width = (low + high) / 2, high - low
    scaled = np.round(values.astype(np.float64) * scale)
    pixels = np.clip(scaled, 0, max_pixel).astype(np.uint16)[None, None]
    return pixels, {
        # Quantitative: the scanner's chain does not rescale the pixels.
        "DataRole": ["Image", "Quantitative", role],
        "ImageType": [f"{role} MAP"],
        "GADGETRON_DataRole": [role],
        "GADGETRON_ScaleRatio": scale,
        "GADGETRON_ScaleOffset": 0.0,
        "RescaleSlope": f"{1.0 / scale:g}",
        "RescaleIntercept": "0",
        # IceFire applies its window to rescaled values, Gadgetron's writer to the pixels.
        "WindowCenter": f"{centre:g}",
        "WindowWidth": f"{width:g}",
        "GADGETRON_WindowCenter": f"{centre * scale:g}",
        "GADGETRON_WindowWidth": f"{width * scale:g}",
        "MYOSTREAM_MAX_PIXEL": max_pixel,
        "MYOSTREAM_CLIPPED_PIXELS": int(np.count_nonzero((scaled < 0) | (scaled > max_pixel))),
    }


def common_attributes(geometry: SliceGeometry | None, kind: str, comment: str) -> dict[str, MetaValue]:
    """Return the attributes that every image of results has; None: the image lies at no place."""
    directions: dict[str, MetaValue] = {}
    if geometry is not None and geometry.oriented:
        directions = {
            "ImageRowDir": [f"{value:.18f}" for value in geometry.row_direction],
            "ImageColumnDir": [f"{value:.18f}" for value in geometry.column_direction],
        }
    return {
        "DataRole": "Image",
        "ImageProcessingHistory": ["PYTHON", "MYOSTREAM", kind],
        "Keep_image_geometry": 1,
        **directions,
        **dict.fromkeys(("ImageComment", "ImageComments", "GADGETRON_ImageComment"), comment),
    }


def _comment(result: SliceResult) -> str:
    """Return one line for the person at the console."""
    kind = " ".join(filter(None, (result.quantity, result.enhancement, "myostream")))
    if result.quantity is Quantity.T1 and result.t1_scale != 1.0:
        kind += f" x {result.t1_scale:g}"
    ring = region_record(result.regions[0]) if result.regions else None
    if ring is None:
        text = f"{kind}: no contour"
    elif ring["median"] is None:
        text = f"{kind}: no values"
    else:
        median, q1, q3 = (printed(ring[name], DIGITS[result.quantity]) for name in ("median", "q1", "q3"))
        text = f"{kind} {median} ms [{q1}-{q3}]"
    reasons = ", ".join(result.flags) or result.error
    return f"{text} ({reasons}) research only" if reasons else f"{text} research only"


def roi_attributes(contours: Contours | None) -> dict[str, MetaValue]:
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
        RESULT_ATTRIBUTE: json_text(slice_record(result)),
    }


def json_text(content: dict[str, Any]) -> str:
    """Return a record as JSON for an attribute."""
    # Escapes would carry halves of surrogate pairs past the check of the attribute string.
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _motion(result: SliceResult) -> dict[str, MetaValue]:
    """Return state of the motion correction, largest shift, R2 before and after; empty where not examined."""
    motion = result.motion
    if motion is None:
        return {}
    after = [] if motion.r_squared_after is None else [f"{motion.r_squared_after:.4f}"]
    shift, before = f"{motion.largest_shift_mm:.2f}", f"{motion.r_squared_before:.4f}"
    return {"MYOSTREAM_MOTION": [motion.state.value, shift, before, *after]}
