"""Slices that each examination has shown so far, across its connections.

At a scanner each measurement is a connection of its own; the examination is known by the UIDs of its header.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from inline.data.series import SlicePlace
from inline.mrd.header import MeasurementHeader

_MOST: Final = 64
_SLICES: Final = 1024
_HOURS: Final = 12.0
_LONGEST_UID: Final = 128


class Examination:
    """Slices that one examination has shown so far; safe between threads. The oldest of 1024 is dropped."""

    def __init__(self) -> None:
        self._places: deque[SlicePlace] = deque(maxlen=_SLICES)
        self._lock = threading.Lock()

    def show(self, place: SlicePlace) -> tuple[SlicePlace, ...]:
        """Add a slice; returns all that have been shown, this one last."""
        with self._lock:
            self._places.append(place)
            return tuple(self._places)

    @property
    def shown(self) -> tuple[SlicePlace, ...]:
        """All slices, in the order in which they were shown."""
        with self._lock:
            return tuple(self._places)


class Examinations:
    """Examinations by the UIDs of their headers; safe between threads.

    UIDs are kept as keyed hashes alone. At most 64 examinations are kept, each for 12 hours after its last
    connection began.
    """

    def __init__(self, *, most: int = _MOST, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._key = secrets.token_bytes(16)
        self._kept: dict[bytes, tuple[float, Examination]] = {}
        self._lock = threading.Lock()

    def of(self, header: MeasurementHeader) -> Examination:
        """Examination that a connection with this header belongs to.

        It is known by study and frame of reference, since positions can be compared within one frame of
        reference alone. A header without either gets an examination of its own.
        """
        uids = [uid if _stated(uid) else "" for uid in (header.study_uid, header.frame_of_reference_uid)]
        if not any(uids):
            return Examination()
        key = hashlib.blake2b("|".join(uids).encode(), key=self._key, digest_size=16).digest()
        now = self._clock()
        with self._lock:
            self._kept = {
                known: (used, each)
                for known, (used, each) in self._kept.items()
                if now - used < _HOURS * 3600.0
            }
            _, examination = self._kept.pop(key, (now, None))
            examination = examination or Examination()
            self._kept[key] = (now, examination)
            while len(self._kept) > self._most:
                del self._kept[next(iter(self._kept))]
            return examination


def _stated(uid: str) -> bool:
    """Whether a text is a UID; a placeholder of anonymised headers (XXXX, 0.0) would mix up patients."""
    digits = uid.replace(".", "")
    return (
        len(uid) <= _LONGEST_UID and "." in uid and digits.isascii() and digits.isdigit() and int(digits) > 0
    )
