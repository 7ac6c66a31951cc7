"""MRD images of a result: map, labels, overlay, with contours and values as meta attributes.

The attributes are those that python-ismrmrd-server and Gadgetron write and scanners read
(``docs/protocol.md``).
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inline.data.flags import Flag
from inline.data.results import RESULT_ATTRIBUTE, SliceResult
from inline.data.series import Quantity
from inline.emit.numbers import SeriesNumbers
from inline.emit.overlay import ENDO_COLOUR, EPI_COLOUR, WINDOW_MS, draw
from inline.emit.record import record
from inline.mrd.image_header import ImageHeader, ImageType
from inline.mrd.messages import Image
from inline.mrd.meta import MetaValue
from inline.settings import EmitSettings

SCALE: Final = {Quantity.T1: 1.0, Quantity.T2: 10.0}
"""Pixels of a map per ms, as the scanners of one vendor and Gadgetron scale theirs."""
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
    # 16 bits hold it for any slice counter.
    number = result.identity.slice_index % 65535 + 1
    low, high = WINDOW_MS[result.quantity]
    centre, width = (low + high) / 2, high - low
    scale = SCALE[result.quantity]
    meta = _common(result)

    def made(pixels: NDArray[np.generic], kind: int, name: str, extra: dict[str, MetaValue]) -> Image:
        header = replace(
            template,
            image_type=ImageType.RGB if pixels.shape[0] == 3 else ImageType.MAGNITUDE,
            image_series_index=first + kind,
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

    scaled = np.round(result.map.values_ms.astype(np.float64) * scale)
    quantitative: dict[str, MetaValue] = {
        # Quantitative: the scanner's chain does not rescale the pixels.
        "DataRole": ["Image", "Quantitative", result.quantity.value],
        "ImageType": [f"{result.quantity.value} MAP"],
        "GADGETRON_DataRole": [result.quantity.value],
        "GADGETRON_ScaleRatio": scale,
        "GADGETRON_ScaleOffset": 0.0,
        "RescaleSlope": f"{1.0 / scale:g}",
        "RescaleIntercept": "0",
        # IceFire applies its window to rescaled values, Gadgetron's writer to the pixels.
        "WindowCenter": f"{centre:g}",
        "WindowWidth": f"{width:g}",
        "GADGETRON_WindowCenter": f"{centre * scale:g}",
        "GADGETRON_WindowWidth": f"{width * scale:g}",
        "MYOSTREAM_MAX_PIXEL": settings.max_pixel,
        "MYOSTREAM_CLIPPED_PIXELS": int(np.count_nonzero((scaled < 0) | (scaled > settings.max_pixel))),
        **_rois(result),
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
        # Colours must not be corrected or windowed on their way to the console.
        sent.append(made(colours, 2, f"{result.quantity}_CONTOURS", {"InternalSend": 1}))
    return sent


def _common(result: SliceResult) -> dict[str, MetaValue]:
    geometry = result.geometry
    return {
        "DataRole": "Image",
        "ImageProcessingHistory": ["PYTHON", "MYOSTREAM", result.quantity.value],
        "Keep_image_geometry": 1,
        "ImageRowDir": [f"{value:.18f}" for value in geometry.row_direction],
        "ImageColumnDir": [f"{value:.18f}" for value in geometry.column_direction],
        **dict.fromkeys(("ImageComment", "ImageComments", "GADGETRON_ImageComment"), _comment(result)),
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


def _rois(result: SliceResult) -> dict[str, MetaValue]:
    """Return contours as scanners draw them: colour, thickness, style, visibility, x and y of each point.

    The first point is repeated at the end; without it a scanner draws an open line.
    """
    if result.contours is None:
        return {}
    rois: dict[str, MetaValue] = {}
    for name, points, colour in (
        ("ROI_endo", result.contours.endo, ENDO_COLOUR),
        ("ROI_epi", result.contours.epi, EPI_COLOUR),
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
        RESULT_ATTRIBUTE: json.dumps(
            record(result), separators=(",", ":"), ensure_ascii=False, allow_nan=False
        ),
    }


def _motion(result: SliceResult) -> dict[str, MetaValue]:
    """Return the state of the motion correction, the largest shift, and R2 before and after; none unseen."""
    motion = result.motion
    if motion is None:
        return {}
    after = [] if motion.r_squared_after is None else [f"{motion.r_squared_after:.4f}"]
    shift, before = f"{motion.largest_shift_mm:.2f}", f"{motion.r_squared_before:.4f}"
    return {"MYOSTREAM_MOTION": [motion.state.value, shift, before, *after]}
