"""Fair shares of work: the connection that has had least time comes next."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, TypeVar

T = TypeVar("T")

_NOMINAL_S: Final = 0.02
"""Time that a piece of work is charged until it is known how long it took."""


class Turns:
    """Time that each connection has had, as long as it has something open. Not thread-safe.

    A connection that comes new, or again, begins with as much as the one that has had least of those that are
    there: it is among the next, and cannot save up time while it has nothing to do.
    """

    def __init__(self) -> None:
        self._spent: dict[Hashable, float] = {}
        self._open: dict[Hashable, int] = {}

    def __contains__(self, owner: Hashable) -> bool:
        """Whether a connection has something open."""
        return owner in self._open

    def opened(self, owner: Hashable) -> None:
        """Note one more piece of work of a connection."""
        if owner not in self._open:
            self._spent[owner] = min(self._spent.values(), default=0.0)
        self._open[owner] = self._open.get(owner, 0) + 1

    def closed(self, owner: Hashable) -> None:
        """Note that a piece of work is done."""
        self._open[owner] -= 1
        if not self._open[owner]:
            del self._open[owner], self._spent[owner]

    def begin(self, waiting: Sequence[T], owner: Callable[[T], Hashable], rank: Callable[[T], Any]) -> T:
        """Return the next of the pieces that wait, and charge its connection for it.

        Args:
            waiting: not empty.
            owner: connection of a piece.
            rank: smaller ones come first. The first of two elements goes before the shares of connections;
                the second one decides within a connection.
        """

        def place(piece: T) -> tuple[Any, float, Any]:
            before, within = rank(piece)
            return before, self._spent.get(owner(piece), 0.0), within

        chosen = min(waiting, key=place)
        self._charge(owner(chosen), _NOMINAL_S)
        return chosen

    def end(self, owner: Hashable, seconds: float) -> None:
        """Charge a connection with what a piece of work took."""
        self._charge(owner, seconds - _NOMINAL_S)

    def _charge(self, owner: Hashable, seconds: float) -> None:
        if owner in self._spent:
            self._spent[owner] += seconds
