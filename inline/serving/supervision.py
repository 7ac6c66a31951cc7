"""Supervision by systemd: readiness, status and watchdog (sd_notify(3)), and the composition with metrics.

The watchdog is fed while the engine returns output or passes its verification. systemd restarts a service
that no longer feeds it.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Final

from inline.serving.health import Checkup, Health
from inline.serving.monitor import Kept, Monitor, Reply, json_reply
from inline.serving.observers import Observer, Observers
from inline.serving.server import Server
from inline.settings import MonitorSettings
from model.engines.fallback import IDLE_S

_log = logging.getLogger(__name__)

_LONGEST_PERIOD_S: Final = 5.0
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
        if self._manager.present:
            self._manager.notify("READY=1", f"STATUS={self.checkup.health().summary}")
            threading.Thread(target=self._report, name="watchdog", daemon=True).start()

    def end(self) -> None:
        """Report nothing more."""
        self._over.set()

    def _report(self) -> None:
        """Report the status when it changes, and a sign of life as long as the service needs no restart."""
        period_s = min(self.checkup.verify_s / 2.0, _LONGEST_PERIOD_S)
        last = self.checkup.health()
        while not self._over.wait(period_s):
            try:
                health = self.checkup.health()
            except Exception:  # of one moment; the service is restarted if it does not pass
                _log.exception("the health is not known")
                continue
            if messages := reports(last, health):
                self._manager.notify(*messages)
            if last.live and not health.live:
                _log.error("%s; the watchdog is fed no more: the service is to be restarted", health.summary)
            elif health.live and not last.live:
                _log.warning("%s; the watchdog is fed again", health.summary)
            last = health


def reports(last: Health, health: Health) -> list[str]:
    """Return the messages to the service manager that follow from the health now and at the last report."""
    return [
        *(["WATCHDOG=1"] if health.live else []),
        *(["STOPPING=1"] if health.state.draining and not last.state.draining else []),
        *([f"STATUS={health.summary}"] if health.summary != last.summary else []),
    ]


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
            pages: dict[str, Callable[[], Reply]] = {
                "/metrics": Kept(lambda: Reply(metrics.text()), _METRICS_EVERY_S),
                "/healthz": partial(_health, made.checkup, "live"),
                "/readyz": partial(_health, made.checkup, "ready"),
            }
            monitor = Monitor(settings, pages)
            stack.callback(monitor.close)
            made.address = monitor.address
            followers.append(metrics)
        if settings.page_port is not None:
            from inline.serving.page.feed import PageFeed

            page = PageFeed(settings, made.checkup)
            stack.callback(page.close)
            made.page_address = page.address
            followers.append(page)
        made.observers = Observers(*followers)
        yield made


def _health(checkup: Checkup, quality: str) -> Reply:
    """Return the health; its status is good if the service is ``live``, or ``ready``."""
    record = checkup.health().record()
    return json_reply(record, good=record[quality])
