"""Tables and lines in the terminal, from values by row and column."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import Any, Final

from rich.console import Console

from inline.replay.table import make_table

Columns = Sequence[tuple[str, str, str]]
"""Heading, path of the value in a row (such as ``latency_ms/p50``), and format (such as ``{:.1f} ms``)."""

_UNLIMITED: Final = 10_000
"""Columns of an output that is no terminal: a line of a file or a pipe has no width."""


def make_console() -> Console:
    """Return the console of standard output; only a terminal, or the variable COLUMNS, wraps its lines."""
    made = Console()
    return made if made.is_terminal or "COLUMNS" in os.environ else Console(width=_UNLIMITED)


def value_at(content: Any, path: str) -> Any:
    """Return the value at a path of keys and positions, such as ``paces/0/late``.

    Raises:
        KeyError: there is none.
    """
    keys = (key for key in path.split("/") if key)
    return reduce(lambda value, key: value[int(key) if isinstance(value, list) else key], keys, content)


def cell(row: Any, path: str, form: str) -> str:
    """Return a value as text, a list as mean ± standard deviation; ``-`` for none and for NaN."""
    try:
        value = value_at(row, path)
    except (KeyError, TypeError):  # none here, or nothing on the way to it
        value = None
    if value is None or value != value:
        return "-"
    return " ± ".join(form.format(each) for each in (value if isinstance(value, list) else [value]))


def columns(keys: str) -> Columns:
    """Return columns of keys and formats, such as ``latency_ms/p50 .1f, late``; ``s`` is that of texts."""
    parts = (each.partition(" ") for each in keys.split(", "))
    return [(key.replace("_", " ").replace("/", ", "), key, f"{{:{form}}}") for key, _, form in parts]


def cells(rows: Mapping[str, Any], columns: Columns) -> list[tuple[str, ...]]:
    """Return the name and the values of each row as text."""
    return [(name, *(cell(row, path, form) for _, path, form in columns)) for name, row in rows.items()]


def print_values(title: str, first: str, rows: Mapping[str, Any], keys: str | Columns) -> None:
    """Print the values of each row; ``first`` is the heading of the rows' names.

    Keys are as of :func:`columns`, or columns where a heading comes from elsewhere, such as a folder's name.
    """
    shown = columns(keys) if isinstance(keys, str) else keys
    texts = [heading for heading, _, form in shown if form == "{:s}"]
    print_table(title, (first, *(heading for heading, _, _ in shown)), cells(rows, shown), texts)


def print_columns(title: str, named: Mapping[str, Any], keys: str) -> None:
    """Print the values of each column, as of :func:`columns`, with their keys as the rows' names."""
    rows = [
        (heading, *(cell(each, path, form) for each in named.values()))
        for heading, path, form in columns(keys)
    ]
    print_table(title, ("", *named), rows)


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], texts: Sequence[str] = ()
) -> None:
    """Print a table; the first column is that of the rows' names, ``texts`` are columns without numbers."""
    console = make_console()
    console.print(make_table(title, columns, rows, texts, width=console.width), crop=False)


def print_progress(line: str) -> None:
    """Print a line on standard error at once: about the work, not about its results."""
    Console(stderr=True).print(line, highlight=False, markup=False, soft_wrap=True)


def print_lines(*lines: str) -> None:
    """Print sentences as they are, each on lines of its own."""
    for line in lines:
        Console().print(line, highlight=False, markup=False, soft_wrap=True)
