"""Observers of the service: receivers of the events of connections and slices, such as metrics."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from inline.data.results import SliceResult
from inline.serving.tally import Tally

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Delivery:
    """Delivery of one result.

    Attributes:
        session: name of the connection.
        result: of the slice.
        latency_s: time from the last image of the slice to its result, s.
        latecomer: a result without contours was delivered before, at the end of the budget.
        study: number of its study in this process.
        budget_ms: time that the slice had, from its last image to its result.
    """

    session: str
    result: SliceResult
    latency_s: float
    latecomer: bool
    study: int
    budget_ms: float


class Observer(Protocol):
    """Receiver of events. Threads that serve connections call it; it must return at once."""

    def opened(self, session: str, tally: Tally) -> None:
        """Note a new connection; its counts change until it is closed."""

    def delivered(self, delivery: Delivery) -> None:
        """Note a result."""

    def closed(self, session: str, tally: Tally) -> None:
        """Note the end of a connection, with its final counts."""


class Observers:
    """Several observers. An error of one is logged; the others and the caller go on."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def opened(self, session: str, tally: Tally) -> None:
        """See :class:`Observer`."""
        self._each(lambda observer: observer.opened(session, tally))

    def delivered(self, delivery: Delivery) -> None:
        """See :class:`Observer`."""
        self._each(lambda observer: observer.delivered(delivery))

    def closed(self, session: str, tally: Tally) -> None:
        """See :class:`Observer`."""
        self._each(lambda observer: observer.closed(session, tally))

    def _each(self, event: Callable[[Observer], None]) -> None:
        for observer in self._observers:
            try:
                event(observer)
            except Exception:
                _log.exception("an observer failed")
