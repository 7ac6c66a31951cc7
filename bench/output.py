"""Tables of measurements on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], console: Console | None = None
) -> None:
    """Print a table; the first column is that of the rows' names."""
    table = Table(title=title)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=not number)
    for row in rows:
        table.add_row(*row)
    (console or Console()).print(table)


def print_lines(lines: Iterable[str], console: Console | None = None) -> None:
    """Print sentences as they are, each on lines of its own."""
    for line in lines:
        (console or Console()).print(line, highlight=False, markup=False, soft_wrap=True)
