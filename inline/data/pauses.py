"""Pauses of a loop: the process was stopped (SIGSTOP, a suspended machine), or a step took long."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

LONGEST_S: Final = 1.0
"""Longest time between two ticks of a loop that is no pause, s: several of its periods."""
READ_S: Final = 2.0
"""Time in which a receiver reads what lies in its sockets after a pause, s."""
_ROW_S: Final = 60.0
"""Longest time for which pauses in a row count, s: what waits for silence must not wait for ever."""


class Pauses:
    """Pauses of a loop that ticks at least every :data:`LONGEST_S`.

    What was sent in a pause lies unread: it must not count as silence of the sender. Threads may share one.
    """

    def __init__(self, clock: Callable[[], float], read_s: float = READ_S) -> None:
        """Begin now.

        Args:
            clock: by which the loop measures silence, s. That it was set anew counts as a pause too.
            read_s: time in which is read what came in a pause, s. Pauses that are less than twice this time
                apart are in a row.
        """
        self._clock, self._read_s = clock, read_s
        self._ticked, self._ended, self._row, self._counts = clock(), -math.inf, -math.inf, False

    def tick(self) -> float:
        """Note that the loop runs; return how long it paused, s, mostly 0."""
        now, before = self._clock(), self._ticked
        paused_s = abs(now - before)
        if paused_s <= LONGEST_S:
            paused_s = 0.0
        else:  # before the tick: another thread must see either that or the pause
            if first := before - self._ended >= 2.0 * self._read_s:
                self._row = now
            self._counts, self._ended = first or before - self._row < _ROW_S, now
        self._ticked = now
        return paused_s

    @property
    def unread(self) -> bool:
        """True soon after a pause: what was sent in it may lie unread. In a row the first minute counts."""
        return self._counts and self._clock() - self._ended < self._read_s
