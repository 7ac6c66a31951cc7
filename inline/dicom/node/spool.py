"""Spool of a node: received objects until their series is processed, results until they are delivered."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from inline.dicom.node.received import ReceivedObjects, StudyBatch, make_series_due
from inline.dicom.node.results import ResultQueue, make_deliveries_due, move_deliveries
from inline.dicom.node.store import (
    DATABASE,
    SpoolError,
    SpoolInUseError,
    SpoolStore,
    is_of_earlier_version,
    open_database,
    rows,
    sum_bytes,
)
from inline.settings import DicomSettings


class Spool:
    """Spool of one node; safe between threads. One process at a time has it open.

    Attributes:
        received: objects of senders.
        results: to be delivered.
    """

    def __init__(
        self,
        folder: Path,
        most_bytes: int,
        free_bytes: int,
        kept_s: float,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open the spool, and make it where there is none.

        Args:
            folder: of the spool, mode 0700.
            most_bytes: of all files; beyond it no object is received.
            free_bytes: that receiving leaves free on the disk.
            kept_s: time after its last object that a processed series with maps is kept, s.
            clock: seconds since the epoch, as they outlast a restart.

        Raises:
            SpoolError: the folder cannot be used, or another node uses it.
        """
        self._store = SpoolStore(folder, most_bytes, free_bytes, clock)
        self.received = ReceivedObjects(self._store, kept_s)
        self.results = ResultQueue(self._store)

    @classmethod
    def of(cls, settings: DicomSettings) -> Spool:
        """Open the spool of a node; see :meth:`__init__`."""
        return cls(spool_folder(settings), settings.spool_bytes, settings.free_bytes, settings.kept_s)

    def close(self) -> None:
        """Close the spool."""
        self._store.close()

    def check(self) -> None:
        """Check that the spool can be written.

        Raises:
            OSError, sqlite3.Error: it cannot.
        """
        self._store.check()
        with self._store.transaction():
            pass

    @property
    def most(self) -> int:
        """Bytes of all files, beyond which no object is received."""
        return self._store.most

    def room(self) -> int:
        """Return the bytes that can be received, processed series being removed for them."""
        return max(self._store.room() + self.received.removable(), 0)

    def finish(
        self,
        batch: StudyBatch,
        results: Sequence[tuple[str, bytes]],
        destinations: Sequence[str],
        mapped: Collection[Path] = (),
    ) -> None:
        """Store the results of a batch, in one step.

        Args:
            batch: that was processed.
            results: SOP Instance UID and file of each object.
            destinations: that receive them.
            mapped: files with images of its maps.

        Raises:
            OSError, sqlite3.Error: the results cannot be stored; everything stays as it was.
        """
        with (
            self._store.written(data for _, data in results) as files,
            self._store.transaction() as database,
        ):
            made = [(uid, file, len(data)) for (uid, data), file in zip(results, files, strict=True)]
            gone = self.results.add(database, made, destinations)
            self.received.done(database, batch, mapped)
        self._store.remove(gone)


@dataclass(frozen=True, slots=True)
class Backlog:
    """Content of the spool at one moment.

    Attributes:
        series: number of series that are received or wait to be processed.
        objects: of these series.
        failed: reasons of the series that could not be processed so far.
        kept: number of processed series that are kept for later ones.
        deliveries: number of results by destination.
        errors: last error by destination, where there is one.
        bytes: of all files.
    """

    series: int
    objects: int
    failed: tuple[str, ...]
    kept: int
    deliveries: dict[str, int]
    errors: dict[str, str]
    bytes: int


def inspect(folder: Path, *, retry: bool = False) -> Backlog:
    """Return the content of a spool, whether a node has it open or not.

    Args:
        folder: of the spool.
        retry: make everything due now: series that were given up, and all deliveries.

    Raises:
        SpoolError: there is none, or it cannot be read.
    """
    with spool_database(folder) as database:
        if retry:
            make_series_due(database)
            make_deliveries_due(database)
        return _backlog(database)


