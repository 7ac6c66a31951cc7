"""Queue that hands results on in the order of their slices, whichever of them is ready first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class InOrder(Generic[T]):
    """Hands things on in the order of their tickets; may be used from several threads.

    A thing that is ready waits until those with earlier tickets were handed on. Every ticket must be
    redeemed.
    """

    def __init__(self, hand_on: Callable[[T], None]) -> None:
        """Start with the first ticket.

        Args:
            hand_on: takes one thing at a time; must not wait.
        """
        self._hand_on = hand_on
        self._issued = 0
        self._next = 0
        self._ready: dict[int, T] = {}
        self._lock = threading.Lock()

    def ticket(self) -> int:
        """Return the next place in the order."""
        with self._lock:
            self._issued += 1
            return self._issued - 1

    def redeem(self, ticket: int, thing: T) -> None:
        """Hand on what has this place, and whatever was waiting for it."""
        with self._lock:
            self._ready[ticket] = thing
            while self._next in self._ready:
                self._next += 1
                self._hand_on(self._ready.pop(self._next - 1))
