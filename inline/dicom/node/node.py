"""DICOM node: receiver, worker and one sender for each destination around a spool."""

from __future__ import annotations

import logging
import sqlite3
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Final

from inline.addresses import host_port, is_loopback
from inline.data.errors import ConfigurationError
from inline.data.pauses import READ_S, Pauses
from inline.dicom.node.delivery import transport_of
from inline.dicom.node.health import Pulse
from inline.dicom.node.metrics import NodeMetrics
from inline.dicom.node.processing import Processor
from inline.dicom.node.received import StudyBatch
from inline.dicom.node.receiver import Receiver
from inline.dicom.node.sender import Sender, record_report, time_to_retry_s
from inline.dicom.node.spool import Backlog, Spool, inspect, spool_folder
from inline.dicom.node.store import DENIED, SpoolError, cause, is_denied
from inline.dicom.node.tls import client_context, server_context
from inline.dicom.node.waiting import ATTEMPTS
from inline.pipeline import Pipeline
from inline.serving.health import State
from inline.settings import DicomSettings, Settings
from model.engines.fallback import FallbackEngine

_log = logging.getLogger(__name__)

_TICK_S: Final = 0.25
_BEAT_S: Final = 10.0
"""Time between signs of life of a thread that waits."""
CLOSE_S: Final = 30.0
"""Time for what is in work when the node stops."""


def usable_contexts(settings: DicomSettings) -> tuple[ssl.SSLContext, ssl.SSLContext | None]:
    """Return the contexts of TLS for destinations and for senders (None without TLS).

    Raises:
        ConfigurationError: a node cannot start with these settings.
    """
    if not settings.destinations:
        raise ConfigurationError("a DICOM node needs a destination for its results; set dicom.destinations")
    if not settings.outputs:
        raise ConfigurationError("dicom.outputs names no kind of object; set at least one")
    return client_context(settings), server_context(settings)


