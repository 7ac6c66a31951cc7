"""A server in a process of its own, for as long as a replay or a benchmark needs one."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from inline.data.errors import MyostreamError

_REPORTED: Final = "myostream: "
_READY: Final = re.compile(r"listening on (\S+):(\d+)")


class ServerNotStartedError(MyostreamError):
    """The server's process ended, or said nothing, before it listened."""


@dataclass(frozen=True, slots=True)
class StartedServer:
    """A running server process.

    Attributes:
        address: where it listens.
        process: its process.
    """

    address: tuple[str, int]
    process: subprocess.Popen[str]


@contextmanager
def started_server(arguments: Sequence[str] = (), *, timeout_s: float = 300.0) -> Iterator[StartedServer]:
    """Start ``myostream serve`` on a free port, and end it in the end.

    The server also ends when this process does, however that is: the server watches a pipe that the system
    then closes.

    Args:
        arguments: further options of the command.
        timeout_s: how long it may take until it listens.

    Raises:
        ServerNotStartedError: see there; the message holds what the process said.
    """
    # -P: a file or folder in the current one may have the name of a module (model.py, inline/, bench.py).
    command = [sys.executable, "-P", "-m", "inline", "serve", "--port", "0", "--until-stdin-ends", *arguments]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    said: list[str] = []
    found: list[tuple[str, int]] = []
    ready = threading.Event()

    def listen() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if match := _READY.search(line):
                found.append((match[1], int(match[2])))
                ready.set()
        ready.set()

    reader = threading.Thread(target=listen, daemon=True)
    reader.start()
    try:
        ready.wait(timeout_s)
        if not found:
            raise ServerNotStartedError(f"the server did not start: {_reason(said)}")
        yield StartedServer(found[0], process)
    finally:
        process.terminate()
        try:
            process.wait(timeout=30.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdin.close()  # earlier it would count as a second signal, which hurries the server
        reader.join(timeout=5.0)
        process.stdout.close()


def _reason(said: Sequence[str]) -> str:
    """The error that a process reported, without what it logged before; else the end of what it said."""
    reported = [line for line in said if line.startswith(_REPORTED)]
    return reported[-1].removeprefix(_REPORTED).strip() if reported else "".join(said[-20:]).strip()
