"""Log of the program on standard error, bounded in length, in number of lines and in the time it takes.

A record is formatted by the thread that logs it and written by another one: a log that nobody reads blocks
nothing. ``docs/privacy.md`` states what may be in it.
"""

from __future__ import annotations

import io
import json
import logging
import math
import os
import queue
import re
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from logging.handlers import QueueHandler
from typing import IO, Any, Final, TextIO, cast

from rich.console import Console
from rich.logging import RichHandler

from inline.data.client_text import for_log, foreign
from inline.data.errors import MyostreamError
from inline.settings import LogSettings

_log = logging.getLogger(__name__)

_STDERR: Final = 2
_WAITING: Final = 1024
"""Upper bound of the records that wait to be written."""
_LONGEST: Final = 16_000
"""Characters of a record; the summary of a long connection has some thousand."""
_WINDOW_S: Final = 60.0
_PEER: Final = re.compile(r"(?:[0-9.]+|\[[0-9a-fA-F.:]+(?:%[^\]]+)?\]):[0-9]{1,5}(?: #[0-9]+)?")
_PRIORITIES: Final = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.NOTSET, 7))
"""Level from which a record has a priority of syslog(3)."""
_KINDS: Final = 4096
_FRAMES: Final = 30
_CLOSE_S: Final = 2.0


class RateLimiter:
    """Limit of ``most`` events of a kind within a minute from the first one; the caller passes the time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._windows: dict[Hashable, list[float]] = {}  # in the order of their starts

    def admit(self, kind: Hashable, now: float) -> bool:
        """Count an event and return whether it passes. Call :meth:`ended` before."""
        if kind not in self._windows and len(self._windows) >= _KINDS:
            kind = None
        window = self._windows.setdefault(kind, [now, 0])
        window[1] += 1
        return window[1] <= self._most

    def ended(self, now: float) -> Iterator[tuple[Any, int]]:
        """Forget the minutes that have ended; return their kinds and how many events did not pass."""
        while self._windows:
            kind = next(iter(self._windows))
            start, count = self._windows[kind]
            if now - start < _WINDOW_S:
                return
            del self._windows[kind]
            if count > self._most:
                yield kind, int(count) - self._most


class SafeFormatter(logging.Formatter):
    """Formatter without control characters; later lines of a record are indented.

    Messages of exceptions may quote what a client sent and are treated as foreign text, except for those of
    :class:`~inline.data.errors.MyostreamError`, whose foreign parts are marked.
    """

    def __init__(self, *, foreign_text: bool) -> None:
        super().__init__("%(message)s")
        self._foreign_text = foreign_text

    def format(self, record: logging.LogRecord) -> str:
        """See :meth:`logging.Formatter.format`."""
        text = super().format(record)
        if len(text) > _LONGEST:
            text = f"{text[:_LONGEST]}... ({len(text)} characters)"
        # Such characters control a terminal or the direction of writing.
        return "\n    ".join(
            "".join(each if each.isprintable() else ascii(each)[1:-1] for each in line)
            for line in text.split("\n")
        )

    def formatException(self, ei: Any) -> str:  # noqa: N802, the name is logging's
        """See :meth:`logging.Formatter.formatException`."""
        parts: list[str] = []
        error: BaseException | None = ei[1]
        while error is not None and len(parts) < _FRAMES:
            frames = "".join(traceback.format_tb(error.__traceback__, -_FRAMES))
            own = error.message if isinstance(error, MyostreamError) else foreign(str(error))
            text = for_log(own, foreign_text=self._foreign_text)
            parts.append(f"Traceback:\n{frames}{type(error).__name__}: {text}")
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\nwhich led to\n".join(reversed(parts))


class JsonFormatter(SafeFormatter):
    """Formatter of one JSON object per record, on one line.

    ``time``, ``level``, ``logger`` and ``message``; ``peer`` for lines about a connection, ``traceback``, and
    the fields that the record bears as ``fields``. Texts of clients are treated as by :class:`SafeFormatter`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """See :meth:`logging.Formatter.format`."""
        content: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage()[:_LONGEST],
        }
        if peer := _address(record):
            content["peer"] = peer
        if record.exc_info and record.exc_info[0]:
            content["traceback"] = self.formatException(record.exc_info)[:_LONGEST]
        return json.dumps(content | getattr(record, "fields", {}))


