"""What waits to be sent on a connection."""

from __future__ import annotations

import threading
from collections import deque
from typing import Final

from inline.data.memory import Share, unlimited

_TEXT_BYTES: Final = 1 << 20


class Outbox:
    """Bytes in the order in which they go out, bounded for those who can wait.

    Images that pass through wait while there is no room, which holds their sender back; results never wait,
    since what a worker waits for would hold up every other connection. Their number is bounded elsewhere, by
    the slices in flight and the memory of the connection. Texts that find no room are left out.

    Attributes:
        texts_dropped: number of texts left out.
    """

    def __init__(self, limit_bytes: int, memory: Share | None = None) -> None:
        """Start empty.

        Args:
            limit_bytes: of images.
            memory: where everything is counted until it has gone out; None for no other limit.
        """
        self._memory = memory or unlimited()
        # The rest is for the series: a peer that reads slowly is held back, and loses no map by it.
        self._limit = min(limit_bytes, self._memory.limit // 2)
        self._waiting: deque[tuple[bytes, bool]] = deque()
        self._going = b""
        self._bytes = self._text_bytes = 0
        self._closed = False
        self._changed = threading.Condition()
        self.texts_dropped = 0

    def put(self, data: bytes) -> bool:
        """Queue bytes, waiting for room; False where the outbox is closed and they will not be sent."""
        with self._changed:
            # Whatever others hold, one message always goes: its peer gets on, if slowly.
            self._changed.wait_for(lambda: self._closed or not self._bytes or self._has_room(len(data)))
            return self._add(data)

    def put_now(self, data: bytes) -> bool:
        """Queue bytes whether there is room or not; False as for :meth:`put`."""
        with self._changed:
            return self._add(data)

    def put_text(self, data: bytes) -> bool:
        """Queue a text; False where too many wait already, and it is left out."""
        with self._changed:
            if self._text_bytes + len(data) > _TEXT_BYTES:
                self.texts_dropped += 1
                return False
            self._text_bytes += len(data)
            return self._add(data, text=True)

    def _has_room(self, size: int) -> bool:
        if self._bytes >= self._limit or not self._memory.reserve(size):
            return False
        self._memory.release(size)  # counted by _add
        return True

    def _add(self, data: bytes, *, text: bool = False) -> bool:
        if self._closed:
            return False
        self._memory.take(len(data))
        self._waiting.append((data, text))
        self._bytes += len(data)
        self._changed.notify_all()
        return True

    def get(self) -> bytes | None:
        """The next bytes, waiting for them; None once closed and empty. Those before have gone out."""
        with self._changed:
            self._count_out(self._going)
            self._going = b""
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return None
            self._going, text = self._waiting.popleft()
            self._text_bytes -= text * len(self._going)
            return self._going

    def close(self, *, discard: bool = False) -> None:
        """Take nothing more; ``discard`` also forgets what waits, for a peer that is gone."""
        with self._changed:
            self._closed = True
            if discard:
                for data in (self._going, *(data for data, _ in self._waiting)):
                    self._count_out(data)
                self._going = b""
                self._waiting.clear()
            self._changed.notify_all()

    def _count_out(self, data: bytes) -> None:
        self._bytes -= len(data)
        self._memory.release(len(data))
