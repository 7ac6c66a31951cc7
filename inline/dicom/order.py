"""Order of the frames of an examination: numbers of series, slices, counters, and the time of each frame."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby, pairwise, product
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inline.assembly.assembled import FEWEST
from inline.assembly.geometry import Planes
from inline.assembly.group import SHORTEST
from inline.assembly.recognition import ImageKind
from inline.assembly.repetition import BREAK_S, SAME_MS, first_again
from inline.assembly.times import ROUNDING_MS
from inline.data.series import Quantity
from inline.data.time_stamps import DAY, TICKS
from inline.dicom.frame import Frame
from inline.elements.vendors import PLACES, Time, choose
from inline.mrd.image_header import ImageHeader, ImageType, Triple

_DAY_S: Final = DAY // TICKS
_LONGEST_S: Final = 43_200.0
"""Half a day: an examination takes less."""
_LARGEST_COUNTER: Final = 65_535
_WHOLE: Final = {Quantity.T1: FEWEST[Quantity.T1], Quantity.T2: SHORTEST[Quantity.T2]}
"""Fewest images of an acquisition that a number separates from others."""
_MOST: Final = 32
"""More images than an acquisition has."""
_SEARCHED: Final = 3 * _MOST
"""Images among which repetitions of what was broken off are sought."""
_PARALLEL: Final = 0.98
"""Cosine of the largest angle between slices of a stack, about 11 degrees."""


class SliceNumber(NamedTuple):
    """Number of a slice, from 0.

    Attributes:
        number: of the slice.
        backwards: it falls along the normal of the image.
    """

    number: int
    backwards: bool


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
        if not _is_weighted(self.frame) or isinstance(self.frame.recognised, str):
            return False
        return self.frame.quantity is not None or self.time is not None


_Timed = tuple[Frame, Time | None]


def on_one_day(frames: Sequence[Frame]) -> list[Frame]:
    """Return the frames of a study, all with moments of its first day where it went on past midnight.

    Dates alone do not show that: anonymisation blanks or shifts them, series by series too. They are used
    where there are two, one after the other, and the study then takes less than half a day.
    """
    dated = [frame for frame in frames if frame.day is not None]
    first, *others = sorted({frame.day for frame in dated if frame.day is not None}) or [0]
    if others != [first + 1]:
        return list(frames)
    began = min(frame.moment for frame in dated if frame.day == first)
    ended = max(frame.moment for frame in dated if frame.day != first) + _DAY_S
    if ended - began >= _LONGEST_S:
        return list(frames)
    # The first day began after noon, and the second one ended before; frames without a date are among them.
    return [
        replace(frame, moment=frame.moment + _DAY_S) if frame.moment < _LONGEST_S else frame
        for frame in frames
    ]


def number_series(frames: Sequence[Frame]) -> dict[int, list[Frame]]:
    """Return the frames of each series by a number that MRD can hold, in the order of acquisition.

    It is the series' own number, where that is between 0 and 65535 and no other series has it. Series whose
    UIDs an anonymiser removed are separated by it, if several numbers have the images of a whole one each.
    The images of one series UID are one series: an archive that joins several may leave them their numbers.
    """
    without = Counter(each.series_number for each in frames if not each.series)
    whole = [n for n, images in without.items() if n is not None and images >= min(SHORTEST.values())]

    def own_series(frame: Frame) -> tuple[str, int]:
        return frame.series, 0 if frame.series or len(whole) < 2 else frame.series_number or 0

    ordered = sorted(frames, key=own_series)
    series = [list(members) for _, members in groupby(ordered, key=own_series)]
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


def number_slices(series: Iterable[Sequence[Frame]]) -> dict[int, SliceNumber]:
    """Return the slice of each frame of an examination, by the ``id`` of the frame.

    Images that are named as T1 or T2 mapping are counted together, so that all series of a slice have one
    number, whether a slice is a series of its own or not. Other images are counted within their series.
    """
    named: list[Frame] = []
    found: dict[int, SliceNumber] = {}
    for members in series:
        named += (frame for frame in members if frame.quantity is not None)
        found |= _slices([frame for frame in members if frame.quantity is None])
    return found | _slices(named)


def with_counters(
    frames: Sequence[Frame], series: int, slices: Mapping[int, SliceNumber]
) -> Iterator[Counted]:
    """Yield the frames of a series with their counters and times, in the order of acquisition.

    Within a slice, ``set`` counts the images of an acquisition.

    Args:
        frames: of the series.
        series: its number.
        slices: of :func:`number_slices`.
    """
    ordered = sorted(frames, key=lambda frame: (slices[id(frame)].number, _order(frame)))
    for place, group in groupby(ordered, key=lambda frame: slices[id(frame)].number):
        members = list(group)
        apart = _acquisitions(list(_arranged(list(zip(members, _times(members), strict=True)))))
        numbered = [zip(_numbers(timed), timed, strict=True) for timed in apart]
        for number, (frame, time) in chain.from_iterable(numbered):
            backwards = slices[id(frame)].backwards
            header = replace(
                frame.place,
                slice=min(place, _LARGEST_COUNTER),
                set=min(number, _LARGEST_COUNTER),
                acquisition_time_stamp=round(_or_zero(frame.moment) * TICKS),
                image_index=min(number + 1, _LARGEST_COUNTER),
                image_series_index=series,
                slice_dir=_reversed(frame.place.slice_dir) if backwards else frame.place.slice_dir,
            )
            yield Counted(frame, header, time)


def _acquisitions(timed: Sequence[_Timed]) -> list[list[_Timed]]:
    """Return the images of one slice by acquisition, where a number separates whole ones.

    Vendors count acquisitions by series, inversion or image. It separates acquisitions where each of its
    values has enough images for a T1 map, or a whole T2 series, their times differ, and the shortest is that
    of all. Those of T1 may be interleaved. Those of T2 are then averages, and without the same times parts of
    one acquisition.
    """
    # Numbers give the order where the times do not.
    numbered = len({(frame.number, frame.index) for frame, _ in timed}) == len(timed)
    for place, quantity in product(range(2), Quantity):
        runs: dict[int | None, list[float]] = {}
        order: dict[int | None, list[float]] = {}
        for number, (frame, time) in enumerate(timed):
            if time is not None and time.place.quantity is quantity and _is_weighted(frame):
                runs.setdefault(frame.repetition[place], []).append(time.ms)
                order.setdefault(frame.repetition[place], []).append(number if numbered else frame.moment)
        first = [min(run) for run in runs.values()]
        whole = all(len(run) >= _WHOLE[quantity] and _differ(run) for run in runs.values())
        if quantity is Quantity.T2:
            whole &= _are_alike(runs.values()) and _follow_each_other(order.values())
        if len(runs) > 1 and None not in runs and whole and max(first) - min(first) <= SAME_MS[quantity]:
            # In the order of their first images; those without such a number come last.
            numbers = dict.fromkeys([*runs, *(frame.repetition[place] for frame, _ in timed)])
            return [[each for each in timed if each[0].repetition[place] == number] for number in numbers]
    return [list(timed)]


def _are_alike(runs: Collection[Sequence[float]]) -> bool:
    """Return whether several runs of images have the same preparation times; some may lack a few."""
    longest = max(runs, key=len, default=())
    return all(any(abs(ms - each) <= SAME_MS[Quantity.T2] for each in longest) for run in runs for ms in run)


def _follow_each_other(runs: Iterable[Sequence[float]]) -> bool:
    """Return whether each of several runs, by moments or places, ended before the next one began."""
    spans = sorted((min(run), max(run)) for run in runs)
    return not any(later < end for (_, end), (later, _) in pairwise(spans))


def _is_weighted(frame: Frame) -> bool:
    return frame.place.image_type not in (ImageType.PHASE, ImageType.IMAGINARY, ImageType.RGB)


def _numbers(timed: Sequence[_Timed]) -> Iterator[int]:
    """Yield the number of each image within its acquisition, from 0.

    The inversion times of a MOLLI acquisition differ. Where they did so far, and the first one comes again, a
    repetition begins; fitted together, both would give one value, native with post-contrast as well. Where it
    came again before, after fewer images, the first image alone may have been acquired anew: a whole
    acquisition must follow that.

    Where the first image was acquired anew after a few others, the assembly joins them. They are counted anew
    all the same, so that whole slices do not seem short beside this one.
    """
    began, run, fewest = 0, list[float](), FEWEST[Quantity.T1]
    repeated = _attempts(timed[:_SEARCHED])
    for place, (frame, time) in enumerate(timed):
        if place in repeated:
            began, run, fewest = place, [], FEWEST[Quantity.T1]
        if time is not None and time.place.quantity is Quantity.T1:
            near = _break_s(timed[place - 1][0], frame) < BREAK_S
            equal = bool(run) and abs(time.ms - run[0]) <= ROUNDING_MS
            same = (equal and _differ(run)) or (bool(run) and first_again(run, time.ms, near=near))
            if len(run) >= fewest and same:
                began, run, fewest = place, [], FEWEST[Quantity.T1]
                repeated = {place + each for each in _attempts(timed[place : place + _SEARCHED])}
            elif equal:
                run, fewest = [], SHORTEST[Quantity.T1]
            run.append(time.ms)
        yield place - began


def _attempts(timed: Sequence[_Timed]) -> set[int]:
    """Return the places of the first images of repetitions of what was broken off at first, once or more.

    Few images of T1, or fewer of T2 than its preparations, come before a whole series that begins as they do,
    or before another such attempt. A single one may have been acquired twice for all that, if there is no
    break after it.
    """
    acquired = [
        (place, frame, time)
        for place, (frame, time) in enumerate(timed)
        if time is not None and _is_weighted(frame)
    ]
    if len({time.place.quantity for *_, time in acquired}) != 1:
        return set()
    quantity, times = acquired[0][2].place.quantity, [time.ms for *_, time in acquired]
    most = FEWEST[quantity] if quantity is Quantity.T1 else _MOST
    for came in range(1, min(len(times) - SHORTEST[quantity] + 1, most)):
        before = times[:came]
        if not _differ(before):
            break
        place, first, _ = acquired[came]
        break_s = _break_s(acquired[came - 1][1], first)
        if abs(times[came] - before[0]) > SAME_MS[quantity] or (came == 1 and not break_s > BREAK_S):
            continue
        again = _until_one_comes_again(times[came : came + _MOST])
        whole = len(again) >= _WHOLE[quantity]
        if quantity is Quantity.T1:
            begins = first_again(before, again[0], near=not break_s >= BREAK_S)
            if came > 1 and len(again) > 1:
                # Where the first image alone was acquired anew, the second one does not follow it.
                begins &= 0.5 < (again[1] - again[0]) / (before[1] - before[0]) < 1.5
        else:
            pairs = zip(before, again, strict=False)
            begins = all(abs(a - b) <= SAME_MS[quantity] for a, b in pairs)
            whole &= came < len(again)
        if not begins:
            continue
        span_s = _or_zero(acquired[came + len(again) - 1][1].moment - first.moment)
        if whole and (came > 1 or break_s > span_s):
            return {place}
        later = _attempts(timed[place:])
        return {place, *(place + each for each in later)} if later else set()
    return set()


def _until_one_comes_again(times_ms: Sequence[float]) -> Sequence[float]:
    """Return the times before the first one that comes again."""
    count = next((n for n in range(1, len(times_ms)) if not _differ(times_ms[: n + 1])), len(times_ms))
    return times_ms[:count]


def _break_s(before: Frame, frame: Frame) -> float:
    """Return the time from an image to a later one, s; NaN where it is not known."""
    return (frame.moment - before.moment) or math.nan


def _differ(times_ms: Sequence[float]) -> bool:
    ordered = sorted(times_ms)
    return all(later - earlier > ROUNDING_MS for earlier, later in pairwise(ordered))


def _reversed(direction: Triple) -> Triple:
    x, y, z = direction
    return -x, -y, -z


def _order(frame: Frame) -> tuple[float, int, int, str]:
    return _or_zero(frame.moment), frame.number or 0, frame.index, str(frame.file)


def _arranged(timed: Sequence[_Timed]) -> Iterator[_Timed]:
    """Yield the images of one slice in order; without moments and numbers that of files or of times.

    That of files is taken where it gives whole acquisitions. Else it might part several into mixtures.
    """
    for _, group in groupby(timed, key=lambda each: _order(each[0])[:3]):
        members = list(group)
        if _in_runs(members):
            yield from members
        else:
            yield from sorted(members, key=lambda each: math.inf if each[1] is None else each[1].ms)


def _in_runs(timed: Sequence[_Timed]) -> bool:
    """Return whether the times of images differ until the first one comes again, and then are the same."""
    times = [time for frame, time in timed if time is not None and _is_weighted(frame)]
    if len({each.place.quantity for each in times}) != 1:
        return len(times) < 2
    same, runs = SAME_MS[times[0].place.quantity], list[list[float]]()
    for each in times:
        if not runs or (len(runs[-1]) > 1 and abs(each.ms - times[0].ms) <= same):
            runs.append([])
        runs[-1].append(each.ms)
    return all(
        _differ(run) and all(abs(a - b) <= same for a, b in zip(run, runs[0], strict=False)) for run in runs
    )


def _or_zero(moment: float) -> float:
    return 0.0 if math.isnan(moment) else moment


def _slices(frames: Sequence[Frame]) -> dict[int, SliceNumber]:
    """Return the slices of some frames, counted along the normal from the end that was acquired first.

    Planes that are not parallel to that of the first image follow.
    """
    ordered = sorted(frames, key=_order)
    if not ordered:
        return {}
    planes, normal = Planes(), _normal(ordered[0])
    keys: list[tuple[int, float, int]] = []
    along: dict[tuple[int, float, int], float] = {}
    apart: dict[tuple[int, float, int], bool] = {}
    for frame in ordered:
        number = planes.number(frame.place)
        # Where no position is stated, slice location and place in the stack alone distinguish slices.
        location = 0.0 if number >= 0 or math.isnan(frame.location) else round(frame.location, 1)
        key = (number, location, 0 if number >= 0 else frame.in_stack)
        keys.append(key)
        along.setdefault(key, float(np.array(frame.place.position) @ normal) if number >= 0 else location)
        own = _normal(frame)
        apart.setdefault(key, bool(normal.any() and own.any() and abs(float(own @ normal)) < _PARALLEL))
    # Dicts keep the order of acquisition.
    stack = [key for key in along if not apart[key]]
    ends = [extreme(stack, key=along.__getitem__) for extreme in (min, max)]
    backwards = stack.index(ends[1]) < stack.index(ends[0])
    sign = -1.0 if backwards else 1.0
    places = sorted(along, key=lambda key: (apart[key], sign * along[key], key))
    index = {key: number for number, key in enumerate(places)}
    return {id(frame): SliceNumber(index[key], backwards) for frame, key in zip(ordered, keys, strict=True)}


def _normal(frame: Frame) -> NDArray[np.float64]:
    """Return the unit normal of a frame's plane; zeros where its directions span none.

    Some senders round cosines to two digits, so that their vectors are not of unit length.
    """
    across = np.array(frame.place.slice_dir)
    length = float(np.linalg.norm(across))
    return across / length if length > 0.5 else np.zeros(3)


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
    alike = {quantity for quantity in Quantity if _weighted_alike(weighted, quantity)}
    found: list[Time | None] = []
    for frame in frames:
        kind = frame.kind
        wanted = [frame.quantity] if frame.quantity is not None else [Quantity.T2, Quantity.T1]
        stated = [
            Time(time, PLACES[chosen[quantity]])
            for quantity in wanted
            if quantity in chosen and (time := frame.times[chosen[quantity]]) is not None
            if kind is not ImageKind.MAP
            if (frame.quantity is quantity and (kind is ImageKind.WEIGHTED or quantity in alike))
            or not PLACES[chosen[quantity]].named_only
        ]
        found.append(next(iter(stated), None))
    return found


def _weighted_alike(frames: Sequence[Frame], quantity: Quantity) -> bool:
    """Return whether one image type of enhanced MR states the weighting of all images named alike.

    Of others whose names may be those of maps, one may be the map: its echo time is no preparation time.
    """
    own = [frame for frame in frames if frame.quantity is quantity and frame.kind is not ImageKind.MAP]
    return len({(frame.weighting, frame.kind) for frame in own}) == 1 and bool(own[0].weighting)
