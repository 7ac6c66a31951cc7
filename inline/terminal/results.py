"""Results as tables and lines."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from rich.table import Table

from inline.data.plural import counted
from inline.data.series import Enhancement
from inline.emit.record import Record, printed
from inline.terminal.tables import make_table
from inline.terminal.text import make_console, printable

_LONGEST_REASON: Final = 120
_UNKNOWN: Final = "unknown: "
"""Beginning of ``level_source`` where it states why a level is unknown."""


def print_results(
    records: list[Record], ecv: list[Record], truth: dict[tuple[str, int], float] | None = None
) -> None:
    """Print the tables of slices and of ECV, each where it has rows; arguments as of these tables."""
    console = make_console()
    if records:
        console.print(results_table(records, truth), crop=False)
    if ecv:
        console.print(ecv_table(ecv, truth), crop=False)


def results_table(records: list[Record], truth: dict[tuple[str, int], float] | None = None) -> Table:
    """Return one row per slice; ``time ms`` is the time of all stages, the wait for the network included.

    Args:
        records: as :func:`inline.emit.schema.read_record` returns them.
        truth: of :func:`inline.replay.simulate.true_medians`, where known.
    """
    compared = any((_region(record, "global") or {}).get("z_score") is not None for record in records)
    further = [*(["z"] if compared else []), *(["true"] if truth else [])]
    columns = ("slice", "median [IQR] ms", "septum", *further, "conf.", "time\nms", "flags")
    rows = []
    for record, name in zip(records, slice_names(records), strict=True):
        septum, confidence = _region(record, "septum"), record.get("confidence")
        z_score = (_region(record, "global") or {}).get("z_score")
        times = record["times_ms"].values()
        error = textwrap.shorten(record["error"], _LONGEST_REASON, placeholder=" ...")
        row = [
            name,
            "-" if record["error"] else _interval(_region(record, "global")),
            _number(septum["median"] if septum else None),
            *([_number(z_score)] if compared else []),
            *([_number(truth.get((_quantity(record), record["slice_index"])))] if truth else []),
            _number(confidence, 2),
            _number(sum(each or 0.0 for each in times) if times else None, 0),
            ", ".join(record["flags"]) or error or "-",
        ]
        rows.append(row)
    return make_table("Myocardium by slice (research only)", columns, rows, {"flags"})


def ecv_table(records: list[Record], truth: dict[tuple[str, int], float] | None = None) -> Table:
    """Return one row per slice position with ECV or a partition coefficient.

    Args:
        records: as :func:`inline.emit.schema.read_record` returns them.
        truth: of :func:`inline.replay.simulate.true_medians`, where it holds ECV.
    """
    known = any(name == "ECV" for name, _ in truth or ())
    further = ["true"] if known else []
    columns = ("slice", "ECV [IQR] %", "+/-", "septum", *further, "lambda", "Hct", "flags")
    rows = []
    for record in records:
        ring, septum = _region(record, "global"), _region(record, "septum")
        synthetic = "*" if record["haematocrit_source"] == "synthetic" else ""
        row = [
            _ecv_name(record),
            "-" if ring is None or ring["median"] is None else _interval(ring),
            _number(ring["standard_error"] if ring else None),
            _number(septum["median"] if septum else None),
            *([_number(truth.get(("ECV", record["native"]["slice_index"])))] if truth and known else []),
            _number(ring["partition_coefficient"] if ring else None, 3),
            _number(record["haematocrit"], 3) + synthetic,
            ", ".join(record["flags"]) or record["error"] or "-",
        ]
        rows.append(row)
    return make_table("Extracellular volume (research only)", columns, rows, {"flags"})


def result_counts(records: list[Record]) -> str:
    """Return the numbers of results and, where there are some, of errors."""
    errors = sum(bool(record["error"]) for record in records)
    return counted(len(records) - errors, "result") + (f", {counted(errors, 'error')}" if errors else "")


def ecv_notes(records: list[Record]) -> list[str]:
    """Return every distinct note and error of ECV records once, with the names of its slice positions."""
    names = list(map(_ecv_name, records))
    return _with_bearers(
        records, names, lambda record: filter(None, (*record["notes"], record["error"])), of="ECV"
    )


def unused_haematocrit(haematocrit: float | None, records: Iterable[Record]) -> list[str]:
    """Return a note where a haematocrit was given that none of the ECV records has."""
    if haematocrit is None or any(record["haematocrit"] is not None for record in records):
        return []
    return [
        f"The haematocrit {haematocrit:g} is not used: no native and post-contrast T1 of one slice position "
        "gave an ECV."
    ]


def _ecv_name(record: Record) -> str:
    """Return a name for an ECV record: slice index, level, series of the native and post-contrast map."""
    series = [each["series_index"] for each in (record["native"], record["post_contrast"]) if each]
    numbers = f"({', '.join(map(str, series))})"
    return " ".join(filter(None, (str(record["native"]["slice_index"]), record["level"], numbers)))


def slice_names(records: list[Record]) -> list[str]:
    """Return a name for each record: slice index, level, quantity (``T1 post``), ``MOCO``.

    The series number stands before it where the slice index names several: slices that are series of
    their own all have index 0.
    """
    numbers = Counter((record["slice_index"], _quantity(record)) for record in records)
    several = any(number > 1 for number in numbers.values())
    return [f"{record['series_index']}/{_name(record)}" if several else _name(record) for record in records]


def _quantity(record: Record) -> str:
    """Return the quantity of a record; of a post-contrast map with this word after it."""
    post = record.get("enhancement") == Enhancement.POST_CONTRAST
    return f"{record['quantity']} {Enhancement.POST_CONTRAST}" if post else str(record["quantity"])


def _name(record: Record) -> str:
    moco = "MOCO" if record.get("motion_corrected") else ""
    quantity = _quantity(record).removesuffix("-contrast")
    parts = (str(record["slice_index"]), record["level"], quantity, moco)
    return " ".join(part for part in parts if part)


def notes(records: list[Record]) -> list[str]:
    """Return every distinct note of the records once, with the names of its slices."""
    return _with_bearers(records, slice_names(records), lambda record: record.get("notes", ()))


def unknown_levels(records: list[Record]) -> list[str]:
    """Return every distinct reason why a level is unknown once, with the names of its slices."""
    return _with_bearers(
        records,
        slice_names(records),
        lambda record: [
            source.removeprefix(_UNKNOWN)
            for source in (record.get("level_source", ""),)
            if source.startswith(_UNKNOWN)
        ],
    )


def _with_bearers(
    records: list[Record],
    names: Sequence[str],
    texts: Callable[[Record], Iterable[str]],
    *,
    of: str = "",
) -> list[str]:
    """Return every distinct text of the records once, with the names of its slices unless it is of all.

    The kind of the records, ``of``, stands before it.
    """
    bearers: dict[str, list[str]] = {}
    for record, name in zip(records, names, strict=True):
        for text in texts(record):
            bearers.setdefault(text, []).append(name)
    named = {
        text: "" if len(found) == len(records) > 1 else ", ".join(dict.fromkeys(found))
        for text, found in bearers.items()
    }
    return [": ".join(filter(None, (f"{of} {where}".strip(), text))) for text, where in named.items()]


def message_line(message: Record) -> str:
    """Return a ZeroMQ message as one line.

    Args:
        message: as :func:`inline.emit.schema.read_message` returns it.
    """
    if "post_contrast" in message:
        return printable(_ecv_line(message))
    if "regions" not in message:
        return printable(f"{message['session']} closed: {message['text']}")
    scale = message.get("t1_scale", 1.0)
    parts = [
        f"series {message['series_index']} slice {_name(message)}",
        _interval(_region(message, "global"), " ms"),
        "" if scale == 1.0 else f"x {scale:g}",
        ", ".join(message["flags"]) or message["error"],
    ]
    return printable(" ".join(part for part in parts if part))


def _ecv_line(message: Record) -> str:
    ring = _region(message, "global")
    value = ""
    if ring is not None and ring["median"] is not None:
        value = f"{_interval(ring, ' %')} (haematocrit {message['haematocrit_source']})"
    elif ring is not None and ring["partition_coefficient"] is not None:
        value = f"partition coefficient {printed(ring['partition_coefficient'], 3)}"
    native = message["native"]
    parts = [
        f"ECV of series {native['series_index']} slice {native['slice_index']}",
        message["level"] or "",
        value,
        ", ".join(message["flags"]),
        message["error"],
    ]
    return " ".join(part for part in parts if part)


def _region(record: Record, name: str) -> dict[str, Any] | None:
    return next((region for region in record["regions"] if region["name"] == name), None)


def _interval(region: dict[str, Any] | None, unit: str = "") -> str:
    if region is None:
        return "no contour"
    if None in (region["median"], region["q1"], region["q3"]):
        return "no values"
    median, q1, q3 = (printed(region[name], 1) for name in ("median", "q1", "q3"))
    return f"{median}{unit} [{q1}-{q3}]"


def _number(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else printed(value, digits)
