"""Results as a table in the terminal."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table


def results_table(records: list[dict[str, Any]], truth: dict[tuple[str, int], float] | None = None) -> Table:
    """One row per slice; ``ms`` is what all its stages took, the wait for the network included.

    Args:
        records: as :func:`inline.emit.record.record` makes them.
        truth: median over the true myocardium by quantity and slice, ms, where it is known.
    """
    # Little between the columns: the flags must have room in a terminal of 80 characters.
    table = Table(title="Myocardium by slice (research only)", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("slice", no_wrap=True)
    for column in ("median [IQR] ms", "septum", *(("tissue",) if truth else ())):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("conf.", justify="right", no_wrap=True)
    table.add_column("ms", justify="right", no_wrap=True)
    table.add_column("flags", overflow="fold")
    for record in records:
        regions = {region["name"]: region for region in record["regions"]}
        ring, septum = regions.get("global"), regions.get("septum")
        known = (truth or {}).get((record["quantity"], record["slice_index"]))
        row = [
            f"{record['slice_index'] + 1} {record['level'] or ''} {record['quantity']}",
            _interval(ring),
            _number(septum["median"] if septum else None),
        ]
        if truth:
            row.append(_number(known))
        confidence = record.get("confidence")
        row.append("-" if confidence is None else f"{confidence:.2f}")
        row.append(f"{sum(record['times_ms'].values()):.0f}")
        row.append(", ".join(record["flags"]) or record["error"] or "-")
        table.add_row(*row)
    return table


def _interval(region: dict[str, Any] | None) -> str:
    if region is None or region["median"] is None:
        return "no contour"
    return f"{region['median']:.1f} [{region['q1']:.1f}-{region['q3']:.1f}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
