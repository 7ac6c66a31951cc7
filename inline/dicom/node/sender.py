"""Delivery of results to one destination, and the reports on their storage commitment."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Final

from pydicom.uid import generate_uid

from inline.dicom.find import is_dicom
from inline.dicom.node.commitment import Commitment
from inline.dicom.node.delivery import StoreTransport, Transport
from inline.dicom.node.results import Delivery, ResultQueue
from inline.dicom.node.store import DENIED, is_denied
from inline.settings import DicomDestination, DicomSettings

_log = logging.getLogger(__name__)

_MOST_SENT: Final = 50
_GONE: Final = (
    "its file is missing from the spool or damaged; send its series to the node again, or remove its study "
    "(dicom-queue --forget)"
)


class Sender:
    """Sender of results to one destination; used by one thread."""

    def __init__(
        self,
        destination: DicomDestination,
        transport: Transport,
        results: ResultQueue,
        settings: DicomSettings,
        alive: Callable[[], None],
    ) -> None:
        """Take the queue of results.

        Args:
            destination: that receives them.
            transport: to it.
            results: of the spool.
            settings: of the node.
            alive: is called after each object that was sent.
        """
        self._destination, self._transport = destination, transport
        self._results, self._settings, self._alive = results, settings, alive

    def deliver(self) -> int:
        """Send what is due; return the number of objects that were stored.

        Raises:
            OSError, sqlite3.Error: the spool cannot be used.
        """
        name = self._destination.name
        waiting = self._results.due(name, _MOST_SENT)
        if waiting:  # on a full disk nothing is sent: it would be sent again and again
            self._results.claim(waiting, name, time_to_retry_s(self._settings, 0))
        due = [each for each in waiting if is_dicom(each.file)]
        problems: Counter[str] = Counter()
        # Those without a readable file would hold up the others; a rerun may also have replaced it just now.
        for delivery in waiting:
            if delivery not in due:
                problem = DENIED if is_denied(delivery.file) else _GONE
                problems[problem] += 1
                self._results.postpone(delivery, name, problem, self._settings.retry_most_s)
        if unreported := sum(bool(each.asked) for each in due):
            _log.warning(
                "%s: no report on the storage commitment of %d objects came in time; they are sent again",
                name, unreported,
            )  # fmt: skip
        stored = self._send(due, problems)
        if self._destination.commitment and stored:
            self._commit(stored, problems)
        for problem, number in problems.items():
            _log.warning("%s: %d objects were not delivered and stay in the queue: %s", name, number, problem)
        delivered = len(waiting) - problems.total()
        if delivered:
            _log.info("%s: delivered objects=%d", name, delivered)
        return delivered

    def _send(self, due: Sequence[Delivery], problems: Counter[str]) -> list[Delivery]:
        """Send objects and return those that were stored; count the problems of the others."""
        stored = list[Delivery]()
        if not due:
            return stored
        # An answer that cannot be recorded ends the association at once.
        with closing(self._transport.send([each.file for each in due])) as answers:
            for delivery, problem in zip(due, answers, strict=True):
                self._alive()
                if problem:
                    problems[problem] += 1
                    self._postpone(delivery, problem)
                    continue
                stored.append(delivery)
                if not self._destination.commitment:
                    self._results.delivered(delivery, self._destination.name)
        return stored

    def _commit(self, stored: Sequence[Delivery], problems: Counter[str]) -> None:
        """Request storage commitment of results; count them where the request is refused."""
        if not isinstance(self._transport, StoreTransport):
            return
        transaction = generate_uid(prefix=None)
        # Recorded first: the report may come before the answer to the request.
        self._results.ask(stored, self._destination.name, transaction, self._settings.commitment_s)
        problem = self._transport.commit(
            [each.file for each in stored],
            transaction,
            lambda report: record_report(report, self._results, self._settings),
        )
        if problem:
            problems[problem] += len(stored)
            for each in stored:
                self._postpone(each, problem)

    def _postpone(self, delivery: Delivery, problem: str) -> None:
        wait_s = time_to_retry_s(self._settings, delivery.attempts)
        self._results.postpone(delivery, self._destination.name, problem, wait_s)


def record_report(report: Commitment, results: ResultQueue, settings: DicomSettings) -> None:
    """Record a report on storage commitment: what is committed is delivered, the rest is sent again.

    Raises:
        OSError, sqlite3.Error: it cannot be recorded.
    """
    waiting = results.asked(report.transaction)
    for delivery, name in waiting:
        # Of an object that a report states as both, nothing is lost by taking it for failed.
        if (reason := report.failed.get(delivery.uid)) is not None:
            problem = f"it does not keep the object (failure reason 0x{reason:04X})"
            results.postpone(delivery, name, problem, time_to_retry_s(settings, delivery.attempts))
        elif delivery.uid in report.committed:
            results.delivered(delivery, name)
    _log.log(
        logging.WARNING if report.failed or not waiting else logging.INFO,
        "storage commitment: %d objects reported as kept, %d as failed, %d were waited for",
        len(report.committed), len(report.failed), len(waiting),
    )  # fmt: skip


def time_to_retry_s(settings: DicomSettings, attempts: int) -> float:
    """Return the time until the next attempt after so many failed ones, s."""
    return min(settings.retry_s * 2.0 ** min(attempts, 30), settings.retry_most_s)
