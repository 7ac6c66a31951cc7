"""Request to stop, shared by a server and its connections."""

from __future__ import annotations

import math
import time
from typing import Final

_PARTING_S: Final = 1.0
_PARTING_SHARE: Final = 0.1
_SAME_REQUEST_S: Final = 0.5


class Shutdown:
    """Request to stop and the time that it leaves, for all connections together.

    :meth:`request` may be called from a signal handler: it takes no lock.

    Attributes:
        requested: the program is to end.
    """

    def __init__(self, drain_s: float = math.inf) -> None:
        """Nothing is requested yet.

        Args:
            drain_s: time for what is in flight, from the first request on, s.
        """
        self._drain_s = drain_s
        self._parting_s = min(_PARTING_S, _PARTING_SHARE * drain_s)
        self._first = self._deadline = math.inf
        self.requested = False

    def request(self) -> None:
        """Request to stop. A second request leaves no more time than the last messages need.

        Requests within half a second of the first count as one: a terminal signals every process of a
        pipeline, and one of them may signal another.
        """
        now = time.monotonic()
        if not self.requested:
            self._first, self._deadline = now, now + self._drain_s
            self.requested = True
        elif now - self._first > _SAME_REQUEST_S:
            self._deadline = min(self._deadline, now + self._parting_s)

    @property
    def left_s(self) -> float:
        """Time left, s: infinite before a request, and not below 0."""
        return max(self._deadline - time.monotonic(), 0.0)

    @property
    def parting(self) -> bool:
        """True when the time left suffices for the last messages alone."""
        return self.left_s <= self._parting_s
