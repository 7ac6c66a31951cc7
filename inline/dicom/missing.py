"""Signs that images of a DICOM series are missing: its numbers, what it states, other slices of its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from inline.data.series import Quantity
from inline.dicom.frame import Frame

MOST_STATED: Final = 100_000
"""Number of objects of a series (0020,1209) above which the statement is not believed."""
_NAMED: Final = 8
"""Largest number of missing instance numbers that are listed."""
_Sign = tuple[int | None, str]
"""Number of missing images, where it is known, and the sentence."""


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


def lacking(slices: Mapping[int, Sequence[Frame]], *, broken: bool) -> dict[int, list[str]]:
    """Return a sentence for each sign that images of a series were not sent or copied, by slice.

    Where slices have fewer images than the others, these make up all that are missing, and no number is
    missing within another slice, they alone lack them. Else each slice of the series may lack them.

    Args:
        slices: frames of the series, by slice.
        broken: sending it was broken off.
    """
    frames = [frame for members in slices.values() for frame in members]
    found = [*_gaps(frames), *_fewer_than_stated(frames), *_incomplete(frames)]
    if broken:
        found.append((None, "sending the series was broken off, or an image of it was refused"))
    most = max(map(len, slices.values()))
    fewer = {slice_: most - len(members) for slice_, members in slices.items()}
    all_gone = None if _elsewhere(slices, fewer) else sum(fewer.values())
    return {
        slice_: [text for gone, text in found if number or gone is None or gone != all_gone]
        for slice_, number in fewer.items()
    }


def _elsewhere(slices: Mapping[int, Sequence[Frame]], fewer: Mapping[int, int]) -> bool:
    """Return whether a number is missing among those of a slice with as many images as any other."""
    numbered = sorted(
        (frame.number, slice_)
        for slice_, members in slices.items()
        for frame in members
        if frame.number is not None
    )
    return any(
        later - earlier > 1 and one == two and not fewer[one]
        for (earlier, one), (later, two) in pairwise(numbered)
    )


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


def _gaps(frames: Sequence[Frame]) -> list[_Sign]:
    """Return a sign where the instance numbers of a series have gaps."""
    numbers = {frame.number for frame in frames if frame.number is not None}
    if len(numbers) != len(frames) or not numbers:
        return []
    first, last = min(numbers), max(numbers)
    if not 0 < (gone := last - first + 1 - len(numbers)) <= len(numbers):
        return []
    absent = [str(each) for each in range(first, last) if each not in numbers]
    named = ", ".join(absent[:_NAMED]) + (f" and {gone - _NAMED} more" if gone > _NAMED else "")
    return [(gone, f"the instance numbers of the series go from {first} to {last} without {named}")]


def _fewer_than_stated(frames: Sequence[Frame]) -> list[_Sign]:
    """Return a sign where a series has fewer objects than one of them states."""
    stated = max((frame.stated or 0 for frame in frames), default=0)
    there = len({_object(frame) for frame in frames})
    if not there < stated <= MOST_STATED:
        return []
    gone = stated - there if there == len(frames) else None
    return [(gone, f"the series states {stated} objects, and {there} are there")]


def _incomplete(frames: Sequence[Frame]) -> list[_Sign]:
    """Return a sign for each concatenation (PS3.3, C.7.6.16.1) with fewer objects than it states."""
    stated, there = dict[str, int](), dict[str, set[str]]()
    for frame in frames:
        uid, number = frame.concatenation
        if uid:
            stated[uid] = max(number, stated.get(uid, 0))
            there.setdefault(uid, set()).add(_object(frame))
    return [
        (None, f"a concatenation states {stated[uid]} objects, and {len(parts)} are there")
        for uid, parts in there.items()
        if len(parts) < stated[uid] <= MOST_STATED
    ]


def _object(frame: Frame) -> str:
    return frame.instance or str(frame.file)
