"""Signs that images of a DICOM series are missing: its numbers, what it states, other slices of its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from inline.data.series import Quantity
from inline.dicom.frame import Frame

MOST_STATED: Final = 100_000
"""Number of objects of a series (0020,1209) above which the statement is not believed."""


class SliceAcquisition(NamedTuple):
    """Weighted images of one slice of a series.

    Attributes:
        series: number of the series.
        slice_: of the slice.
        quantity: that they measure.
        corrected: they were corrected for motion by the scanner.
        name: of the series or protocol.
    """

    series: int
    slice_: int
    quantity: Quantity
    corrected: bool
    name: str


def lacking(frames: Sequence[Frame], *, broken: bool) -> list[str]:
    """Return a sentence for each sign that images of a series were not sent or copied.

    Args:
        frames: of the series.
        broken: sending it was broken off.
    """
    found = [*_gaps(frames), *_fewer_than_stated(frames), *_incomplete(frames)]
    return [*found, "sending the series was broken off, or an image of it was refused"] if broken else found


def shorter(acquired: Mapping[SliceAcquisition, Sequence[float]]) -> dict[SliceAcquisition, str]:
    """Return a sentence for each acquisition that ends before another one of its name.

    Inversion times rise after a preparation and fall where the next one begins: this pattern is that of the
    protocol, whatever the heart rate. One is shorter if its pattern is the beginning of another's.

    Args:
        acquired: times in the order of acquisition, ms.
    """
    patterns = {
        each: [later > earlier for earlier, later in pairwise(times)] for each, times in acquired.items()
    }
    found = {}
    for each, own in patterns.items():
        longest = max(
            len(pattern)
            for other, pattern in patterns.items()
            if other[2:] == each[2:] and pattern[: len(own)] == own
        )
        if longest > len(own):
            found[each] = f"another slice of this name has {longest + 1} of them, this one {len(own) + 1}"
    return found


def _gaps(frames: Sequence[Frame]) -> list[str]:
    """Return a sentence where the instance numbers of a series have gaps."""
    numbers = [frame.number for frame in frames if frame.number is not None]
    if len(numbers) != len(frames) or len(set(numbers)) != len(numbers) or not numbers:
        return []
    gone = max(numbers) - min(numbers) + 1 - len(numbers)
    if not 0 < gone <= len(numbers):
        return []
    return [f"the instance numbers {min(numbers)} to {max(numbers)} of the series lack {gone}"]


def _fewer_than_stated(frames: Sequence[Frame]) -> list[str]:
    """Return a sentence where a series has fewer objects than one of them states."""
    stated = max((frame.stated or 0 for frame in frames), default=0)
    there = len({_object(frame) for frame in frames})
    return (
        [f"the series states {stated} objects, and {there} are there"]
        if there < stated <= MOST_STATED
        else []
    )


def _incomplete(frames: Sequence[Frame]) -> list[str]:
    """Return a sentence for each concatenation (PS3.3, C.7.6.16.1) with fewer objects than it states."""
    stated, there = dict[str, int](), dict[str, set[str]]()
    for frame in frames:
        uid, number = frame.concatenation
        if uid:
            stated[uid] = max(number, stated.get(uid, 0))
            there.setdefault(uid, set()).add(_object(frame))
    return [
        f"a concatenation states {stated[uid]} objects, and {len(parts)} are there"
        for uid, parts in there.items()
        if len(parts) < stated[uid] <= MOST_STATED
    ]


def _object(frame: Frame) -> str:
    return frame.instance or str(frame.file)
