"""HTTP servers of this program: bounds of connections and time."""

from __future__ import annotations

import math
import socket
import socketserver
import threading
import time
from contextlib import suppress
from http.client import LineTooLong
from http.server import BaseHTTPRequestHandler
from typing import Any, BinaryIO, Final, cast

from inline.addresses import accepted

_HEADER_BYTES: Final = 1 << 14
"""Of the headers of a request; http.server alone would hold 100 lines of 64 KiB."""


class BoundedServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Server with a bounded number of connections, each in a thread and of a bounded time.

    Attributes:
        most_open: connections at a time; further ones are closed.
        longest_s: age at which a connection is broken off.
    """

    daemon_threads = True
    most_open: int
    longest_s: float

    def __init__(self, listening: socket.socket, handler: type[BaseHTTPRequestHandler]) -> None:
        """Begin without connections, on a socket that listens already."""
        self._open: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        super().__init__(listening.getsockname()[:2], handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection."""
        return accepted(self.socket)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Take a connection unless there are too many."""
        with self._lock:
            if len(self._open) >= self.most_open:
                return False
            self._open[request] = time.monotonic()
            return True

    def service_actions(self) -> None:
        """Break off connections that are too old; called between two of them."""
        self.break_off(self.longest_s)

    def lasts(self, request: Any) -> None:
        """Exempt a connection from the limit of time."""
        with self._lock:
            self._open[request] = math.inf

    def shutdown_request(self, request: Any) -> None:
        """Close a connection; called for each, after an error too."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def break_off(self, older_than_s: float) -> None:
        """Break off the connections that are older than ``older_than_s``, seconds."""
        now = time.monotonic()
        with self._lock:
            for request in [each for each, start in self._open.items() if now - start > older_than_s]:
                with suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)


class _Headers:
    """Lines of a request, up to a number of bytes."""

    def __init__(self, lines: BinaryIO) -> None:
        self._lines, self._left = lines, _HEADER_BYTES

    def readline(self, most: int) -> bytes:
        """Return the next line.

        Raises:
            LineTooLong: the lines are longer in all than is read.
        """
        line = self._lines.readline(min(most, self._left + 1))
        self._left -= len(line)
        if self._left < 0:
            raise LineTooLong("headers")
        return line


class QuietHandler(BaseHTTPRequestHandler):
    """Request that states no versions and logs nothing: requests hold texts of a client."""

    def version_string(self) -> str:
        """Return the name of the server, without versions."""
        return "myostream"

    def parse_request(self) -> bool:
        """Read the headers; those that are too long are refused with the status 431."""
        lines = self.rfile
        self.rfile = cast(Any, _Headers(cast(BinaryIO, lines)))
        try:
            return super().parse_request()
        finally:
            self.rfile = lines

    def log_message(self, *_: object) -> None:
        """Log nothing."""
