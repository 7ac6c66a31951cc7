"""DICOM node: receiver, worker and one sender for each destination around a spool."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from pydicom.uid import generate_uid

from inline.data.errors import ConfigurationError, MyostreamError
from inline.dicom.node.commitment import Report
from inline.dicom.node.delivery import StoreTransport, Transport, transport_of
from inline.dicom.node.health import Pulse
from inline.dicom.node.processing import Processor
from inline.dicom.node.received import ATTEMPTS, Batch
from inline.dicom.node.receiver import Receiver
from inline.dicom.node.results import Delivery
from inline.dicom.node.spool import Backlog, Spool, inspect, spool_folder
from inline.dicom.node.tls import client_context, server_context
from inline.emit.access import is_loopback
from inline.pipeline import Pipeline
from inline.settings import DicomDestination, Settings
from model.engines.fallback import FallbackEngine

_log = logging.getLogger(__name__)

_TICK_S: Final = 0.25
_MOST_SENT: Final = 50
CLOSE_S: Final = 30.0
"""Time for what is in work when the node stops."""
_GONE: Final = "its file is missing from the spool; send its series to the node again"


class UnreadableError(MyostreamError):
    """None of the images of some series could be read, or none of their results be written."""


class DicomNode:
    """Node that listens from its construction on; :meth:`serve` accepts until :meth:`stop`.

    Attributes:
        address: host and port that it listens on.
        pulse: signs of life of its threads.
    """

    def __init__(self, settings: Settings, pipeline: Callable[[], Pipeline]) -> None:
        """Open the spool and listen, then build the pipeline.

        Args:
            settings: of the program.
            pipeline: returns the pipeline; called once.

        Raises:
            ConfigurationError: settings, address or weights cannot be used.
            SpoolError: the spool cannot be used.
        """
        dicom = settings.dicom
        if not dicom.destinations:
            raise ConfigurationError(
                "a DICOM node needs a destination for its results; set dicom.destinations"
            )
        if not dicom.outputs:
            raise ConfigurationError("dicom.outputs names no kind of object; set at least one")
        client, server = client_context(dicom), server_context(dicom)
        self._settings = dicom
        self._stopping = threading.Event()
        self.pulse = Pulse()
        self._spool = Spool.of(dicom)
        try:
            self._receiver = Receiver(
                dicom, self._spool.received, server, partial(self.pulse.beat, "receiver"), self._reported
            )
            made = pipeline()
            self._engine = made.engine
            self._processor = Processor(made, settings, self._alive)
        except BaseException:
            self._spool.close()
            raise
        self.address = self._receiver.address
        if not (is_loopback(self.address[0]) or dicom.peers):
            _log.warning(
                "%s:%d is reached by other hosts, and AE titles are no passwords: let a firewall and the "
                "setting dicom.peers admit the scanner's hosts alone",
                *self.address,
            )
        if settings.ecv.haematocrit is not None:
            _log.warning("ecv.haematocrit = %g holds for every patient", settings.ecv.haematocrit)
        self._requested = False
        tasks: list[tuple[str, Callable[[], None]]] = [
            ("receiver", self._receiver.serve),
            ("worker", self._work),
        ]
        for destination in dicom.destinations:
            transport = transport_of(destination, dicom.ae_title, client)
            tasks.append((f"sender {destination.name}", partial(self._send, destination, transport)))
        self._threads = [
            threading.Thread(target=task, name=f"dicom {name}", daemon=True) for name, task in tasks
        ]

    def serve(self) -> None:
        """Receive, process and deliver until :meth:`stop`; what is not finished then stays in the spool."""
        for thread in self._threads:
            thread.start()
        try:
            while not self._requested:
                time.sleep(_TICK_S)
        finally:
            self._stopping.set()
            self._receiver.close()
            end = time.monotonic() + CLOSE_S
            for thread in self._threads:
                thread.join(max(end - time.monotonic(), 0.0))
            if not any(thread.is_alive() for thread in self._threads):
                self._spool.close()

    @property
    def stopping(self) -> bool:
        """True from :meth:`stop` on."""
        return self._requested

    def backlog(self) -> Backlog:
        """Check the spool and return its content.

        Raises:
            OSError, sqlite3.Error, SpoolError: it cannot be used.
        """
        self._spool.check()
        return inspect(spool_folder(self._settings))

    def stop(self) -> None:
        """End :meth:`serve`. It takes no lock: a signal handler may call it."""
        self._requested = True

    def _work(self) -> None:
        """Process complete series until the node stops."""
        while not self._stopping.is_set():
            self._alive()
            try:
                self._spool.received.purge()
                batch = self._spool.received.take(self._settings.idle_s)
            except Exception:  # the node goes on receiving, and tries again
                _log.exception("the spool cannot be read")
                batch = None
            if batch is not None:
                self._process(batch)
            elif not self._stopping.wait(_TICK_S) and isinstance(self._engine, FallbackEngine):
                self._engine.verify_if_idle()

    def _alive(self) -> None:
        """Give the signs of life of the worker, and of an engine that has not failed without another."""
        self.pulse.beat("worker")
        if not (isinstance(self._engine, FallbackEngine) and self._engine.failed):
            self.pulse.beat("engine")

    def _process(self, batch: Batch) -> None:
        wait_s = self._wait_s(batch.attempts - 1)
        try:
            outcome = self._processor.process(batch)
            if outcome.problems and not outcome.objects:
                raise UnreadableError(f"{outcome.problems} images or slices could not be read or written")
            destinations = [each.name for each in self._settings.destinations]
            self._spool.finish(batch, outcome.objects, destinations, outcome.mapped)
        except UnreadableError as error:
            _log.error(
                "series could not be processed (attempt %d of %d): %s", batch.attempts, ATTEMPTS, error
            )
            self._keep(batch, str(error), wait_s, counted=True)
        except (OSError, sqlite3.Error) as error:
            _log.error("results could not be stored; again in %.0f s: %s", wait_s, type(error).__name__)
            self._keep(batch, type(error).__name__, wait_s, counted=False)
        except Exception as error:
            _log.exception("series could not be processed (attempt %d of %d)", batch.attempts, ATTEMPTS)
            self._keep(batch, type(error).__name__, wait_s, counted=True)
        else:
            _log.log(
                logging.WARNING if outcome.problems else logging.INFO,
                "processed series=%d images=%d slices=%d objects=%d unused=%d problems=%d ecv=%d",
                len(batch.series), len(batch.files), outcome.slices, len(outcome.objects), outcome.unused,
                outcome.problems, outcome.ecv,
            )  # fmt: skip

    def _keep(self, batch: Batch, error: str, wait_s: float, *, counted: bool) -> None:
        try:
            self._spool.received.fail(batch, error, wait_s, counted=counted)
        except sqlite3.Error:
            _log.exception("the spool cannot be written")
            self._stopping.wait(wait_s)

    def _send(self, destination: DicomDestination, transport: Transport) -> None:
        """Deliver results to a destination until the node stops."""
        name = destination.name
        while not self._stopping.is_set():
            self.pulse.beat(f"sender {name}")
            try:
                sent = self._deliver(destination, transport)
            except Exception:  # the destination stays in service
                _log.exception("delivery to %s failed", name)
                sent = 0
            if not sent:
                self._stopping.wait(_TICK_S)

    def _deliver(self, destination: DicomDestination, transport: Transport) -> int:
        """Send what is due; return the number of objects that were stored."""
        name = destination.name
        waiting = self._spool.results.due(name, _MOST_SENT)
        due = [each for each in waiting if each.file.exists()]
        problems: dict[str, int] = {}
        # Those without a file would hold up the others; a rerun may also have replaced it just now.
        for delivery in waiting:
            if delivery not in due:
                problems[_GONE] = problems.get(_GONE, 0) + 1
                self._spool.results.postpone(delivery, name, _GONE, self._settings.retry_most_s)
        if unreported := sum(bool(each.asked) for each in due):
            _log.warning(
                "%s: no report on the storage commitment of %d objects came in time; they are sent again",
                name, unreported,
            )  # fmt: skip
        stored: list[Delivery] = []
        answers: Iterable[str] = transport.send([each.file for each in due]) if due else ()
        for delivery, problem in zip(due, answers, strict=True):
            self.pulse.beat(f"sender {name}")
            if problem:
                problems[problem] = problems.get(problem, 0) + 1
                self._spool.results.postpone(delivery, name, problem, self._wait_s(delivery.attempts))
                continue
            stored.append(delivery)
            if not destination.commitment:
                self._spool.results.delivered(delivery, name)
        if (
            stored
            and destination.commitment
            and isinstance(transport, StoreTransport)
            and (problem := self._commit(name, transport, stored))
        ):
            problems[problem] = problems.get(problem, 0) + len(stored)
        for problem, number in problems.items():
            _log.warning("%s: %d objects were not delivered and stay in the queue: %s", name, number, problem)
        delivered = len(waiting) - sum(problems.values())
        if delivered:
            _log.info("%s: delivered objects=%d", name, delivered)
        return delivered

    def _commit(self, name: str, transport: StoreTransport, stored: list[Delivery]) -> str:
        """Request storage commitment of results; return why it was refused, or empty."""
        transaction = generate_uid(prefix=None)
        # Recorded first: the report may come before the answer to the request.
        self._spool.results.ask(stored, name, transaction, self._settings.commitment_s)
        problem = transport.commit([each.file for each in stored], transaction, self._reported)
        if problem:
            for each in stored:
                self._spool.results.postpone(each, name, problem, self._wait_s(each.attempts))
        return problem

    def _reported(self, report: Report) -> None:
        """Record a report on storage commitment: what is committed is delivered, the rest is sent again."""
        waiting = self._spool.results.asked(report.transaction)
        for delivery, name in waiting:
            if delivery.uid in report.committed:
                self._spool.results.delivered(delivery, name)
            elif (reason := report.failed.get(delivery.uid)) is not None:
                problem = f"it does not keep the object (failure reason 0x{reason:04X})"
                self._spool.results.postpone(delivery, name, problem, self._wait_s(delivery.attempts))
        _log.log(
            logging.WARNING if report.failed or not waiting else logging.INFO,
            "storage commitment: %d objects reported as kept, %d as failed, %d were waited for",
            len(report.committed), len(report.failed), len(waiting),
        )  # fmt: skip

    def _wait_s(self, attempts: int) -> float:
        """Return the time until the next attempt after so many failed ones, s."""
        return min(self._settings.retry_s * 2.0 ** min(attempts, 30), self._settings.retry_most_s)
