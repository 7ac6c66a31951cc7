"""Folder of the spool: lock, files and database.

Objects are files with names of their own; SQLite (write-ahead log, synchronous) holds what they belong to. A
file is on disk before its row, and a row goes before its file, so that an interruption leaves at most files
without a row, which the next start removes. Tables hold UIDs and no other data of a patient.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from pydicom import dcmread

from inline.data.errors import MyostreamError

_log = logging.getLogger(__name__)

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS series (
    uid TEXT PRIMARY KEY,
    study TEXT NOT NULL,
    last REAL NOT NULL,
    stated INTEGER,
    done INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '',
    mapped INTEGER NOT NULL DEFAULT 0,
    released INTEGER NOT NULL DEFAULT 0,
    broken INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS object (
    uid TEXT PRIMARY KEY,
    in_series TEXT NOT NULL REFERENCES series(uid),
    file TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    study TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS objects_of_series ON object(in_series);
CREATE TABLE IF NOT EXISTS result (
    uid TEXT PRIMARY KEY,
    file TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    study TEXT NOT NULL,
    made REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS delivery (
    of_result TEXT NOT NULL REFERENCES result(uid),
    destination TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '',
    asked TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (of_result, destination)
);
CREATE INDEX IF NOT EXISTS due_of_destination ON delivery(destination, due);
"""
_VERSION: Final = 3
_FROM_1: Final = (
    "".join(
        f"ALTER TABLE series ADD COLUMN {name} INTEGER NOT NULL DEFAULT {value};"
        # Of a series of version 1 nothing is known of its association: it is not called broken off.
        for name, value in (("mapped", 0), ("released", 1), ("broken", 0))
    )
    + "ALTER TABLE delivery ADD COLUMN asked TEXT NOT NULL DEFAULT '';"
)
UNKNOWN: Final = "unknown"
"""Study of a result of an earlier version whose file is missing or damaged."""
_FROM_2: Final = f"""
ALTER TABLE object ADD COLUMN study TEXT NOT NULL DEFAULT '';
UPDATE object SET study = coalesce(
    nullif(study_of(file), '{UNKNOWN}'),
    (SELECT study FROM series WHERE series.uid = in_series)
);
ALTER TABLE result ADD COLUMN study TEXT NOT NULL DEFAULT '';
ALTER TABLE result ADD COLUMN made REAL NOT NULL DEFAULT 0;
UPDATE result SET study = study_of(file);
"""
_CHANGES: Final = {0: _SCHEMA, 1: _FROM_1 + _FROM_2, 2: _FROM_2}
DATABASE: Final = "spool.sqlite"
_LOCK: Final = "lock"
SUFFIX: Final = ".dcm"
DENIED: Final = (
    "the user of the node may not read the files of this series or result in the spool (Permission denied); "
    "change their owner (chown)"
)
_OWN: Final = re.compile(rf"[0-9a-f]{{32}}{re.escape(SUFFIX)}(\.part)?")
"""Names that a spool gives its files; no other file of the folder is ever removed."""


class SpoolError(MyostreamError):
    """The folder of the spool cannot be used."""


class SpoolInUseError(SpoolError):
    """Another process has the spool open."""


