"""Studies of a spool: list what is there of each, and remove one of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from inline.dicom.node.spool import held_store, spool_database
from inline.dicom.node.store import UNKNOWN, SpoolError, patient_of, rows
from inline.dicom.node.waiting import ATTEMPTS


@dataclass(frozen=True, slots=True)
class StoredSeries:
    """Received series.

    Attributes:
        uid: Series Instance UID.
        state: ``to process``, ``given up`` or ``kept``, for later series.
        objects: number of them.
        missing: number of objects whose files are missing.
        since: time of the last object, in ISO 8601.
        error: why it could not be processed so far, or empty.
    """

    uid: str
    state: str
    objects: int
    missing: int
    since: str
    error: str


@dataclass(frozen=True, slots=True)
class WaitingResults:
    """Results that wait for a destination.

    Attributes:
        destination: its name.
        objects: number of them.
        missing: number of objects whose files are missing.
        since: time of the first one, in ISO 8601; empty where it is of an earlier version.
        error: why one was not delivered so far, or empty.
    """

    destination: str
    objects: int
    missing: int
    since: str
    error: str


@dataclass(frozen=True, slots=True)
class StoredStudy:
    """Content of a spool that belongs to one study.

    Attributes:
        uid: Study Instance UID, or ``unknown``.
        patient_id: of its first readable file, as the sender wrote it; empty where there is none.
        series: that were received.
        results: by destination.
    """

    uid: str
    patient_id: str
    series: tuple[StoredSeries, ...]
    results: tuple[WaitingResults, ...]


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Number of received objects and of results that were removed."""

    objects: int
    results: int


def list_studies(folder: Path) -> list[StoredStudy]:
    """Return the studies of a spool, whether a node has it open or not.

    Args:
        folder: of the spool.

    Raises:
        SpoolError: there is none, or it cannot be read.
    """
    with spool_database(folder) as database:
        database.execute("BEGIN")
        objects = rows(
            database,
            "SELECT object.study, series.uid, done, attempts, file, last, error FROM object"
            " JOIN series ON in_series = series.uid ORDER BY 1, last, 2",
        )
        results = rows(
            database,
            "SELECT study, destination, file, made, error FROM result"
            " JOIN delivery ON of_result = uid ORDER BY 1, 2, made",
        )
    received, waiting = dict(_by_first(objects)), dict(_by_first(results))
    return [
        StoredStudy(
            study,
            _patient(folder, study, [*received.get(study, ()), *waiting.get(study, ())]),
            tuple(
                StoredSeries(uid, _state(found[0]), len(found), *_content(folder, found))
                for uid, found in _by_first(received.get(study, ()))
            ),
            tuple(
                WaitingResults(name, len(found), *_content(folder, found))
                for name, found in _by_first(waiting.get(study, ()))
            ),
        )
        for study in sorted({*received, *waiting})
    ]


def forget_study(folder: Path, study: str) -> Forgotten:
    """Remove everything of one study: received objects, results, and their rows.

    Rows go in one step, and files after them: a run that is interrupted leaves at most files without a row,
    which the next one or the next start of the node removes.

    Args:
        folder: of the spool, which no node has open.
        study: Study Instance UID, or ``unknown``.

    Raises:
        SpoolError: it has no such study, a node runs, or the spool cannot be used.
    """
    with spool_database(folder), held_store(folder, "a study is forgotten") as store:
        with store.transaction() as database:
            objects = rows(database, "SELECT file, bytes FROM object WHERE study = ?", study)
            results = rows(database, "SELECT file, bytes FROM result WHERE study = ?", study)
            if not _delete(database, study):
                raise SpoolError(f"no study {study!r} in {folder}; --list names those that are there")
        store.remove([*objects, *results])
        left = [name for name, _ in (*objects, *results) if (folder / name).exists()]
        if left:
            raise SpoolError(
                f"{len(left)} files of the study could not be removed from {folder}, as {left[0]}"
            )
    return Forgotten(len(objects), len(results))


def _delete(database: sqlite3.Connection, study: str) -> int:
    """Delete the rows of a study within a transaction; return the number of rows that are changed."""
    number = 0
    for statement in (
        "DELETE FROM delivery WHERE of_result IN (SELECT uid FROM result WHERE study = ?)",
        "DELETE FROM result WHERE study = ?",
        "DELETE FROM object WHERE study = ?",
    ):
        number += database.execute(statement, (study,)).rowcount
    database.execute("DELETE FROM series WHERE uid NOT IN (SELECT in_series FROM object)")
    # Images of another study may have come with the same Series Instance UID.
    database.execute(
        "UPDATE series SET study = (SELECT study FROM object WHERE in_series = series.uid) WHERE study = ?",
        (study,),
    )
    return number


def _by_first(found: Sequence[Any]) -> Iterator[tuple[str, list[Any]]]:
    """Yield the sorted rows of each value of their first column, without it."""
    for value, those in groupby(found, lambda row: row[0]):
        yield value, [row[1:] for row in those]


def _state(row: Sequence[Any]) -> str:
    done, attempts = row[:2]
    return "kept" if done else "given up" if attempts >= ATTEMPTS else "to process"


def _content(folder: Path, found: Sequence[Any]) -> tuple[int, str, str]:
    """Return of rows that end with file, time and error: number of missing files, first time, an error."""
    missing = sum(not (folder / file).exists() for *_, file, _, _ in found)
    first = found[0][-2]
    since = datetime.fromtimestamp(first).astimezone().isoformat(timespec="seconds") if first else ""
    return missing, since, max(row[-1] for row in found)


def _patient(folder: Path, study: str, found: Sequence[Any]) -> str:
    """Return the patient ID of the first file that has one; none where the study is unknown."""
    if study == UNKNOWN:
        return ""
    return next(filter(None, (patient_of(folder / row[-3]) for row in found)), "")
