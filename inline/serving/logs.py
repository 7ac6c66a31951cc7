"""Log of the program on standard error: bounded in length, in number of lines and in the time it takes.

A record is formatted where it comes up and written by a thread of its own, so that a log which nobody reads
blocks nothing. ``docs/privacy.md`` states what may be in it.
"""

from __future__ import annotations

import io
import logging
import math
import os
import queue
import threading
import time
import traceback
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from logging.handlers import QueueHandler
from typing import IO, Any, Final, cast

from rich.console import Console
from rich.logging import RichHandler

from inline.data.client_text import for_log, foreign
from inline.data.errors import MyostreamError
from inline.settings import LogSettings

_STDERR: Final = 2
_WAITING: Final = 1024
"""Most records that wait to be written."""
_LONGEST: Final = 16_000
"""Characters of a record; the summary of a long examination has some thousand."""
_WINDOW_S: Final = 60.0
_KINDS: Final = 4096
_FRAMES: Final = 30
_CLOSE_S: Final = 2.0


class RateLimiter:
    """At most so many events of a kind in a window of time. It has no clock: the caller says what time it is.

    Args:
        most: events of a kind in a window that pass.
        window_s: length of a window; it begins with the first event of a kind.
    """

    def __init__(self, most: int, window_s: float = _WINDOW_S) -> None:
        self._most, self._window_s = most, window_s
        # In the order of their starts.
        self._windows: dict[Hashable, list[float]] = {}

    def admit(self, kind: Hashable, now: float) -> bool:
        """Count an event; returns whether it passes. Call :meth:`ended` before."""
        if kind not in self._windows and len(self._windows) >= _KINDS:
            kind = None
        window = self._windows.setdefault(kind, [now, 0])
        window[1] += 1
        return window[1] <= self._most

    def ended(self, now: float) -> Iterator[tuple[Any, int]]:
        """Forget the windows that have ended, and return the kinds with events that did not pass."""
        while self._windows:
            kind = next(iter(self._windows))
            start, count = self._windows[kind]
            if now - start < self._window_s:
                return
            del self._windows[kind]
            if count > self._most:
                yield kind, int(count) - self._most


class SafeFormatter(logging.Formatter):
    """Message and traceback without control characters; later lines of a record are indented.

    Messages of exceptions may quote what a client sent: they are logged as foreign texts are. Those of
    :class:`~inline.data.errors.MyostreamError` know what is foreign in them.
    """

    def __init__(self, *, foreign_text: bool) -> None:
        super().__init__("%(message)s")
        self._foreign_text = foreign_text

    def format(self, record: logging.LogRecord) -> str:
        """See :meth:`logging.Formatter.format`."""
        text = super().format(record)
        if len(text) > _LONGEST:
            text = f"{text[:_LONGEST]}... ({len(text)} characters)"
        if text.isprintable():
            return text
        # Characters that are not printable are those that steer a terminal or the direction of writing.
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
            said = for_log(own, foreign_text=self._foreign_text)
            parts.append(f"Traceback:\n{frames}{type(error).__name__}: {said}")
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\nwhich led to\n".join(reversed(parts))


class BoundedHandler(QueueHandler):
    """Hands formatted records to a thread that writes them; drops and counts what that thread cannot take.

    Attributes:
        dropped: records since the last one that was taken.
    """

    def __init__(
        self, target: logging.Handler, settings: LogSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start the thread.

        Args:
            target: writes; only its ``emit`` is called, without its lock, which a blocked thread would hold
                for ever.
            settings: of the log.
            clock: returns seconds.
        """
        self._records: queue.Queue[logging.LogRecord | None] = queue.Queue(_WAITING)
        super().__init__(self._records)
        self.setFormatter(SafeFormatter(foreign_text=settings.foreign_text))
        self._limiter = RateLimiter(settings.lines_per_minute)
        self._target, self._clock = target, clock
        self._closed = False
        self.dropped = 0
        self._writer = threading.Thread(target=self._write, name="log", daemon=True)
        self._writer.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record, unless too many of its kind came in this minute."""
        now = self._clock()
        self._report(now)
        if self._limiter.admit(_kind(record), now):
            super().emit(record)

    def enqueue(self, record: logging.LogRecord) -> None:
        """See :meth:`logging.handlers.QueueHandler.enqueue`; never waits."""
        try:
            if self.dropped:
                self._records.put_nowait(_note(f"{self.dropped} lines of the log were lost: nobody read it"))
                self.dropped = 0
            self._records.put_nowait(record)
        except queue.Full:
            self.dropped += 1

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, the name is logging's
        """Count a record that cannot be formatted; logging would write to standard error, and wait there."""
        self.dropped += 1

    def close(self) -> None:
        """Write what waits, unless nobody takes it."""
        if self._closed:
            return
        self._closed = True
        self._report(math.inf)
        try:
            self._records.put(None, timeout=_CLOSE_S)
            self._writer.join(timeout=_CLOSE_S)
        except queue.Full:
            pass  # the writer is blocked, and a daemon
        super().close()

    def _report(self, now: float) -> None:
        """State how many records did not pass in the minutes that have ended."""
        self.acquire()
        try:
            for kind, count in self._limiter.ended(now):
                level, template, peer = kind or (logging.WARNING, "%s", "")
                whom = f"{peer}: " if peer else ""
                text = f"{whom}{count} more lines like {template!r} within {_WINDOW_S:g} s are not in the log"
                self.enqueue(_note(text, level))
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
        data = text.encode("utf-8", "backslashreplace")
        try:
            while data:
                data = data[os.write(_STDERR, data) :]
        except OSError:
            pass  # nobody is there to be told
        return len(text)

    def isatty(self) -> bool:
        return os.isatty(_STDERR)


@contextmanager
def log_to_stderr(
    settings: LogSettings, *, verbose: bool = False, names: Sequence[str] = ("",)
) -> Iterator[None]:
    """Log in colour to a terminal; to a file or a journal, one line per event with its time and level.

    Args:
        settings: of the log.
        verbose: log debug messages too.
        names: loggers that are written and do not propagate; the root logger by default.
    """
    stream = _Stderr()
    target: logging.Handler
    if stream.isatty():
        target = RichHandler(console=Console(file=cast(IO[str], stream)), show_path=False)
        target.setFormatter(logging.Formatter("%(message)s"))
    else:
        target = logging.StreamHandler(stream)
        form = "%(asctime)s %(levelname)s %(name)s %(message)s"
        target.setFormatter(logging.Formatter(form, datefmt="%Y-%m-%dT%H:%M:%S%z"))
    handler = BoundedHandler(target, settings)
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger, logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG if verbose else logging.INFO)
        logger.propagate = False
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger, level, propagate in before:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate
        handler.close()


def _kind(record: logging.LogRecord) -> tuple[int, str, str]:
    """Level, unformatted message and peer: those of the lines that count together.

    The first argument of a session's lines is its peer's address. Its port is left out: a peer that connects
    again and again is one.
    """
    first = record.args[0] if isinstance(record.args, tuple) and record.args else ""
    peer = first.rpartition(":")[0] or first if isinstance(first, str) else ""
    return record.levelno, str(record.msg), peer


def _note(text: str, level: int = logging.WARNING) -> logging.LogRecord:
    return logging.LogRecord(__name__, level, __file__, 0, text, None, None)
