"""Messages to the process of the live page: results with their images, and the status of the service.

They are dicts of plain values that msgpack can hold. ``event`` goes to browsers as it is; ``images`` stay in
the process of the page until a browser asks for one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inline.data.client_text import for_log
from inline.data.examination import EcvResult, HaematocritSource
from inline.data.geometry import SliceGeometry
from inline.data.results import Contours, SliceLevel, SliceResult
from inline.data.series import SeriesIdentity
from inline.emit.record import Record, ecv_region_record, json_number, region_record
from inline.report.colours import MAP_WINDOWS, SEGMENT_WINDOWS
from inline.report.maps import Kind, slice_kind
from inline.report.wording import importance, sentence
from inline.serving.health import Health
from inline.serving.tally import Tally

STEPS: Final[Mapping[str, float]] = {"ms": 0.1, "%": 0.01, "": 0.0001}
"""Step of the pixels of a map by its unit; 16 bits reach 6.5 s, 655 % and a partition coefficient of 6.5."""
_LARGEST: Final = 65535
_DIGITS: Final = 4
"""Digits of values after the point."""


class Entry(NamedTuple):
    """Place of a result on the page.

    Attributes:
        number: of the result, rising.
        study: number of its examination.
        connection: number of its connection.
        replaces: numbers of earlier results that the result takes the place of: that of the same slice, which
            missed its budget, or ECV errors of the slices of the pair.
        superseded: numbers of the results of the examination that do not count in its bull's-eyes, since a
            later one of their kind and slice position does.
    """

    number: int
    study: int
    connection: int
    replaces: list[int]
    superseded: list[int]


def slice_message(
    result: SliceResult, entry: Entry, *, latency_ms: float, budget_ms: float, texts: bool
) -> dict[str, Any]:
    """Return the message of one result.

    Args:
        result: of the slice.
        entry: its place on the page.
        latency_ms: from the last image of the slice to its result.
        budget_ms: that the slice had.
        texts: show texts of the sender, which may hold the name of a patient; else only their length.
    """
    images: dict[str, bytes] = {}
    kind = slice_kind(result.quantity, result.enhancement)
    if result.map is not None:
        images["map"] = map_pixels(result.map.values_ms, ~result.map.failed, STEPS[kind.unit])
    if result.boundary_uncertainty is not None:
        images["uncertainty"] = share_pixels(result.boundary_uncertainty)
    event = {
        "kind": "slice",
        **entry._asdict(),
        "latency_ms": round(latency_ms, 1),
        "budget_ms": budget_ms,
        **_acquisition(result.identity, texts=texts),
        "confidence": json_number(result.confidence, _DIGITS),
        "confidence_reason": result.confidence_reason,
        "reference": result.reference,
        "times_ms": {name: json_number(value, _DIGITS) for name, value in result.times_ms.items()},
        "insertions": [
            [round(point.x, 2), round(point.y, 2)]
            for point in (result.insertions.anterior, result.insertions.inferior)
            if point is not None
        ],
        "images": sorted(images),
        **_place(kind, result.geometry, result.contours),
        **slice_changes(result, texts=texts),
    }
    return {"event": event, "images": images}


def ecv_message(result: EcvResult, entry: Entry, *, texts: bool) -> dict[str, Any]:
    """Return the message of an ECV result; arguments as of :func:`slice_message`.

    Without haematocrit, map and values are those of the partition coefficient.
    """
    kind = Kind.PARTITION if result.haematocrit is None else Kind.ECV
    values = result.partition if result.haematocrit is None else result.ecv
    images: dict[str, bytes] = {}
    if values is not None and result.valid is not None:
        images["map"] = map_pixels(values, result.valid, STEPS[kind.unit])
    event = {
        "kind": "ecv",
        **entry._asdict(),
        "latency_ms": None,
        **_acquisition(result.native, texts=texts),
        "haematocrit": haematocrit_words(result),
        "insertions": [],
        "images": sorted(images),
        "reference": result.reference,
        **_place(kind, result.geometry, result.contours),
        **ecv_changes(result, texts=texts),
    }
    return {"event": event, "images": images}


def levels_message(changes: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the message of results whose level changed: by number, of the functions below."""
    return {
        "event": {"kind": "levels", "slices": [{"number": number, **new} for number, new in changes.items()]}
    }


def slice_changes(result: SliceResult, *, texts: bool) -> dict[str, Any]:
    """Return the part of a slice's event that depends on its level; ``texts`` as of :func:`slice_message`."""
    return {
        "level": _level(result),
        "regions": [_region(region_record(each), "median", "") for each in result.regions],
        **_findings(result, texts=texts),
    }


def ecv_changes(result: EcvResult, *, texts: bool) -> dict[str, Any]:
    """Return the part of an ECV result's event that depends on its level; likewise."""
    found = _findings(result, texts=texts)
    value = "median", "standard_error"
    if result.haematocrit is None:
        value = "partition_coefficient", "partition_standard_error"
    return {
        "level": _level(result),
        "regions": [_region(ecv_region_record(each), *value) for each in result.regions],
        **found,
        "notes": [*found["notes"], *_provenance(result)],
    }


