"""Results: on disk until every destination has them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from inline.dicom.node.store import SpoolStore, rows, study_of

WAITING: Final = "it has not reported on storage commitment yet"
_THIS: Final = (
    "WHERE of_result = ? AND destination = ?"
    " AND EXISTS (SELECT 1 FROM result WHERE uid = of_result AND file = ?)"
)
"""A rerun may have replaced a result while it was sent; the new one is due at once."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Result that is to be sent to a destination.

    Attributes:
        uid: SOP Instance UID.
        file: of the object.
        attempts: failed ones so far.
        asked: UID of the request for storage commitment that it waits for, or empty.
    """

    uid: str
    file: Path
    attempts: int
    asked: str = ""


class ResultQueue:
    """Results of a spool by destination; safe between threads."""

    def __init__(self, store: SpoolStore) -> None:
        """Make every delivery of an earlier process due now."""
        self._store, self._opened = store, store.clock()
        self._longest_wait_s = 0.0
        with store.transaction() as database:
            make_deliveries_due(database)

    def add(
        self,
        database: sqlite3.Connection,
        results: Iterable[tuple[str, Path, int]],
        destinations: Sequence[str],
    ) -> list[Any]:
        """Record results within a transaction; return name and bytes of the files that they replace.

        Args:
            database: of the transaction.
            results: SOP Instance UID, file and bytes of each.
            destinations: that receive them.
        """
        gone: list[Any] = []
        for uid, file, size in results:
            gone += rows(database, "SELECT file, bytes FROM result WHERE uid = ?", uid)
            database.execute(
                "INSERT OR REPLACE INTO result (uid, file, bytes, study, made) VALUES (?, ?, ?, ?, ?)",
                (uid, file.name, size, study_of(file), self._store.clock()),
            )
            database.executemany(
                "INSERT OR REPLACE INTO delivery (of_result, destination) VALUES (?, ?)",
                [(uid, destination) for destination in destinations],
            )
        return gone

    def waiting(self) -> dict[str, int]:
        """Return the number of results by the destination that they wait for, also of earlier settings."""
        return dict(self._store.read("SELECT destination, count(*) FROM delivery GROUP BY 1 ORDER BY 1"))

    def ages_s(self) -> dict[str, float]:
        """Return the age of the oldest waiting result by destination, s.

        One of an earlier version, which recorded no time, counts from the start of the node.
        """
        oldest = (
            "SELECT destination, min(iif(made > 0, made, ?)) FROM delivery JOIN result ON of_result = uid"
            " GROUP BY 1"
        )
        now = self._store.clock()
        return {name: max(now - made, 0.0) for name, made in self._store.read(oldest, self._opened)}

    def drop(self, destination: str) -> int:
        """Forget the deliveries to a destination, and remove results that no other one waits for.

        Returns:
            Number of deliveries.
        """
        alone = "FROM result WHERE NOT EXISTS (SELECT 1 FROM delivery WHERE of_result = uid)"
        with self._store.transaction() as database:
            number = database.execute("DELETE FROM delivery WHERE destination = ?", (destination,)).rowcount
            gone = rows(database, f"SELECT file, bytes {alone}")
            database.execute(f"DELETE {alone}")
        self._store.remove(gone)
        return number

    def due(self, destination: str, most: int) -> list[Delivery]:
        """Return results whose time to be sent to a destination has come, the longest waiting first."""
        now = self._store.clock()
        waiting = (
            "SELECT uid, file, attempts, asked FROM delivery JOIN result ON of_result = uid"
            " WHERE destination = ? AND (due <= ? OR due > ?) ORDER BY due LIMIT ?"
        )
        found = self._store.read(waiting, destination, now, now + self._longest_wait_s, most)
        return [Delivery(uid, self._store.folder / file, *others) for uid, file, *others in found]

    def claim(self, deliveries: Iterable[Delivery], destination: str, wait_s: float) -> None:
        """Record that results are being sent; they are due again in ``wait_s`` if nothing else is recorded.

        Raises:
            sqlite3.Error: the spool cannot be written; what is sent now could not be recorded either.
        """
        with self._store.transaction() as database:
            self._longest_wait_s = max(self._longest_wait_s, wait_s)
            database.executemany(
                f"UPDATE delivery SET due = ? {_THIS}",
                [
                    (self._store.clock() + wait_s, each.uid, destination, each.file.name)
                    for each in deliveries
                ],
            )

    def ask(self, deliveries: Iterable[Delivery], destination: str, transaction: str, wait_s: float) -> None:
        """Record a request for storage commitment; without a report, results are due in ``wait_s``."""
        with self._store.transaction() as database:
            self._longest_wait_s = max(self._longest_wait_s, wait_s)
            due = self._store.clock() + wait_s
            database.executemany(
                f"UPDATE delivery SET asked = ?, due = ?, error = ? {_THIS}",
                [(transaction, due, WAITING, each.uid, destination, each.file.name) for each in deliveries],
            )

    def asked(self, transaction: str) -> list[tuple[Delivery, str]]:
        """Return the results of a request for storage commitment that still wait, with their destination."""
        found = self._store.read(
            "SELECT uid, file, attempts, asked, destination FROM delivery JOIN result ON of_result = uid"
            " WHERE asked != '' AND asked = ?",
            transaction,
        )
        return [
            (Delivery(uid, self._store.folder / file, attempts, asked), destination)
            for uid, file, attempts, asked, destination in found
        ]

    def delivered(self, delivery: Delivery, destination: str) -> None:
        """Forget a delivery, and remove its result when it was the last one."""
        with self._store.transaction() as database:
            database.execute(
                f"DELETE FROM delivery {_THIS}",
                (delivery.uid, destination, delivery.file.name),
            )
            gone = rows(
                database,
                "SELECT file, bytes FROM result WHERE uid = ?"
                " AND NOT EXISTS (SELECT 1 FROM delivery WHERE of_result = uid)",
                delivery.uid,
            )
            if gone:
                database.execute("DELETE FROM result WHERE uid = ?", (delivery.uid,))
        self._store.remove(gone)

    def postpone(self, delivery: Delivery, destination: str, error: str, wait_s: float) -> None:
        """Count a failed attempt; the next one is ``wait_s`` from now."""
        with self._store.transaction() as database:
            self._longest_wait_s = max(self._longest_wait_s, wait_s)
            database.execute(
                f"UPDATE delivery SET attempts = attempts + 1, asked = '', due = ?, error = ? {_THIS}",
                (self._store.clock() + wait_s, error, delivery.uid, destination, delivery.file.name),
            )


def make_deliveries_due(database: sqlite3.Connection) -> None:
    """Let every result be sent now."""
    database.execute("UPDATE delivery SET due = 0")


def move_deliveries(database: sqlite3.Connection, destination: str, other: str) -> int:
    """Let the results that wait for a destination be sent to another one now; return their number.

    To be called within a transaction.
    """
    database.execute(
        "INSERT OR IGNORE INTO delivery (of_result, destination)"
        " SELECT of_result, ? FROM delivery WHERE destination = ?",
        (other, destination),
    )
    return database.execute("DELETE FROM delivery WHERE destination = ?", (destination,)).rowcount
