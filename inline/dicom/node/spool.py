"""Spool on disk: received objects until their series is processed, results until they are delivered.

Objects are files with names of their own; SQLite (write-ahead log, synchronous) holds what they belong to. A
file is on disk before its row, and a row goes before its file, so that an interruption leaves at most files
without a row, which the next start removes. Tables hold UIDs and no other data of a patient.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import platformdirs

from inline.data.errors import MyostreamError
from inline.settings import DicomSettings

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS series (
    uid TEXT PRIMARY KEY,
    study TEXT NOT NULL,
    last REAL NOT NULL,
    stated INTEGER,
    done INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS object (
    uid TEXT PRIMARY KEY,
    in_series TEXT NOT NULL REFERENCES series(uid),
    file TEXT NOT NULL,
    bytes INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS objects_of_series ON object(in_series);
CREATE TABLE IF NOT EXISTS result (uid TEXT PRIMARY KEY, file TEXT NOT NULL, bytes INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS delivery (
    of_result TEXT NOT NULL REFERENCES result(uid),
    destination TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (of_result, destination)
);
CREATE INDEX IF NOT EXISTS due_of_destination ON delivery(destination, due);
PRAGMA user_version = 1;
"""
_VERSION: Final = 1
_DATABASE: Final = "spool.sqlite"
_SUFFIX: Final = ".dcm"
ATTEMPTS: Final = 3
"""Times that a series is processed before it is given up, until ``dicom-queue --retry``."""


class SpoolError(MyostreamError):
    """The folder of the spool cannot be used."""


class SpoolFullError(Exception):
    """The spool has no room for an object."""