def status_message(health: Health, open_: dict[int, Tally]) -> dict[str, Any]:
    """Return the message of the service's state, and of the connections by number."""
    return {
        "event": {
            "kind": "status",
            "ready": health.ready,
            "summary": health.summary,
            "engine": health.state.engine,
            "connections": [_connection(number, tally) for number, tally in open_.items()],
        }
    }


def closed_message(number: int, tally: Tally) -> dict[str, Any]:
    """Return the message of a connection that has ended."""
    return {"event": {"kind": "closed", **_connection(number, tally), "lost": tally.lost}}


def map_pixels(values: NDArray[np.float32], valid: NDArray[np.bool_], step: float) -> bytes:
    """Return a map ``(rows, columns)`` as little-endian 16-bit numbers in steps; 0: no value."""
    steps = np.clip(np.rint(values / step), 1, _LARGEST)
    return np.where(valid, steps, 0).astype("<u2").tobytes()


def share_pixels(shares: NDArray[np.float32]) -> bytes:
    """Return numbers from 0 to 1 ``(rows, columns)`` as bytes from 0 to 255."""
    pixels: NDArray[np.uint8] = np.rint(np.clip(shares, 0.0, 1.0) * 255.0).astype(np.uint8)
    return pixels.tobytes()


def haematocrit_words(result: EcvResult) -> str:
    """Return the haematocrit of an ECV result and its source in a sentence."""
    if result.haematocrit is None:
        return "" if result.error else "No haematocrit: partition coefficient instead of ECV."
    value = f"Haematocrit {result.haematocrit.value:.3g}"
    if result.haematocrit.source is HaematocritSource.GIVEN:
        return f"{value}, as given."
    if result.haematocrit.source is HaematocritSource.FILE:
        return f"{value}, of the study by the site's file."
    return f"{value}, synthetic: computed from native blood T1, not measured."


def _acquisition(identity: SeriesIdentity, *, texts: bool) -> dict[str, Any]:
    """Return the numbers and the description of an acquisition; ``texts`` as of :func:`slice_message`."""
    return {
        "series_index": identity.series_index,
        "slice_index": identity.slice_index,
        "description": identity.description if texts else "",
    }


def _place(kind: Kind, geometry: SliceGeometry, contours: Contours | None) -> dict[str, Any]:
    """Return what the page draws with: kind of the map, its unit and windows, size and contours."""
    return {
        "map": {
            "name": kind.value,
            "order": list(Kind).index(kind),
            "unit": kind.unit,
            "digits": kind.digits,
            "step": STEPS[kind.unit],
            "window": list(MAP_WINDOWS[kind]),
            "segments": list(SEGMENT_WINDOWS[kind]),
        },
        "shape": list(geometry.shape),
        "pixel_spacing_mm": [round(size, 6) for size in geometry.spacing],
        "contours": None
        if contours is None
        else {
            name: np.round(points, 2).tolist()
            for name, points in (("endo", contours.endo), ("epi", contours.epi))
        },
    }


def _level(result: SliceResult | EcvResult) -> str:
    return "" if result.level in (None, SliceLevel.UNKNOWN) else str(result.level)


def _findings(result: SliceResult | EcvResult, *, texts: bool) -> dict[str, Any]:
    """Return flags in words, the gravest first, notes and error."""
    flags = sorted({flag.value for flag in result.flags}, key=importance)
    return {
        "findings": [{"flag": flag, "text": sentence(flag)} for flag in flags],
        "notes": [for_log(note, foreign_text=texts) for note in result.notes],
        "error": for_log(result.error, foreign_text=texts),
    }


def _region(region: Record, value: str, error: str) -> dict[str, Any]:
    """Return a region of a record.

    Args:
        region: of a slice or of ECV.
        value: key of its median.
        error: key of the standard error of its mean, which a region of a slice does not have.
    """
    names = ("name", "pixels", "q1", "q3", "z_score")
    return {**{name: region[name] for name in names}, "median": region[value], "error": region.get(error)}


def _provenance(result: EcvResult) -> list[str]:
    """Return sentences on what an ECV result was made of."""
    sentences = []
    if result.native_blood is not None and result.post_blood is not None:
        native, post = result.native_blood.median_ms, result.post_blood.median_ms
        sentences.append(f"Blood T1 {native:.0f} ms native, {post:.0f} ms post-contrast.")
    if (moved := result.registration) is not None:
        sentences.append(
            f"Post-contrast map moved by {moved.x_mm:.1f} mm to the right, {moved.y_mm:.1f} mm down and "
            f"{moved.rotation_degrees:.0f} degrees ({moved.source})."
        )
    return sentences


def _connection(number: int, tally: Tally) -> dict[str, Any]:
    return {
        "connection": number,
        "images": tally.images,
        "returned": tally.returned,
        "withheld": tally.withheld,
        "slices": tally.slices,
        "results": tally.results,
        "errors": tally.errors,
        "late": tally.late,
    }
