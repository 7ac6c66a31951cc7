"""Queue that restores the order of results that become ready in any order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class InOrder(Generic[T]):
    """Passes items on in the order of their tickets; safe between threads.

    An item waits until those with earlier tickets were passed on. Every ticket must be redeemed.
    """

    def __init__(self, pass_on: Callable[[T], None]) -> None:
        """Start with the first ticket.

        Args:
            pass_on: takes one item at a time; must not wait.
        """
        self._pass_on = pass_on
        self._issued = 0
        self._next = 0
        self._ready: dict[int, T] = {}
        self._lock = threading.Lock()

    def ticket(self) -> int:
        """Return the next ticket."""
        with self._lock:
            self._issued += 1
            return self._issued - 1

    def redeem(self, ticket: int, item: T) -> None:
        """Pass on the item of a ticket, and the items that waited for it."""
        with self._lock:
            self._ready[ticket] = item
            while self._next in self._ready:
                self._next += 1
                self._pass_on(self._ready.pop(self._next - 1))
