"""Messages to the process of the live page: a result with its images, and the status of the service.

They are dicts of plain values that msgpack can hold. ``event`` goes to browsers as it is; ``images`` stay in
the process of the page until a browser asks for one.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from inline.data.client_text import for_log
from inline.data.results import SliceResult
from inline.emit.record import record
from inline.report.wording import importance, sentence
from inline.serving.health import Health
from inline.serving.tally import Tally

STEP_MS: Final = 0.1
"""Unit of the pixels of a map; 16 bits then reach 6.5 s, longer than any relaxation time of tissue."""
_LARGEST: Final = 65535
_LEFT_OUT: Final = (
    "schema",
    "description",
    "contours",
    "insertions",
    "notes",
    "error",
    "flags",
    "level_source",
)
"""Fields of a record that the page does not show, or has in another form."""


def slice_message(
    result: SliceResult,
    *,
    number: int,
    study: int,
    connection: int,
    latency_ms: float,
    budget_ms: float,
    replaces: int | None = None,
    texts: bool = False,
) -> dict[str, Any]:
    """Return the message of one result.

    Args:
        result: of the slice.
        number: of the result, rising.
        study: number of its examination.
        connection: number of its connection.
        latency_ms: from the last image of the slice to its result.
        budget_ms: that the slice had.
        replaces: number of an earlier result of the same slice, that missed its budget.
        texts: show texts of the sender, which may hold the name of a patient; else only their length.
    """
    event = {name: value for name, value in record(result).items() if name not in _LEFT_OUT}
    images: dict[str, bytes] = {}
    if result.map is not None:
        images["map"] = map_pixels(result.map.values_ms, result.map.failed)
    if result.boundary_uncertainty is not None:
        images["uncertainty"] = share_pixels(result.boundary_uncertainty)
    flags = sorted({flag.value for flag in result.flags}, key=importance)
    event |= {
        "kind": "slice",
        "number": number,
        "study": study,
        "connection": connection,
        "latency_ms": round(latency_ms, 1),
        "budget_ms": budget_ms,
        "replaces": replaces,
        "description": result.identity.description if texts else "",
        "contours": _contours(result),
        "insertions": [
            [round(point.x, 2), round(point.y, 2)]
            for point in (result.insertions.anterior, result.insertions.inferior)
            if point is not None
        ],
        "findings": [{"flag": flag, "text": sentence(flag)} for flag in flags],
        "notes": [for_log(note, foreign_text=texts) for note in result.notes],
        "error": for_log(result.error, foreign_text=texts),
        "step_ms": STEP_MS,
        "images": sorted(images),
    }
    return {"event": event, "images": images}


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


def map_pixels(values_ms: NDArray[np.float32], failed: NDArray[np.bool_]) -> bytes:
    """Return a map ``(rows, columns)`` as little-endian 16-bit numbers in steps of 0.1 ms; 0: no value."""
    steps = np.clip(np.rint(values_ms / STEP_MS), 1, _LARGEST)
    return np.where(failed | (values_ms <= 0.0), 0, steps).astype("<u2").tobytes()


def share_pixels(shares: NDArray[np.float32]) -> bytes:
    """Return numbers from 0 to 1 ``(rows, columns)`` as bytes from 0 to 255."""
    pixels: NDArray[np.uint8] = np.rint(np.clip(shares, 0.0, 1.0) * 255.0).astype(np.uint8)
    return pixels.tobytes()


def _contours(result: SliceResult) -> dict[str, list[list[float]]] | None:
    if result.contours is None:
        return None
    named = (("endo", result.contours.endo), ("epi", result.contours.epi))
    return {name: np.round(points, 2).tolist() for name, points in named}


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
