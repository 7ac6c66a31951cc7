"""Parquet table of a cohort: one row a region of each slice, and of each ECV."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from inline.data.client_text import as_utf8
from model.output import atomic_output

_ROWS: Final = 50_000
"""Rows that are held in memory, and of a row group of the file."""
_OF_SLICE: Final = (
    "part",
    "series_index",
    "slice_index",
    "time_stamp",
    "description",
    "quantity",
    "unit",
    "enhancement",
    "level",
    "motion_corrected",
    "scanner_made_map",
    "t1_scale",
    "confidence",
    "flags",
)
_OF_ECV: Final = ("part", "level", "unit", "haematocrit", "haematocrit_source", "flags")
_OF_REGION: Final = (
    "median",
    "q1",
    "q3",
    "mean",
    "sd",
    "pixels",
    "z_score",
    "standard_error",
    "partition_coefficient",
)


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
        "part": whole,
        "series_index": whole,
        "slice_index": whole,
        "time_stamp": pyarrow.int64(),
        "description": text,
        "quantity": text,
        "unit": text,
        "enhancement": text,
        "level": text,
        "motion_corrected": pyarrow.bool_(),
        "scanner_made_map": pyarrow.bool_(),
        "t1_scale": real,
        "region": text,
        **{name: whole if name == "pixels" else real for name in _OF_REGION},
        "post_series_index": whole,
        "haematocrit": real,
        "haematocrit_source": text,
        "confidence": real,
        "flags": pyarrow.list_(text),
        "error": text,
        "engine": text,
    }
    schema = pyarrow.schema(list(columns.items()))
    with (
        atomic_output(file, private=True) as beside,
        beside.open("wb") as opened,  # pyarrow opens no path that is no UTF-8
        ParquetWriter(opened, schema) as writer,
    ):
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
        found = [*map(_rows, document["slices"]), *map(_ecv_rows, document["ecv"])]
        rows = found or [iter([{"error": document["error"]}])]
        for row in (row for each in rows for row in each):
            self._rows.append({name: _utf8(value) for name, value in (of_examination | row).items()})
        if len(self._rows) >= _ROWS:
            self.flush()

    def flush(self) -> None:
        """Write the rows that are held."""
        self._write(self._rows)
        self._rows.clear()


def _utf8(value: Any) -> Any:
    """Return a value of a row with its texts as UTF-8: names of files and texts of senders may be none."""
    if isinstance(value, str):
        return as_utf8(value)
    return [_utf8(each) for each in value] if isinstance(value, list) else value


def _rows(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return a row for each region of a slice; one without values where it has none."""
    return _of_regions(record, {name: record[name] for name in _OF_SLICE})


def _ecv_rows(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return likewise those of ECV; series and slice are those of the native map."""
    native, post = record["native"], record["post_contrast"]
    shared = {name: record[name] for name in _OF_ECV}
    shared |= {name: native[name] for name in ("series_index", "slice_index", "time_stamp", "description")}
    shared |= {"quantity": "ECV", "post_series_index": post["series_index"] if post else None}
    return _of_regions(record, shared)


def _of_regions(record: dict[str, Any], shared: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for region in record["regions"] or [{}]:
        values = {name: region.get(name) for name in _OF_REGION}
        yield {**shared, "error": record["error"] or None, "region": region.get("name"), **values}