class DicomNode:
    """Node that listens from its construction on; :meth:`serve` accepts until :meth:`stop`.

    Attributes:
        address: host and port that it listens on.
        pulse: signs of life of its threads.
        engine: of its pipeline.
        spool: that it has open.
        destinations: names of those of the settings.
        in_work: Series Instance UIDs of the series that are processed now.
    """

    def __init__(
        self, settings: Settings, pipeline: Callable[[], Pipeline], metrics: NodeMetrics | None = None
    ) -> None:
        """Open the spool and listen, then build the pipeline.

        Args:
            settings: of the program.
            pipeline: returns the pipeline; called once.
            metrics: of the program, which get to know the node.

        Raises:
            ConfigurationError: settings, address or weights cannot be used.
            SpoolError: the spool cannot be used.
        """
        dicom = settings.dicom
        client, server = usable_contexts(dicom)
        self._settings = dicom
        self._stopping = threading.Event()
        self.pulse = Pulse()
        self.destinations = tuple(each.name for each in dicom.destinations)
        self.in_work: tuple[str, ...] = ()
        self._metrics = metrics or NodeMetrics()
        with ExitStack() as opened:  # a node that is not made holds neither lock nor port
            self.spool = Spool.of(dicom)
            opened.callback(self.spool.close)
            reported = partial(record_report, results=self.spool.results, settings=dicom)
            alive = partial(self.pulse.beat, "receiver")
            self._receiver = Receiver(
                dicom,
                self.spool.received,
                server,
                alive,
                reported,
                self._metrics,
                foreign_text=settings.log.foreign_text,
            )
            opened.callback(self._receiver.unbind)
            made = pipeline()
            self.engine = made.engine
            self._processor = Processor(made, settings, self._alive)
            self._warn_of_what_stays()
            opened.pop_all()
        self.address = self._receiver.address
        if not (is_loopback(self.address[0]) or dicom.peers):
            _log.warning(
                "%s is reached by other hosts, and AE titles are no passwords: let a firewall and the "
                "setting dicom.peers admit the scanner's hosts alone",
                host_port(*self.address),
            )
        if settings.ecv.haematocrit is not None:
            _log.warning("ecv.haematocrit = %g holds for every patient", settings.ecv.haematocrit)
        self._requested = False
        self._pauses = Pauses(time.time, min(dicom.idle_s, READ_S))
        tasks: list[tuple[str, Callable[[], None]]] = [
            ("receiver", self._receiver.serve),
            ("worker", self._work),
        ]
        for destination in dicom.destinations:
            part = f"sender {destination.name}"
            transport = transport_of(destination, dicom.ae_title, client)
            alive = partial(self.pulse.beat, part)
            sender = Sender(destination, transport, self.spool.results, dicom, alive)
            tasks.append((part, partial(self._send, destination.name, sender)))
        self._threads = [
            threading.Thread(target=task, name=f"dicom {name}", daemon=True) for name, task in tasks
        ]
        self._metrics.node = self

    def serve(self) -> None:
        """Receive, process and deliver until :meth:`stop`; what is not finished then stays in the spool."""
        for thread in self._threads:
            thread.start()
        try:
            while not self._requested:
                time.sleep(_TICK_S)
                self._pauses.tick()
        finally:
            self._stopping.set()
            self._receiver.close()
            end = time.monotonic() + CLOSE_S
            for thread in self._threads:
                thread.join(max(end - time.monotonic(), 0.0))
            if not any(thread.is_alive() for thread in self._threads):
                self.spool.close()

    @property
    def stopping(self) -> bool:
        """True from :meth:`stop` on."""
        return self._requested

    @property
    def state(self) -> State:
        """State of engine and associations."""
        watched = self.engine if isinstance(self.engine, FallbackEngine) else None
        return State(
            listening=True,
            draining=self._requested,
            engine=self.engine.name,
            failed=watched is not None and watched.failed,
            unproven_s=0.0 if watched is None else watched.unproven_s,
            connections=self._receiver.associations,
        )

    def backlog(self) -> Backlog:
        """Check the spool and return its content.

        Raises:
            OSError, sqlite3.Error, SpoolError: it cannot be used.
        """
        self.spool.check()
        return inspect(spool_folder(self._settings))

    def stop(self) -> None:
        """End :meth:`serve`. It takes no lock: a signal handler may call it."""
        self._requested = True

    def _warn_of_what_stays(self) -> None:
        """Log what takes room in the spool until the operator decides on it.

        Raises:
            SpoolError: the spool cannot be read.
        """
        try:
            waiting, given_up = self.spool.results.waiting(), self.spool.received.given_up()
        except sqlite3.Error as error:
            raise SpoolError(f"the spool cannot be read: {error}; set dicom.spool") from error
        for name, number in waiting.items():
            if name not in self.destinations:
                _log.warning(
                    "%d results wait for the destination %s, which dicom.destinations no longer has: they "
                    "are sent to none and stay in the spool until dicom-queue moves them to another (--move) "
                    "or drops them (--drop)",
                    number, name,
                )  # fmt: skip
        if given_up:
            _log.warning(
                "%d series could not be processed and stay in the spool: dicom-queue states the reasons, and "
                "with --retry has them processed again",
                given_up,
            )

    def _work(self) -> None:
        """Process complete series until the node stops."""
        while not self._stopping.is_set():
            self._alive()
            try:
                self.spool.received.purge()
                batch = self._take()
            except (OSError, sqlite3.Error) as error:  # the node goes on receiving, and tries again
                _log.error("the spool cannot be used: %s", cause(error))
                self._pause(time_to_retry_s(self._settings, 0), self._alive)
                continue
            except Exception:
                _log.exception("series could not be taken from the spool")
                self._pause(time_to_retry_s(self._settings, 0), self._alive)
                continue
            if batch is not None:
                self.in_work = batch.series
                self._process(batch)
                self.in_work = ()
            elif not self._stopping.wait(_TICK_S) and isinstance(self.engine, FallbackEngine):
                self.engine.verify_if_idle()

    def _take(self) -> StudyBatch | None:
        """Return the complete series of a study."""
        self._pauses.tick()
        return self.spool.received.take(self._settings.idle_s, unread=self._pauses.unread)

    def _alive(self) -> None:
        """Give the signs of life of the worker, and of an engine that has not failed without another."""
        self.pulse.beat("worker")
        if not (isinstance(self.engine, FallbackEngine) and self.engine.failed):
            self.pulse.beat("engine")

    def _process(self, batch: StudyBatch) -> None:
        """Process series; those of which no image can be read, or no result be written, are tried again."""
        wait_s = time_to_retry_s(self._settings, batch.attempts - 1)
        try:
            batch, denied = batch.without(is_denied)
            if denied.series:  # no fault of the images
                _log.error(
                    "%d series could not be processed; again in %.0f s: %s",
                    len(denied.series), wait_s, DENIED,
                )  # fmt: skip
                self._keep(denied, DENIED, wait_s, counted=False)
            if not batch.series:
                return
            outcome = self._processor.process(batch)
            done, failed = batch.split(outcome.mapped, outcome.given, outcome.lost)
            self.spool.finish(done, outcome.objects, self.destinations, outcome.mapped)
            for each in outcome.results:
                self._metrics.count(each)
        except (OSError, sqlite3.Error) as error:
            _log.error("results could not be stored; again in %.0f s: %s", wait_s, cause(error))
            self._keep(batch, cause(error), wait_s, counted=False)
        except Exception as error:
            _log.exception("series could not be processed (attempt %d of %d)", batch.attempts, ATTEMPTS)
            self._keep(batch, type(error).__name__, wait_s, counted=True)
        else:
            _log.log(
                logging.WARNING if outcome.problems else logging.INFO,
                "processed series=%d images=%d slices=%d objects=%d unused=%d problems=%d ecv=%d",
                len(done.series), len(batch.files), len(outcome.results), len(outcome.objects),
                outcome.unused, outcome.problems, outcome.ecv,
            )  # fmt: skip
            if failed.series:
                reason = f"images could not be read, or results not be written: {outcome.reason}"
                _log.error(
                    "%d series could not be processed (attempt %d of %d): %s",
                    len(failed.series), batch.attempts, ATTEMPTS, reason,
                )  # fmt: skip
                self._keep(failed, reason, wait_s, counted=True)

    def _keep(self, batch: StudyBatch, error: str, wait_s: float, *, counted: bool) -> None:
        try:
            self.spool.received.fail(batch, error, wait_s, counted=counted)
        except sqlite3.Error as failure:
            _log.error("the spool cannot be used: %s", cause(failure))
            self._pause(wait_s, self._alive)

    def _send(self, name: str, sender: Sender) -> None:
        """Deliver results to a destination until the node stops."""
        alive, failures = partial(self.pulse.beat, f"sender {name}"), 0
        while not self._stopping.is_set():
            alive()
            wait_s = _TICK_S
            try:
                if sender.deliver():
                    wait_s = 0.0
                failures = 0
            except (OSError, sqlite3.Error) as error:
                wait_s = time_to_retry_s(self._settings, failures)
                _log.error("%s: the spool cannot be used; again in %.0f s: %s", name, wait_s, cause(error))
                failures += 1
            except Exception:  # the destination stays in service
                _log.exception("delivery to %s failed", name)
            self._pause(wait_s, alive)  # not above: the error holds what was open

    def _pause(self, wait_s: float, alive: Callable[[], None]) -> None:
        """Wait, at most until the node stops; a thread of it gives its signs of life meanwhile."""
        end = time.monotonic() + wait_s
        while (left_s := end - time.monotonic()) > 0.0 and not self._stopping.wait(min(left_s, _BEAT_S)):
            alive()
