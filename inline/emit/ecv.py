"""MRD images of an ECV result, with contours and values as meta attributes (``docs/protocol.md``)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from inline.data.examination import EcvResult
from inline.data.geometry import SliceGeometry
from inline.data.series import SeriesIdentity
from inline.emit.mrd import common_attributes, json_text, quantitative, result_image, roi_attributes
from inline.emit.numbers import SeriesNumbers
from inline.emit.record import ECV_ATTRIBUTE, ecv_record, ecv_region_record, printed
from inline.mrd.image_header import ImageHeader
from inline.mrd.messages import Image
from inline.mrd.meta import MetaValue
from inline.settings import EmitSettings

ECV_WINDOW: Final = (0.0, 80.0)
"""Display window of an ECV map, percent: blood has some 58, healthy muscle 26, scar 60."""
PARTITION_WINDOW: Final = (0.0, 1.4)
"""Likewise of a partition coefficient, where blood has 1: ECV of 0 to 80 % at a haematocrit of 0.43."""
_SD_WINDOW: Final = (0.0, 10.0)
"""Likewise of an SD map, percent. Windows are whole numbers in percent: hosts read them as such."""
PARTITION_SCALE: Final = 100.0
"""A partition coefficient of 1 in its map, percent."""
_SCALE: Final = 10.0
"""Pixels per percent."""
_MAP, _SD = 5, 6
"""Places in the block of ten series numbers, after those of :mod:`inline.emit.mrd`."""


def ecv_images(
    result: EcvResult,
    template: ImageHeader,
    settings: EmitSettings | None = None,
    numbers: SeriesNumbers | None = None,
    *,
    completed_by: SeriesIdentity | None = None,
) -> list[Image]:
    """Return the images of an ECV result: the map in the place of the native slice; none with an error.

    ECV or, without haematocrit, the partition coefficient in tenths of a percent, uint16, 0 where it has no
    value; with ``settings.uncertainty`` its SD in the same unit.

    Args:
        result: of one slice position.
        template: header of an image of the examination; its place is replaced where the native slice has one.
        settings: choice of the images; the defaults if None.
        numbers: series numbers of the connection's results; those of an empty connection if None.
        completed_by: slice of the connection that completed the pair, whose numbers the images take: those of
            the partner may be of another connection, or of several series that all count from 0. None for the
            native one.
    """
    settings = settings or EmitSettings()
    known = result.haematocrit is not None
    values, sd = (result.ecv, result.ecv_sd) if known else (result.partition, result.partition_sd)
    if values is None:
        return []
    name, unit = ("ECV", 1.0) if known else ("LAMBDA", PARTITION_SCALE)
    low, high = ECV_WINDOW if known else PARTITION_WINDOW
    slot = completed_by or result.native
    first = (numbers or SeriesNumbers(settings.series_offset)).first(slot.series_index)
    meta = common_attributes(result.geometry, name, _comment(result))
    place = _placed(template, result.geometry)
    maps = [(values, _MAP, name, (unit * low, unit * high))]
    if settings.uncertainty and sd is not None:
        maps.append((sd, _SD, f"{name}_SD", _SD_WINDOW))
    sent = []
    for pixels, kind, named, shown in maps:
        percent = pixels.astype(np.float64) * unit
        stack, extra = quantitative(percent, named, _SCALE, shown, settings.max_pixel)
        extra |= roi_attributes(result.contours)
        if kind == _MAP:
            extra["MYOSTREAM_FLAGS"] = [flag.value for flag in result.flags]
            extra["MYOSTREAM_NOTES"] = list(result.notes)
            extra |= _values(result)
        sent.append(result_image(stack, place, first + kind, slot.slice_index, named, meta, extra))
    return sent


def _values(result: EcvResult) -> dict[str, MetaValue]:
    """Return the values by region as single attributes, and the whole record as JSON."""
    haematocrit = result.haematocrit
    values: dict[str, MetaValue] = {ECV_ATTRIBUTE: json_text(ecv_record(result))}
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


def _placed(template: ImageHeader, geometry: SliceGeometry) -> ImageHeader:
    """Return the template in the place of a slice; as it is where that is not known."""
    if not geometry.located:
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


def _comment(result: EcvResult) -> str:
    """Return one line for the person at the console."""
    ring = ecv_region_record(result.regions[0]) if result.regions else None
    if ring is None or ring["partition_coefficient"] is None:
        text = "ECV myostream: no values"
    elif ring["median"] is not None:
        median, q1, q3 = (printed(ring[name], 1) for name in ("median", "q1", "q3"))
        text = f"ECV myostream {median} % [{q1}-{q3}]"
    else:
        text = f"partition coefficient myostream {printed(ring['partition_coefficient'], 3)}"
    reasons = ", ".join(result.flags)
    return f"{text} ({reasons}) research only" if reasons else f"{text} research only"
