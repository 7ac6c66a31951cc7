"""Slice positions of an examination: the maps of each, and the map of a kind that counts there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from inline.data.geometry import PARALLEL, SAME_MM, FloatArray
from inline.data.results import SliceLevel
from inline.data.stated_position import Shown, positions_stated
from inline.data.time_stamps import unwrapped
from inline.report.maps import Kind, ReportMap

Stack = list[list[ReportMap]]
"""Maps of each slice position of one direction, in the order of the positions."""


def stacks(maps: Sequence[ReportMap]) -> list[Stack]:
    """Return the slice positions of each direction, along its normal.

    Maps in planes within 10 degrees and :data:`SAME_MM` are of one position. Of maps that state no directions
    or no position, those of one slice index are, as far as their levels agree; of one kind, a known level and
    an unknown one do not.
    The maps of a position keep their order.

    Args:
        maps: of one examination.
    """
    unplaced = _unplaced(maps)
    found: list[Stack] = []
    for same in _by_direction(maps):
        known = [each for each in same if id(each) not in unplaced]
        rest = [each for each in same if id(each) in unplaced]
        found += [*([_by_plane(known)] if known else []), *([_by_index(rest)] if rest else [])]
    return found


def _unplaced(maps: Sequence[ReportMap]) -> set[int]:
    """Return the ``id`` of each map that does not state its position; ECV has that of its native slice."""
    stated = positions_stated([Shown.of(each, each.kind) for each in maps])
    found = list(zip(maps, stated, strict=True))
    slices = {each.identity: known for each, known in found if each.kind not in (Kind.ECV, Kind.PARTITION)}
    return {id(each) for each, known in found if slices.get(each.identity, known) is False}


def latest(maps: Sequence[ReportMap]) -> ReportMap:
    """Return the latest map with contours, else the latest with a map.

    ECV is as late as the later one of its acquisitions; of several ECV of one of them, the other one decides.
    Of maps without time stamps, or with equal ones, the last one is the latest.

    Args:
        maps: of one kind and position, in the order of their results.
    """
    moments = unwrapped([each.time_stamp for each in maps])
    natives = unwrapped([each.identity.time_stamp for each in maps])

    def rank(number: int) -> tuple[bool, bool, int, int, int]:
        each = maps[number]
        return bool(each.regions), each.section is not None, moments[number], natives[number], number

    return maps[max(range(len(maps)), key=rank)]


def superseded(maps: Mapping[int, ReportMap]) -> list[int]:
    """Return the numbers of the maps of which :func:`latest` takes another of their kind and position.

    Args:
        maps: by number, in the order of their results.
    """
    groups = [group for stack in stacks(list(maps.values())) for group in stack]
    counted = {
        id(latest([each for each in group if each.kind is kind]))
        for group in groups
        for kind in {each.kind for each in group}
    }
    return [number for number, each in maps.items() if id(each) not in counted]


def _by_direction(maps: Sequence[ReportMap]) -> list[list[ReportMap]]:
    """Return the maps of parallel planes, then those without directions."""
    groups: list[tuple[FloatArray, list[ReportMap]]] = []
    rest = []
    for each in maps:
        if each.geometry is None:
            rest.append(each)
            continue
        normal = each.geometry.normal
        own = next((same for first, same in groups if abs(float(first @ normal)) >= PARALLEL), None)
        if own is None:
            groups.append((normal, [each]))
        else:
            own.append(each)
    return [*(same for _, same in groups), *([rest] if rest else [])]


def _by_plane(maps: Sequence[ReportMap]) -> Stack:
    """Return the maps of each position of parallel planes."""
    placed = [each.geometry for each in maps if each.geometry is not None]
    along = np.array([each.position for each in placed]) @ placed[0].normal
    groups: list[list[int]] = []
    for number in np.argsort(along, kind="stable"):
        # The distance to the first of the group: neighbours alone would join a dense stack.
        if not groups or along[number] - along[groups[-1][0]] > SAME_MM:
            groups.append([])
        groups[-1].append(int(number))
    return [[maps[number] for number in sorted(group)] for group in groups]


def _by_index(maps: Sequence[ReportMap]) -> Stack:
    """Return the maps of each slice index, of each level where the maps of one index have several.

    Slices that are series of their own all have index 0. Of one kind, a map of unknown level is of another
    slice than one of a known level; of another kind it may be of the same.
    """
    levels, of_kind = defaultdict(set), defaultdict(set)
    for each in maps:
        index = each.identity.slice_index
        of_kind[index, each.kind].add(each.level)
        if each.level is not SliceLevel.UNKNOWN:
            levels[index].add(each.level)
    several = {index for index, found in levels.items() if len(found) > 1}
    several |= {index for (index, _), found in of_kind.items() if len(found) > 1}
    groups = defaultdict(list)
    for each in maps:
        index = each.identity.slice_index
        groups[index, each.level if index in several else None].append(each)
    return [groups[key] for key in sorted(groups, key=lambda key: key[0])]
