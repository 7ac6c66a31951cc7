"""Record of a result: the values that ZeroMQ, JSON and MRD attributes share (``docs/stream.md``)."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from inline.data.geometry import SliceGeometry
from inline.data.results import InsertionPoint, RegionValues, SliceResult

SCHEMA: Final = "myostream.slice/1.3"
"""Version of the topic; the minor version counts additions of fields."""


def record(result: SliceResult) -> dict[str, Any]:
    """Return a result without its images, as dicts, lists, text, numbers and None.

    Missing values (an empty region) are None. Contours are ``[[x, y], ...]`` in pixels and
    ``[[x, y, z], ...]`` in patient coordinates (LPS, mm); insertion points likewise, ``[x, y]`` and
    ``[x, y, z]``.
    """
    geometry, identity = result.geometry, result.identity
    contours: dict[str, Any] | None = None
    if result.contours is not None:
        contours = {
            name: {
                "pixels": np.round(points, 3).tolist(),
                "patient_mm": np.round(geometry.to_patient(points), 2).tolist(),
            }
            for name, points in (("endo", result.contours.endo), ("epi", result.contours.epi))
        }
    return {
        "schema": SCHEMA,
        "series_index": identity.series_index,
        "slice_index": identity.slice_index,
        "description": identity.description,
        "time_stamp": identity.time_stamp,
        "quantity": result.quantity.value,
        "unit": "ms",
        "scanner_made_map": result.scanner_made,
        "shape": list(geometry.shape),
        "pixel_spacing_mm": [round(size, 6) for size in geometry.spacing],
        "contours": contours,
        "contour_offsets_mm": _offsets(result),
        "insertions": {
            name: _insertion(getattr(result.insertions, name), geometry) for name in ("anterior", "inferior")
        },
        "regions": [_region(region) for region in result.regions],
        "level": result.level.value if result.level else None,
        "level_source": result.level_source,
        "angular_reference": result.angular_reference,
        "confidence": _number(result.confidence, 4),
        "confidence_source": result.confidence_source,
        "flags": [flag.value for flag in result.flags],
        "notes": list(result.notes),
        "motion_corrected": result.motion_corrected,
        "motion": _motion(result),
        "t1_scale": result.t1_scale,
        "error": result.error,
        "times_ms": {name: _number(value, 3) for name, value in result.times_ms.items()},
    }


def _offsets(result: SliceResult) -> dict[str, float | None] | None:
    if result.offsets is None:
        return None
    return {"endo": _number(result.offsets.endo_mm, 3), "epi": _number(result.offsets.epi_mm, 3)}


def _motion(result: SliceResult) -> dict[str, Any] | None:
    motion = result.motion
    if motion is None:
        return None
    return {
        "state": motion.state.value,
        "r_squared_before": _number(motion.r_squared_before, 4),
        "r_squared_after": _number(motion.r_squared_after, 4),
        "largest_shift_mm": _number(motion.largest_shift_mm, 2),
    }


def _insertion(point: InsertionPoint | None, geometry: SliceGeometry) -> dict[str, Any] | None:
    if point is None:
        return None
    pixels = np.array([[point.x, point.y]])
    return {
        "pixels": np.round(pixels, 3)[0].tolist(),
        "patient_mm": np.round(geometry.to_patient(pixels), 2)[0].tolist(),
        "confidence": _number(point.confidence, 4),
    }


def _region(region: RegionValues) -> dict[str, Any]:
    values = {name: _number(getattr(region, name), 3) for name in ("median", "q1", "q3", "mean", "sd")}
    return {"name": region.name, **values, "pixels": region.pixels}


def _number(value: float | None, digits: int) -> float | None:
    """Return a rounded number; None where it is missing or not finite, which JSON cannot express."""
    return None if value is None or not math.isfinite(value) else round(value, digits)
