"""Table of a cohort as Parquet and as CSV: one row a region of each slice, and of each ECV."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from inline.data.client_text import as_utf8
from inline.emit.record import unusable
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
    "field_strength_T",
    "t1_scale",
    "confidence",
    "flags",
    "notes",
)
_OF_ECV: Final = ("part", "level", "unit", "haematocrit", "haematocrit_source", "flags", "notes")
_PLACE: Final = ("series_index", "slice_index", "time_stamp")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""First characters of texts that a spreadsheet takes as a formula."""
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
    "partition_standard_error",
)


@contextmanager
def open_table(parquet: Path, comma_separated: Path) -> Iterator[ValueTable]:
    """Yield a table to add to; both files are replaced at the end.

    Raises:
        ImportError: pyarrow is not installed.
        OutputError: a file cannot be written.
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
        "field_strength_T": real,
        "t1_scale": real,
        "region": text,
        **{name: whole if name == "pixels" else real for name in _OF_REGION},
        "post_series_index": whole,
        "haematocrit": real,
        "haematocrit_source": text,
        "confidence": real,
        "flags": pyarrow.list_(text),
        "usable": pyarrow.bool_(),
        "notes": text,
        "error": text,
        "engine": text,
    }
    schema = pyarrow.schema(list(columns.items()))
    with (
        atomic_output(parquet, private=True) as beside,
        atomic_output(comma_separated, private=True) as csv_beside,
        beside.open("wb") as opened,  # pyarrow opens no path that is no UTF-8
        csv_beside.open("w", encoding="utf-8", newline="") as csv_opened,
        ParquetWriter(opened, schema) as writer,
    ):
        lines = csv.DictWriter(csv_opened, list(columns))
        lines.writeheader()

        def write(rows: list[dict[str, Any]]) -> None:
            writer.write_table(pyarrow.Table.from_pylist(rows, schema))
            lines.writerows({name: _cell(value) for name, value in row.items()} for row in rows)

        table = ValueTable(write)
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
        fields = {_place(each["part"], each): each["field_strength_T"] for each in document["slices"]}
        found = [
            *map(_rows, document["slices"]),
            *(_ecv_rows(each, fields.get(_place(each["part"], each["native"]))) for each in document["ecv"]),
        ]
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


def _cell(value: Any) -> Any:
    """Return a value for CSV: a list as one text, and before a text that would be a formula an apostrophe."""
    text = " ".join(value) if isinstance(value, list) else value
    return f"'{text}" if isinstance(text, str) and text.startswith(_FORMULA) else text


def _rows(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return a row for each region of a slice; one without values where it has none."""
    return _of_regions(record, {name: record[name] for name in _OF_SLICE})


def _ecv_rows(record: dict[str, Any], field_strength: float | None) -> Iterator[dict[str, Any]]:
    """Return likewise those of ECV; series and slice are those of the native map."""
    native, post = record["native"], record["post_contrast"]
    shared = {name: record[name] for name in _OF_ECV}
    shared |= {name: native[name] for name in (*_PLACE, "description")}
    shared |= {"quantity": "ECV", "post_series_index": post["series_index"] if post else None}
    return _of_regions(record, {**shared, "field_strength_T": field_strength})


def _place(part: int, record: Mapping[str, Any]) -> tuple[int, ...]:
    """Return what identifies a slice among those of an examination."""
    return part, *(record[name] for name in _PLACE)


def _of_regions(record: dict[str, Any], shared: dict[str, Any]) -> Iterator[dict[str, Any]]:
    stated = {"error": record["error"] or None, "notes": " ".join(record["notes"]) or None}
    for region in record["regions"] or [{}]:
        values = {name: region.get(name) for name in _OF_REGION}
        measured = values["median"] is not None or values["partition_coefficient"] is not None
        usable = measured and not unusable(record)
        yield {**shared, **stated, "usable": usable, "region": region.get("name"), **values}
