"""Observers of the service: receivers of the events of connections and slices, such as metrics."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from inline.data.examination import EcvResult
from inline.data.results import SliceLevel, SliceResult
from inline.data.series import Quantity
from inline.examination.ecv import at_level
from inline.serving.summary import FinalLevel
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
        stated: flags, and stages whose times, that the earlier delivery stated.
    """

    session: str
    result: SliceResult
    latency_s: float
    latecomer: bool
    study: int
    budget_ms: float
    stated: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class EcvDelivery:
    """Delivery of the ECV of one slice position, or of the error that a slice found no partner.

    Attributes:
        session: name of the connection that completed the pair.
        result: of the slice position.
        study: number of its study in this process.
    """

    session: str
    result: EcvResult
    study: int


@dataclass(frozen=True, slots=True)
class FinalLevels:
    """Final levels of the slices of one study, as known at the close of a connection.

    Attributes:
        study: number of the study in this process.
        levels: of the slices of this connection and of earlier ones.
        measure: returns a result with another level, whose source is the text, and its regions.
    """

    study: int
    levels: tuple[FinalLevel, ...]
    measure: Callable[[SliceResult, SliceLevel, str], SliceResult]

    def of_slice(self, result: SliceResult, session: str) -> SliceResult:
        """Return a result of a connection at its final level; itself where it has that, or none is known."""
        own = (result.identity, result.quantity, result.geometry.known, session)
        for each in self.levels:
            place = each.place
            if (place.identity, place.quantity, place.geometry, place.session) == own:
                same = each.level is result.level
                return result if same else self.measure(result, each.level, each.level_source)
        return result

    def of_ecv(self, result: EcvResult) -> EcvResult:
        """Return an ECV result at the final level of its native slice, likewise (:func:`at_level`)."""
        own = (result.native, Quantity.T1, result.geometry.known)
        for each in self.levels:
            if (each.place.identity, each.place.quantity, each.place.geometry) == own:
                return at_level(result, each.level)
        return result


class Observer:
    """Receiver of events. Threads that serve connections call it; it must return at once.

    Every method does nothing here: an observer has those of the events that it needs.
    """

    def takes_latecomers(self) -> bool:
        """Return whether late slices are to be worked on for it, although nobody else takes them."""
        return False

    def opened(self, session: str, tally: Tally) -> None:
        """Note a new connection; its counts change until it is closed."""

    def delivered(self, delivery: Delivery) -> None:
        """Note a result."""

    def ecv_delivered(self, delivery: EcvDelivery) -> None:
        """Note an ECV result; that of its later slice came before it."""

    def levels_known(self, levels: FinalLevels) -> None:
        """Note the final levels of a study, before the end of the connection that ends with them."""

    def closed(self, session: str, tally: Tally) -> None:
        """Note the end of a connection, with its final counts."""


class Observers(Observer):
    """Several observers. An error of one is logged; the others and the caller go on."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def takes_latecomers(self) -> bool:
        """Return whether one of them takes latecomers."""
        return any(observer.takes_latecomers() for observer in self._observers)

    def opened(self, session: str, tally: Tally) -> None:
        """See :class:`Observer`."""
        self._each(lambda observer: observer.opened(session, tally))

    def delivered(self, delivery: Delivery) -> None:
        """See :class:`Observer`."""
        self._each(lambda observer: observer.delivered(delivery))

    def ecv_delivered(self, delivery: EcvDelivery) -> None:
        """See :class:`Observer`."""
        self._each(lambda observer: observer.ecv_delivered(delivery))

    def levels_known(self, levels: FinalLevels) -> None:
        """See :class:`Observer`."""
        self._each(lambda observer: observer.levels_known(levels))

    def closed(self, session: str, tally: Tally) -> None:
        """See :class:`Observer`."""
        self._each(lambda observer: observer.closed(session, tally))

    def _each(self, event: Callable[[Observer], None]) -> None:
        for observer in self._observers:
            try:
                event(observer)
            except Exception:
                _log.exception("an observer failed")
