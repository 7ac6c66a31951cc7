"""Record of a result: the values that ZeroMQ, JSON and MRD attributes share (``docs/stream.md``)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from inline.data.examination import EcvRegion, EcvResult
from inline.data.flags import UNUSABLE
from inline.data.geometry import SliceGeometry
from inline.data.results import BloodT1, ContourOffsets, InsertionPoint, RegionValues, SliceResult
from inline.data.series import SeriesIdentity

SCHEMA: Final = "myostream.slice/1.4"
"""Version of the topic; the minor version counts additions of fields."""
ECV_SCHEMA: Final = "myostream.ecv/1.0"
"""Likewise of ECV results."""
ECV_ATTRIBUTE: Final = "MYOSTREAM_ECV"
"""MRD attribute of an ECV map: the whole record as JSON."""
_EXACT: Final = Context(prec=400)
"""Holds all digits of any float."""

Record = dict[str, Any]
"""Of a slice or of ECV, as :func:`slice_record` and :func:`ecv_record` make it."""


def slice_record(result: SliceResult) -> Record:
    """Return a result without its images, as dicts, lists, text, numbers and None.

    Missing values (an empty region) are None. Contours are ``[[x, y], ...]`` in pixels and
    ``[[x, y, z], ...]`` in patient coordinates (LPS, mm), None where the headers state no directions or no
    position; insertion points likewise, ``[x, y]`` and ``[x, y, z]``.
    """
    geometry, identity = result.geometry, result.identity
    contours: dict[str, Any] | None = None
    if result.contours is not None:
        contours = {
            name: {
                "pixels": np.round(points, 3).tolist(),
                "patient_mm": _in_patient(points, geometry),
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
        "contour_offsets_mm": _offsets(result.offsets),
        "contour_convention_mm": _offsets(result.convention),
        "insertions": {
            name: _insertion(getattr(result.insertions, name), geometry) for name in ("anterior", "inferior")
        },
        "regions": [region_record(region) for region in result.regions],
        "region_inset": json_number(result.inset, 4),
        "level": result.level.value if result.level else None,
        "level_source": result.level_source,
        "angular_reference": result.angular_reference,
        "confidence": json_number(result.confidence, 4),
        "confidence_source": result.confidence_source,
        "confidence_reason": result.confidence_reason,
        "flags": [flag.value for flag in result.flags],
        "notes": list(result.notes),
        "enhancement": result.enhancement.value if result.enhancement else None,
        "enhancement_source": result.enhancement_source,
        "field_strength_T": json_number(result.field_strength, 4),
        "blood_t1": _blood(result.blood),
        "reference": result.reference,
        "motion_corrected": result.motion_corrected,
        "motion": _motion(result),
        "t1_scale": result.t1_scale,
        "error": result.error,
        "times_ms": {name: json_number(value, 3) for name, value in result.times_ms.items()},
    }


def _offsets(offsets: ContourOffsets | None) -> dict[str, float | None] | None:
    if offsets is None:
        return None
    return {"endo": json_number(offsets.endo_mm, 3), "epi": json_number(offsets.epi_mm, 3)}


def _motion(result: SliceResult) -> dict[str, Any] | None:
    motion = result.motion
    if motion is None:
        return None
    return {
        "state": motion.state.value,
        "r_squared_before": json_number(motion.r_squared_before, 4),
        "r_squared_after": json_number(motion.r_squared_after, 4),
        "largest_shift_mm": json_number(motion.largest_shift_mm, 2),
    }


def _insertion(point: InsertionPoint | None, geometry: SliceGeometry) -> dict[str, Any] | None:
    if point is None:
        return None
    pixels = np.array([[point.x, point.y]])
    in_patient = _in_patient(pixels, geometry)
    return {
        "pixels": np.round(pixels, 3)[0].tolist(),
        "patient_mm": in_patient and in_patient[0],
        "confidence": json_number(point.confidence, 4),
    }


def _in_patient(points: NDArray[np.float64], geometry: SliceGeometry) -> list[list[float]] | None:
    """Return patient coordinates of pixels ``(n, 2)``, None where the place in the patient is not known."""
    if not geometry.located:
        return None
    coordinates: list[list[float]] = np.round(geometry.to_patient(points), 2).tolist()
    return coordinates


def region_record(region: RegionValues) -> Record:
    """Return the values of a region of a slice; every output prints these by :func:`printed`, all alike."""
    values = {name: json_number(getattr(region, name), 3) for name in ("median", "q1", "q3", "mean", "sd")}
    return {"name": region.name, **values, "pixels": region.pixels, "z_score": json_number(region.z_score, 4)}


def _blood(blood: BloodT1 | None) -> dict[str, Any] | None:
    if blood is None:
        return None
    return {
        "median": json_number(blood.median_ms, 3),
        "sd": json_number(blood.sd_ms, 3),
        "standard_error": json_number(blood.standard_error_ms, 3),
        "pixels": blood.pixels,
    }


def ecv_record(result: EcvResult) -> Record:
    """Return an ECV result without its maps, as dicts, lists, text, numbers and None.

    ECV is in percent, T1 in ms, the partition coefficient and the haematocrit are fractions.
    """
    haematocrit, registration = result.haematocrit, result.registration
    return {
        "schema": ECV_SCHEMA,
        "native": _acquisition(result.native),
        "post_contrast": _acquisition(result.post),
        "unit": "%",
        "level": result.level.value if result.level else None,
        "haematocrit": json_number(haematocrit.value, 4) if haematocrit else None,
        "haematocrit_source": haematocrit.source.value if haematocrit else None,
        "native_blood_t1": _blood(result.native_blood),
        "post_contrast_blood_t1": _blood(result.post_blood),
        "regions": [ecv_region_record(region) for region in result.regions],
        "masked_pixels": result.masked,
        "registration": {
            "x_mm": json_number(registration.x_mm, 2),
            "y_mm": json_number(registration.y_mm, 2),
            "rotation_degrees": json_number(registration.rotation_degrees, 1),
            "source": registration.source,
        }
        if registration
        else None,
        "pairing": result.pairing,
        "reference": result.reference,
        "flags": [flag.value for flag in result.flags],
        "notes": list(result.notes),
        "error": result.error,
    }


def _acquisition(identity: SeriesIdentity | None) -> dict[str, Any] | None:
    if identity is None:
        return None
    names = ("series_index", "slice_index", "description", "time_stamp")
    return {name: getattr(identity, name) for name in names}


def ecv_region_record(region: EcvRegion) -> Record:
    """Return likewise those of a region of ECV."""
    fractions = ("partition_coefficient", "partition_standard_error")
    return {
        **region_record(region),
        "standard_error": json_number(region.standard_error, 3),
        **{name: json_number(getattr(region, name), 5) for name in fractions},
    }


def json_number(value: float | None, digits: int) -> float | None:
    """Return a rounded number; None where it is missing or not finite, which JSON cannot express."""
    return None if value is None or not math.isfinite(value) else round(value, digits)


def printed(value: float, digits: int, sign: str = "") -> str:
    """Return a value of a record as text, ties rounded away from zero.

    JavaScript's ``toFixed``, by which the live page prints, rounds so; Python's formats round ties to even.
    """
    rounded = Decimal(float(value)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP, _EXACT)
    return f"{rounded:{sign}f}"


def in_order(record: Record) -> tuple[int, str, int]:
    """Return the key by which records are sorted: slice, quantity, series."""
    return record["slice_index"], record["quantity"], record["series_index"]


def ecv_in_order(record: Record) -> tuple[int, int]:
    """Return the key by which records of ECV are sorted: slice and series of the native map."""
    return record["native"]["slice_index"], record["native"]["series_index"]


def file_names(found: Iterable[Record], suffix: str) -> list[str]:
    """Return a distinct file name for each record: slice, quantity, series."""
    names, taken = [], Counter[str]()
    for each in found:
        name = f"slice-{each['slice_index']:02d}-{each['quantity']}-series-{each['series_index']}"
        taken[name] += 1
        names.append(f"{name}{suffix}" if taken[name] == 1 else f"{name}-{taken[name]}{suffix}")
    return names


def unusable(content: Record) -> str:
    """Return why the values of a slice or of ECV are not used, an error or flags; empty where they are."""
    return "error" if content["error"] else ", ".join(sorted(UNUSABLE.intersection(content["flags"])))
