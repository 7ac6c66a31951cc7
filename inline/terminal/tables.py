"""Tables from values by row and column."""

from __future__ import annotations

import textwrap
from collections.abc import Container, Iterable, Mapping, Sequence
from functools import reduce
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from inline.terminal.text import make_console, printable

Columns = Sequence[tuple[str, str, str]]
"""Heading, path of the value in a row (such as ``latency_ms/p50``), and format (such as ``{:.1f} ms``)."""


def make_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    texts: Container[str],
    *,
    width: int | None = None,
) -> Table:
    """Return a table of texts as they are: no markup, control characters as escapes.

    Print it with ``crop=False``: it is wider than a terminal that its numbers do not fit into.

    Args:
        title: above it; empty for none.
        columns: headings; the first is that of the rows' names.
        rows: cells.
        texts: columns without numbers, the first one included. They alone wrap, so that numbers stay whole.
        width: of the terminal; headings of numbers break between words where they do not fit into it.
    """
    # Little between the columns: texts must have room in a terminal of 80 characters.
    shown = Text(title, style="table.title") if title else None
    table = Table(title=shown, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    cells = [[Text(printable(cell)) for cell in row] for row in rows]
    # A heading as long as its longest word is broken between words.
    least = [
        max([1, *map(len, column.split()), *(row[number].cell_len for row in cells if column not in texts)])
        for number, column in enumerate(columns)
    ]
    whole = [
        words if column in texts else max([words, *map(len, column.splitlines())])
        for words, column in zip(least, columns, strict=True)
    ]
    breaks = width is not None and sum(whole) + 2 * len(whole) + 1 > width
    for number, (column, longest) in enumerate(zip(columns, least if breaks else whole, strict=True)):
        text = column in texts
        heading = textwrap.fill(column, longest, break_on_hyphens=False) if breaks and not text else column
        table.add_column(
            Text(heading, style="table.header"),
            justify="left" if text or not number else "right",
            min_width=longest,
            no_wrap=not text,
            overflow="fold",
        )
    for row in cells:
        table.add_row(*row)
    return table


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