class BoundedHandler(QueueHandler):
    """Handler whose formatted records another thread writes; records beyond its queue are dropped.

    Attributes:
        dropped: number of records dropped since the last one that was queued.
    """

    def __init__(
        self, target: logging.Handler, settings: LogSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start the thread.

        Args:
            target: writes; its ``emit`` is called without its lock, which a blocked thread holds forever.
            settings, clock: of the log; the clock returns seconds.
        """
        self._records: queue.Queue[logging.LogRecord | None] = queue.Queue(_WAITING)
        super().__init__(self._records)
        formatter = JsonFormatter if settings.format == "json" else SafeFormatter
        self.setFormatter(formatter(foreign_text=settings.foreign_text))
        self._limiter = RateLimiter(settings.lines_per_minute)
        self._target, self._clock = target, clock
        self._closed = False
        self.dropped = 0
        self._writer = threading.Thread(target=self._write, name="log", daemon=True)
        self._writer.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record, unless too many of its kind came in this minute."""
        now = self._clock()
        self._report(now)
        if self._limiter.admit(_kind(record), now):
            super().emit(record)

    def enqueue(self, record: logging.LogRecord) -> None:
        """See :meth:`logging.handlers.QueueHandler.enqueue`; never waits."""
        try:
            if self.dropped:
                lost = f"{self.dropped} lines of the log were lost: nobody read it"
                self._records.put_nowait(self.prepare(_note(lost)))
                self.dropped = 0
            self._records.put_nowait(record)
        except queue.Full:
            self.dropped += 1

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, the name is logging's
        """Count a record that cannot be formatted; logging would write to standard error and wait there."""
        self.dropped += 1

    def close(self) -> None:
        """Write the queued records, unless nobody reads them."""
        if self._closed:
            return
        self._closed = True
        self._report(math.inf)
        with suppress(queue.Full):  # the writer is blocked, and a daemon
            self._records.put(None, timeout=_CLOSE_S)
            self._writer.join(timeout=_CLOSE_S)
        super().close()

    def _report(self, now: float) -> None:
        """Log the numbers of records that did not pass in the minutes that have ended."""
        self.acquire()
        try:
            for kind, count in self._limiter.ended(now):
                level, template, peer = kind or (logging.WARNING, "%s", "")
                prefix = f"{peer}: " if peer else ""
                lines = f"{count} more lines like {template!r}"
                note = _note(f"{prefix}{lines} within {_WINDOW_S:g} s are not in the log", level)
                self.enqueue(self.prepare(note))
        finally:
            self.release()

    def _write(self) -> None:
        while True:
            try:
                record = self._records.get(timeout=1.0)
            except queue.Empty:
                self._report(self._clock())
                continue
            if record is None:
                return
            self._target.emit(record)


class _Stderr(io.TextIOBase):
    """Standard error without the lock of ``sys.stderr``, on which the end of the program would wait."""

    def write(self, text: str) -> int:
        # Closed at the start: its descriptor may be that of a connection, as Gadgetron's package opens one.
        data = b"" if sys.__stderr__ is None else text.encode("utf-8", "backslashreplace")
        with suppress(OSError):  # nobody reads it
            while data:
                data = data[os.write(_STDERR, data) :]
        return len(text)

    def isatty(self) -> bool:
        return os.isatty(_STDERR)


class _LineFormatter(logging.Formatter):
    """Formatter of a line; for the journal, each of its lines begins with its level."""

    def __init__(self, form: str, *, journal: bool) -> None:
        super().__init__(form, datefmt="%Y-%m-%dT%H:%M:%S%z")
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if not self._journal:
            return text
        prefix = next(number for level, number in _PRIORITIES if record.levelno >= level)
        return "\n".join(f"<{prefix}>{line}" for line in text.split("\n"))


def _is_journal() -> bool:
    """Return whether standard error is a stream of systemd's journal, which names it by device and inode."""
    try:
        status = os.fstat(_STDERR)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def announce(text: str, settings: LogSettings, *, printed: bool = False) -> None:
    """State what a program has begun: on standard output, or in the log where its lines are JSON.

    Args:
        text: one line.
        settings: of the log.
        printed: print it in either case, where the program that started this one reads it.
    """
    if printed or settings.format == "text":
        # In one write: a line of the log may come between two.
        print(f"{text}\n", end="", flush=True)
    else:
        _log.info("%s", text)


@contextmanager
def log_to_stderr(
    settings: LogSettings, *, verbose: bool = False, names: Sequence[str] = ("",)
) -> Iterator[None]:
    """Log in colour to a terminal; to a file or a journal, one line per event with its time and level.

    Lines for systemd's journal begin with their level as it reads it (``<4>``, sd-daemon(3)).

    Args:
        settings: of the log.
        verbose: log debug messages too.
        names: loggers that are written and do not propagate; the root logger by default.
    """
    stream = _Stderr()
    target: logging.Handler = logging.StreamHandler(stream)
    form = "%(message)s" if settings.format == "json" else "%(asctime)s %(levelname)s %(name)s %(message)s"
    target.setFormatter(_LineFormatter(form, journal=_is_journal()))
    if stream.isatty() and settings.format == "text":
        target = RichHandler(console=Console(file=cast(IO[str], stream)), show_path=False)
    handler = BoundedHandler(target, settings)
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger, logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG if verbose else logging.INFO)
        logger.propagate = False
        logger.addHandler(handler)
    try:
        with _hooks(settings):
            yield
    finally:
        for logger, level, propagate in before:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate
        handler.close()