@dataclass(frozen=True, slots=True)
class Received:
    """Object that was received.

    Attributes:
        uid: SOP Instance UID.
        series: Series Instance UID.
        study: Study Instance UID.
        stated: number of objects of the series, where this one states it.
    """

    uid: str
    series: str
    study: str
    stated: int | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Complete series of one study.

    Attributes:
        series: Series Instance UIDs.
        files: of their objects, by SOP Instance UID.
        attempts: number of times that processing them began, this one included.
    """

    series: tuple[str, ...]
    files: dict[str, Path]
    attempts: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """Result that is to be sent to a destination.

    Attributes:
        uid: SOP Instance UID.
        file: of the object.
        attempts: failed ones so far.
    """

    uid: str
    file: Path
    attempts: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """Content of the spool at one moment.

    Attributes:
        series: number of series that are received or wait to be processed.
        objects: of these series.
        failed: reasons of the series that could not be processed so far.
        deliveries: number of results by destination.
        errors: last error by destination, where there is one.
        bytes: of all files.
    """

    series: int
    objects: int
    failed: tuple[str, ...]
    deliveries: dict[str, int]
    errors: dict[str, str]
    bytes: int


class Spool:
    """Spool of one node; safe between threads. One process at a time has it open."""

    def __init__(
        self,
        folder: Path,
        most_bytes: int,
        free_bytes: int,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open the spool, and make it where there is none.

        Args:
            folder: of the spool, mode 0700.
            most_bytes: of all files; beyond it no object is received.
            free_bytes: that receiving leaves free on the disk.
            clock: seconds since the epoch, as they outlast a restart.

        Raises:
            SpoolError: the folder cannot be used, or another node uses it.
        """
        self._folder, self._most, self._free, self._clock = folder, most_bytes, free_bytes, clock
        self._lock = threading.RLock()
        self._longest_wait_s = 0.0
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._held = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        except OSError as error:
            raise SpoolError(
                f"the spool {folder} cannot be used: {error.strerror}; set dicom.spool"
            ) from error
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._database = _open(folder / _DATABASE)
            self._opened = (folder / _DATABASE).stat()
            self._bytes = _sum_bytes(self._database)
            self._recover()
        except BlockingIOError as error:
            os.close(self._held)
            raise SpoolError(
                f"another node uses the spool {folder}; set dicom.spool to a folder of its own"
            ) from error
        except (OSError, sqlite3.Error) as error:
            os.close(self._held)
            raise SpoolError(f"the spool {folder} cannot be used: {error}; set dicom.spool") from error

    def close(self) -> None:
        """Close the spool."""
        with self._lock:
            self._database.close()
            os.close(self._held)

    def receive(self, received: Received, data: bytes) -> None:
        """Store an object; it is on disk when this returns. An earlier one with its UID is replaced.

        Raises:
            SpoolFullError: there is no room.
            OSError, sqlite3.Error: it cannot be stored.
        """
        self._check_database()
        self._check_room(len(data))
        file = self._write(data)
        try:
            with self._lock, self._transaction() as database:
                earlier = _rows(database, "SELECT file, bytes FROM object WHERE uid = ?", received.uid)
                database.execute(
                    "INSERT INTO series (uid, study, last, stated) VALUES (?, ?, ?, ?)"
                    " ON CONFLICT (uid) DO UPDATE SET last = excluded.last, done = 0, attempts = 0, due = 0,"
                    " stated = coalesce(excluded.stated, stated), error = ''",
                    (received.series, received.study, self._clock(), received.stated),
                )
                database.execute(
                    "INSERT OR REPLACE INTO object (uid, in_series, file, bytes) VALUES (?, ?, ?, ?)",
                    (received.uid, received.series, file.name, len(data)),
                )
        except BaseException:
            file.unlink(missing_ok=True)
            raise
        self._count(len(data))
        self._remove(earlier)

    def take(self, idle_s: float) -> Batch | None:
        """Return the complete series of the study that waits longest, and count the attempt.

        A series is complete when it has as many objects as it states, or for ``idle_s`` none has come. A
        series that could not be processed is taken alone the next time: it must not hold up others.
        """
        now = self._clock()
        # A last object far ahead, or a time to try again, is that of a clock that was put back.
        ready = (
            "SELECT uid, study, attempts FROM series WHERE NOT done AND attempts < ?"
            " AND (due <= ? OR due > ?) AND (last <= ? OR last > ?"
            " OR stated <= (SELECT count(*) FROM object WHERE in_series = series.uid))"
            " ORDER BY attempts, last"
        )
        with self._lock, self._transaction() as database:
            latest = now + self._longest_wait_s
            rows = _rows(database, ready, ATTEMPTS, now, latest, now - idle_s, now + idle_s)
            if not rows:
                return None
            _, study, attempts = rows[0]
            own = [row[0] for row in rows if row[1] == study and not row[2]] if not attempts else [rows[0][0]]
            files: dict[str, Path] = {}
            for each in own:
                database.execute("UPDATE series SET attempts = attempts + 1 WHERE uid = ?", (each,))
                objects = _rows(
                    database, "SELECT uid, file FROM object WHERE in_series = ? ORDER BY uid", each
                )
                files |= {uid: self._folder / file for uid, file in objects}
        return Batch(tuple(own), files, attempts + 1)

    def finish(self, batch: Batch, results: Iterable[tuple[str, bytes]], destinations: Sequence[str]) -> None:
        """Store the results of a batch, in one step.

        The objects stay for :meth:`purge`; a series that got another object meanwhile is processed again.

        Args:
            batch: that was processed.
            results: SOP Instance UID and file of each object.
            destinations: that receive them.

        Raises:
            OSError, sqlite3.Error: the results cannot be stored; everything stays as it was.
        """
        written: list[tuple[str, Path, int]] = []
        known = {file.name for file in batch.files.values()}
        gone: list[Any] = []
        try:
            for uid, data in results:
                written.append((uid, self._write(data), len(data)))
            with self._lock, self._transaction() as database:
                for uid, file, size in written:
                    gone += _rows(database, "SELECT file, bytes FROM result WHERE uid = ?", uid)
                    database.execute("INSERT OR REPLACE INTO result VALUES (?, ?, ?)", (uid, file.name, size))
                    database.executemany(
                        "INSERT OR REPLACE INTO delivery (of_result, destination) VALUES (?, ?)",
                        [(uid, destination) for destination in destinations],
                    )
                for each in batch.series:
                    there = _rows(database, "SELECT file FROM object WHERE in_series = ?", each)
                    if {file for (file,) in there} <= known:
                        database.execute("UPDATE series SET done = 1, error = '' WHERE uid = ?", (each,))
        except BaseException:
            for _, file, _ in written:
                file.unlink(missing_ok=True)
            raise
        self._count(sum(size for _, _, size in written))
        self._remove(gone)

    def purge(self, keep_s: float) -> None:
        """Remove the objects of series that are processed and got none for ``keep_s``."""
        # As in take(): a last object far ahead is that of a clock that was put back.
        old = "done AND (last <= ? OR last > ?)"
        objects = f"FROM object WHERE in_series IN (SELECT uid FROM series WHERE {old})"
        now = self._clock()
        times = (now - keep_s, now + keep_s)
        with self._lock, self._transaction() as database:
            gone = _rows(database, f"SELECT file, bytes {objects}", *times)
            database.execute(f"DELETE {objects}", times)
            database.execute(f"DELETE FROM series WHERE {old}", times)
        self._remove(gone)

    def fail(self, batch: Batch, error: str, wait_s: float, *, counted: bool = True) -> None:
        """Keep a batch that could not be processed until ``wait_s`` from now.

        Args:
            batch: that was taken.
            error: why, without data of a patient.
            wait_s: until it may be taken again.
            counted: the attempt counts; else it was no fault of the objects.
        """
        with self._lock, self._transaction() as database:
            self._longest_wait_s = max(self._longest_wait_s, wait_s)
            database.executemany(
                "UPDATE series SET due = ?, error = ?, attempts = max(attempts - ?, 0) WHERE uid = ?",
                [(self._clock() + wait_s, error, 0 if counted else 1, uid) for uid in batch.series],
            )

    def due(self, destination: str, most: int) -> list[Delivery]:
        """Return results whose time to be sent to a destination has come, the longest waiting first."""
        waiting = (
            "SELECT uid, file, attempts FROM delivery JOIN result ON of_result = uid"
            " WHERE destination = ? AND (due <= ? OR due > ?) ORDER BY due LIMIT ?"
        )
        with self._lock:
            now = self._clock()
            rows = _rows(self._database, waiting, destination, now, now + self._longest_wait_s, most)
        return [Delivery(uid, self._folder / file, attempts) for uid, file, attempts in rows]

    def delivered(self, delivery: Delivery, destination: str) -> None:
        """Forget a delivery, and remove its result when it was the last one."""
        with self._lock, self._transaction() as database:
            # A rerun may have replaced the result while it was sent.
            database.execute(
                "DELETE FROM delivery WHERE of_result = ? AND destination = ?"
                " AND EXISTS (SELECT 1 FROM result WHERE uid = of_result AND file = ?)",
                (delivery.uid, destination, delivery.file.name),
            )
            gone = _rows(
                database,
                "SELECT file, bytes FROM result WHERE uid = ?"
                " AND NOT EXISTS (SELECT 1 FROM delivery WHERE of_result = uid)",
                delivery.uid,
            )
            if gone:
                database.execute("DELETE FROM result WHERE uid = ?", (delivery.uid,))
        self._remove(gone)

    def postpone(self, delivery: Delivery, destination: str, error: str, wait_s: float) -> None:
        """Count a failed attempt; the next one is ``wait_s`` from now."""
        with self._lock, self._transaction() as database:
            self._longest_wait_s = max(self._longest_wait_s, wait_s)
            # A rerun may have replaced the result, which is then due at once.
            database.execute(
                "UPDATE delivery SET attempts = attempts + 1, due = ?, error = ?"
                " WHERE of_result = ? AND destination = ?"
                " AND EXISTS (SELECT 1 FROM result WHERE uid = of_result AND file = ?)",
                (self._clock() + wait_s, error, delivery.uid, destination, delivery.file.name),
            )

    def _recover(self) -> None:
        """Make everything due now, and remove files that no row names: they were never acknowledged."""
        _make_due(self._database)
        named: set[str] = set()
        for table in ("object", "result"):
            named |= {file for (file,) in _rows(self._database, f"SELECT file FROM {table}")}
        for file in self._folder.glob(f"*{_SUFFIX}*"):
            if file.name not in named:
                file.unlink(missing_ok=True)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield self._database
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    def _check_database(self) -> None:
        """Check that rows reach the disk: SQLite goes on writing to a file that was removed.

        Raises:
            OSError: the file was removed or replaced.
        """
        if not os.path.samestat((self._folder / _DATABASE).stat(), self._opened):
            raise FileNotFoundError(errno.ENOENT, "the spool was replaced; start the node again", _DATABASE)

    def _check_room(self, size: int) -> None:
        """Make room for an object at the cost of those that are processed.

        Raises:
            SpoolFullError: that does not suffice.
        """
        lacking = self._lacking(size)
        if lacking:
            self.purge(0.0)
            lacking = self._lacking(size)
        if lacking:
            raise SpoolFullError(lacking)

    def _lacking(self, size: int) -> str:
        """Return the limit that an object would exceed; empty where there is none."""
        if self._bytes + size > self._most:
            return "the limit dicom.spool_bytes is reached"
        if shutil.disk_usage(self._folder).free < size + self._free:
            return "its disk has no more than dicom.free_bytes left"
        return ""

    def _write(self, data: bytes) -> Path:
        """Write a file with a name of its own to disk, mode 0600."""
        file = self._folder / f"{secrets.token_hex(16)}{_SUFFIX}"
        part = file.with_suffix(f"{_SUFFIX}.part")
        try:
            with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as opened:
                opened.write(data)
                opened.flush()
                os.fsync(opened.fileno())
            part.replace(file)
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return file

    def _remove(self, rows: Iterable[Sequence[Any]]) -> None:
        """Remove files whose rows are gone."""
        for name, size in rows:
            with suppress(OSError):  # the next start removes it
                (self._folder / name).unlink(missing_ok=True)
            self._count(-size)

    def _count(self, size: int) -> None:
        with self._lock:
            self._bytes += size


