"""Series numbers of results: 16 bits wide, and never one of the sender's."""

from __future__ import annotations

import threading
from typing import Final

import numpy as np

BLOCK: Final = 10
"""Consecutive series numbers for the results of one series: map, labels, overlay, and spare ones."""
_ALL: Final = 65536
_AHEAD: Final = 1000
"""Series numbers above a used one that are left to the sender, which counts up."""


class SeriesNumbers:
    """Series numbers of one connection's results. Every method may be called from any thread.

    The results of series n begin at ``offset + 10 n``, modulo the numbers from ``offset`` to 65535. The next
    block follows where the sender has used a number of this one or is likely to, or where another series has
    it.
    """

    def __init__(self, offset: int) -> None:
        """Begin with every block free.

        Args:
            offset: smallest number of a result, 0 to 65526.
        """
        self._offset = offset
        self._blocks = (_ALL - offset) // BLOCK
        self._used = np.zeros(_ALL, bool)
        self._likely = np.zeros(_ALL, bool)
        self._owned = np.zeros(self._blocks, bool)
        self._firsts: dict[int, int] = {}
        self._lock = threading.Lock()

    def saw(self, series: int) -> None:
        """Note the series number of an image that the sender sent."""
        with self._lock:
            self._mark(series)

    def first(self, series: int) -> int:
        """Return the first number for results of ``series``; it changes only where the sender takes it."""
        with self._lock:
            self._mark(series)
            first = self._firsts.get(series)
            if first is None or self._used[first : first + BLOCK].any():
                block = self._choose(series % self._blocks)
                self._owned[block] = True
                first = self._firsts[series] = self._offset + BLOCK * block
            return first

    def _mark(self, series: int) -> None:
        self._used[series] = True
        self._likely[series : series + _AHEAD] = True

    def _choose(self, wanted: int) -> int:
        """Return the first free block from ``wanted`` on, beginning again at the smallest number."""
        end = self._offset + BLOCK * self._blocks
        for marks in (self._likely, self._used):
            sent = marks[self._offset : end].reshape(self._blocks, BLOCK).any(axis=1)
            free = np.flatnonzero(~(sent | self._owned))
            if free.size:
                return int(free[np.searchsorted(free, wanted) % free.size])
        return wanted
