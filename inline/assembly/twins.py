"""Twin series, as acquired and motion-corrected: selection of the one that goes on."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_ROUNDING_MS: Final = 1.0
"""Largest difference of equal times: some senders write whole milliseconds."""
_REMEMBERED: Final = 256
"""Series whose twin may still come."""


@dataclass(frozen=True, slots=True)
class Acquisition:
    """Acquisition that a series is of.

    Attributes:
        place: slice and quantity, equal for twins.
        times: of its images, ms, rounded. Those of twins are mostly the same, those of two MOLLI acquisitions
            are not: they follow the heart beat.
        corrected: for motion.
    """

    place: Hashable
    times: frozenset[float]
    corrected: bool

    def is_twin(self, other: Acquisition) -> bool:
        """Return whether both series are of one acquisition, and one of the two is corrected."""
        shared = sum(any(abs(time - each) <= _ROUNDING_MS for each in other.times) for time in self.times)
        same = self.place == other.place and self.corrected is not other.corrected
        return same and 2 * shared > max(len(self.times), len(other.times))


@dataclass(slots=True)
class Twins(Generic[T]):
    """Holds a series as acquired while the corrected one may come, and lets only one of them go on.

    The first slice shows whether a sender sends both. It waits for ``wait_s``; later slices do not wait, or
    wait for at most ``patience_s``.
    """

    wait_s: float
    patience_s: float
    _held: list[tuple[float, Acquisition, T]] = field(default_factory=list)
    _gone: deque[Acquisition] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    _expected: bool | None = None

    @property
    def waiting(self) -> list[T]:
        """Series that are held."""
        return [series for *_, series in self._held]

    def offer(self, series: T, acquisition: Acquisition, now: float) -> tuple[list[T], list[T], bool]:
        """Take a complete series.

        Returns:
            Series that go on now, series as acquired that are held back for good, and whether the former
            replace one that went on before.
        """
        if acquisition.corrected:
            self._expected = True
            for place, (_, held, content) in enumerate(self._held):
                if acquisition.is_twin(held):
                    del self._held[place]
                    return [series], [content], False
        twin = next((known for known in self._gone if acquisition.is_twin(known)), None)
        if twin is not None:
            self._gone.remove(twin)
            return ([series], [], True) if acquisition.corrected else ([], [series], False)
        wait = self.wait_s if self._expected is None else self.patience_s if self._expected else 0.0
        if wait > 0.0 and not acquisition.corrected:
            self._held.append((now + wait, acquisition, series))
            return [], [], False
        self._gone.append(acquisition)
        return [series], [], False

    def expire(self, now: float) -> list[T]:
        """Return the series as acquired that have waited long enough."""
        due = [held for held in self._held if held[0] <= now]
        if due:
            self._expected = bool(self._expected)
            self._held = [held for held in self._held if held[0] > now]
            self._gone.extend(acquisition for _, acquisition, _ in due)
        return [series for *_, series in due]
