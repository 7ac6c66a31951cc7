"""AHA segments: their names and numbers at each level, and their angles (Cerqueira et al. 2002)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import Field, replace
from typing import Any, ClassVar, Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from inline.data.flags import Flag
from inline.data.results import SliceLevel

FloatArray = NDArray[np.float64]

SIX: Final = ("anterior", "anteroseptal", "inferoseptal", "inferior", "inferolateral", "anterolateral")
"""Parts of the wall that are the segments of a basal or mid-ventricular slice."""
FOUR: Final = ("anterior", "septal", "inferior", "lateral")
"""Likewise of an apical one."""
_FIRST: Final = {SliceLevel.BASAL: 1, SliceLevel.MID: 7, SliceLevel.APICAL: 13}
_SEGMENT: Final = re.compile(r"AHA ([1-9]|1[0-6]) ([a-z]+) ([a-z]+)")


class _Named(Protocol):
    """Dataclass of the values of a region, with ``z_score``."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def name(self) -> str: ...


_Region = TypeVar("_Region", bound=_Named)


def segment_names(level: SliceLevel | None) -> list[str]:
    """Return the names of the AHA segments of a level, the anterior one first; none of an unknown level."""
    if level not in _FIRST:
        return []
    names = SIX if level in (SliceLevel.BASAL, SliceLevel.MID) else FOUR
    return [f"AHA {_FIRST[level] + i} {level.value} {name}" for i, name in enumerate(names)]


def segment_number(name: str) -> int | None:
    """Return the number of the AHA segment of this name, 1 to 16; None of another region."""
    match = _SEGMENT.fullmatch(name)
    return int(match[1]) if match else None


def segment_level(level: SliceLevel | None, flags: Collection[str]) -> SliceLevel | None:
    """Return the level at which a slice with these flags has AHA segments; None where it has none.

    The centre of a heart that is cut off is not known, nor are the angles around it.
    """
    return None if Flag.CUT_OFF in flags else level


def segment_at_level(name: str, level: SliceLevel) -> str | None:
    """Return the name of the same part of the wall at another level; None where its segments are others.

    Basal and mid-ventricular slices have the same six segments. Regions that are no segments keep their name.
    """
    match = _SEGMENT.fullmatch(name)
    if match is None or match[2] == level.value:
        return name
    if {match[2], level.value} != {SliceLevel.BASAL.value, SliceLevel.MID.value}:
        return None
    number = int(match[1]) - _FIRST[SliceLevel(match[2])] + _FIRST[level]
    return f"AHA {number} {level.value} {match[3]}"


def regions_at_level(
    regions: Iterable[_Region], level: SliceLevel, flags: Collection[str]
) -> tuple[tuple[_Region, ...], bool]:
    """Return regions by their names at another level, and whether they lack the AHA segments of that level.

    Segments are left out where the level has others, see :func:`segment_at_level`. A segment of another name
    has no z-score, since a range holds for one segment. Without a direction of the septum no level has any.

    Args:
        regions: of a slice.
        level: the other level.
        flags: of the slice.
    """
    named = ((each, segment_at_level(each.name, level)) for each in regions)
    found = tuple(
        each if each.name == name else replace(each, name=name, z_score=None)
        for each, name in named
        if name is not None
    )
    names = {each.name for each in found}
    has_segments = "septum" in names and segment_level(level, flags) in _FIRST
    return found, has_segments and not any(map(segment_number, names))


def segments(from_septum: FloatArray, number: int) -> NDArray[np.intp]:
    """Return the index into the names of six or four segments for each angle from the septum, degrees.

    With six, the middle of the septum is the border between anteroseptal and inferoseptal; with four it is
    the middle of the septal segment. Numbers run from anterior over septal to inferior and lateral.
    """
    width = 360.0 / number
    towards_inferior = (360.0 - from_septum) % 360.0
    if number == 6:
        return ((towards_inferior // width).astype(np.intp) + 2) % 6
    return (((towards_inferior + width / 2) // width).astype(np.intp) + 1) % 4
