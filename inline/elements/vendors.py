"""Places of inversion and preparation times in DICOM images, standard ones first.

:data:`PLACES` is the one table. A private element is found by its creator, never by its number alone.

Not read, since they are no times after an inversion: TriggerTime (0018,1060), which counts from the R wave,
and Canon's (700D,xx1A), which belongs to arterial spin labelling.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

from inline.data.series import Quantity
from inline.elements.header import DicomHeader, as_number

_LARGEST_MS: Final = 1e7
_SHORTEST_T2_MS: Final = 25.0
"""Longest echo time below which those of a series are no preparation times: T2 of the heart is 50 ms. The
gradient echoes of most T2* series all come earlier."""
_GRADIENT_ECHOES: Final = 6
"""Different echo times from which they are those of gradient echoes if they begin and follow closely."""
_CLOSE_MS: Final = 5.0
"""Distance below which echoes begin and follow each other closely: twelve from 2 to 27 ms measure T2*. Spin
echoes lie farther apart: those of T2 mapping of the heart 8 to 10 ms."""
_ENOUGH: Final = {Quantity.T1: 4, Quantity.T2: 2}
"""Different times by which a place times a series. MOLLI has at most three inversions, T2 preparations come
again as averages."""
_TOMATO: Final = "github.com/MRKonrad/tomato, itkReadFileListFilter"
LONGEST_COMMENT: Final = 10_240
"""Characters of a comment that are read: as many as DICOM's LT has."""
_EFFECTIVE: Final = re.compile(r"\bTIeff\s*+([0-9]++(?:\.[0-9]++)?+)\s*+ms", re.IGNORECASE)
_PREPARATION: Final = re.compile(
    r"T2\s*+prep\.?+\s*+duration\s*+=\s*+([0-9]++(?:\.[0-9]++)?+)\s*+ms", re.IGNORECASE
)

Read = Callable[[DicomHeader], float | None]


@dataclass(frozen=True, slots=True)
class Place:
    """Place of a time, ms.

    Attributes:
        quantity: T1: inversion time; T2: preparation time.
        name: of the place.
        source: that describes it.
        read: returns the time of a frame; None where it is not stated there.
        named_only: read only where a description names the mapping.
    """

    quantity: Quantity
    name: str
    source: str
    read: Read
    named_only: bool = False


class Time(NamedTuple):
    """Time of a frame, ms, and the place that states it."""

    ms: float
    place: Place


def _standard(name: str) -> Read:
    # A second inversion time is that of a second inversion pulse, or Philips' largest double.
    return lambda header: header.number(name)


def _private(group: int, creator: str, element: int) -> Read:
    return lambda header: as_number(header.private(group, creator, element))


def _comment(pattern: re.Pattern[str]) -> Read:
    def read(header: DicomHeader) -> float | None:
        found = pattern.search(comments(header)[:LONGEST_COMMENT])
        return float(found[1]) if found else None

    return read


def _siemens_xa(header: DicomHeader) -> float | None:
    """Return element 89 of the item of sequence FE, in a private functional group."""
    return as_number(header.private(0x0021, "SIEMENS MR SDI 02", 0x89))


PLACES: Final = (
    Place(Quantity.T1, "(0018,0082) InversionTime", "DICOM PS3.3, C.8.3.1", _standard("InversionTime")),
    Place(
        Quantity.T1,
        "(0018,9079) InversionTimes",
        "DICOM PS3.3, C.8.13.5.6; github.com/rordenlab/dcm2niix, issues 380 and 385",
        _standard("InversionTimes"),
    ),
    Place(
        Quantity.T1,
        "Philips (2005,xx72) InversionDelayTime, creator Philips MR Imaging DD 006",
        f"dcm4che dictionary; {_TOMATO}: (2005,1572)",
        _private(0x2005, "Philips MR Imaging DD 006", 0x72),
    ),
    Place(
        Quantity.T1,
        "Philips (2001,xx1B) PrepulseDelay, creator Philips Imaging DD 001",
        "GDCM and pydicom dictionaries; github.com/rordenlab/dcm2niix, nii_dicom.cpp: kPrepulseDelay",
        _private(0x2001, "Philips Imaging DD 001", 0x1B),
    ),
    Place(
        Quantity.T1,
        "Siemens XA (0021,xxFE) / (0021,xx89), creator SIEMENS MR SDI 02",
        f"{_TOMATO}: (5200,9230) / (0021,11FE) / (0021,1189)",
        _siemens_xa,
    ),
    Place(Quantity.T1, "Siemens comment: TIeff 260 ms", f"{_TOMATO}: (0020,4000)", _comment(_EFFECTIVE)),
    Place(
        Quantity.T2,
        "Siemens comment: T2 prep. duration = 55 ms",
        f"{_TOMATO}: (0020,4000), (0020,9158)",
        _comment(_PREPARATION),
    ),
    Place(
        Quantity.T2,
        "(0018,9082) EffectiveEchoTime",
        "DICOM PS3.3, C.8.13.5.4",
        _standard("EffectiveEchoTime"),
        named_only=True,
    ),
    Place(
        Quantity.T2,
        "(0018,0081) EchoTime",
        f"DICOM PS3.3, C.8.3.1; {_TOMATO}",
        _standard("EchoTime"),
        named_only=True,
    ),
)
"""Sources of the table: the standard, vendors' dictionaries, and public readers of such images."""
STANDARD: Final = {
    Quantity.T1: ("InversionTime", "InversionTimes"),
    Quantity.T2: ("EffectiveEchoTime", "EchoTime"),
}
"""Attributes of the table that are stated as text, which may be no number."""


