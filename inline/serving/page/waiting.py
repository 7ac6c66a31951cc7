"""Queue to the process of the live page, bounded in number and bytes. It never holds up a sender."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Waiting(Generic[T]):
    """Entries in their order; beyond a limit the oldest are dropped. Safe between threads."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._entries: deque[tuple[T, int]] = deque()
        self._bytes = 0
        self._changed = threading.Condition()

    def put(self, entry: T, size: int = 0) -> int:
        """Add an entry of ``size`` bytes; return how many entries were dropped, this one maybe among them."""
        with self._changed:
            self._entries.append((entry, size))
            self._bytes += size
            dropped = 0
            while len(self._entries) > self._most or self._bytes > self._most_bytes:
                self._bytes -= self._entries.popleft()[1]
                dropped += 1
            self._changed.notify()
            return dropped

    def get(self, timeout_s: float) -> T:
        """Return the oldest entry, waiting for one.

        Raises:
            TimeoutError: none came in this time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._entries, timeout_s):
                raise TimeoutError
            entry, size = self._entries.popleft()
            self._bytes -= size
            return entry
