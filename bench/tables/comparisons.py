"""Tables 2 to 5: agreement by pair, kind of map and level; T1 and T2 by reader."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from bench.tables.agreement import METHOD, METRICS
from bench.tables.output import Table
from bench.tables.statistics import intraclass, kruskal, welch
from inline.terminal.tables import cell

LEVELS: Final = ("basal", "mid", "apical")
_FORMATS: Final = {"dice": "{:.3f}", "iou": "{:.3f}", "hausdorff": "{:.2f}", "surface": "{:.2f}"}
_LETTERS: Final = "Mean ± standard deviation; without a shared letter, different at 5 % ({})."
_HEADINGS: Final = ("slices", *METRICS.values())
_SIDES: Final = {False: f"{METHOD} - readers", True: "among readers"}


def table_2(pairs: pd.DataFrame) -> Table:
    """Return the metrics of the method against each reader and of readers among each other."""
    rows, values, tests = _by(pairs, "pair")
    missing = pairs[~pairs["among"] & ~np.isfinite(pairs["hausdorff"])][["kind", "slice"]].drop_duplicates()
    notes = [
        tests,
        f"Slices without a contour of {METHOD}: {len(missing)}; they count "
        "for Dice and IoU, not for distances.",
    ]
    for among, side in _SIDES.items():
        members = pairs[pairs["among"] == among]
        if members.empty:
            notes.append("One reader only: no agreement among readers, no tests.")
        else:
            values[side] = _means(members)
            rows.append(_row(side, values[side]))
    return Table("2", "agreement with readers and among readers", ("pair", *_HEADINGS), rows, notes, values)


def table_3(pairs: pd.DataFrame) -> Table:
    """Return the metrics by kind of map."""
    return _grouped("3", "agreement by kind of map", "map", pairs, "kind", sorted(pairs["kind"].unique()))


def table_4(pairs: pd.DataFrame) -> Table:
    """Return the metrics by level of the slice."""
    names = [level for level in LEVELS if level in set(pairs["level"])]
    if not names:
        note = "The names of these slices state no level (docs/data.md): this table is empty."
        return Table("4", "agreement by slice level", notes=(note,))
    return _grouped("4", "agreement by slice level", "level", pairs, "level", names)


def table_5(medians: pd.DataFrame) -> Table:
    """Return median T1 and T2 with quartiles by reader, and intraclass correlation."""
    title = "T1 and T2 of the myocardium by reader, ms, and intraclass correlation"
    if medians.empty:
        return Table("5", title, notes=("No map here is in milliseconds: this table is empty.",))
    rows: list[tuple[str, ...]] = []
    values: dict[str, Any] = {}
    tests = []
    for kind, members in medians.groupby("kind"):
        groups = {str(name): found.tolist() for name, found in members.groupby("by", sort=False)["median_ms"]}
        test = kruskal(groups)
        tests.append(f"{kind}: p {_p(test.p)}")
        by_slice = members.pivot(index="slice", columns="by", values="median_ms")
        quartiles: dict[str, list[float]] = {}
        correlations: dict[str, list[float]] = {}
        for name, found in groups.items():
            finite = [each for each in found if math.isfinite(each)]
            if not finite:
                rows.append((f"{kind}, {name}", "0", "-", "-"))
                continue
            low, middle, high = np.percentile(finite, [25, 50, 75]).tolist()
            text = f"{middle:.1f} ({low:.1f} to {high:.1f}) {test.letters.get(name, '')}".strip()
            rows.append((f"{kind}, {name}", str(len(finite)), text, "-"))
            quartiles[name] = [middle, low, high]
        for label, chosen in _raters(list(groups)):
            icc = intraclass(by_slice[chosen].to_numpy())
            if icc is not None:
                text = f"{icc.icc:.3f} ({icc.low:.2f} to {icc.high:.2f})"
                rows.append((f"{kind}, ICC: {label}", str(icc.targets), "-", text))
                correlations[label] = [icc.icc, icc.low, icc.high]
        p = test.p if math.isfinite(test.p) else None
        values[str(kind)] = {"kruskal_p": p, "median_ms": quartiles, "icc": correlations}
    notes = (
        "Median of the slices' medians (quartiles); without a shared letter, different at 5 % "
        f"(Kruskal-Wallis, Dwass-Steel-Critchlow-Fligner; {'; '.join(tests)}).",
        "ICC(A,1): two-way, single ratings, absolute agreement, 95 % interval; of the slices that "
        "all raters drew, five at least.",
    )
    return Table("5", title, ("map and reader", "slices", "median", "ICC"), rows, notes, values)


def _raters(names: Sequence[str]) -> list[tuple[str, list[str]]]:
    readers = [name for name in names if name != METHOD]
    found = [(f"{METHOD} and {name}", [METHOD, name]) for name in readers]
    if len(readers) > 1:
        found += [("readers", readers), (f"{METHOD} and all readers", [METHOD, *readers])]
    return found


def _grouped(
    number: str, title: str, heading: str, pairs: pd.DataFrame, key: str, names: Sequence[str]
) -> Table:
    """Return the metrics by a property of the slices, of the method with readers and among readers apart.

    A slice counts once, with the mean of all its pairs.
    """
    rows: list[tuple[str, ...]] = []
    values: dict[str, Any] = {}
    notes = []
    for among, side in _SIDES.items():
        members = pairs[(pairs["among"] == among) & pairs[key].isin(names)]
        if members.empty:
            continue
        slices = members.groupby(["kind", "slice", "level"], sort=False)[list(METRICS)]
        averaged = slices.agg(lambda each: each.mean(skipna=False)).reset_index()
        averaged[key] = pd.Categorical(averaged[key], list(names))
        found, values[side], tests = _by(averaged.sort_values(key, kind="stable"), key)
        rows += [(f"{side}, {name}", *cells) for name, *cells in found]
        notes.append(f"{side}: {tests}")
    return Table(number, title, (heading, *_HEADINGS), rows, notes, values)


def _by(pairs: pd.DataFrame, key: str) -> tuple[list[tuple[str, ...]], dict[str, Any], str]:
    """Return rows with letters, values, and a note on the tests of each metric."""
    groups = {str(name): members for name, members in pairs.groupby(key, sort=False, observed=True)}
    tests = {
        metric: welch({name: members[metric].tolist() for name, members in groups.items()})
        for metric in METRICS
    }
    values = {name: _means(members) for name, members in groups.items()}
    rows = [
        _row(name, found, {metric: test.letters.get(name, "") for metric, test in tests.items()})
        for name, found in values.items()
    ]
    stated = ", ".join(f"{METRICS[metric]} p {_p(test.p)}" for metric, test in tests.items())
    return rows, values, _LETTERS.format(f"{tests['dice'].test}; {stated}")


def _means(pairs: pd.DataFrame) -> dict[str, Any]:
    """Return the number of slices, and mean and standard deviation of each metric's finite values."""
    values: dict[str, Any] = {"slices": len(pairs[["kind", "slice"]].drop_duplicates())}
    for metric in METRICS:
        found = pairs[metric][np.isfinite(pairs[metric])]
        if not found.empty:
            values[metric] = [float(found.mean()), float(found.std()) if len(found) > 1 else 0.0]
    return values


def _row(name: str, values: dict[str, Any], letters: Mapping[str, str] | None = None) -> tuple[str, ...]:
    found = (
        f"{cell(values, metric, form)} {(letters or {}).get(metric, '')}".strip()
        for metric, form in _FORMATS.items()
    )
    return name, str(values["slices"]), *found


def _p(p: float) -> str:
    if not math.isfinite(p):
        return "none"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
