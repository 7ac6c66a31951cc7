"""End of a program: the request to stop, signals, and threads that hang."""

from __future__ import annotations

import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

_log = logging.getLogger(__name__)

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_THREADS: Final = ("slice", "network", "budget", "dicom")
"""Beginnings of the names of the threads that the scheduler and the DICOM node start."""
_WAIT_S: Final = 2.0
_PARTING_S: Final = 1.0
_PARTING_SHARE: Final = 0.1
_SAME_REQUEST_S: Final = 0.5


class Shutdown:
    """Request to stop and the time that it leaves, for all connections together.

    :meth:`request` may be called from a signal handler: it takes no lock.

    Attributes:
        requested: the program is to end.
    """

    def __init__(self, drain_s: float = math.inf) -> None:
        """Request nothing yet; ``drain_s``: time for what is in flight, from the first request on, s."""
        self._drain_s = drain_s
        self._parting_s = min(_PARTING_S, _PARTING_SHARE * drain_s)
        self._first = self._deadline = math.inf
        self.requested = False

    def request(self) -> None:
        """Request to stop. A second request leaves no more time than the last messages need.

        Requests within half a second of the first count as one: a terminal signals every process of a
        pipeline, and one of them may signal another.
        """
        now = time.monotonic()
        if not self.requested:
            self._first, self._deadline = now, now + self._drain_s
            self.requested = True
        elif now - self._first > _SAME_REQUEST_S:
            self._deadline = min(self._deadline, now + self._parting_s)

    @property
    def left_s(self) -> float:
        """Time left, s: infinite before a request, and not below 0."""
        return max(self._deadline - time.monotonic(), 0.0)

    @property
    def parting(self) -> bool:
        """True when the time left suffices for the last messages alone."""
        return self.left_s <= self._parting_s


class Signals:
    """Action of the signals that end a program.

    Before :meth:`call`, a signal raises SystemExit with code 0.

    Attributes:
        came: name of the first signal that came; empty before.
    """

    def __init__(self) -> None:
        self.came = ""
        self._stop: Callable[[], None] | None = None

    def call(self, stop: Callable[[], None]) -> None:
        """Set the function that every signal calls; it must not take locks."""
        self._stop = stop

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """Handle a signal."""
        self.came = self.came or signal.Signals(number).name
        if self._stop is None:
            raise SystemExit(0)
        self._stop()


def ending_signals() -> list[int]:
    """Return the signals that end a program; SIGHUP is left out where it is ignored, as under nohup."""
    hung_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return [each for each in _SIGNALS if hung_up or each is not signal.SIGHUP]


@contextmanager
def ended_by_signals() -> Iterator[Signals]:
    """Handle SIGTERM, SIGINT and SIGHUP in the block; after it, they are ignored if one has come."""
    signals = Signals()
    numbers = ending_signals()
    before = [signal.signal(number, signals.handle) for number in numbers]
    try:
        yield signals
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, signal.SIG_IGN if signals.came else handler)


def end_with_stdin() -> None:
    """Send SIGTERM to this process when its standard input ends.

    The program that started it holds the other end, which the system closes however that program ends.
    """

    def watch() -> None:
        with suppress(OSError):
            while os.read(0, 1024):
                pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="stdin", daemon=True).start()


def leave_hanging_threads(code: int = 0) -> None:
    """End the process at once if a thread of a fit or an engine hangs.

    The interpreter would wait for it forever, or destroy the engine that it uses and end by SIGABRT.
    """
    end = time.monotonic() + _WAIT_S
    threads = [each for each in threading.enumerate() if each.name.startswith(_THREADS)]
    for thread in threads:
        thread.join(timeout=max(end - time.monotonic(), 0.0))
    hanging = [each.name for each in threads if each.is_alive()]
    if not hanging:
        return
    _log.warning("%d threads hang and are left: %s", len(hanging), ", ".join(hanging))
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
