"""What waits to be sent on a connection."""

from __future__ import annotations

import threading
from collections import deque


class Outbox:
    """Bytes in the order in which they go out, bounded for those who can wait.

    Images that pass through wait while there is no room, which holds their sender back; results never wait,
    since what a worker waits for would hold up every other connection. Their number is bounded elsewhere, by
    the slices in flight.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._closed = False
        self._changed = threading.Condition()

    def put(self, data: bytes) -> bool:
        """Queue bytes, waiting for room; False where the outbox is closed and they will not be sent."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._bytes < self._limit)
            return self._add(data)

    def put_now(self, data: bytes) -> bool:
        """Queue bytes whether there is room or not; False as for :meth:`put`."""
        with self._changed:
            return self._add(data)

    def _add(self, data: bytes) -> bool:
        if self._closed:
            return False
        self._waiting.append(data)
        self._bytes += len(data)
        self._changed.notify_all()
        return True

    def get(self) -> bytes | None:
        """The next bytes, waiting for them; None once closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return None
            data = self._waiting.popleft()
            self._bytes -= len(data)
            self._changed.notify_all()
            return data

    def close(self, *, discard: bool = False) -> None:
        """Take nothing more; ``discard`` also forgets what waits, for a peer that is gone."""
        with self._changed:
            self._closed = True
            if discard:
                self._waiting.clear()
                self._bytes = 0
            self._changed.notify_all()
