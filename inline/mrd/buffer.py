"""Buffer of received bytes; large parts are taken from it without blocking other threads."""

from __future__ import annotations

from collections import deque
from typing import Final

_PIECE_BYTES: Final = 1 << 16
"""Smaller pieces are put together, so that a peer that sends byte by byte costs no object for each."""


class Buffer:
    """Bytes in the pieces in which they came.

    Python copies ``bytes`` that are joined without its global lock, where they are large; bytes of a
    ``bytearray``, or a slice, it copies with it. An image of 256 MB would block every thread for 0.1 s.
    """

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._tail = bytearray()
        self._used = 0
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def append(self, data: bytes) -> None:
        """Add bytes at the end."""
        self._size += len(data)
        if self._tail or len(data) < _PIECE_BYTES:
            self._tail += data
            if len(self._tail) >= _PIECE_BYTES:
                self._seal()
        else:
            self._pieces.append(data)

    def peek(self, start: int, size: int) -> bytes:
        """Return ``size`` bytes from ``start``; the buffer must hold them."""
        self._seal()
        first, last = start + self._used, start + self._used + size
        parts, at = [], 0
        for piece in self._pieces:
            if at >= last:
                break
            if at + len(piece) > first:
                parts.append(piece[max(first - at, 0) : last - at])
            at += len(piece)
        return b"".join(parts)

    def drop(self, size: int) -> None:
        """Remove bytes from the front; the buffer must hold them."""
        self._seal()
        self._size -= size
        self._used += size
        while self._pieces and self._used >= len(self._pieces[0]):
            self._used -= len(self._pieces.popleft())

    def _seal(self) -> None:
        if self._tail:
            self._pieces.append(bytes(self._tail))
            self._tail = bytearray()
