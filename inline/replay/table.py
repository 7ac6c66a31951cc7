"""Results as a table in the terminal."""

from __future__ import annotations

import textwrap
from collections import Counter
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

NO_RESULT: Final = "no result: "
"""Beginning of the error of a slice that has none."""
_LONGEST_REASON: Final = 120


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 image``, ``2 images``."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def results_table(records: list[dict[str, Any]], truth: dict[tuple[str, int], float] | None = None) -> Table:
    """Return one row per slice; ``time ms`` is the time of all stages, the wait for the network included.

    Args:
        records: as :func:`inline.replay.results.read_record` returns them.
        truth: median over the true myocardium by quantity and slice, ms, where known.
    """
    # Little between the columns: the flags must have room in a terminal of 80 characters.
    table = Table(title="Myocardium by slice (research only)", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("slice", no_wrap=True)
    for column in ("median [IQR] ms", "septum", *(("tissue",) if truth else ())):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("conf.", justify="right", no_wrap=True)
    table.add_column("time\nms", justify="right", no_wrap=True)
    table.add_column("flags", overflow="fold")
    names = slice_names(records)
    for record, name in zip(records, names, strict=True):
        regions = {region["name"]: region for region in record["regions"]}
        ring, septum = regions.get("global"), regions.get("septum")
        known = (truth or {}).get((record["quantity"], record["slice_index"]))
        row = [
            name,
            "-" if record["error"].startswith(NO_RESULT) else _interval(ring),
            _number(septum["median"] if septum else None),
        ]
        if truth:
            row.append(_number(known))
        confidence = record.get("confidence")
        row.append("-" if confidence is None else f"{confidence:.2f}")
        times = record["times_ms"].values()
        row.append(f"{sum(each or 0.0 for each in times):.0f}" if times else "-")
        error = textwrap.shorten(record["error"], _LONGEST_REASON, placeholder=" ...")
        row.append(", ".join(record["flags"]) or error or "-")
        # As Text: what a peer wrote is no markup.
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def slice_names(records: list[dict[str, Any]]) -> list[str]:
    """Return a name for each record: slice number from 1, level, quantity, ``MOCO`` for corrected images.

    The series number stands before it where the slice number names several: slices that are series of
    their own all have number 1.
    """
    numbers = Counter((record["slice_index"], record["quantity"]) for record in records)
    several = any(number > 1 for number in numbers.values())
    names = []
    for record in records:
        number = f"{record['series_index']}/" if several else ""
        moco = " MOCO" if record.get("motion_corrected") else ""
        level = f"{record['level']} " if record["level"] else ""
        names.append(f"{number}{record['slice_index'] + 1} {level}{record['quantity']}{moco}")
    return names


def notes(records: list[dict[str, Any]]) -> list[str]:
    """Return every distinct note of the records once, with the names of its slices."""
    bearers: dict[str, list[str]] = {}
    for record, name in zip(records, slice_names(records), strict=True):
        for note in record.get("notes", ()):
            bearers.setdefault(note, []).append(name)
    return [
        note if len(names) == len(records) > 1 else f"{', '.join(dict.fromkeys(names))}: {note}"
        for note, names in bearers.items()
    ]


def printable(text: str, *, lines: bool = False) -> str:
    """Return a text of a peer for the terminal, with control characters as escapes.

    Args:
        text: of the peer.
        lines: keep line ends.
    """
    return "".join(
        each if each.isprintable() or (lines and each == "\n") else each.encode("unicode_escape").decode()
        for each in text
    )


def line(message: dict[str, Any]) -> str:
    """Return a ZeroMQ message as one line.

    Args:
        message: as :func:`inline.replay.results.read_message` returns it.
    """
    return printable(_line(message))


def _line(message: dict[str, Any]) -> str:
    if "regions" not in message:
        return f"{message['session']} closed: {message['text']}"
    ring = next((region for region in message["regions"] if region["name"] == "global"), None)
    scale = f" x {message['t1_scale']:g}" if message.get("t1_scale", 1.0) != 1.0 else ""
    moco = " MOCO" if message.get("motion_corrected") else ""
    parts = [
        f"series {message['series_index']} slice {message['slice_index'] + 1}",
        message["level"] or "",
        f"{message['quantity']}{moco}",
        f"{_interval(ring, ' ms')}{scale}",
        ", ".join(message["flags"]) or message["error"],
    ]
    return " ".join(part for part in parts if part)


def _interval(region: dict[str, Any] | None, unit: str = "") -> str:
    if region is None:
        return "no contour"
    if None in (region["median"], region["q1"], region["q3"]):
        return "no values"
    return f"{region['median']:.1f}{unit} [{region['q1']:.1f}-{region['q3']:.1f}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
