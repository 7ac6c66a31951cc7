"""Repetitions of a series, one after another or interleaved, by the counters and times of the images.

Some senders count the images of one series by repetition, alone or beside another counter: the counters of
the header alone do not distinguish them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Final, TypeVar

from inline.assembly.group import COUNTERS, FEWEST, NUMBERING, SHORTEST, Group, counters_of, member_of
from inline.assembly.image_metadata import ImageMetadata
from inline.data.series import Quantity
from inline.data.time_stamps import TICKS, apart
from inline.mrd.header import MeasurementHeader
from inline.mrd.image_header import ImageHeader
from inline.mrd.messages import Image

SAME_MS: Final = {Quantity.T1: 40.0, Quantity.T2: 2.0}
"""Largest difference of the times of the first image in two repetitions, which do not follow the heart rate.
Those of the first images after two inversions of MOLLI differ by 80 ms and more."""
NEAR_MS: Final = 10.0
"""Likewise for T1 where the images may be those of two inversions, which some schemes part by 20 to 40 ms."""
BREAK_S: Final = 10.0
"""Shortest break before another acquisition, s, where the one before may have been broken off. The recovery
between two inversions takes up to five heartbeats."""
_BREAK: Final = 8
"""Likewise, times the heartbeat: clocks may have another unit."""
_PAUSE_S: Final = 60.0
"""Shortest pause between images of two acquisitions by their time stamps; one takes a breath-hold."""
_PAUSE: Final = 4
"""Likewise, times the duration of the images before: clocks may have another unit. The recoveries of MOLLI
take up to five heartbeats, its first four images three and more."""

_WITHIN: Final = tuple(name for name in NUMBERING if name not in ("repetition", "image_index"))
"""Counters that number images of one acquisition alone."""

_Number = TypeVar("_Number", int, tuple[int, ...])


def begins_again(group: Group, image: Image, metadata: ImageMetadata, *, expected: int | None) -> bool:
    """Return whether an image, which was not sent before, begins a repetition.

    It does after a pause, and where it is another image with the counters of the first, or with its
    inversion time; not so if the stated number of images is that of several acquisitions. While images
    are missing, neither pause nor inversion time alone count where the counters go on: the image may have
    been acquired anew. Counters may begin again with each inversion. In a group shorter than any series,
    which may have been broken off, the time must be the first one's too.
    """
    if _was_broken_off(group, image, metadata):
        return True
    if len(group.images) < FEWEST[group.quantity]:
        return False
    paused = after_a_pause(group, image.header, metadata)
    anew = (expected or 0) < 2 * len(group.images) and first_time_again(group, image.header, metadata)
    whole = expected is None or len(group.images) >= expected
    if (paused and anew) or ((paused or anew) and (whole or _count_again(group, image))):
        return True
    same_time = member_of(image, metadata) == member_of(group.images[0], group.metadata[0])
    fewest = (FEWEST if same_time else SHORTEST)[group.quantity]
    if len(group.images) < fewest:
        return False
    # The repetition counter separates series only where the number of images is not stated; it may count
    # inversions.
    others = (_WITHIN, (*_WITHIN, "image_index")) if expected is None else ()
    return _has_counters_of_first(group, image, NUMBERING) or (
        any(_has_counters_of_first(group, image, names) for names in others)
        and not another_inversion(group, metadata)
    )


def _was_broken_off(group: Group, image: Image, metadata: ImageMetadata) -> bool:
    """Return whether an image begins an acquisition anew that was broken off after a few images.

    It has the time of the first image. Counters that begin again then suffice, and so does a break after
    two T1 images or more. A single image may come twice, all may state the protocol's time, preparations
    may be repeated, and without times counters may begin again with each inversion: these need equal
    counters and a break, a single preparation twice the break, since the image may be an average.
    """
    if len(group.images) >= min(FEWEST[Quantity.T1], SHORTEST[group.quantity]):
        return False
    first_time = begins_with_first_time(group, image.header, metadata)
    if not first_time and metadata.times:
        return False
    for names in (_WITHIN, (*_WITHIN, "image_index")) if first_time else ():
        if len(group.images) > 1 and _has_counters_of_first(group, image, names):
            return True
    enough = first_time and group.quantity is Quantity.T1 and len(group.images) > 1
    same = counters_of(image) == counters_of(group.images[0])
    shortest_s = 2 * BREAK_S if group.quantity is Quantity.T2 and len(group.images) == 1 else BREAK_S
    return (enough or same) and seconds_after(group, image.header) >= shortest_s


def _has_counters_of_first(group: Group, image: Image, names: Sequence[str]) -> bool:
    """Return whether an image has the counters of the first one, and those of all images differ."""
    if counters_of(image, names) != counters_of(group.images[0], names):
        return False
    seen = set[tuple[int, ...]]()
    for each in zip(*map(group.counter, names), strict=True):
        if each in seen:
            return False  # mostly soon
        seen.add(each)
    return True


def _count_again(group: Group, image: Image) -> bool:
    """Return whether the counters of an image are those of another one, or lie before rising ones."""
    own, counters = counters_of(image, _WITHIN), list(zip(*map(group.counter, _WITHIN), strict=True))
    return own in counters or own < counters[0] < counters[-1]


def first_time_again(group: Group, header: ImageHeader, metadata: ImageMetadata) -> bool:
    """Return whether an image of another acquisition has the inversion time of a group's first one.

    The shortest inversion time of a MOLLI acquisition is that of the protocol and comes once. Preparation
    times may come again in one series, as averages.
    """
    enough = len(group.images) >= SHORTEST[Quantity.T1]
    return enough and _has_first_inversion_time(group, header, metadata, near=False)


def another_inversion(group: Group, metadata: ImageMetadata) -> bool:
    """Return whether an image may be the first one after the second inversion of a group's series.

    The times after the first inversion rise, and that of the image is another one than the first.
    """
    times = _inversion_times(group, metadata)
    if times is None:
        return False
    own, time = times
    return abs(time - own[0]) > SAME_MS[Quantity.T1] and all(one < other for one, other in pairwise(own))


def _inversion_times(group: Group, metadata: ImageMetadata) -> tuple[list[float], float] | None:
    """Return the times, ms, of a T1 group and an image; None where the first image or this one has none."""
    stated = metadata.times.get(Quantity.T1)
    if group.quantity is not Quantity.T1 or stated is None:
        return None
    *own, time = group.times.with_another(stated)
    return None if own[0] is None or time is None else ([each for each in own if each], time)


def first_again(times_ms: Sequence[float], time_ms: float, *, near: bool) -> bool:
    """Return whether an inversion time is the first of some, ms, which is the shortest and came once.

    Args:
        times_ms: of images of one acquisition.
        time_ms: of another image.
        near: it must lie near the first: without a break between both, it may follow the second inversion.
    """
    first, *others = times_ms
    limits = (NEAR_MS,) if near else (NEAR_MS, SAME_MS[Quantity.T1])
    return any(abs(time_ms - first) <= most < min(others, default=math.inf) - first for most in limits)


def begins_with_first_time(group: Group, header: ImageHeader, metadata: ImageMetadata) -> bool:
    """Return whether an image has the time of a group's first one, and no other image of the group has it."""
    if group.quantity is Quantity.T1:
        return _has_first_inversion_time(group, header, metadata, near=True)
    stated, (first, *others) = metadata.times.get(group.quantity), group.stated
    return stated is not None and stated == first and stated not in others