def inspect(folder: Path, *, retry: bool = False) -> Backlog:
    """Return the content of a spool, whether a node has it open or not.

    Args:
        folder: of the spool.
        retry: make everything due now: series that were given up, and all deliveries.

    Raises:
        SpoolError: there is none, or it cannot be read.
    """
    file = folder / _DATABASE
    if not file.exists():
        raise SpoolError(f"there is no spool in {folder}; name that of the node by --spool or dicom.spool")
    try:
        with closing(_open(file)) as database:
            if retry:
                _make_due(database)
            return _backlog(database)
    except (OSError, sqlite3.Error) as error:
        raise SpoolError(f"the spool {folder} cannot be read: {error}") from error


def spool_folder(settings: DicomSettings) -> Path:
    """Return the folder of the settings, or that of the user where none is set."""
    return settings.spool or Path(platformdirs.user_state_dir("myostream")) / "dicom"


def _open(file: Path) -> sqlite3.Connection:
    database = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
    file.chmod(0o600)
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version not in (0, _VERSION):
        raise sqlite3.DatabaseError(f"its format {version} is of another version of myostream")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.executescript(_SCHEMA)
    return database


def _make_due(database: sqlite3.Connection) -> None:
    database.execute("UPDATE series SET attempts = 0, due = 0")
    database.execute("UPDATE delivery SET due = 0")


def _backlog(database: sqlite3.Connection) -> Backlog:
    ((series,),) = _rows(database, "SELECT count(*) FROM series WHERE NOT done")
    ((objects,),) = _rows(
        database, "SELECT count(*) FROM object JOIN series ON in_series = series.uid WHERE NOT done"
    )
    failed = _rows(database, "SELECT error FROM series WHERE error != '' ORDER BY uid")
    deliveries = _rows(
        database, "SELECT destination, count(*), max(error) FROM delivery GROUP BY destination ORDER BY 1"
    )
    return Backlog(
        series,
        objects,
        tuple(error for (error,) in failed),
        {name: count for name, count, _ in deliveries},
        {name: error for name, _, error in deliveries if error},
        _sum_bytes(database),
    )


def _sum_bytes(database: sqlite3.Connection) -> int:
    tables = ("object", "result")
    return sum(_rows(database, f"SELECT coalesce(sum(bytes), 0) FROM {table}")[0][0] for table in tables)


def _rows(database: sqlite3.Connection, query: str, *values: Any) -> list[Any]:
    return database.execute(query, values).fetchall()
