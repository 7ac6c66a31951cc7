"""Level of a short-axis slice between base and apex, from the best available source."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inline.data.geometry import PARALLEL, SAME_MM, SliceGeometry
from inline.data.results import SliceLevel
from inline.data.series import Enhancement, Quantity, SlicePlace
from inline.data.stated_position import Shown, positions_stated

FloatArray = NDArray[np.float64]
_Planes = tuple[FloatArray, FloatArray]
"""Unit normals and positions ``(n, 3)``."""

TO_APEX: Final = np.array([0.62, -0.60, -0.50]) / np.linalg.norm([0.62, -0.60, -0.50])
"""From base to apex of a usual heart in patient coordinates (LPS): left, to the front, down."""
_SHORT_AXIS: Final = 0.45
"""Smallest cosine between a short-axis slice's normal and the axis of a usual heart. The axes of hearts
differ by some 25 degrees, so the normal of a long-axis slice, perpendicular to the axis, stays below it."""
_THREE_MM: Final = 23.0
"""Smallest extent of three or more positions that show base and apex: the middle third of the shortest usual
left ventricle (70 mm) lies between the two."""
_LEVEL_MM: Final = 23.0
"""Largest extent of slices that share the only word of a study, if it names their level: a third of 70 mm."""
_TWO_MM: Final = 40.0
"""Likewise of two positions: in a usual ventricle (80 to 100 mm) the middles of neighbouring thirds lie at
most 33 mm apart, so slices further apart are not neighbours."""
_LONGEST_MM: Final = 120.0
"""Largest extent: no left ventricle is longer."""
_ROUNDING_MM: Final = 1e-3
"""Positions are float32: distances so near to a limit are at it."""
_THIRDS: Final = (SliceLevel.BASAL, SliceLevel.MID, SliceLevel.APICAL)
_WORDS: Final = {
    SliceLevel.BASAL: re.compile(
        r"(?<![a-z])bas(al|e)(?![a-z]|[ _-]*(line(?![a-z])|hospital))", re.IGNORECASE
    ),
    # Siemens names raw data meas_MID00123_...; mid1 is the first of several slices.
    SliceLevel.MID: re.compile(
        r"(?<![a-z])mid(dle|ventricular|ventricle)?(?![a-z]|\d{3}|[ _-]*(dia|sys|breath))", re.IGNORECASE
    ),
    SliceLevel.APICAL: re.compile(r"(?<![a-z])(apical|apex)(?![a-z])", re.IGNORECASE),
}
_NOT_NAMED: Final = "; not by the series descriptions, whose words the positions contradict"
"""End of a source."""


def slice_level(
    place: SlicePlace, shown: Iterable[SlicePlace] = (), *, stated: Mapping[int, SliceLevel] | None = None
) -> tuple[SliceLevel, str]:
    """Return the level of a slice and its source.

    In this order: the user's statement for the slice index; one of the words base, basal, mid, apical, apex
    in the description, unless positions contradict it; the slice counter within the limits of the header,
    counted from the base by the direction of the slice in the patient, a third for each level; the position
    among the slices shown so far. Else the level is unknown, and the source states the reason.

    Args:
        place: of the slice.
        shown: slices of the same study so far, in any order; the slice itself may be among them.
        stated: level by slice index.
    """
    return slice_levels((place,), shown, stated=stated)[0]


def slice_levels(
    places: Sequence[SlicePlace],
    shown: Iterable[SlicePlace],
    *,
    stated: Mapping[int, SliceLevel] | None = None,
) -> list[tuple[SliceLevel, str]]:
    """Return level and source of several slices of one study, as :func:`slice_level` does."""
    study = _Study((*shown, *places))
    return [_level(each, study, stated or {}) for each in places]


def level_note(source: str) -> str:
    """Return the note on a level whose source is not the description that names one; empty for others."""
    return (
        "Words of the series descriptions name slice levels that the positions contradict; the level is not "
        "from the description: check both."
        if source.endswith(_NOT_NAMED)
        else ""
    )


class _Study:
    """Slices of one study whose headers state directions; each stands once, in any order."""

    def __init__(self, places: Iterable[SlicePlace]) -> None:
        self._places = [each for each in dict.fromkeys(places) if each.geometry is not None]

    @cached_property
    def placed(self) -> dict[SlicePlace, SliceGeometry]:
        """Slices that state their positions, with their planes.

        Zeros that may stand for none count where another slice certainly lies there. Where no slice states
        its position, all are at zero, which shows neither levels nor contradictions.
        """
        found = [(each, each.geometry) for each in self._places if each.geometry is not None]
        if not any(geometry.placed for _, geometry in found):
            return dict(found)
        known = positions_stated(
            [Shown.of(each, (each.quantity, each.enhancement), each.session) for each, _ in found]
        )
        at_zero = any(sure and not plane.placed for (_, plane), sure in zip(found, known, strict=True))
        counted = {True, None} if at_zero else {True}
        return dict(each for each, sure in zip(found, known, strict=True) if sure in counted)

    @cached_property
    def planes(self) -> _Planes:
        """Planes of the slices that state their positions."""
        return _planes(list(self.placed.values()))

    @cached_property
    def by_word(self) -> dict[tuple[Quantity, Enhancement | None], dict[SliceLevel, _Planes]]:
        """Likewise by quantity, contrast state and the level that their descriptions name."""
        found: dict[tuple[Quantity, Enhancement | None], dict[SliceLevel, list[SliceGeometry]]] = {}
        for each, plane in self.placed.items():
            if (word := _word(each.identity.description)) is not None:
                found.setdefault((each.quantity, each.enhancement), {}).setdefault(word, []).append(plane)
        return {
            kind: {level: _planes(words[level]) for level in _THIRDS if level in words}
            for kind, words in found.items()
        }

    @cached_property
    def words(self) -> set[SliceLevel]:
        """All levels that descriptions name."""
        return {level for words in self.by_word.values() for level in words}


def in_short_axis(geometry: SliceGeometry) -> bool:
    """Return whether a slice lies in the short axis of a usual heart."""
    return abs(float(geometry.normal @ TO_APEX)) >= _SHORT_AXIS


def _level(place: SlicePlace, study: _Study, stated: Mapping[int, SliceLevel]) -> tuple[SliceLevel, str]:
    if place.identity.slice_index in stated:
        return stated[place.identity.slice_index], "user"
    named, contradicted = _named(place, study)
    if named is not None and not contradicted:
        return named, "series description"
    level, source = _measured(place, study)
    return level, source + _NOT_NAMED if contradicted else source


def _named(place: SlicePlace, study: _Study) -> tuple[SliceLevel | None, bool]:
    """Return the level that the description of a slice names, and whether positions contradict it.

    They do where they show the opposite end of the heart, or where the words of the same quantity and
    contrast state have another order: before contrast the patient may have lain elsewhere. The only word of
    the study names no level where its slices lie too far apart for one: each description may have it.
    """
    own, geometry = _word(place.identity.description), study.placed.get(place)
    if own is None or geometry is None or not in_short_axis(geometry):
        return own, False
    axis = geometry.normal * np.sign(geometry.normal @ TO_APEX)
    ends = {}
    for level, (normals, positions) in study.by_word[place.quantity, place.enhancement].items():
        along = positions[np.abs(normals @ axis) >= PARALLEL] @ axis
        if along.size:
            ends[level] = float(along.min()), float(along.max())
    if len(study.words) == 1 and ends[own][1] - ends[own][0] > _LEVEL_MM + _ROUNDING_MM:
        return None, False
    reversed_ = any(one[1] - two[0] > SAME_MM for one, two in pairwise(ends.values()))
    shown, _ = _by_position(geometry, study.planes)
    return own, reversed_ or {own, shown} == {SliceLevel.BASAL, SliceLevel.APICAL}


@lru_cache(maxsize=1024)
def _word(description: str) -> SliceLevel | None:
    """Return the only level that the description of a slice names."""
    named = [level for level, word in _WORDS.items() if word.search(description)]
    return named[0] if len(named) == 1 else None


def _measured(place: SlicePlace, study: _Study) -> tuple[SliceLevel, str]:
    """Return the level by counter or position, and its source."""
    identity, geometry = place.identity, place.geometry
    if geometry is None:
        return SliceLevel.UNKNOWN, "unknown: the image headers state no directions"
    if not in_short_axis(geometry):
        return SliceLevel.UNKNOWN, "unknown: the slice does not lie in the short axis of a usual heart"
    count, index = place.slice_count, identity.slice_index - place.first_slice
    counted = count is not None and count >= 2 and 0 <= index < count
    if count is not None and counted and not _refuted(place, study.placed):
        to_apex = float(_rising(geometry) @ TO_APEX) >= 0.0
        share = (index + 0.5) / count
        return _third(share if to_apex else 1.0 - share), f"slice {index + 1} of {count} and its direction"
    if place not in study.placed:
        return SliceLevel.UNKNOWN, "unknown: the position 0, 0, 0 may stand for none"
    return _by_position(geometry, study.planes)


def _by_position(geometry: SliceGeometry, shown: _Planes) -> tuple[SliceLevel, str]:
    """Return the level of a slice by its position among those shown so far, itself included, and its source.

    Slices of the same direction within 10 degrees are the stack; those within :data:`SAME_MM` of each other
    count as one. Levels are thirds of the stack and half a slice distance at either end. A stack whose extent
    does not show base and apex gives no level.
    """
    normals, positions = shown
    normal = geometry.normal if geometry.normal @ TO_APEX >= 0.0 else -geometry.normal
    parallel = np.abs(normals @ normal) >= PARALLEL
    offsets = (positions[parallel] - np.asarray(geometry.position)) @ normal
    ordered = np.sort(offsets)
    # Middle of both ends, not the mean: repeated measurements of a position must not move it.
    clusters = np.split(ordered, np.flatnonzero(np.diff(ordered) > SAME_MM + _ROUNDING_MM) + 1)
    places = np.array([(each[0] + each[-1]) / 2.0 for each in clusters])
    number, extent = len(places), float(places[-1] - places[0])
    if number == 1:
        return SliceLevel.UNKNOWN, "unknown: the only slice position shown so far"
    if extent < _smallest_extent(number):
        return SliceLevel.UNKNOWN, (
            f"unknown: the {number} slice positions shown so far lie within {extent:.0f} mm, "
            "too near to be base and apex"
        )
    if extent > _LONGEST_MM + _ROUNDING_MM:
        return SliceLevel.UNKNOWN, (
            f"unknown: the {number} slice positions shown so far spread over {extent:.0f} mm, "
            "more than a left ventricle is long"
        )
    own = next(i for i, each in enumerate(clusters) if each[0] <= 0.0 <= each[-1])
    distance = extent / (number - 1)
    level = _third((float(places[own] - places[0]) + distance / 2.0) / (extent + distance))
    return level, f"position {own + 1} of {number} from the base, of those shown so far"


def _smallest_extent(number: int) -> float:
    """Return the extent from which on so many positions show base and apex, mm."""
    return (_THREE_MM if number >= 3 else _TWO_MM) - _ROUNDING_MM


def _third(share: float) -> SliceLevel:
    """Return the level at a share of the way from base to apex; symmetric about the middle."""
    if abs(share - 0.5) <= 1.0 / 6.0 + 1e-4:
        return SliceLevel.MID
    return _THIRDS[0] if share < 0.5 else _THIRDS[2]


def _rising(geometry: SliceGeometry) -> FloatArray:
    """Return the direction of rising slice counters: the stated one, else the slice's normal."""
    return geometry.normal if geometry.slice_direction is None else np.asarray(geometry.slice_direction)


