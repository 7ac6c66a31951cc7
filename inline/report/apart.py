"""Drawing of a report in a process of its own, which blocks no thread here and can be ended."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from inline.data.client_text import foreign, message
from inline.data.errors import MyostreamError
from inline.report.content import Page
from inline.report.output import ReportError, pixels

_POLL_S: Final = 0.1
_NICE: Final = 5
"""Lower priority of the process: slices of other connections go first."""


def drawn_apart(
    page: Page, *, timeout_s: float, cancelled: Callable[[], bool] = lambda: False
) -> NDArray[np.uint8]:
    """Return a page as RGB, uint8 ``(rows, columns, 3)``, drawn by another process.

    Args:
        page: content of the report.
        timeout_s: time after which the process is ended.
        cancelled: returns True when the process is to be ended before its time.

    Raises:
        ReportError: it was not drawn; the message states the reason.
    """
    # -P: a file or folder in the current one may have the name of a module (model.py, inline/, bench.py).
    command = [sys.executable, "-P", "-m", "inline.report.apart"]
    until = time.monotonic() + timeout_s
    # Files in memory: pipes would need a thread for each, and pixels of a patient must not reach a disk.
    with _memory() as sent, _memory() as received, _memory() as problem:
        sent.write(pickle.dumps(page))
        sent.seek(0)
        with subprocess.Popen(command, stdin=sent, stdout=received, stderr=problem) as process:
            while process.poll() is None:
                if cancelled() or time.monotonic() > until:
                    process.kill()
                    ended = "the server stops" if cancelled() else f"it took longer than {timeout_s:g} s"
                    raise ReportError(f"the report was not drawn: {ended}")
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_POLL_S)
        if process.returncode:
            problem.seek(0)
            lines = problem.read().decode(errors="replace").split("\n")
            last = next((line for line in reversed(lines) if line.strip()), "")
            reason = last or f"exit code {process.returncode}"
            # It may quote a text of the sender, which the log must not hold.
            raise ReportError(message("the report was not drawn: {}", foreign(reason)))
        received.seek(0)
        found: NDArray[np.uint8] = pickle.load(received)
    return found


def _memory() -> BinaryIO:
    """Return a file in memory."""
    return os.fdopen(os.memfd_create("report"), "w+b")


def _serve() -> None:
    """Read a page from standard input, and write its pixels to standard output; the parent alone sends it."""
    os.nice(_NICE)
    try:
        drawn = pixels(pickle.load(sys.stdin.buffer))
    except (MyostreamError, ImportError) as error:
        raise SystemExit(str(error)) from error
    sys.stdout.buffer.write(pickle.dumps(drawn))


if __name__ == "__main__":
    _serve()