def _has_first_inversion_time(
    group: Group, header: ImageHeader, metadata: ImageMetadata, *, near: bool
) -> bool:
    """Return whether an image has the inversion time of a T1 group's first one, as :func:`first_again`.

    Args:
        group: images before.
        header: of the image.
        metadata: of the image.
        near: as there, where no time stamps show the break before the image: a few images may be those of one
            inversion, which are at most five in the schemes in use.
    """
    times, seconds = _inversion_times(group, metadata), seconds_after(group, header)
    if not math.isnan(seconds):
        near = _seconds_are_short(group, seconds)
    return times is not None and first_again(*times, near=near)


def seconds_after(group: Group, header: ImageHeader) -> float:
    """Return the time from a group's last image to another one by their stamps, s; NaN where not known."""
    stamps = (group.images[-1].header.acquisition_time_stamp, header.acquisition_time_stamp)
    return apart(*stamps) / TICKS if all(stamps) and len(set(stamps)) == 2 else math.nan


def _seconds_are_short(group: Group, seconds: float) -> bool:
    """Return whether a time after a group's last image, s, may be a recovery between inversions."""
    if seconds < BREAK_S:
        return True
    stamps = [stamp for stamp in group.counter("acquisition_time_stamp") if stamp]
    beat = median([apart(*pair) for pair in pairwise(stamps)] or [0])
    return seconds < _BREAK * beat / TICKS


