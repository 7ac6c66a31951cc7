"""Received objects: on disk until their series is processed, and those of maps for some time longer."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from inline.dicom.node.duplicate import may_replace
from inline.dicom.node.store import DENIED, SpoolStore, rows
from inline.dicom.node.waiting import ATTEMPTS, HELD_S, Waiting, together

_log = logging.getLogger(__name__)

_MOST_KEPT: Final = 64
"""Processed series of a study that are read again with new ones, the latest: they bound time and memory."""
_LATE_S: Final = 600.0
"""Time after its last object that a processed series without maps is kept, for further objects."""
_COUNT: Final = "(SELECT count(*) FROM object WHERE in_series = series.uid)"


class SpoolFullError(Exception):
    """The spool has no room for an object."""


class OtherImageError(Exception):
    """An object has the SOP Instance UID of another image, which it would replace."""


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
class StudyBatch:
    """Complete series of one study.

    Attributes:
        members: files of the objects of each series, by Series Instance UID and SOP Instance UID.
        attempts: number of times that processing them began, this one included.
        kept: files of processed series of the study with maps.
        broken: Series Instance UIDs whose sending was broken off.
    """

    members: Mapping[str, Mapping[str, Path]]
    attempts: int
    kept: tuple[Path, ...] = ()
    broken: frozenset[str] = frozenset()

    @property
    def series(self) -> tuple[str, ...]:
        """Series Instance UIDs."""
        return tuple(self.members)

    @property
    def files(self) -> dict[str, Path]:
        """Files of all objects, by SOP Instance UID."""
        return {uid: file for files in self.members.values() for uid, file in files.items()}

    def without(self, is_denied: Callable[[Path], bool]) -> tuple[StudyBatch, StudyBatch]:
        """Return the series whose files may all be read, and the other ones."""
        denied = {uid: files for uid, files in self.members.items() if any(map(is_denied, files.values()))}
        readable = {uid: files for uid, files in self.members.items() if uid not in denied}
        return replace(self, members=readable), replace(self, members=denied)

    def split(
        self, mapped: Collection[Path], given: Collection[Path], lost: Collection[Path]
    ) -> tuple[StudyBatch, StudyBatch]:
        """Return the part that is done, and the series that gave problems and no object.

        A series of which some images were read and none became a slice is done: motion-corrected ones may
        stand for it.

        Args:
            mapped: files with images of slices.
            given: those of slices that an object was written of.
            lost: files that could not be read, or whose slice could not be written.
        """
        done, failed = dict[str, Mapping[str, Path]](), dict[str, Mapping[str, Path]]()
        for series, files in self.members.items():
            own = set(files.values())
            missed = own.intersection(lost)
            nothing = own.isdisjoint(given) and (missed == own or not own.isdisjoint(mapped))
            (failed if missed and nothing else done)[series] = files
        return replace(self, members=done), replace(self, members=failed)


class ReceivedObjects:
    """Received objects of a spool by series; safe between threads."""

    def __init__(self, store: SpoolStore, kept_s: float) -> None:
        """Go on with what an earlier process received.

        Args:
            store: of the spool.
            kept_s: time after its last object that a processed series with maps is kept, s.
        """
        self._store, self._kept_s = store, kept_s
        self._longest_wait_s = 0.0
        self._storing: list[tuple[str, float]] = []
        with store.transaction() as database:
            database.execute("UPDATE series SET due = 0")
            # Attempts stay counted: a series that ends the node each time must not hold up others for ever.
            database.execute(
                "UPDATE series SET error = ? WHERE NOT done AND attempts >= ? AND error = ''",
                ("the node ended each time while it was processed", ATTEMPTS),
            )
            # Their association ended with the process that received them.
            database.execute("UPDATE series SET broken = 1 WHERE NOT released AND NOT done")

    def receive(self, received: Received, data: bytes) -> bool:
        """Store an object; it is on disk when this returns. The same image that came before is replaced.

        Returns:
            Whether sending its series was broken off before.

        Raises:
            SpoolFullError: there is no room.
            OtherImageError: an image of another series or patient, or with other pixels, has its UID.
            OSError, sqlite3.Error: it cannot be stored.
        """
        begun = received.series, self._store.clock()
        self._storing.append(begun)
        try:
            return self._receive(received, data)
        finally:
            self._storing.remove(begun)

    def _receive(self, received: Received, data: bytes) -> bool:
        store = self._store
        store.check()
        self._make_room(len(data), received.series)
        known = "SELECT file, bytes, in_series FROM object WHERE uid = ?"
        with store.written([data]) as (file,):
            broken: bool | None = None
            while broken is None:
                # Pixels may take seconds to decode: meanwhile other associations go on.
                earlier = store.read(known, received.uid)
                for file_, _, series in earlier:
                    if series != received.series or not may_replace(store.folder / file_, data):
                        raise OtherImageError
                with store.transaction() as database:
                    if rows(database, known, received.uid) == earlier:
                        broken = self._record(database, received, file, len(data))
        store.remove((file_, size) for file_, size, _ in earlier)
        return broken

    def released(self, series: Iterable[str], repaired: Iterable[str] = ()) -> None:
        """Record that the association that sent some series has ended as it should.

        Args:
            series: that it sent.
            repaired: those that were broken off before its first object of them: it sent them again, or the
                rest. A series that was processed meanwhile is processed anew.
        """
        with self._store.transaction() as database:
            database.executemany("UPDATE series SET released = 1 WHERE uid = ?", [(each,) for each in series])
            database.executemany(
                "UPDATE series SET broken = 0, done = 0, attempts = 0, due = 0 WHERE uid = ? AND broken",
                [(each,) for each in repaired],
            )

    def broken_off(self, series: Iterable[str], last: str) -> None:
        """Record that the association that sent some series was broken off.

        What it sent before is complete where it was processed already; the series of its last object is
        processed anew. A series with as many objects as it states lacks none.

        Args:
            series: that it sent.
            last: series of its last object.
        """
        with self._store.transaction() as database:
            database.executemany(
                "UPDATE series SET broken = 1, done = 0, attempts = 0, due = 0 WHERE uid = ?"
                f" AND (NOT done OR uid = ?) AND (stated IS NULL OR stated > {_COUNT})",
                [(each, last) for each in series],
            )

    def take(self, idle_s: float, *, unread: bool = False) -> StudyBatch | None:
        """Return complete series of one study (:func:`together`), and count the attempt.

        The last attempt is made without kept series, in case that these prevent it.

        Args:
            idle_s: time without objects after which a series is complete.
            unread: objects may lie unread, as after a pause of the process.
        """
        now = self._store.clock()
        # A time to try again that is far ahead is that of a clock that was put back.
        query = (
            f"SELECT uid, study, attempts, last, coalesce(stated <= {_COUNT}, 0), error FROM series"
            " WHERE NOT done AND attempts < ? AND (due <= ? OR due > ?) ORDER BY attempts, last"
        )
        with self._store.transaction() as database:
            times = (ATTEMPTS, now, now + self._longest_wait_s)
            waiting = [Waiting(*each) for each in rows(database, query, *times)]
            storing = {series for series, begun in [*self._storing] if abs(now - begun) < HELD_S}
            unheard = {each.uid for each in waiting} if unread else storing
            own = together(waiting, now, idle_s, unheard)
            if not own:
                return None
            attempts, study = own[0].attempts, own[0].study
            members: dict[str, dict[str, Path]] = {}
            for each in own:
                database.execute("UPDATE series SET attempts = attempts + 1 WHERE uid = ?", (each.uid,))
                members[each.uid] = self._files(database, each.uid)
            kept: dict[str, Path] = {}
            if attempts < ATTEMPTS - 1:
                of_study = (
                    "SELECT uid FROM series WHERE study = ? AND done AND mapped ORDER BY last DESC LIMIT ?"
                )
                for (uid,) in rows(database, of_study, study, _MOST_KEPT):
                    kept |= self._files(database, uid)
            database.execute(f"UPDATE series SET broken = 0 WHERE stated <= {_COUNT}")
            broken = rows(database, "SELECT uid FROM series WHERE study = ? AND broken", study)
        return StudyBatch(members, attempts + 1, tuple(kept.values()), frozenset(uid for (uid,) in broken))

    def done(self, database: sqlite3.Connection, batch: StudyBatch, mapped: Collection[Path]) -> None:
        """Record within a transaction that a batch is processed; its objects stay for :meth:`purge`.

        A series that got another object meanwhile, or whose sending was broken off, is processed again.

        Args:
            database: of the transaction.
            batch: that was processed.
            mapped: files with images of its maps.
        """
        names, known = {file.name for file in mapped}, {file.name for file in batch.files.values()}
        for each in batch.series:
            there = {file for (file,) in rows(database, "SELECT file FROM object WHERE in_series = ?", each)}
            if there <= known:
                database.execute(
                    "UPDATE series SET done = 1, error = '', mapped = ? WHERE uid = ? AND broken = ?",
                    (not there.isdisjoint(names), each, each in batch.broken),
                )

    def fail(self, batch: StudyBatch, error: str, wait_s: float, *, counted: bool = True) -> None:
        """Keep a batch that could not be processed until ``wait_s`` from now.

        Args:
            batch: that was taken.
            error: why, without data of a patient.
            wait_s: until it may be taken again.
            counted: the attempt counts; else it was no fault of the objects.
        """
        with self._store.transaction() as database:
            self._longest_wait_s = max(self._longest_wait_s, wait_s)
            due = self._store.clock() + wait_s
            database.executemany(
                "UPDATE series SET due = ?, error = ?, attempts = max(attempts - ?, 0) WHERE uid = ?",
                [(due, error, 0 if counted else 1, uid) for uid in batch.series],
            )

    def given_up(self) -> int:
        """Return the number of series that are processed no more, until ``dicom-queue --retry``."""
        found = self._store.read("SELECT count(*) FROM series WHERE NOT done AND attempts >= ?", ATTEMPTS)
        return int(found[0][0])

    def unprocessed(self) -> dict[str, str]:
        """Return the state of each series that is not processed, by UID.

        It is ``waiting``, ``given-up`` (no attempt is left), or ``unreadable`` (the user of the node may not
        read its files).
        """
        state = "iif(attempts >= ?, 'given-up', iif(error = ?, 'unreadable', 'waiting'))"
        return dict(self._store.read(f"SELECT uid, {state} FROM series WHERE NOT done", ATTEMPTS, DENIED))

    def removable(self) -> int:
        """Return the bytes of processed series, which are removed where room is needed."""
        found = self._store.read(
            "SELECT coalesce(sum(bytes), 0) FROM object JOIN series ON in_series = series.uid WHERE done"
        )
        return int(found[0][0])

    def purge(self) -> None:
        """Remove processed series whose time is over."""
        now = self._store.clock()
        # As in take(): a last object far ahead is that of a clock that was put back.
        late_s = min(_LATE_S, self._kept_s)
        self._forget(
            "done AND NOT (last BETWEEN ? - iif(mapped, ?, ?) AND ? + iif(mapped, ?, ?))",
            *(now, self._kept_s, late_s, now, self._kept_s, late_s),
        )

    def _record(self, database: sqlite3.Connection, received: Received, file: Path, size: int) -> bool:
        """Record an object within a transaction; return whether sending its series was broken off before."""
        database.execute(
            "INSERT INTO series (uid, study, last, stated) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (uid) DO UPDATE SET last = excluded.last, done = 0, attempts = 0, due = 0,"
            " released = 0, stated = coalesce(excluded.stated, stated), error = ''",
            (received.series, received.study, self._store.clock(), received.stated),
        )
        database.execute(
            "INSERT OR REPLACE INTO object (uid, in_series, file, bytes, study) VALUES (?, ?, ?, ?, ?)",
            (received.uid, received.series, file.name, size, received.study),
        )
        ((broken,),) = rows(database, "SELECT broken FROM series WHERE uid = ?", received.series)
        return bool(broken)

    def _make_room(self, size: int, series: str) -> None:
        """Make room for an object at the cost of other processed series, first of those without maps.

        Raises:
            SpoolFullError: that does not suffice.
        """
        oldest = "uid = (SELECT uid FROM series WHERE done AND uid != ? ORDER BY mapped, last LIMIT 1)"
        removed = 0
        while lacking := self._store.lacking(size):
            gone = self._forget(oldest, series)
            if not gone:
                raise SpoolFullError(lacking)
            removed += gone
        if removed:
            _log.warning(
                "%d processed series were removed before their time to make room: later series have no ECV "
                "with them", removed,
            )  # fmt: skip

    def _forget(self, which: str, *values: Any) -> int:
        """Remove series and their objects; return the number of series."""
        with self._store.transaction() as database:
            objects = f"FROM object WHERE in_series IN (SELECT uid FROM series WHERE {which})"
            uids = rows(database, f"SELECT uid FROM series WHERE {which}", *values)
            gone = rows(database, f"SELECT file, bytes {objects}", *values)
            database.execute(f"DELETE {objects}", values)
            database.executemany("DELETE FROM series WHERE uid = ?", uids)
        self._store.remove(gone)
        return len(uids)

    def _files(self, database: sqlite3.Connection, series: str) -> dict[str, Path]:
        found = rows(database, "SELECT uid, file FROM object WHERE in_series = ? ORDER BY uid", series)
        return {uid: self._store.folder / file for uid, file in found}


def make_series_due(database: sqlite3.Connection) -> None:
    """Let every series be processed now, those that were given up too."""
    database.execute("UPDATE series SET attempts = 0, due = 0")
