"""Tables of the study as Markdown and CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from bench.values import markdown
from inline.terminal.tables import cells, columns, print_table
from inline.terminal.text import print_lines
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
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    notes: Sequence[str] = ()
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def heading(self) -> str:
        """Number and title."""
        return f"Table {self.number}: {self.title}"

    def filled(self, first: str, rows: Mapping[str, Any], keys: str) -> Table:
        """Return the table with the values of each row, as of :func:`inline.terminal.tables.columns`.

        Args:
            first: heading of the rows' names.
            rows: values by name.
            keys: of the columns.
        """
        shown = columns(keys)
        return replace(self, columns=(first, *(each[0] for each in shown)), rows=cells(rows, shown))

    def show(self) -> None:
        """Print the table and its notes."""
        if self.rows:
            print_table(self.heading, self.columns, self.rows)
        print_lines(*([] if self.rows else [f"{self.heading}: empty"]), *self.notes)

    def as_markdown(self) -> str:
        """Return the table and its notes as Markdown."""
        table = [markdown(self.columns, self.rows), ""] if self.rows else []
        return "\n".join([f"## {self.heading}", "", *table, *(f"{note}\n" for note in self.notes)])

    def as_csv(self) -> str:
        """Return the cells as CSV."""
        text: str = pd.DataFrame(self.rows, columns=self.columns).to_csv(index=False, lineterminator="\n")
        return text


def write(tables: Sequence[Table], folder: Path, preface: str) -> None:
    """Write ``tables.md`` and one CSV file for each table with rows."""
    folder.mkdir(parents=True, exist_ok=True)
    text = "\n".join(["# Tables of the study", "", f"{preface}\n", *(each.as_markdown() for each in tables)])
    write_text(folder / "tables.md", text)
    for table in tables:
        if table.rows:
            write_text(folder / f"table-{table.number.lower()}.csv", table.as_csv())