class SpoolStore:
    """Files and database of one spool; safe between threads. One process at a time has it open.

    Attributes:
        folder: of the spool.
        clock: seconds since the epoch, as they outlast a restart.
        most: bytes of all files.
    """

    def __init__(
        self, folder: Path, most_bytes: int, free_bytes: int, clock: Callable[[], float] = time.time
    ) -> None:
        """Open the folder, and make it where there is none.

        Args:
            folder: of the spool, mode 0700.
            most_bytes: of all files.
            free_bytes: that receiving leaves free on the disk.
            clock: see :attr:`clock`.

        Raises:
            SpoolError: the folder cannot be used, or another node uses it.
        """
        self.folder, self.clock = folder, clock
        self.most, self._free = most_bytes, free_bytes
        self._lock = threading.RLock()
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._held = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        except OSError as error:
            raise SpoolError(
                f"the spool {folder} cannot be used: {error.strerror}; set dicom.spool"
            ) from error
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._database = open_database(folder / DATABASE)
            self._opened = (folder / DATABASE).stat()
            self._bytes = sum_bytes(self._database)
            self._remove_unnamed()
        except BlockingIOError as error:
            os.close(self._held)
            raise SpoolInUseError(
                f"another node uses the spool {folder}; set dicom.spool to a folder of its own"
            ) from error
        except (OSError, sqlite3.Error) as error:
            os.close(self._held)
            raise SpoolError(
                f"the spool {folder} cannot be used: {error}; mend that, or set dicom.spool"
            ) from error

    def close(self) -> None:
        """Close database and folder."""
        with self._lock:
            self._database.close()
            os.close(self._held)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the database for one step, which happens as a whole or not at all."""
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    def read(self, query: str, *values: Any) -> list[Any]:
        """Return the rows of a query."""
        with self._lock:
            return rows(self._database, query, *values)

    def check(self) -> None:
        """Check that rows reach the disk: SQLite goes on writing to a file that was removed.

        Raises:
            OSError: the file was removed or replaced.
        """
        if not os.path.samestat((self.folder / DATABASE).stat(), self._opened):
            raise FileNotFoundError(errno.ENOENT, "the spool was replaced; start the node again", DATABASE)

    def lacking(self, size: int) -> str:
        """Return the limit that a file of so many bytes would exceed; empty where there is none."""
        if self._bytes + size > self.most:
            return "the limit dicom.spool_bytes is reached"
        if shutil.disk_usage(self.folder).free < size + self._free:
            return "its disk has no more than dicom.free_bytes left"
        return ""

    def room(self) -> int:
        """Return the bytes of files that fit within both limits; negative where one is exceeded."""
        return min(self.most - self._bytes, shutil.disk_usage(self.folder).free - self._free)

    @contextmanager
    def written(self, contents: Iterable[bytes]) -> Iterator[list[Path]]:
        """Write files with names of their own to disk, mode 0600, and keep them if the block succeeds.

        Raises:
            OSError: there is no room, or the disk fails; no file is left.
        """
        files: list[Path] = []
        size = 0
        try:
            for each in contents:
                files.append(self._write(each))
                size += len(each)
            yield files
        except BaseException:
            for file in files:
                file.unlink(missing_ok=True)
            raise
        self._count(size)

    def remove(self, gone: Iterable[Sequence[Any]]) -> None:
        """Remove files, by name and bytes, whose rows are gone."""
        for name, size in gone:
            with suppress(OSError):  # the next start removes it
                (self.folder / name).unlink(missing_ok=True)
            self._count(-size)

    def _write(self, data: bytes) -> Path:
        file = self.folder / f"{secrets.token_hex(16)}{SUFFIX}"
        part = file.with_suffix(f"{SUFFIX}.part")
        try:
            with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as opened:
                opened.write(data)
                opened.flush()
                os.fsync(opened.fileno())
            part.replace(file)
            folder = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except BaseException:
            part.unlink(missing_ok=True)
            file.unlink(missing_ok=True)
            raise
        return file

    def _remove_unnamed(self) -> None:
        """Remove files that no row names: they were never acknowledged."""
        named: set[str] = set()
        for table in ("object", "result"):
            named |= {file for (file,) in rows(self._database, f"SELECT file FROM {table}")}
        unnamed = [
            each for each in self.folder.iterdir() if _OWN.fullmatch(each.name) and each.name not in named
        ]
        for file in unnamed:
            file.unlink(missing_ok=True)
        if unnamed:
            _log.warning(
                "%d files without a record were removed from the spool: an interruption had left them",
                len(unnamed),
            )

    def _count(self, size: int) -> None:
        with self._lock:
            self._bytes += size


def in_use(folder: Path) -> bool:
    """Return whether a process has the spool in a folder open, as far as this user may know."""
    try:
        with (folder / _LOCK).open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def is_denied(file: Path) -> bool:
    """Return whether a file of the spool is there, and the user of this process may not read it."""
    return file.exists() and not os.access(file, os.R_OK)


def cause(error: Exception) -> str:
    """Return why the disk or the database failed, without names of files; of other errors the kind."""
    text = str(error) if isinstance(error, sqlite3.Error) else getattr(error, "strerror", None)
    return text or type(error).__name__


def open_database(file: Path) -> sqlite3.Connection:
    """Open the database of a spool, and make its tables where there are none.

    Raises:
        OSError, sqlite3.Error: it cannot be used, is of a later version, or is lost.
    """
    if not (file.exists() and file.stat().st_size):  # SQLite would remove the write-ahead log of a lost one
        _check_without_images(file)
    database = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
    file.chmod(0o600)
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > _VERSION:
        raise sqlite3.DatabaseError(
            f"its format {version} is of a later version of myostream, which is to be installed again"
        )
    if version == 0:
        _check_without_images(file)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("PRAGMA secure_delete = ON")  # no UID stays in the file when its row is gone
    if version < _VERSION:
        database.create_function("study_of", 1, lambda name: study_of(file.parent / name))
        database.executescript(
            f"BEGIN IMMEDIATE; {_CHANGES[version]} PRAGMA user_version = {_VERSION}; COMMIT;"
        )
    return database


def _check_without_images(file: Path) -> None:
    """Check that the folder of a database without tables holds no images.

    Raises:
        sqlite3.DatabaseError: it holds some. Their database is lost, or they are of no spool.
    """
    # A spool has its tables before its first object.
    if number := sum(1 for _ in file.parent.glob(f"*{SUFFIX}")):
        raise sqlite3.DatabaseError(
            f"it has {number} files *{SUFFIX} and no records of them; of a copied spool, {file.name}-wal or "
            f"{file.name} is missing: restore it, or move the files to another folder"
        )


def is_of_earlier_version(file: Path) -> bool:
    """Return whether the database of a spool has the format of an earlier version."""
    with closing(sqlite3.connect(file)) as database:
        (version,) = database.execute("PRAGMA user_version").fetchone()
    return bool(0 < version < _VERSION)


def study_of(file: Path) -> str:
    """Return the Study Instance UID of a DICOM file; :data:`UNKNOWN` where it cannot be read."""
    return _text_of(file, "StudyInstanceUID") or UNKNOWN


def patient_of(file: Path) -> str:
    """Return the patient ID of a DICOM file; empty where it has none or cannot be read."""
    return _text_of(file, "PatientID")


def _text_of(file: Path, name: str) -> str:
    try:
        return str(dcmread(file, stop_before_pixels=True, specific_tags=[name]).get(name) or "")
    except Exception:  # of damaged files pydicom raises many kinds
        return ""


def sum_bytes(database: sqlite3.Connection) -> int:
    """Return the bytes of all files that rows name."""
    tables = ("object", "result")
    return sum(rows(database, f"SELECT coalesce(sum(bytes), 0) FROM {table}")[0][0] for table in tables)


def rows(database: sqlite3.Connection, query: str, *values: Any) -> list[Any]:
    """Return the rows of a query."""
    return database.execute(query, values).fetchall()