ECHO_TIMES: Final = frozenset(place.name for place in PLACES if place.named_only)
"""Names of places that are read only where a description names the mapping."""


def comments(header: DicomHeader) -> str:
    """Return the comments of a frame."""
    return " ".join(filter(None, (header.text("ImageComments"), header.text("FrameComments"))))


def times(header: DicomHeader) -> tuple[float | None, ...]:
    """Return the time of a frame at each of :data:`PLACES`, ms; None where there is none.

    An inversion time of 0 is none: images without an inversion pulse state it.
    """
    found = []
    for place in PLACES:
        time = place.read(header)
        none = (
            time is None or not 0.0 <= time < _LARGEST_MS or (time == 0.0 and place.quantity is Quantity.T1)
        )
        found.append(None if none else time)
    return tuple(found)


def timed(stated: Sequence[float | None], quantities: Collection[Quantity] = tuple(Quantity)) -> bool:
    """Return whether an image states an inversion or preparation time: an echo time is none by itself."""
    return any(
        time is not None and not place.named_only and place.quantity in quantities
        for time, place in zip(stated, PLACES, strict=True)
    )


def choose(stated: Sequence[tuple[float | None, ...]], quantity: Quantity, *, named: bool) -> int | None:
    """Return the place in :data:`PLACES` that times the images of one slice (:func:`first_with_enough`).

    Args:
        stated: times of each image, as :func:`times` returns them.
        quantity: T1 or T2.
        named: a description names the mapping of that quantity.
    """
    found = [
        {time for each in stated if (time := each[number]) is not None}
        if place.quantity is quantity
        else set()
        for number, place in enumerate(PLACES)
    ]
    usable = [usable_at(place.name, times, named=named) for place, times in zip(PLACES, found, strict=True)]
    return first_with_enough(usable, quantity)


def usable_at(place: str, times_ms: set[float], *, named: bool) -> set[float]:
    """Return the times of a place; echo times only of a named series, and if they may be preparations."""
    return times_ms if place not in ECHO_TIMES or (named and _may_be_preparations(times_ms)) else set()


def echo_times_note(place: str) -> str:
    """Return the note on preparation times that are the echo times at a place."""
    return f"Preparation times were taken from {place}: no image states them elsewhere."


def first_with_enough(found: Sequence[Collection[float]], quantity: Quantity) -> int | None:
    """Return the first place with enough different times; else the first with the most; None without any.

    All images may state the protocol's one time at a standard place, or that of their inversion, and their
    own elsewhere. Times that differ more at a later place may be measured ones, or no preparation times.

    Args:
        found: different times of the images of a series at each place, in the order of precedence.
        quantity: T1 or T2.
    """
    counts = [min(len(times), _ENOUGH[quantity]) for times in found]
    return counts.index(max(counts)) if any(counts) else None


def _may_be_preparations(echo_times_ms: Collection[float]) -> bool:
    """Return whether echo times differ and may be preparation times: those of T2* are shorter or closer."""
    if len(echo_times_ms) < 2 or max(echo_times_ms) < _SHORTEST_T2_MS:
        return False
    steps = [later - earlier for earlier, later in pairwise(sorted({0.0, *echo_times_ms}))]
    return len(echo_times_ms) < _GRADIENT_ECHOES or max(steps) >= _CLOSE_MS
