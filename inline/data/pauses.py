"""Pauses of a loop: the process was stopped (SIGSTOP, a suspended machine), or a step took long."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

LONGEST_S: Final = 1.0
"""Longest time between two ticks of a loop that is no pause, s: several of its periods."""


class Pauses:
    """Pauses of a loop that ticks at least every :data:`LONGEST_S`.

    What was sent in a pause lies unread: it must not count as silence of the sender. Threads may share one.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """Begin now.

        Args:
            clock: by which the loop measures silence, s. That it was set anew counts as a pause too.
        """
        self._clock = clock
        self._ticked, self._ended = clock(), -math.inf

    def tick(self) -> float:
        """Note that the loop runs; return how long it paused, s, mostly 0."""
        now = self._clock()
        paused_s = abs(now - self._ticked)
        if paused_s <= LONGEST_S:
            paused_s = 0.0
        else:
            self._ended = now  # before the tick: another thread must see either that or the pause
        self._ticked = now
        return paused_s

    @property
    def since_s(self) -> float:
        """Time since the end of the last pause, s; infinite before one."""
        return self._clock() - self._ended
