"""Report of the results that came back from a server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np

from inline.assembly.geometry import read_geometry
from inline.data.errors import ProtocolError, SeriesError
from inline.data.flags import Flag
from inline.data.results import ContourOffsets, Contours, SliceLevel
from inline.data.series import Enhancement, Quantity, SeriesIdentity
from inline.mrd.messages import Image
from inline.replay.results import Record
from inline.replay.run import map_ms
from inline.report.maps import RegionValue, ReportMap, cut, plane, slice_kind
from inline.report.output import SUFFIXES, check_suffix

NAME: Final = "report"
"""Name of the files in a folder, without suffix."""


def report_files(given: Iterable[Path]) -> list[Path]:
    """Return the files to write: those named, and a PNG and a PDF in each folder.

    Raises:
        ReportError: a name is neither that of a folder nor ends in .png or .pdf.
    """
    files: list[Path] = []
    for each in given:
        if each.is_dir():
            files += [each / f"{NAME}{suffix}" for suffix in SUFFIXES]
        else:
            check_suffix(each)
            files.append(each)
    return files


def report_map(record: Record, image: Image | None) -> ReportMap:
    """Return the map of a result.

    Args:
        record: as :func:`inline.replay.results.read_record` returns it.
        image: map of the result; None where none came.
    """
    offsets, flags = record["contour_offsets_mm"], tuple(record["flags"])
    level, enhancement = record["level"], record.get("enhancement")
    section = where = None
    if image is not None:
        with suppress(ProtocolError, SeriesError):
            geometry = read_geometry(image.header).geometry
            where = plane(geometry, oriented=Flag.NO_ORIENTATION not in flags)
            values = map_ms(image)
            section = cut(
                np.where(values > 0.0, values, np.float32(np.nan)),
                geometry.spacing,
                _contours(record),
                tuple(_points(record)),
            )
    return ReportMap(
        kind=slice_kind(
            Quantity(record["quantity"]),
            # A later version may know others.
            Enhancement(enhancement) if enhancement in set(Enhancement) else None,
        ),
        identity=SeriesIdentity(
            record["series_index"], record["slice_index"], record["description"], record["time_stamp"]
        ),
        level=SliceLevel(level) if level in set(SliceLevel) else SliceLevel.UNKNOWN,
        plane=where,
        section=section,
        regions=tuple(_regions(record["regions"])),
        flags=flags,
        notes=tuple(record["notes"]),
        error=record["error"],
        offsets=ContourOffsets(offsets["endo"], offsets["epi"]) if offsets else None,
        scanner_made=record["scanner_made_map"],
        motion_corrected=record["motion_corrected"],
        t1_scale=record["t1_scale"],
        field_strength=record.get("field_strength"),
        reference=record.get("reference", ""),
        confidence_source=record["confidence_source"],
    )


def _contours(record: Record) -> Contours | None:
    found = record["contours"]
    if not found:
        return None
    return Contours(**{name: np.array(found[name]["pixels"], np.float64) for name in ("endo", "epi")})


def _points(record: Record) -> Iterable[tuple[float, float]]:
    for point in (record["insertions"] or {}).values():
        if isinstance(point, dict):
            x, y = point["pixels"]
            yield x, y


def _regions(regions: Sequence[dict[str, Any]]) -> Iterable[RegionValue]:
    for each in regions:
        yield RegionValue(each["name"], each["median"], each["sd"], each["pixels"], each.get("z_score"))