def _refuted(place: SlicePlace, placed: Mapping[SlicePlace, SliceGeometry]) -> bool:
    """Return whether positions show that the slice counter of a place gives no level."""
    return place in placed and (_contradicted(place, placed) or _too_near(place, placed))


def _contradicted(place: SlicePlace, others: Mapping[SlicePlace, SliceGeometry]) -> bool:
    """Return whether positions contradict the slice counter of a place.

    Some senders leave the counter at zero but state the limits of the protocol; with others the counter rises
    against the slice direction.
    """
    assert place.geometry is not None
    same = {each: plane for each, plane in others.items() if each.session == place.session}
    if not same:
        return False
    normals, positions = _planes(list(same.values()))
    parallel = np.abs(normals @ place.geometry.normal) >= PARALLEL
    indices = np.array([each.identity.slice_index for each in same]) - place.identity.slice_index
    along = (positions - np.asarray(place.geometry.position)) @ _rising(place.geometry)
    apart = np.abs(along) > SAME_MM
    return bool((parallel & apart & (np.sign(along) != np.sign(indices))).any())


def _too_near(place: SlicePlace, others: Mapping[SlicePlace, SliceGeometry]) -> bool:
    """Return whether the positions of all slices of a counter are known, too near to be base and apex."""
    assert place.geometry is not None
    own = {
        each.identity.slice_index: plane.position
        for each, plane in others.items()
        if (each.session, each.identity.series_index) == (place.session, place.identity.series_index)
    }
    # Without positions all are at one place.
    if not len(own) == len(set(own.values())) == place.slice_count:
        return False
    extent = float(np.ptp(np.array(list(own.values())) @ place.geometry.normal))
    return extent < _smallest_extent(len(own))


def _planes(geometries: Sequence[SliceGeometry]) -> _Planes:
    """Return unit normals and positions ``(n, 3)`` of slices."""
    rows, columns, positions = (
        np.array([getattr(each, name) for each in geometries], dtype=np.float64)
        for name in ("row_direction", "column_direction", "position")
    )
    normals = np.cross(rows, columns)
    return normals / np.linalg.norm(normals, axis=1, keepdims=True), positions
