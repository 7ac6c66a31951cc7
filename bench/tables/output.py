"""Tables of the study as Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.output import print_lines, print_table
from model.output import write_text


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the study.

    Attributes:
        number: in the study.
        title: of the table.
        columns: headings; the first is that of the rows' names.
        rows: cells as text.
        notes: below it: tests, letters, missing parts.
        values: the values as numbers, by row and column.
    """

    number: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def heading(self) -> str:
        """Number and title."""
        return f"Table {self.number}: {self.title}"


def show(table: Table, console: Console) -> None:
    """Print a table and its notes."""
    if table.rows:
        print_table(table.heading, table.columns, table.rows, console)
    print_lines([*([] if table.rows else [f"{table.heading}: empty"]), *table.notes], console)


def markdown(table: Table) -> str:
    """Return a table and its notes as Markdown."""
    lines = [f"## {table.heading}", ""]
    if table.rows:
        lines += [_line(table.columns), _line(["---"] * len(table.columns)), *map(_line, table.rows), ""]
    return "\n".join([*lines, *(f"{note}\n" for note in table.notes)])


def to_csv(table: Table) -> str:
    """Return the cells of a table as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([table.columns, *table.rows])
    return text.getvalue()


def write(tables: Sequence[Table], folder: Path, preface: str) -> None:
    """Write ``tables.md`` and one CSV file for each table with rows."""
    folder.mkdir(parents=True, exist_ok=True)
    text = "\n".join(["# Tables of the study", "", f"{preface}\n", *map(markdown, tables)])
    write_text(folder / "tables.md", text)
    for table in tables:
        if table.rows:
            write_text(folder / f"table-{table.number.lower()}.csv", to_csv(table))


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
