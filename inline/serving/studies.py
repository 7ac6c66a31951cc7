"""Slices of each study received so far, on any of its connections.

A scanner opens a connection for each measurement. The UIDs of the header identify the study.
"""

from __future__ import annotations

import hashlib
import itertools
import secrets
import threading
import time
from typing import Final

from inline.data.series import SlicePlace
from inline.mrd.header import MeasurementHeader

_MOST: Final = 64
_SLICES: Final = 1024
_KEPT_S: Final = 12.0 * 3600.0
_NUMBERS: Final = itertools.count(1)


def same_patient(one: MeasurementHeader, other: MeasurementHeader) -> bool:
    """Return whether two headers state one study, or without studies one frame of reference.

    Without either, they are those of one patient where they state the same patient and study, and differ in
    nothing else that is read.
    """
    (study, frame), (other_study, other_frame) = one.uids, other.uids
    if study or other_study:
        return study == other_study
    return frame == other_frame != "" or (one == other and one.patient == other.patient != b"")


class Study:
    """Slices of one study received so far; safe between threads.

    Attributes:
        slices: in the order of their arrival, at most the last 1024.
        number: of the study among those with slices in this process; 0 before its first slice.
    """

    def __init__(self) -> None:
        self.number = 0
        self.slices: tuple[SlicePlace, ...] = ()
        self._lock = threading.Lock()

    def add(self, place: SlicePlace) -> tuple[SlicePlace, ...]:
        """Add a slice; return all slices, this one last."""
        with self._lock:
            self.number = self.number or next(_NUMBERS)
            self.slices = (*self.slices, place)[-_SLICES:]
            return self.slices


class Studies:
    """Studies by the UIDs of their headers; safe between threads.

    UIDs are kept as keyed hashes alone. At most 64 studies are kept, each for 12 hours after its last
    connection began.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(16)
        self._kept: dict[bytes, tuple[float, Study]] = {}
        self._lock = threading.Lock()

    def of(self, header: MeasurementHeader) -> Study:
        """Return the study that a measurement with this header belongs to.

        A header without either UID gets a study of its own.
        """
        uids = header.uids
        if not any(uids):
            return Study()
        key = hashlib.blake2b("|".join(uids).encode(), key=self._key, digest_size=16).digest()
        now = time.monotonic()
        with self._lock:
            self._kept = {each: kept for each, kept in self._kept.items() if now - kept[0] < _KEPT_S}
            _, study = self._kept.pop(key, (now, Study()))
            self._kept[key] = (now, study)
            while len(self._kept) > _MOST:
                del self._kept[next(iter(self._kept))]
            return study
