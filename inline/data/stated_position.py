"""Slices whose headers state where they lie, and those whose position of zeros stands for none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from inline.data.geometry import SliceGeometry


class Shown(NamedTuple):
    """Slice of a study.

    Attributes:
        kind: whatever tells slices of one sender and sequence from others: those state positions, or none.
        series: index of its series.
        slice: index in that.
        geometry: None without directions.
    """

    kind: Hashable
    series: int
    slice: int
    geometry: SliceGeometry | None


def positions_stated(study: Sequence[Shown]) -> list[bool | None]:
    """Return for each slice whether its position is stated; None where zeros may be one or stand for none.

    Zeros are a position where other slices of the kind state theirs. They are none where no slice of the
    study states a position, where a series has several slices at zero, and where a kind has several series
    there alone.
    """
    placed = {each.kind for each in study if each.geometry is not None and each.geometry.placed}
    slices, series = defaultdict(set), defaultdict(set)
    for each in study:
        if each.geometry is not None and not each.geometry.placed:
            slices[each.kind, each.series].add(each.slice)
            series[each.kind].add(each.series)

    def stated(each: Shown) -> bool | None:
        if each.geometry is None:
            return False
        if each.geometry.placed:
            return True
        if not placed or len(slices[each.kind, each.series]) > 1:
            return False
        if each.kind in placed:
            return True
        return False if len(series[each.kind]) > 1 else None

    return [stated(each) for each in study]
