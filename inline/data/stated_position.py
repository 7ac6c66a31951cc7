"""Slices whose headers state where they lie, and those whose position of zeros stands for none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from functools import cache
from typing import NamedTuple, Protocol, Self

import numpy as np

from inline.data.geometry import PARALLEL, SAME_MM, SliceGeometry
from inline.data.series import SeriesIdentity


class PositionedSlice(Protocol):
    """Slice with what tells whether its position is stated."""

    @property
    def identity(self) -> SeriesIdentity:
        """Acquisition."""
        ...

    @property
    def geometry(self) -> SliceGeometry | None:
        """Plane; None where the headers state none."""
        ...

    @property
    def scanner_made(self) -> bool:
        """True where the scanner made the map."""
        ...

    @property
    def motion_corrected(self) -> bool:
        """True where the scanner corrected the images for motion."""
        ...


class Shown(NamedTuple):
    """Slice of a study.

    Attributes:
        kind: quantity and contrast state, map of the scanner or not, images corrected for motion or not;
            slices of one kind all state positions, or none does.
        series: index of its series.
        slice: index in that.
        geometry: None without directions.
        session: name of the connection that it came on, where there are several.
    """

    kind: Hashable
    series: int
    slice: int
    geometry: SliceGeometry | None
    session: str = ""

    @classmethod
    def of(cls, one: PositionedSlice, measured: Hashable, session: str = "") -> Self:
        """Return a slice of a study; ``measured`` is its quantity and contrast state."""
        kind = (measured, one.scanner_made, one.motion_corrected)
        geometry = one.geometry.known if one.geometry is not None else None
        return cls(kind, one.identity.series_index, one.identity.slice_index, geometry, session)


def positions_stated(study: Sequence[Shown]) -> list[bool | None]:
    """Return for each slice whether its position is stated; None where zeros may be one or stand for none.

    Zeros are none where no slice of the study states a position, and where a series has several slices at
    zero. Else they are a position where slices of the kind state theirs on the same connection; and, for the
    only such series of a connection, where those of other connections lie elsewhere. Several series of a kind
    at zero alone are none, unless zero is certainly the position of another slice.
    """
    placed = [each for each in study if each.geometry is not None and each.geometry.placed]
    stating = {(each.kind, each.session) for each in placed}
    slices, series = defaultdict(set), defaultdict(set)
    for each in study:
        if each.geometry is not None and not each.geometry.placed:
            slices[each.kind, each.session, each.series].add(each.slice)
            series[each.kind, each.session].add(each.series)

    @cache
    def elsewhere(kind: Hashable, geometry: SliceGeometry) -> bool:
        """Return whether slices of a kind state positions, and none of them is that of a slice at zero."""
        planes = [each.geometry for each in placed if each.kind == kind and each.geometry is not None]
        # A slice near zero that is measured again has its position, not zeros.
        return bool(planes) and not any(_through_zero(geometry, plane) for plane in planes)

    def at_zero(each: Shown) -> bool:
        """Return whether a slice certainly lies at zero."""
        own = each.kind, each.session
        if each.geometry is None or each.geometry.placed or not each.geometry.positioned:
            return False
        if len(slices[*own, each.series]) > 1:
            return False
        return own in stating or (len(series[own]) == 1 and elsewhere(each.kind, each.geometry))

    zero = [at_zero(each) for each in study]
    possible = any(zero)

    def stated(each: Shown) -> bool | None:
        own = each.kind, each.session
        if each.geometry is None or each.geometry.placed:
            return each.geometry is not None
        if not placed or not each.geometry.positioned or len(slices[*own, each.series]) > 1:
            return False
        return None if possible or len(series[own]) == 1 else False

    return [certain or stated(each) for each, certain in zip(study, zero, strict=True)]


def _through_zero(geometry: SliceGeometry, plane: SliceGeometry) -> bool:
    """Return whether a parallel plane is the slice position of a slice at zero."""
    normal = geometry.normal
    parallel = abs(float(plane.normal @ normal)) >= PARALLEL
    return parallel and abs(float(np.asarray(plane.position) @ normal)) <= SAME_MM
