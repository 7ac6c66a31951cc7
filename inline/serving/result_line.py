"""Line of the log for each result, the same in ``serve`` and ``dicom-node`` (``docs/service.md``)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from inline.data.results import SliceResult
from inline.emit.record import json_number, printed, region_record


def log_result(log: logging.Logger, result: SliceResult, name: str = "") -> None:
    """Log a result; where the log is JSON, with its fields.

    Args:
        log: of the program.
        result: nothing of its texts is logged.
        name: of the connection, where there is one.
    """
    fields = _fields(result)
    text, extra = _line(fields), {"fields": {"result": fields}}
    if name:
        log.info("%s result: %s", name, text, extra=extra)
    else:
        log.info("result: %s", text, extra=extra)


def _fields(result: SliceResult) -> dict[str, Any]:
    """Return a result for the log; nothing of the patient is in it."""
    median = region_record(result.regions[0])["median"] if result.regions else None
    return {
        "series": result.identity.series_index,
        "slice": result.identity.slice_index,
        "level": result.level,
        "quantity": result.quantity,
        "median_ms": None if median is None else float(printed(median, 1)),
        "motion_corrected": result.motion_corrected,
        "t1_scale": result.t1_scale,
        "confidence": json_number(result.confidence, 3),
        "flags": result.flags,
        "stages_ms": {stage: json_number(took, 1) for stage, took in result.times_ms.items()},
    }


def _line(fields: Mapping[str, Any]) -> str:
    """Return the fields of a result in one line of text; of the stages the sum."""
    shown = {
        **fields,
        "motion_corrected": "yes" if fields["motion_corrected"] else "no",
        "flags": ",".join(fields["flags"]),
        "stages_ms": f"{sum(fields['stages_ms'].values()):.0f}",
    }
    return " ".join(f"{name}={'-' if value in (None, '') else value}" for name, value in shown.items())
