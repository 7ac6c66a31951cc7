"""Send queue of a connection, with back-pressure, and the order of its results."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from inline.data.memory import Share, unlimited

_TEXT_BYTES: Final = 1 << 20


class InOrder:
    """Calls functions in the order of their numbers, 0 first; safe between threads.

    A function waits until those with smaller numbers were called. Every number must come.
    """

    def __init__(self) -> None:
        self._next = 0
        self._ready: dict[int, Callable[[], None]] = {}
        self._lock = threading.Lock()

    def add(self, number: int, function: Callable[[], None]) -> None:
        """Call the function of a number and those that waited for it, one at a time; none may wait."""
        with self._lock:
            self._ready[number] = function
            while self._next in self._ready:
                self._next += 1
                self._ready.pop(self._next - 1)()


class SendQueue:
    """Bytes in the order in which they are sent.

    Forwarded images wait while there is no room, which holds their sender back. Results never wait: a worker
    that waits would hold up every other connection. Their number is bounded by the slices in flight and the
    memory of the connection. Texts without room are dropped.

    Attributes:
        texts_dropped: number of dropped texts.
        image: the bytes that :meth:`get` returned last are a forwarded image.
    """

    def __init__(self, limit_bytes: int, memory: Share | None = None) -> None:
        """Start empty, for ``limit_bytes`` of images; ``memory`` counts all bytes until they are sent."""
        self._memory = memory or unlimited()
        # The other half is for the series: a peer that reads slowly is held back, but loses no map.
        self._limit = min(limit_bytes, self._memory.limit // 2)
        self._waiting: deque[tuple[bytes, bool, bool]] = deque()
        self._going = self._bytes = self._text_bytes = 0
        self._closed = False
        self._changed = threading.Condition()
        self.texts_dropped = 0
        self.image = False

    def put(self, data: bytes, *, image: bool = False) -> bool:
        """Queue bytes, waiting for room; return False where the queue is closed. ``image``: see above."""
        with self._changed:
            # One message is always taken, whatever others hold.
            self._changed.wait_for(lambda: self._closed or not self._bytes or self._has_room(len(data)))
            return self._add(data, image=image)

    def put_now(self, data: bytes) -> bool:
        """Queue bytes whether there is room or not; return as :meth:`put`."""
        with self._changed:
            return self._add(data)

    def put_text(self, data: bytes) -> bool:
        """Queue a text; return False where it is dropped, since too many wait already."""
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

    def _add(self, data: bytes, *, text: bool = False, image: bool = False) -> bool:
        if self._closed:
            return False
        self._memory.take(len(data))
        self._waiting.append((data, text, image))
        self._bytes += len(data)
        self._changed.notify_all()
        return True

    def get(self) -> bytes | None:
        """Return the next bytes, waiting for them; None once closed and empty. The bytes before are sent."""
        with self._changed:
            self._count_out(self._going)
            self._going = 0
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return None
            data, text, self.image = self._waiting.popleft()
            self._going = len(data)
            self._text_bytes -= text * self._going
            return data

    def close(self, last: bytes = b"", *, discard: bool = False) -> None:
        """Take no more bytes after ``last``; ``discard`` drops all that wait, for a peer that is gone."""
        with self._changed:
            if last:
                self._add(last)
            self._closed = True
            if discard:
                self._count_out(self._bytes)
                self._going = 0
                self._waiting.clear()
            self._changed.notify_all()

    def _count_out(self, size: int) -> None:
        self._bytes -= size
        self._memory.release(size)
