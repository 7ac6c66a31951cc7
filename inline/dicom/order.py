"""Order of the frames of an examination: numbers of series, slices, counters, and the time of each frame."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

import numpy as np

from inline.assembly.geometry import Planes
from inline.assembly.recognition import Kind
from inline.data.series import Quantity
from inline.dicom.frame import Frame
from inline.dicom.vendors import PLACES, Time, choose
from inline.mrd.image_header import ImageHeader, ImageType, Triple

_LARGEST_COUNTER: Final = 65_535


@dataclass(frozen=True, slots=True)
class Counted:
    """Frame with its place among the others.

    Attributes:
        frame: see :class:`inline.dicom.frame.Frame`.
        header: of its MRD image, with counters.
        time: that it was acquired at; None where none is known.
    """

    frame: Frame
    header: ImageHeader
    time: Time | None

    @property
    def may_be_mapping(self) -> bool:
        """False where the assembly uses no such image; its pixels are then not needed."""
        if self.header.image_type in (ImageType.PHASE, ImageType.IMAGINARY, ImageType.RGB):
            return False
        if isinstance(self.frame.recognised, str):
            return False
        return self.frame.quantity is not None or self.time is not None


def number_series(frames: Sequence[Frame]) -> dict[int, list[Frame]]:
    """Return the frames of each series by a number that MRD can hold, in the order of acquisition.

    It is the series' own number, where that is between 0 and 65535 and no other series has it.
    """
    ordered = sorted(frames, key=lambda each: each.series)
    series = [list(members) for _, members in groupby(ordered, key=lambda each: each.series)]
    series.sort(key=lambda members: (members[0].series_number or 0, _earliest(members), members[0].series))
    stated = [members[0].series_number for members in series]
    own = {n for n in stated if n is not None and 0 <= n <= _LARGEST_COUNTER}
    taken: dict[int, list[Frame]] = {}
    free = iter(number for number in range(1, _LARGEST_COUNTER + 1) if number not in own)
    for members, number in zip(series, stated, strict=True):
        taken[number if number in own and number not in taken else next(free)] = members
    return taken


def _earliest(frames: Sequence[Frame]) -> float:
    return min((each.moment for each in frames if not math.isnan(each.moment)), default=0.0)


def count(frames: Sequence[Frame], series: int) -> Iterator[Counted]:
    """Yield the frames of a series with their counters and times, in the order of acquisition.

    Slices are counted along their normal, from the end that was acquired first. Within a slice, ``set``
    counts the images.
    """
    slices = _slices(frames)
    ends = [min((_order(f) for f, s in zip(frames, slices, strict=True) if s == end), default=())
            for end in (0, max(slices))]  # fmt: skip
    backwards = ends[1] < ends[0]
    if backwards:
        slices = [max(slices) - each for each in slices]
    ordered = sorted(zip(frames, slices, strict=True), key=lambda pair: (pair[1], _order(pair[0])))
    for place, pairs in groupby(ordered, key=lambda pair: pair[1]):
        members = [frame for frame, _ in pairs]
        times = _times(members)
        for number, (frame, time) in enumerate(zip(members, times, strict=True)):
            header = replace(
                frame.place,
                slice=min(place, _LARGEST_COUNTER),
                set=min(number, _LARGEST_COUNTER),
                image_index=min(number + 1, _LARGEST_COUNTER),
                image_series_index=series,
                slice_dir=_reversed(frame.place.slice_dir) if backwards else frame.place.slice_dir,
            )
            yield Counted(frame, header, time)


def _reversed(direction: Triple) -> Triple:
    x, y, z = direction
    return -x, -y, -z


def _order(frame: Frame) -> tuple[float, int, int, str]:
    moment = 0.0 if math.isnan(frame.moment) else frame.moment
    return moment, frame.number or 0, frame.index, str(frame.file)


def _slices(frames: Sequence[Frame]) -> list[int]:
    """Return the slice of each frame of a series, counted along the normal of the first one."""
    planes = Planes()
    numbers = [planes.number(frame.place) for frame in frames]
    normal = np.array(frames[0].place.slice_dir)
    along: dict[tuple[int, float], float] = {}
    keys = []
    for frame, number in zip(frames, numbers, strict=True):
        position = np.array(frame.place.position)
        # Where no position is stated, the slice location alone distinguishes slices.
        known = number >= 0
        location = 0.0 if known or math.isnan(frame.location) else round(frame.location, 1)
        keys.append((number, location))
        along.setdefault(keys[-1], float(position @ normal) if known else location)
    order = {key: index for index, key in enumerate(sorted(along, key=lambda key: (along[key], key)))}
    return [order[key] for key in keys]


def _times(frames: Sequence[Frame]) -> list[Time | None]:
    """Return quantity and time of each image of one slice, from the place that times them."""
    chosen: dict[Quantity, int] = {}
    weighted = [frame for frame in frames if frame.place.image_type is not ImageType.PHASE]
    named = {frame.quantity for frame in weighted} - {None}
    for quantity in Quantity:
        own = [each.times for each in weighted if each.quantity in (quantity, None)]
        place = choose(own, quantity, named=quantity in named)
        if place is not None:
            chosen[quantity] = place
    found: list[Time | None] = []
    for frame in frames:
        kind = None if isinstance(frame.recognised, str) else frame.recognised.kind
        wanted = [frame.quantity] if frame.quantity is not None else [Quantity.T2, Quantity.T1]
        stated = [
            Time(time, PLACES[chosen[quantity]])
            for quantity in wanted
            if quantity in chosen and (time := frame.times[chosen[quantity]]) is not None
            if kind is not Kind.MAP
            if (frame.quantity is quantity and kind is Kind.WEIGHTED)
            or not PLACES[chosen[quantity]].named_only
        ]
        found.append(next(iter(stated), None))
    return found
