"""Report of the results that came back from a server."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from inline.assembly.geometry import read_geometry, stated_directions
from inline.contouring.aha_segments import regions_at_level
from inline.data.errors import ProtocolError, SeriesError
from inline.data.examination import Haematocrit, HaematocritSource
from inline.data.flags import Flag
from inline.data.geometry import SliceGeometry
from inline.data.results import ContourOffsets, Contours, SliceLevel
from inline.data.series import NAME_PATTERN, Enhancement, Quantity, SeriesIdentity
from inline.emit.ecv import PARTITION_SCALE
from inline.emit.record import Record
from inline.mrd.messages import Image
from inline.replay.replies import contours_of, map_values, points_of
from inline.report.maps import Kind, RegionValue, ReportMap, Section, cut, slice_kind

_STYLE: Final = 6
"""Values of a ROI attribute before its points: colour, thickness, style, visibility."""
_NO_ECV: Final = re.compile(rf"(?s)WRN myostream: ECV of {NAME_PATTERN}: (.*)")
"""Text of a server on a slice without ECV (inline/serving/slices.py)."""
_LEVELS: Final = re.compile(r"(?s)DBG myostream: \d+ images? came\..* Levels: (.*)")
"""Summary of a server (inline/serving/summary.py)."""
_LEVEL_OR_SLICE: Final = re.compile(rf"({'|'.join(SliceLevel)})(?: \([^()]*\))?: |{NAME_PATTERN} \((\w+)\)")
_NO_SEGMENTS: Final = (
    "No segments: the level of the slice was not known when its values were computed, or was another one."
)


def returned_maps(
    slices: Iterable[tuple[Record, Image]],
    ecv: Iterable[tuple[Record, Image]],
    missing: Iterable[Record],
    texts: Iterable[str],
) -> list[ReportMap]:
    """Return the maps of a replay at the final levels of the summary.

    Their pixels are not measured anew: segments get their new names, without z-scores, or are left out where
    the level has others, which a note states.

    Args:
        slices: record and map of each slice.
        ecv: record and map of each ECV result.
        missing: records of slices of which only an error message came.
        texts: of the server, which state the slices without ECV and the final levels.
    """
    texts = list(texts)
    maps = [report_map(record, image) for record, image in slices]
    errors = []
    for match in filter(None, map(_NO_ECV.match, texts)):
        number = (int(match[1]), int(match[2]))
        native = next((each for each in maps if _number(each) == number and each.kind is not Kind.T2), None)
        if native is not None:
            error = ReportMap(Kind.ECV, native.identity, native.level, native.geometry, None, error=match[3])
            errors.append(error)
    found = [
        *maps,
        *(report_map(record, None) for record in missing),
        *(ecv_map(record, image) for record, image in ecv),
        *errors,
    ]
    final = _final_levels(texts)
    # Of ECV those of its native slice, which has the same number.
    flags = {(*_number(each), each.kind is Kind.T2): each.flags for each in maps}
    return [
        _at_level(each, final.get(number, each.level), flags.get(number, each.flags))
        for each in found
        for number in [(*_number(each), each.kind is Kind.T2)]
    ]


def report_map(record: Record, image: Image | None) -> ReportMap:
    """Return the map of a slice.

    Args:
        record: as :func:`inline.emit.schema.read_record` returns it.
        image: map of the result; None where none came.
    """
    offsets, flags, enhancement = record["contour_offsets_mm"], record["flags"], record["enhancement"]
    placed, section = _shown(image, contours_of(record), points_of(record))
    return ReportMap(
        kind=slice_kind(
            Quantity(record["quantity"]),
            # A later version may know others.
            Enhancement(enhancement) if enhancement in set(Enhancement) else None,
        ),
        identity=_identity(record),
        level=_level(record),
        geometry=placed if Flag.NO_ORIENTATION not in flags else None,
        section=section,
        regions=tuple(RegionValue.of_record(each) for each in record["regions"]),
        flags=tuple(flags),
        notes=tuple(record["notes"]),
        error=record["error"],
        offsets=ContourOffsets(offsets["endo"], offsets["epi"]) if offsets else None,
        scanner_made=record["scanner_made_map"],
        motion_corrected=record["motion_corrected"],
        t1_scale=record["t1_scale"],
        field_strength=record["field_strength_T"],
        reference=record["reference"],
        confidence_source=record["confidence_source"],
        confidence_reason=record["confidence_reason"],
    )


def ecv_map(record: Record, image: Image) -> ReportMap:
    """Return the map of an ECV result; arguments as those of :func:`report_map`."""
    post, value, source = record["post_contrast"], record["haematocrit"], record["haematocrit_source"]
    named = "median" if value is not None else "partition_coefficient"
    known = value is not None and source in set(HaematocritSource)
    placed, section = _shown(image, _rois(image), scale=1.0 if value is not None else PARTITION_SCALE)
    return ReportMap(
        kind=Kind.PARTITION if value is None else Kind.ECV,
        identity=_identity(record["native"]),
        level=_level(record),
        geometry=placed,
        section=section,
        regions=tuple(RegionValue.of_record(each, named) for each in record["regions"]),
        flags=tuple(record["flags"]),
        notes=tuple(record["notes"]),
        error=record["error"],
        haematocrit=Haematocrit(value, HaematocritSource(source)) if known else None,
        reference=record["reference"],
        post=_identity(post) if post else None,
    )


def _identity(record: Record) -> SeriesIdentity:
    """Return the acquisition that a record, or its part of a native or post-contrast slice, states."""
    names = ("series_index", "slice_index", "description", "time_stamp")
    return SeriesIdentity(*(record[name] for name in names))


def _number(shown: ReportMap) -> tuple[int, int]:
    """Return the series and the slice index of a map."""
    return shown.identity.series_index, shown.identity.slice_index


def _final_levels(texts: Iterable[str]) -> dict[tuple[int, int, bool], SliceLevel]:
    """Return the levels of the summary by series index, slice index and whether the quantity is T2.

    Slices of different levels that share these are left out.
    """
    found: dict[tuple[int, int, bool], set[SliceLevel]] = {}
    for summary in filter(None, map(_LEVELS.match, texts)):
        level = SliceLevel.UNKNOWN
        for match in _LEVEL_OR_SLICE.finditer(summary[1]):
            if match[1]:
                level = SliceLevel(match[1])
            else:
                key = (int(match[2]), int(match[3]), match[4] == Quantity.T2)
                found.setdefault(key, set()).add(level)
    return {key: levels.pop() for key, levels in found.items() if len(levels) == 1}


def _at_level(shown: ReportMap, level: SliceLevel, flags: Sequence[str]) -> ReportMap:
    """Return a map whose slice, with these flags, lies at another level; see :func:`returned_maps`."""
    if level is shown.level:
        return shown
    regions, lacking = regions_at_level(shown.regions, level, flags)
    notes = (*shown.notes, _NO_SEGMENTS) if lacking else shown.notes
    return replace(shown, level=level, regions=regions, notes=notes)


def _level(record: Record) -> SliceLevel:
    """Return the level of a record; unknown for one of a later version."""
    level = record["level"]
    return SliceLevel(level) if level in set(SliceLevel) else SliceLevel.UNKNOWN


def _shown(
    image: Image | None,
    contours: Contours | None,
    points: tuple[tuple[float, float], ...] = (),
    scale: float = 1.0,
) -> tuple[SliceGeometry | None, Section | None]:
    """Return the geometry of an image and the part of it that is shown; None as far as it cannot be read.

    The values that are shown are those of the image over ``scale``.
    """
    if image is None:
        return None, None
    try:
        placed = read_geometry(image.header, stated=stated_directions(image.meta()))
    except (SeriesError, ProtocolError):
        return None, None
    where = placed.geometry.known
    try:
        values = map_values(image) / np.float32(scale)
    except ProtocolError:
        return where, None
    measured = np.where(values > 0.0, values, np.float32(np.nan))
    return where, cut(measured, placed.geometry.spacing, contours, points)


def _rois(image: Image) -> Contours | None:
    """Return the contours that an image has as ROI attributes (``docs/protocol.md``); None without."""
    meta, found = image.meta(), {}
    for name in ("endo", "epi"):
        try:
            numbers = np.array(meta[f"ROI_{name}"][_STYLE:], np.float64)
            # The first point is repeated at the end.
            found[name] = numbers.reshape(-1, 2)[:-1]
        except (KeyError, ValueError):
            return None
    return Contours(**found)
