"""Twin series, as acquired and motion-corrected: selection of the one that goes on."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Generic, TypeVar

from inline.assembly.times import ROUNDING_MS
from inline.data.series import Enhancement
from inline.data.time_stamps import TICKS, apart

T = TypeVar("T")

_SAME_S: Final = 120.0
"""Longest time between the time stamps of twins: corrected images may bear that of their reconstruction."""
_SAME: Final = 4
"""Likewise, times the duration of the acquisition: clocks may have another unit."""
_STEP_MS: Final = 10.0
"""Largest difference of equal steps between times: one multiple of the heartbeat, or one increment."""
_MEASURED: Final = 5
"""Fewest different steps of times that follow the heartbeat. MOLLI at one heart rate has three."""
_REMEMBERED: Final = 256
"""Series whose twin may still come."""


@dataclass(frozen=True, slots=True)
class SeriesAcquisition:
    """Acquisition that a series is of.

    Attributes:
        place: slice and quantity, equal for twins.
        times: of its images, ms, rounded. Those of twins are mostly the same, those of two MOLLI acquisitions
            mostly not: they follow the heart beat. Preparation times are the same in all.
        corrected: for motion.
        time_stamps: of its first and last image; 0 where none states one. After midnight, a day later.
        enhancement: native or post-contrast, where the sender states it.
    """

    place: Hashable
    times: frozenset[float]
    corrected: bool
    time_stamps: tuple[int, int] = (0, 0)
    enhancement: Enhancement | None = None

    def ticks_from(self, other: SeriesAcquisition) -> float:
        """Return the ticks between two acquisitions, 0 where they overlap; infinite where not known."""
        if not (all(self.time_stamps) and all(other.time_stamps)):
            return math.inf
        middles = apart(sum(self.time_stamps) // 2, sum(other.time_stamps) // 2)
        return max(0.0, middles - (self._duration + other._duration) / 2)

    def unlike(self, other: SeriesAcquisition) -> tuple[float, int]:
        """Return the ticks between two acquisitions, and the difference of their numbers of images."""
        return self.ticks_from(other), abs(len(self.times) - len(other.times))

    @property
    def _duration(self) -> int:
        first, last = self.time_stamps
        return last - first

    @property
    def _follows_the_heartbeat(self) -> bool:
        """True where the times are measured: nominal ones and those of phantoms have few different steps."""
        different = list[float]()
        for step in sorted(later - earlier for earlier, later in pairwise(sorted(self.times))):
            if not different or step - different[-1] > _STEP_MS:
                different.append(step)
        return len(different) >= _MEASURED

    def is_twin(self, other: SeriesAcquisition) -> bool:
        """Return whether both series are of one acquisition, and one of the two is corrected."""
        if self.place != other.place or self.corrected is other.corrected:
            return False
        if None not in (self.enhancement, other.enhancement) and self.enhancement is not other.enhancement:
            return False
        shared = sum(any(abs(time - each) <= ROUNDING_MS for each in other.times) for time in self.times)
        if shared == len(self.times) == len(other.times) and self._follows_the_heartbeat:
            return True
        longest = max(_SAME_S * TICKS, _SAME * max(self._duration, other._duration))
        if longest < self.ticks_from(other) < math.inf:
            return False
        return 2 * shared > max(len(self.times), len(other.times))


@dataclass(slots=True)
class Twins(Generic[T]):
    """Holds a series as acquired while the corrected one may come, and lets only one of them go on.

    Of several that may be the twin, it is the nearest in time, else the one that has most nearly as many
    images, else the first of those held, else the last of those that went on.
    The first slice shows whether a sender sends both. It waits for ``wait_s``; later slices do not wait, or
    wait for at most ``patience_s``.
    """

    wait_s: float
    patience_s: float
    _held: list[tuple[float, SeriesAcquisition, T]] = field(default_factory=list)
    _gone: deque[SeriesAcquisition] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    _expected: bool | None = None

    @property
    def waiting(self) -> list[T]:
        """Series that are held."""
        return [series for *_, series in self._held]

    def offer(self, series: T, acquisition: SeriesAcquisition, now: float) -> tuple[list[T], list[T], bool]:
        """Take a complete series.

        Returns:
            Series that go on now, series as acquired that are held back for good, and whether the former
            replace one that went on before.
        """
        if acquisition.corrected:
            self._expected = True
        known = [*(held for _, held, _ in self._held), *reversed(self._gone)]
        alike = [each for each in known if acquisition.is_twin(each)]
        twin = min(alike, key=acquisition.unlike, default=None)
        for place, (_, held, content) in enumerate(self._held):
            if held is twin:
                del self._held[place]
                return [series], [content], False
        if twin is not None:
            self._gone.remove(twin)
            return ([series], [], True) if acquisition.corrected else ([], [series], False)
        wait = self.wait_s if self._expected is None else self.patience_s if self._expected else 0.0
        if wait > 0.0 and not acquisition.corrected:
            self._held.append((now + wait, acquisition, series))
            return [], [], False
        self._gone.append(acquisition)
        return [series], [], False

    def postpone(self, seconds: float) -> None:
        """Let the series as acquired wait longer."""
        self._held = [(due + seconds, held, series) for due, held, series in self._held]

    def expire(self, now: float) -> list[T]:
        """Return the series as acquired that have waited long enough."""
        due = [held for held in self._held if held[0] <= now]
        if due:
            self._expected = bool(self._expected)
            self._held = [held for held in self._held if held[0] > now]
            self._gone.extend(acquisition for _, acquisition, _ in due)
        return [series for *_, series in due]