def after_a_pause(group: Group, header: ImageHeader, metadata: ImageMetadata) -> bool:
    """Return whether an image was acquired long before or after all of a group, by the time stamps.

    A group shorter than any series may be one after whose first images the sender paused, and between
    preparations the patient breathes. Stamps that are all equal may be those of an inversion, and show
    neither duration nor unit. In these cases the time of the image must be that of one before.
    """
    own, newest = header.acquisition_time_stamp, group.counter("acquisition_time_stamp")[-1]
    if not own or (newest and apart(own, newest) < _PAUSE_S * TICKS):
        return False
    stamps = [stamp for stamp in group.counter("acquisition_time_stamp") if stamp]
    if not stamps:
        return False
    duration = max(apart(stamps[0], stamp) for stamp in stamps)
    sure = group.quantity is Quantity.T1 and len(group.images) >= SHORTEST[group.quantity]
    if not (sure and duration):
        stated = metadata.times.get(group.quantity)
        if stated is None or stated not in group.stated:
            return False
    return min(apart(own, stamp) for stamp in stamps) >= max(_PAUSE_S * TICKS, _PAUSE * duration)


def are_interleaved(group: Group, header: MeasurementHeader) -> bool:
    """Return whether a group holds images of several repetitions, each of which is a series of its own.

    It does where a counter that numbers the images of a series, by its limit in the header, has the same
    value in several repetitions, and these images have the same time. The lowest such value decides: it is
    that of the first image after an inversion. Without times that differ the order decides: where the counter
    falls before a value comes again, it may count the images after each inversion, and the repetition those.
    """
    repetitions, running = group.counter("repetition"), group.running
    if "repetition" not in running:
        return False
    for name in _numbering(group, header):
        numbers = group.counter(name)
        if name not in running or group.extent(name)[1] > header.maxima[name]:
            continue
        found: dict[int, set[int]] = defaultdict(set)
        for number, repetition in zip(numbers, repetitions, strict=True):
            found[number].add(repetition)
        shared = [number for number, several in found.items() if len(several) > 1]
        if shared:
            own = zip(group.own_times.ms, numbers, strict=True)
            times = [time for time, number in own if number == min(shared) and time is not None]
            if times and group.own_times_differ:
                return max(times) - min(times) <= SAME_MS[group.quantity]
            first = list(zip(numbers, repetitions, strict=True))[: ascending(numbers)]
            return len({number for number, _ in first}) < len(set(first))
    return False


def ascending(numbers: Sequence[_Number]) -> int:
    """Return how many images come before the first one with a lower number than the one before it."""
    falls = (place for place, (one, other) in enumerate(pairwise(numbers), start=1) if other < one)
    return next(falls, len(numbers))


def may_be_interleaved(group: Group, header: MeasurementHeader) -> bool:
    """Return whether only a further image shows if a group is one series or holds the first image of several.

    Only the repetition runs so far, and another counter numbers the images by its limit, which is the length
    of the header's list, if there is one. The images state the same time, or none where
    the header states the number of repetitions.
    """
    lengths = {header.values(name) for name in _numbering(group, header)}
    listed = len(group.listed(header))
    if group.running != ["repetition"] or not (listed in lengths if listed else lengths):
        return False
    stated = {time.number for time in group.stated if time is not None}
    if stated:
        return len(stated) == 1
    return group.extent("repetition")[1] <= header.maxima.get("repetition", 0)


def _numbering(group: Group, header: MeasurementHeader) -> list[str]:
    """Return the counters other than the repetition whose limits are those of a whole series."""
    listed = len(group.listed(header))
    return [
        name
        for name in COUNTERS
        if name != "repetition"
        and (limit := header.values(name))
        and (limit >= SHORTEST[group.quantity] or limit == listed)
    ]