@contextmanager
def _hooks(settings: LogSettings) -> Iterator[None]:
    """Log warnings of libraries, which may quote what a client sent, and what ends a thread."""

    def warned(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        text = for_log(foreign(str(message)), foreign_text=settings.foreign_text)
        _log.warning("%s in line %d of %s: %s", category.__name__, lineno, filename, text)

    def raised(ended: threading.ExceptHookArgs) -> None:
        if ended.exc_value is not None and ended.exc_type is not SystemExit:
            name = ended.thread.name if ended.thread else "unknown"
            error = (ended.exc_type, ended.exc_value, ended.exc_traceback)
            _log.error("the thread %s has ended by an error", name, exc_info=error)

    before = warnings.showwarning, threading.excepthook
    warnings.showwarning, threading.excepthook = warned, raised
    try:
        yield
    finally:
        warnings.showwarning, threading.excepthook = before


def _kind(record: logging.LogRecord) -> tuple[int, str, str]:
    """Return what lines that count together have in common: level, unformatted message and peer.

    The first argument of a session's lines is the address of its peer. The port is left out: a peer that
    connects again and again counts as one.
    """
    first = record.args[0] if isinstance(record.args, tuple) and record.args else ""
    peer = first.rpartition(":")[0] or first if isinstance(first, str) else ""
    return record.levelno, str(record.msg), peer


def _address(record: logging.LogRecord) -> str:
    """Return the address of the peer that a record is about; empty for other records."""
    first = record.args[0] if isinstance(record.args, tuple) and record.args else ""
    return first if isinstance(first, str) and _PEER.fullmatch(first) else ""


def _note(text: str, level: int = logging.WARNING) -> logging.LogRecord:
    return logging.LogRecord(__name__, level, __file__, 0, text, None, None)
