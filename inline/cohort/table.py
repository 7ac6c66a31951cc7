"""Parquet table of a cohort: one row a region of each slice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from model.output import atomic_output

_ROWS: Final = 50_000
"""Rows that are held in memory, and of a row group of the file."""
_OF_SLICE: Final = (
    "series_index",
    "slice_index",
    "description",
    "quantity",
    "level",
    "motion_corrected",
    "scanner_made_map",
    "t1_scale",
    "confidence",
    "flags",
)
_OF_REGION: Final = ("median", "q1", "q3", "mean", "sd")


@contextmanager
def open_table(file: Path) -> Iterator[ValueTable]:
    """Yield a table to add to; the file is replaced at the end.

    Raises:
        ImportError: pyarrow is not installed.
        OutputError: the file cannot be written.
    """
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    text, whole, real = pyarrow.string(), pyarrow.int32(), pyarrow.float64()
    columns = {
        "examination": text,
        "study": text,
        "file": text,
        "series_index": whole,
        "slice_index": whole,
        "description": text,
        "quantity": text,
        "level": text,
        "motion_corrected": pyarrow.bool_(),
        "scanner_made_map": pyarrow.bool_(),
        "t1_scale": real,
        "region": text,
        **{f"{name}_ms": real for name in _OF_REGION},
        "pixels": whole,
        "confidence": real,
        "flags": pyarrow.list_(text),
        "error": text,
        "engine": text,
    }
    schema = pyarrow.schema(list(columns.items()))
    with atomic_output(file, private=True) as beside, ParquetWriter(beside, schema) as writer:
        table = ValueTable(lambda rows: writer.write_table(pyarrow.Table.from_pylist(rows, schema)))
        yield table
        table.flush()


class ValueTable:
    """Rows of a table on their way to its file, a bounded number of them."""

    def __init__(self, write: Callable[[list[dict[str, Any]]], None]) -> None:
        self._write = write
        self._rows: list[dict[str, Any]] = []

    def add(self, document: dict[str, Any], file: str) -> None:
        """Add the rows of an examination, at least one.

        Args:
            document: content of its file.
            file: name of its file.
        """
        of_examination = {
            "examination": document["examination"],
            "study": document["study"] or None,
            "file": file,
            "engine": document["engine"] or None,
        }
        slices = [*map(_rows, document["slices"])] or [iter([{"error": document["error"]}])]
        self._rows += [{**of_examination, **row} for rows in slices for row in rows]
        if len(self._rows) >= _ROWS:
            self.flush()

    def flush(self) -> None:
        """Write the rows that are held."""
        self._write(self._rows)
        self._rows.clear()


def _rows(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a row for each region of a slice; one without values where it has none."""
    shared = {**{name: record[name] for name in _OF_SLICE}, "error": record["error"] or None}
    for region in record["regions"] or [{}]:
        values = {f"{name}_ms": region.get(name) for name in _OF_REGION}
        yield {**shared, "region": region.get("name"), "pixels": region.get("pixels"), **values}