def move_results(folder: Path, destination: str, other: str) -> int:
    """Let the results that wait for a destination be sent to another one, whether a node runs or not.

    Args:
        folder: of the spool.
        destination: that they wait for.
        other: that receives them; where a result waits for it already, it is sent once.

    Returns:
        Number of results.

    Raises:
        SpoolError: none waits for the destination, or the spool cannot be used.
    """
    if destination == other:
        raise SpoolError(f"the results of {destination} wait for it already; name another destination")
    with spool_database(folder) as database:
        _check_waiting(folder, destination, _backlog(database).deliveries)
        database.execute("BEGIN IMMEDIATE")
        number = move_deliveries(database, destination, other)
        database.execute("COMMIT")
        return number


def drop_results(folder: Path, destination: str) -> int:
    """Remove the results that wait for a destination, except those that another one still waits for.

    Args:
        folder: of the spool, which no node has open.
        destination: that they wait for.

    Returns:
        Number of results that no longer wait for it.

    Raises:
        SpoolError: none waits for the destination, a node runs, or the spool cannot be used.
    """
    with spool_database(folder) as database:
        _check_waiting(folder, destination, _backlog(database).deliveries)
        with held_store(folder, "results are dropped") as store:
            return ResultQueue(store).drop(destination)


def _check_waiting(folder: Path, destination: str, waiting: Collection[str]) -> None:
    if destination not in waiting:
        others = ", ".join(waiting) or "none at all"
        raise SpoolError(f"no result in {folder} waits for {destination}; results wait for: {others}")


@contextmanager
def held_store(folder: Path, what: str) -> Iterator[SpoolStore]:
    """Hold a spool that no node has open.

    Args:
        folder: of the spool.
        what: happens to it, for the error message.

    Raises:
        SpoolError: a node has it open, or it cannot be used.
    """
    try:
        store = SpoolStore(folder, 0, 0)
    except SpoolInUseError as error:
        # It counts the bytes of its files itself, and may be processing or sending one.
        raise SpoolError(f"a node uses the spool {folder}; stop it before {what}") from error
    with closing(store):
        yield store


@contextmanager
def spool_database(folder: Path) -> Iterator[sqlite3.Connection]:
    """Yield the database of a spool.

    Raises:
        SpoolError: there is none, or it cannot be used.
    """
    file = folder / DATABASE
    if not file.exists():
        raise SpoolError(f"there is no spool in {folder}; name that of the node by --spool or dicom.spool")
    try:
        if is_of_earlier_version(file):
            with held_store(folder, "its queue is converted to this version"):
                pass
        with closing(open_database(file)) as database:
            yield database
    except (OSError, sqlite3.Error) as error:
        raise SpoolError(f"the spool {folder} cannot be read: {error}") from error


def spool_folder(settings: DicomSettings) -> Path:
    """Return the folder of the settings, or that of the user where none is set."""
    return settings.spool or Path(platformdirs.user_state_dir("myostream")) / "dicom"


def _backlog(database: sqlite3.Connection) -> Backlog:
    ((series,),) = rows(database, "SELECT count(*) FROM series WHERE NOT done")
    ((objects,),) = rows(
        database, "SELECT count(*) FROM object JOIN series ON in_series = series.uid WHERE NOT done"
    )
    failed = rows(database, "SELECT error FROM series WHERE error != '' ORDER BY uid")
    ((kept,),) = rows(database, "SELECT count(*) FROM series WHERE done")
    deliveries = rows(
        database, "SELECT destination, count(*), max(error) FROM delivery GROUP BY destination ORDER BY 1"
    )
    return Backlog(
        series,
        objects,
        tuple(error for (error,) in failed),
        kept,
        {name: count for name, count, _ in deliveries},
        {name: error for name, _, error in deliveries if error},
        sum_bytes(database),
    )
