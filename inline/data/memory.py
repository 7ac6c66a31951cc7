"""Budget of the bytes that connections may hold, each for itself and all together.

Open series, slices in work and results to be sent are counted; ``docs/protocol.md`` states the formula. Each
connection has a share of its own that others cannot take; beyond it, all draw on the shared rest.
"""

from __future__ import annotations

import ctypes
import math
import threading
from contextlib import suppress


class MemoryBudget:
    """Budget of the process; may be used from several threads."""

    def __init__(self, limit: int, each: int | None = None, connections: int = 16) -> None:
        """Set the limits.

        Args:
            limit: bytes for all connections.
            each: bytes for one connection; None for a quarter of ``limit``.
            connections: most at a time; each has an equal part of half of ``limit`` for itself.
        """
        self.lock = threading.Lock()
        self.limit = limit
        self.each = limit // 4 if each is None else min(each, limit)
        self.sure = min(limit // 2 // connections, self.each)
        self.free = limit - self.sure * connections

    def connection(self) -> Share:
        """Return the share of one more connection."""
        return Share(self)


class Share:
    """Bytes that one connection holds; may be used from several threads.

    Attributes:
        held: bytes.
    """

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget, self._sure = budget, budget.sure
        self.held = 0

    @property
    def limit(self) -> int:
        """Most bytes that the connection may hold."""
        return self._budget.each

    @property
    def limit_of_all(self) -> int:
        """Most bytes that all connections may hold."""
        return self._budget.limit

    @property
    def beyond_all(self) -> int:
        """Bytes by which the shared part of the limit is exceeded."""
        return max(-self._budget.free, 0)

    @property
    def spare(self) -> int:
        """Bytes that open series leave for complete ones: half of the connection's own share."""
        return self._sure // 2

    def reserve(self, size: int, leave: int = 0) -> bool:
        """Count these bytes, if the limits leave room for them and for ``leave``; return whether they did."""
        return self._reserve(size, size + leave, self._budget.each)

    def reserve_shared(self, size: int) -> bool:
        """Reserve as :meth:`reserve` does, by the limit of all connections alone."""
        return self._reserve(size, size, math.inf)

    def take(self, size: int) -> None:
        """Count these bytes whether there is room or not: they are held already and must not be lost."""
        with self._budget.lock:
            self._count(size)

    def release(self, size: int) -> None:
        """Give bytes back that were reserved or taken."""
        with self._budget.lock:
            self._count(-size)

    def end(self) -> None:
        """Leave the connection's own part to the next one: what it still holds counts in the shared part."""
        with self._budget.lock:
            self._budget.free -= min(self.held, self._sure)
            self._sure = 0

    def _reserve(self, size: int, wanted: int, most: float) -> bool:
        with self._budget.lock:
            fits = self.held + wanted <= most and self._beyond(wanted) <= max(self._budget.free, 0)
            if fits:
                self._count(size)
            return fits

    def _beyond(self, size: int) -> int:
        """Return the bytes that a change takes from the shared part."""
        return max(self.held + size - self._sure, 0) - max(self.held - self._sure, 0)

    def _count(self, size: int) -> None:
        self._budget.free -= self._beyond(size)
        self.held += size


def unlimited() -> Share:
    """Return a share without limits, for callers that assemble without a connection."""
    return MemoryBudget(1 << 62, 1 << 62).connection()


def give_back() -> None:
    """Return freed memory to the system, which the C library would keep."""
    with suppress(OSError, AttributeError):  # not the GNU C library
        ctypes.CDLL(None).malloc_trim(0)
