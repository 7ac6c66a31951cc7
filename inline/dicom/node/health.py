"""Health of a node: when each of its threads and its spool last worked; reports to the service manager."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, Protocol

from inline.data.errors import MyostreamError
from inline.data.plural import counted
from inline.dicom.node.spool import Backlog
from inline.dicom.node.store import cause
from inline.serving.health import Health, State, judge
from inline.serving.supervision import ServiceManager, Sign, watch

_log = logging.getLogger(__name__)

SILENT_S: Final = 180.0
"""Time without a sign of life after which a thread hangs: longer than every timeout of a connection."""


class Pulse:
    """Times at which the parts of a node last worked; safe between threads.

    Parts are known from their first beat on.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin without parts; ``clock``: seconds."""
        self._clock = clock
        self._last: dict[str, float] = {}

    def beat(self, part: str) -> None:
        """Record that a part works."""
        self._last[part] = self._clock()

    def silent(self, limit_s: float) -> list[str]:
        """Return the parts that have not worked for longer than a limit."""
        now = self._clock()
        return [part for part, last in list(self._last.items()) if now - last > limit_s]


class Supervised(Protocol):
    """Node as its supervision uses it."""

    @property
    def stopping(self) -> bool:
        """True from the request to stop on."""
        ...

    @property
    def pulse(self) -> Pulse:
        """Signs of life of its threads."""
        ...

    @property
    def state(self) -> State:
        """State of engine and associations."""
        ...

    def backlog(self) -> Backlog:
        """Check the spool and return its content.

        Raises:
            OSError, sqlite3.Error, MyostreamError: it cannot be used.
        """
        ...


def hanging(node: Supervised, silent_s: float = SILENT_S) -> str:
    """Return why a node is to be restarted; empty where it works, and while it stops."""
    parts = node.pulse.silent(silent_s)
    if not parts or node.stopping:
        return ""
    return f"{', '.join(parts)}: no sign of life for {silent_s:.0f} s"


def health_of(node: Supervised | None, silent_s: float = SILENT_S) -> Health:
    """Return the health of a node; None while it is not there yet."""
    if node is None:
        return judge(State(), silent_s)
    state, (summary, usable) = node.state, _summary(node)
    found = hanging(node, silent_s)
    ready = usable and not (found or state.draining or state.failed)
    return Health(not found, ready, found or summary, state)


@contextmanager
def supervision(node: Supervised, manager: ServiceManager, silent_s: float = SILENT_S) -> Iterator[None]:
    """Report readiness, status and signs of life of a node to the service manager, if there is one.

    Args:
        node: that listens.
        manager: of the process.
        silent_s: time without a sign of life after which a part hangs.
    """
    over = threading.Event()
    watch(manager, partial(_sign, node, silent_s), over)
    try:
        yield
    finally:
        over.set()


def _sign(node: Supervised, silent_s: float) -> Sign:
    health = health_of(node, silent_s)
    return Sign(health.live, node.stopping, health.summary)


def _summary(node: Supervised) -> tuple[str, bool]:
    """Return one line on the work of a node, and whether its spool can be used, which is a sign of life."""
    try:
        backlog = node.backlog()
    except (OSError, sqlite3.Error, MyostreamError) as error:
        if node.stopping:  # at the end it is closed
            return "stopping", False
        _log.error("the spool cannot be used: %s", cause(error))
        return f"the spool cannot be used: {cause(error)}", False
    node.pulse.beat("spool")
    results = counted(sum(backlog.deliveries.values()), "result")
    state = "stopping" if node.stopping else "no engine works" if node.state.failed else "ready"
    return f"{state}: {backlog.series} series to process, {results} to deliver", True
