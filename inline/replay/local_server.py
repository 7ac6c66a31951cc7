"""Server process for the time of a replay or a benchmark."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from inline.data.errors import MyostreamError

_REPORTED: Final = "myostream: "
_READY: Final = re.compile(r"listening on (\S+):(\d+)(?: \(engine: ([^)]+)\))?")

_START_S: Final = 300.0


class ServerNotStartedError(MyostreamError):
    """The server process ended, or stayed silent, before it listened."""


@dataclass(frozen=True, slots=True)
class StartedServer:
    """A running server process.

    Attributes:
        address: host and port.
        process: its process.
        output: lines of its standard output and its log so far.
        reader: thread that adds to them.
        engine: engine in use at the start.
    """

    address: tuple[str, int]
    process: subprocess.Popen[str]
    output: list[str]
    reader: threading.Thread
    engine: str = ""

    def log_text(self) -> str:
        """Return the output so far."""
        return "".join(self.output)

    def stop(self, timeout_s: float = 60.0) -> int | None:
        """Send SIGTERM and return the exit code; None where the process had to be killed."""
        code = _stop(self.process, timeout_s)
        self.reader.join(timeout=5.0)
        return code


@contextmanager
def started_server(arguments: Sequence[str] = ()) -> Iterator[StartedServer]:
    """Start ``myostream serve`` on a free port; it ends with the block.

    It also ends when this process dies in any way: it watches a pipe that the system then closes.

    Args:
        arguments: further options of the command.

    Raises:
        ServerNotStartedError: the message holds the error of the process.
    """
    # -P: a file or folder in the current one may have the name of a module (model.py, inline/, bench.py).
    command = [sys.executable, "-P", "-m", "inline", "serve", "--port", "0", "--until-stdin-ends", *arguments]
    output: list[str] = []
    listening: list[re.Match[str]] = []
    ready = threading.Event()

    def listen(lines: Iterable[str]) -> None:
        for line in lines:
            output.append(line)
            if match := _READY.search(line):
                listening.append(match)
                ready.set()
        ready.set()

    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as process:
        reader = threading.Thread(target=listen, args=(process.stdout,), daemon=True)
        reader.start()
        try:
            ready.wait(_START_S)
            if not listening:
                raise ServerNotStartedError(f"the server did not start: {_reason(output)}")
            host, port, engine = listening[0].groups()
            yield StartedServer((host.strip("[]"), int(port)), process, output, reader, engine or "")
        finally:
            _stop(process, 30.0)
            reader.join(timeout=5.0)
        # Its input closes only now: earlier it would count as a second signal, which hurries the server.


def _stop(process: subprocess.Popen[str], timeout_s: float) -> int | None:
    """Send SIGTERM and return the exit code; None where the process had to be killed."""
    process.terminate()
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None


def _reason(output: Sequence[str]) -> str:
    """Return the error that a process reported, without its log; else the end of its output."""
    reported = [line for line in output if line.startswith(_REPORTED)]
    return reported[-1].removeprefix(_REPORTED).strip() if reported else "".join(output[-20:]).strip()
