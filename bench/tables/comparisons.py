"""Tables 2 to 5: agreement by pair, kind of map and level; T1 and T2 by reader."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from bench.tables.agreement import METHOD, Pair, Value
from bench.tables.output import Table
from bench.tables.statistics import Comparison, intraclass, kruskal, welch

METRICS: Final = (
    ("Dice", "dice", 3),
    ("IoU", "iou", 3),
    ("Hausdorff mm", "hausdorff", 2),
    ("mean surface distance mm", "surface", 2),
)
"""Heading, property of an agreement, digits."""
LEVELS: Final = ("basal", "mid", "apical")
_LETTERS: Final = "Mean ± standard deviation; without a shared letter, different at 5 % ({})."
_SIDES: Final = ((False, f"{METHOD} - readers"), (True, "among readers"))

Values = Mapping[str, Sequence[float]]


def table_2(pairs: Sequence[Pair]) -> Table:
    """Metrics of the product against each reader and of readers among each other."""
    names = list(dict.fromkeys(pair.name for pair in pairs))
    rows, values, tests = _by(pairs, names, lambda pair: pair.name)
    notes = [_LETTERS.format(_tests(tests)), _without_contour(pairs)]
    for among, side in _SIDES:
        members = [pair for pair in pairs if pair.among_readers is among]
        if not members:
            notes.append("One reader alone: nothing among readers, and no tests.")
            continue
        cells, numbers = _means(members)
        rows.append((side, str(numbers["slices"]), *cells))
        values[side] = numbers
    columns = ("pair", "slices", *(heading for heading, _, _ in METRICS))
    return Table("2", "agreement with readers and among readers", columns, tuple(rows), tuple(notes), values)


def table_3(pairs: Sequence[Pair]) -> Table:
    """Metrics by kind of map."""
    names = sorted({pair.kind for pair in pairs})
    return _grouped("3", "agreement by kind of map", "map", pairs, names, lambda pair: pair.kind)


def table_4(pairs: Sequence[Pair]) -> Table:
    """Metrics by level of the slice."""
    there = {pair.level for pair in pairs}
    names = [level for level in LEVELS if level in there]
    if not names:
        note = "The names of these slices state no level (docs/data.md): this table is empty."
        return Table("4", "agreement by slice level", (), (), (note,))
    return _grouped("4", "agreement by slice level", "level", pairs, names, lambda pair: pair.level)


def table_5(values: Sequence[Value]) -> Table:
    """Median T1 and T2 with quartiles by reader, and intraclass correlation."""
    title = "T1 and T2 of the myocardium by reader, ms, and intraclass correlation"
    if not values:
        return Table("5", title, (), (), ("No map here is in milliseconds: this table is empty.",))
    rows: list[tuple[str, ...]] = []
    numbers: dict[str, Any] = {}
    tests = []
    for kind in sorted({value.kind for value in values}):
        members = [value for value in values if value.kind == kind]
        names = list(dict.fromkeys(value.by for value in members))
        groups = {name: [each.median_ms for each in members if each.by == name] for name in names}
        test = kruskal(groups)
        tests.append(f"{kind}: p {_p(test.p)}")
        numbers[kind] = {"kruskal_p": _number(test.p), "median_ms": {}, "icc": {}}
        for name, found in groups.items():
            there = [each for each in found if math.isfinite(each)]
            if not there:
                rows.append((f"{kind}, {name}", "0", "-", "-"))
                continue
            low, middle, high = np.percentile(there, [25, 50, 75])
            cell = f"{middle:.1f} ({low:.1f} to {high:.1f}) {test.letters.get(name, '')}".strip()
            rows.append((f"{kind}, {name}", str(len(there)), cell, "-"))
            numbers[kind]["median_ms"][name] = [float(middle), float(low), float(high)]
        for label, chosen in _raters(names):
            ratings = np.array([groups[name] for name in chosen]).T
            icc = intraclass(ratings)
            if icc is not None:
                cell = f"{icc.icc:.3f} ({icc.low:.2f} to {icc.high:.2f})"
                rows.append((f"{kind}, ICC: {label}", str(icc.targets), "-", cell))
                numbers[kind]["icc"][label] = [icc.icc, icc.low, icc.high]
    notes = (
        "Median of the slices' medians (quartiles); without a shared letter, different at 5 % "
        f"(Kruskal-Wallis, Dwass-Steel-Critchlow-Fligner; {'; '.join(tests)}).",
        "ICC(A,1): two-way, single ratings, absolute agreement, 95 % interval; five slices at least.",
    )
    return Table("5", title, ("map and reader", "slices", "median", "ICC"), tuple(rows), notes, numbers)


def _raters(names: Sequence[str]) -> list[tuple[str, list[str]]]:
    readers = [name for name in names if name != METHOD]
    found = [(f"{METHOD} and {name}", [METHOD, name]) for name in readers]
    if len(readers) > 1:
        found += [("readers", readers), (f"{METHOD} and all readers", [METHOD, *readers])]
    return found


def _grouped(
    number: str,
    title: str,
    heading: str,
    pairs: Sequence[Pair],
    names: Sequence[str],
    key: Callable[[Pair], str],
) -> Table:
    """Metrics by some property of the slices, of the product with readers and among readers apart."""
    rows: list[tuple[str, ...]] = []
    values: dict[str, Any] = {}
    notes = []
    for among, side in _SIDES:
        members = [pair for pair in pairs if pair.among_readers is among and key(pair) in names]
        if not members:
            continue
        found, numbers, tests = _by(_averaged(members), names, key)
        rows += [(f"{side}, {name}", *cells) for name, *cells in found]
        values[side] = numbers
        notes.append(f"{side}: {_LETTERS.format(_tests(tests))}")
    columns = (heading, "slices", *(label for label, _, _ in METRICS))
    return Table(number, title, columns, tuple(rows), tuple(notes), values)


def _averaged(pairs: Sequence[Pair]) -> list[Pair]:
    """One pair for each slice, with the mean of all its pairs: a slice counts once in a test."""
    averaged = []
    for _, members in itertools.groupby(pairs, key=lambda pair: (pair.kind, pair.slice)):
        of_slice = list(members)
        first = of_slice[0]
        averaged.append(Pair(first.slice, first.kind, first.level, first.first, "", _mean(of_slice)))
    return averaged


def _mean(pairs: Sequence[Pair]) -> Any:
    found = [pair.agreement for pair in pairs]
    kind = type(found[0])
    return kind(**{name: float(np.mean([getattr(each, name) for each in found])) for name in kind.__slots__})


def _by(
    pairs: Sequence[Pair], names: Sequence[str], key: Callable[[Pair], str]
) -> tuple[list[tuple[str, ...]], dict[str, Any], dict[str, Comparison]]:
    """Rows with letters, numbers, and the test of each metric."""
    groups = {name: [pair for pair in pairs if key(pair) == name] for name in names}
    groups = {name: members for name, members in groups.items() if members}
    tests = {
        metric: welch({name: _numbers(members, metric) for name, members in groups.items()})
        for _, metric, _ in METRICS
    }
    rows, values = [], {}
    for name, members in groups.items():
        cells, numbers = _means(
            members, {metric: test.letters.get(name, "") for metric, test in tests.items()}
        )
        rows.append((name, str(len(members)), *cells))
        values[name] = numbers
    return rows, values, tests


def _means(
    pairs: Sequence[Pair], letters: Mapping[str, str] | None = None
) -> tuple[list[str], dict[str, Any]]:
    cells, numbers = [], {}
    for _, metric, digits in METRICS:
        found = np.array(_numbers(pairs, metric))
        there = found[np.isfinite(found)]
        if not len(there):
            cells.append("-")
            continue
        mean, spread = float(there.mean()), float(there.std(ddof=1)) if len(there) > 1 else 0.0
        numbers[metric] = [mean, spread]
        cells.append(f"{mean:.{digits}f} ± {spread:.{digits}f} {(letters or {}).get(metric, '')}".strip())
    return cells, {"slices": len({(pair.kind, pair.slice) for pair in pairs}), **numbers}


def _numbers(pairs: Sequence[Pair], metric: str) -> list[float]:
    return [float(getattr(pair.agreement, metric)) for pair in pairs]


def _tests(tests: Mapping[str, Comparison]) -> str:
    named = {metric: heading for heading, metric, _ in METRICS}
    found = ", ".join(f"{named[metric]} p {_p(test.p)}" for metric, test in tests.items())
    return f"{next(iter(tests.values())).test}; {found}"


def _without_contour(pairs: Sequence[Pair]) -> str:
    none = {
        (pair.kind, pair.slice)
        for pair in pairs
        if not pair.among_readers and not math.isfinite(pair.agreement.hausdorff)
    }
    return (
        f"Slices without a contour of {METHOD}: {len(none)}; they count for Dice and IoU, not for distances."
    )


def _p(p: float) -> str:
    if not math.isfinite(p):
        return "none"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
