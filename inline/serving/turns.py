"""Fair shares of work: the connection that has used least time comes next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any, Final, TypeVar

T = TypeVar("T")

_NOMINAL_S: Final = 0.02
"""Time charged for a piece of work until its duration is known."""


class Turns:
    """Time that each connection has used while it has work open. Not thread-safe.

    A new connection, or one that comes again, begins with the least time of those that are there: it is among
    the next, and cannot save up time.
    """

    def __init__(self) -> None:
        self._spent: dict[Hashable, float] = {}
        self._open: Counter[Hashable] = Counter()

    def __contains__(self, owner: Hashable) -> bool:
        """Return whether a connection has work open."""
        return owner in self._open

    def opened(self, owner: Hashable) -> None:
        """Note one more piece of work of a connection."""
        if owner not in self._open:
            self._spent[owner] = min(self._spent.values(), default=0.0)
        self._open[owner] += 1

    def closed(self, owner: Hashable) -> None:
        """Note that a piece of work is done."""
        self._open[owner] -= 1
        if not self._open[owner]:
            del self._open[owner], self._spent[owner]

    def begin(self, waiting: list[T], owner: Callable[[T], Hashable], rank: Callable[[T], Any]) -> T:
        """Take the next of the pieces that wait, and charge its connection for it.

        Args:
            waiting: not empty.
            owner: connection of a piece.
            rank: pair, smaller ones first: one that goes before the shares of connections, and one that
                decides within a connection.
        """

        def key(piece: T) -> tuple[Any, float, Any]:
            before, within = rank(piece)
            return before, self._spent.get(owner(piece), 0.0), within

        chosen = min(waiting, key=key)
        waiting.remove(chosen)
        self._charge(owner(chosen), _NOMINAL_S)
        return chosen

    def end(self, owner: Hashable, seconds: float) -> None:
        """Charge a connection with what a piece of work took."""
        self._charge(owner, seconds - _NOMINAL_S)

    def _charge(self, owner: Hashable, seconds: float) -> None:
        if owner in self._spent:
            self._spent[owner] += seconds
