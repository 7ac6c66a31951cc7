"""Number of images of a complete series, by the settings, the header's limits and lists, and other series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inline.assembly.group import COUNTERS, SHORTEST, Group
from inline.assembly.repetition import NEAR_MS, SAME_MS, may_be_interleaved
from inline.assembly.times import PERHAPS_ZERO, ROUNDING_MS, before_padding, in_ms, listed
from inline.data.series import Quantity, SeriesIdentity
from inline.mrd.header import MeasurementHeader


class ExpectedImages:
    """Number of images that the series of one measurement have once they are complete."""

    def __init__(self, header: MeasurementHeader, images: int | None) -> None:
        """Begin without images.

        Args:
            header: of the measurement.
            images: of each series, by the settings; None where they do not state it.
        """
        self._header = header
        self._images = images
        self._longest: dict[Quantity, int] = {}
        self._parts: dict[Quantity, set[int]] = {quantity: set() for quantity in Quantity}

    def note_length(self, group: Group) -> None:
        """Note the length of a group and of its parts: a limit may be that of the other quantity's series."""
        self._longest[group.quantity] = max(self._longest.get(group.quantity, 0), len(group.images))
        self._parts[group.quantity] |= self._parts_of(group)

    def of(self, group: Group) -> int | None:
        """Return the number of images of a complete series; None where it is not stated."""
        if self._images is not None:
            return self._images
        if may_be_interleaved(group, self._header):
            return None
        limit = self._limit(group)
        if limit < SHORTEST[group.quantity]:
            limit = 0
        own = bool(group.own_times.known)
        # Images that bear times of their own may be more than the header lists.
        times = 0 if own and limit else self._listed_count(group)
        if own and times < SHORTEST[group.quantity]:
            times = 0
        return max(times, limit) or None

    def is_perhaps_others(self, expected: int, group: Group) -> bool:
        """Return whether the stated number of images may be that of a part of the other quantity's series."""
        stated = self._images or self._listed_count(group)
        parts = self._parts[other_quantity(group.quantity)]
        return expected in parts and expected != stated and len(group.images) >= SHORTEST[group.quantity]

    def _listed_count(self, group: Group) -> int:
        """Return the number of times in the header's list for a group; 0 where the images state others."""
        entries = group.listed(self._header)
        times = in_ms(entries, group.quantity)
        agree = all(
            any(abs(time - each) <= ROUNDING_MS for each in times.known) for time in group.own_times.known
        )
        if PERHAPS_ZERO in entries and group.own_times.known and 0.0 not in group.own_times.known:
            return 0
        before = before_padding(entries)
        # A single zero may stand for a time that is not known, a preparation of 0 may come again.
        several = group.quantity is Quantity.T1 and len(entries) - before > 1
        padded = several or before == self._limit(group)
        return (before if padded else len(entries)) if agree else 0

    def _limit(self, group: Group) -> int:
        """Return the header's number of values of the counter that runs in a group; 0 where not stated."""
        ranges = {name: max(self._values(group, name), 1) for name in COUNTERS}
        running = group.running
        limited = [name for name in running if self._header.maxima.get(name, 0) >= group.extent(name)[1]]
        limit = max(ranges[name] for name in limited or COUNTERS)
        # The limit of a counter that does not run counts only where exactly as many images have come.
        if running and not limited and limit != len(group.images):
            return 0
        return 0 if self._is_others(limit, group) else limit

    def _values(self, group: Group, name: str) -> int:
        """Return the header's number of values of a counter; 0 where not stated.

        Where images lie below the minimum, they count from 0, to the maximum or to one below it: the number
        is stated only once the maximum has come.
        """
        header, (lowest, highest) = self._header, group.extent(name)
        if name not in header.maxima or lowest >= header.first(name):
            return header.values(name)
        return header.maxima[name] + 1 if highest == header.maxima[name] else 0

    def _is_others(self, limit: int, group: Group) -> bool:
        """Return whether a limit is that of the other quantity's series in the same measurement."""
        other = other_quantity(group.quantity)
        own = len(listed(self._header, group.quantity, named=True))
        theirs = {self._longest.get(other, 0), len(listed(self._header, other, named=True))}
        few = own if own else SHORTEST[group.quantity]
        return limit in theirs and limit != own and few <= len(group.images) < limit

    def _parts_of(self, group: Group) -> set[int]:
        """Return the limits, reached in a group, of counters that run in it together: none is its length."""
        running = group.running
        reached = {name for name in running if group.extent(name)[1] == self._header.maxima.get(name)}
        parts = {self._header.values(name) for name in reached} if len(running) > 1 else set()
        return {part for part in parts if part < len(group.images)}


@dataclass(frozen=True, slots=True)
class Whole:
    """Series that is complete.

    Attributes:
        identity: of its result.
        counters: of its images, by the names of those that run.
        times_ms: of its images.
    """

    identity: SeriesIdentity
    counters: Mapping[str, Sequence[int]]
    times_ms: Sequence[float]

    def exceeded(self, rest: Group, header: MeasurementHeader) -> tuple[str, int] | None:
        """Return the counter by whose limit the series lacks its rest, and the limit's number of images.

        The numbers of both together have no gap and none twice, and the rest has other times: a derived image
        may have that of another one, and a further acquisition has the same first time.
        """
        count, came, near = len(self.times_ms), len(rest.images), min(NEAR_MS, SAME_MS[rest.quantity])
        for name, numbers in self.counters.items():
            together = sorted([*numbers, *rest.counter(name)])
            one_by_one = together == list(range(together[0], together[0] + count + came))
            if came < count == header.values(name) and one_by_one:
                times = rest.own_times.ms
                known = (
                    time is None or any(abs(time - own) <= near for own in self.times_ms) for time in times
                )
                return None if any(known) else (name, count)
        return None


def other_quantity(quantity: Quantity) -> Quantity:
    """Return the quantity of T1 and T2 that is not this one."""
    (other,) = set(Quantity) - {quantity}
    return other
