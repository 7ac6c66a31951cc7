"""Slices of each study received so far, on any of its connections.

A scanner opens a connection for each measurement. UIDs, patientID and patientName of its header identify the
study.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Final

from inline.data.series import SlicePlace
from inline.mrd.header import MeasurementHeader, StudyKey

_MOST: Final = 64
_SLICES: Final = 1024
_KEPT_S: Final = 12.0 * 3600.0
_NUMBERS: Final = itertools.count(1)
_OTHER_PATIENT: Final = (
    "the UIDs of this header came with another patientID or patientName before, so it is taken for another "
    "examination: ECV and levels use no series of the other one; if it is the same patient, state one "
    "patientID in all headers"
)
_AMBIGUOUS: Final = (
    "studyInstanceUID came with several {several}, of which this header states none, so it is taken for "
    "another examination; state {stated}, for ECV and levels from the series of all"
)


def same_patient(one: MeasurementHeader, other: MeasurementHeader) -> bool:
    """Return whether two headers state one study, or without studies one frame of reference.

    They do not where both state a patientID, else a patientName, and not the same one. Without UIDs, they
    are those of one patient where they state the same patient and study, and differ in nothing else that is
    read.
    """
    if one.study_key.of_another_patient(other.study_key):
        return False
    (study, frame), (other_study, other_frame) = one.uids, other.uids
    if study or other_study:
        return study == other_study
    return frame == other_frame != "" or (one == other and one.patient == other.patient != b"")


class Study:
    """Slices of one study received so far; safe between threads.

    Attributes:
        slices: in the order of their arrival, at most the last 1024.
        number: of the study among those with slices in this process; 0 before its first slice.
        notice: reason why it has not the slices of another one with its study UID, as a text for its
            connections; empty for none.
        shared: its study UID came with another patientID or patientName too.
    """

    def __init__(self, notice: str = "") -> None:
        """Begin without slices."""
        self.notice = notice
        self.shared = False
        self.number = 0
        self.slices: tuple[SlicePlace, ...] = ()
        self._lock = threading.Lock()

    def add(self, place: SlicePlace) -> None:
        """Add a slice."""
        with self._lock:
            self.number = self.number or next(_NUMBERS)
            self.slices = (*self.slices, place)[-_SLICES:]


@dataclass(frozen=True, slots=True)
class _Kept:
    """Study since a time, s; ``joined``: headers that state less or more than its key may be of it."""

    study: Study
    since: float
    joined: bool = True


class Studies:
    """Studies by UIDs, patientID and patientName of their headers; safe between threads.

    These are kept as keyed hashes alone. At most 64 studies are kept, each for 12 hours after its last
    connection began.
    """

    def __init__(self) -> None:
        self._kept: dict[StudyKey, _Kept] = {}
        self._lock = threading.Lock()

    def of(self, header: MeasurementHeader) -> Study:
        """Return the study that a measurement with this header belongs to.

        A frame of reference, patientID or patientName that one header alone states keeps no two measurements
        of one study UID apart, where only one study fits. A header without either UID gets a study of its
        own.
        """
        key = header.study_key
        if not any(header.uids):
            return Study()
        now = time.monotonic()
        with self._lock:
            self._kept = {each: kept for each, kept in self._kept.items() if now - kept.since < _KEPT_S}
            fitting = [each for each, kept in self._kept.items() if kept.joined and each.fits(key)]
            if key in self._kept:
                kept = self._kept.pop(key)
            elif len(fitting) == 1:
                kept = self._kept.pop(fitting[0])
                key = StudyKey(*(own or new for own, new in zip(fitting[0], key, strict=True)))
            else:
                kept = _Kept(Study(_notice(key, fitting, self._kept)), now, joined=not fitting)
            self._mark_shared(key, kept.study)
            self._kept[key] = replace(kept, since=now)
            while len(self._kept) > _MOST:
                del self._kept[next(iter(self._kept))]
            return kept.study

    def _mark_shared(self, key: StudyKey, study: Study) -> None:
        """Mark all studies of a study UID where it came with several patients."""
        others = {each: kept.study for each, kept in self._kept.items() if each.study == key.study != b""}
        if any(each.of_another_patient(key) or other.shared for each, other in others.items()):
            for one in (study, *others.values()):
                one.shared = True


def _notice(key: StudyKey, fitting: Collection[StudyKey], known: Iterable[StudyKey]) -> str:
    """Return why a study begins although another one has its study UID, as a text; empty for no reason.

    Args:
        key: of the study.
        fitting: several others that its header may be of, or none.
        known: all others.
    """
    if not fitting:
        return _OTHER_PATIENT if any(key.fits(each._replace(patient=b"", name=b"")) for each in known) else ""
    if not key.frame and len({each.frame for each in fitting}) > 1:
        return _AMBIGUOUS.format(several="frames of reference", stated="frameOfReferenceUID")
    return _AMBIGUOUS.format(several="patientIDs or patientNames", stated="patientID")
