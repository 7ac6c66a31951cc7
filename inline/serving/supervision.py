"""Supervision by systemd: readiness, status and watchdog (sd_notify(3)), and the composition with metrics.

The watchdog is fed while the engine returns output or passes its verification. systemd restarts a service
that no longer feeds it.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import Final, NamedTuple

from inline.data.errors import ConfigurationError
from inline.serving.health import Checkup, Health
from inline.serving.monitor import Kept, Monitor, Reply, json_reply
from inline.serving.observers import Observer, Observers
from inline.serving.server import Server
from inline.settings import MonitorSettings
from model.engines.fallback import IDLE_S

_log = logging.getLogger(__name__)

_LONGEST_PERIOD_S: Final = 5.0
_PERIODS: Final = 8.0
"""Reports within the time of the watchdog, at least."""
_METRICS_EVERY_S: Final = 0.9
"""Scrapes come once a second at most; making the text takes milliseconds."""


class ServiceManager:
    """Connection to the service manager that started this process; does nothing where there is none.

    Attributes:
        present: there is one.
        watchdog_s: time without a sign of life after which it restarts the process, s; None for no limit.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """Read the variables of the manager: ``NOTIFY_SOCKET``, ``WATCHDOG_USEC``, ``WATCHDOG_PID``."""
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.present = bool(address)
        limit, process = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
        ours = self.present and limit.isdigit() and process in ("", str(os.getpid()))
        self.watchdog_s = int(limit) / 1e6 if ours else None

    def notify(self, *assignments: str) -> None:
        """Send assignments such as ``READY=1``; an error of the socket is logged."""
        if not self.present:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
                connection.setblocking(False)
                connection.sendto("\n".join(assignments).encode(), self._address)
        except OSError as error:
            _log.warning("the service manager takes no messages: %s", error)


class Sign(NamedTuple):
    """Sign of life of a service at one moment.

    Attributes:
        live: it needs no restart.
        stopping: it finishes what is in flight.
        summary: one line for a person.
    """

    live: bool
    stopping: bool
    summary: str


def watch(manager: ServiceManager, check: Callable[[], Sign], over: threading.Event) -> None:
    """Report that a service is ready, and from now on its signs of life, if there is a service manager.

    Args:
        manager: of the process.
        check: returns the sign of life now.
        over: ends the reports.
    """
    if not manager.present:
        return
    first = check()
    manager.notify("READY=1", f"STATUS={first.summary}")
    arguments = (manager, check, over, first)
    threading.Thread(target=_report, args=arguments, name="watchdog", daemon=True).start()


def _report(manager: ServiceManager, check: Callable[[], Sign], over: threading.Event, last: Sign) -> None:
    """Report the status when it changes, and a sign of life as long as the service needs no restart."""
    period_s = min(_LONGEST_PERIOD_S, (manager.watchdog_s or math.inf) / _PERIODS)
    while not over.wait(period_s):
        try:
            sign = check()
        except Exception:  # of one moment; the service is restarted if it does not pass
            _log.exception("the health is not known")
            continue
        if messages := reports(last, sign):
            manager.notify(*messages)
        if last.live and not sign.live:
            _log.error("%s; the watchdog is fed no more: the service is to be restarted", sign.summary)
        elif sign.live and not last.live:
            _log.warning("%s; the watchdog is fed again", sign.summary)
        last = sign


def reports(last: Sign, sign: Sign) -> list[str]:
    """Return the messages to the service manager that follow from the sign of life now and the last one."""
    return [
        *(["WATCHDOG=1"] if sign.live else []),
        *(["STOPPING=1"] if sign.stopping and not last.stopping else []),
        *([f"STATUS={sign.summary}"] if sign.summary != last.summary else []),
    ]


class Supervision:
    """Health of one service, its observers, and reports to the service manager.

    Attributes:
        checkup: returns the health.
        observers: to be given to the server.
        address: host and port of the metrics; None without.
        page_address: likewise of the live page.
    """

    def __init__(self, manager: ServiceManager) -> None:
        verify_s = IDLE_S if manager.watchdog_s is None else min(IDLE_S, manager.watchdog_s / 4.0)
        self.checkup = Checkup(verify_s)
        self.observers = Observers()
        self.address: tuple[str, int] | None = None
        self.page_address: tuple[str, int] | None = None
        self._manager = manager
        self._over = threading.Event()

    def begin(self, server: Server) -> None:
        """Report that the server listens, and report its health from now on."""
        self.checkup.server = server
        watch(self._manager, self._sign, self._over)

    def end(self) -> None:
        """Report nothing more."""
        self._over.set()

    def _sign(self) -> Sign:
        health = self.checkup.health()
        return Sign(health.live, health.state.draining, health.summary)


@contextmanager
def supervision(
    settings: MonitorSettings, environment: Mapping[str, str] = os.environ
) -> Iterator[Supervision]:
    """Start metrics, health and live page where a port is set; report to the service manager if there is one.

    Begins before the network is loaded, so that the time until then is reported too.

    Raises:
        ConfigurationError: the port cannot be used.
    """
    manager = ServiceManager(environment)
    made = Supervision(manager)
    manager.notify("STATUS=starting: the network is loaded")
    followers: list[Observer] = []
    with ExitStack() as stack:
        stack.callback(made.end)
        if settings.port is not None:
            from inline.serving.metrics import Metrics

            metrics = Metrics(made.checkup)
            made.address = stack.enter_context(monitored(settings, metrics.text, made.checkup.health))
            followers.append(metrics)
        if settings.page_port is not None:
            from inline.serving.page.feed import PageFeed

            page = PageFeed(settings, made.checkup)
            stack.callback(page.close)
            made.page_address = page.address
            followers.append(page)
        made.observers = Observers(*followers)
        yield made


@contextmanager
def monitored(
    settings: MonitorSettings, text: Callable[[], bytes], health: Callable[[], Health]
) -> Iterator[tuple[str, int] | None]:
    """Serve metrics and health over HTTP, and yield host and port; None where no port is set, or it is taken.

    Args:
        settings: of the server.
        text: returns all metrics.
        health: returns the health.

    Raises:
        ConfigurationError: the port cannot be used for another reason.
    """
    if settings.port is None:
        yield None
        return
    pages: dict[str, Callable[[], Reply]] = {
        "/metrics": Kept(lambda: Reply(text()), _METRICS_EVERY_S),
        "/healthz": partial(_health, health, "live"),
        "/readyz": partial(_health, health, "ready"),
    }
    try:
        monitor = Monitor(settings, pages)
    except ConfigurationError as error:
        # As of a server and a node with one settings file: no reason to take no images.
        if getattr(error.__cause__, "errno", None) != errno.EADDRINUSE:
            raise
        _log.warning("%s; this program goes on without metrics and health", error)
        yield None
        return
    with closing(monitor):
        yield monitor.address


def _health(health: Callable[[], Health], quality: str) -> Reply:
    """Return the health; its status is good if the service is ``live``, or ``ready``."""
    record = health().record()
    return json_reply(record, good=record[quality])
