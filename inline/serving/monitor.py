"""HTTP server of metrics and health: ``/metrics``, ``/healthz``, ``/readyz`` (``docs/monitoring.md``).

Bounded in connections, in the time of each and in the rate of requests: a scraper that is slow, dead or
hostile holds up other scrapers at most.
"""

from __future__ import annotations

import hmac
import json
import logging
import math
import socket
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, Generic, NamedTuple, TypeVar

from inline.serving.bounded import BoundedServer, QuietHandler
from inline.serving.listening import listening_socket
from inline.settings import MonitorSettings

_log = logging.getLogger(__name__)

_MOST_OPEN: Final = 8
_LONGEST_S: Final = 10.0
_SILENT_S: Final = 5.0
_PAUSE_S: Final = 0.05
"""Pause after each accepted connection: at most twenty a second."""
_JOIN_S: Final = 2.0

Made = TypeVar("Made")


class Reply(NamedTuple):
    """Reply to a request: content, its type, and the HTTP status."""

    body: bytes
    content_type: str = "text/plain; version=0.0.4; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK


def json_reply(content: dict[str, Any], *, good: bool) -> Reply:
    """Return a page of JSON; its status is 503 unless it is ``good``."""
    status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
    return Reply(json.dumps(content).encode() + b"\n", "application/json", status)


class Kept(Generic[Made]):
    """Page or state that is made anew only when the last one is older than a time; safe between threads.

    Those who ask while it is made wait for it.
    """

    def __init__(self, make: Callable[[], Made], every_s: float) -> None:
        self._make, self._every_s = make, every_s
        self._lock = threading.Lock()
        self._last: tuple[Made, float] | None = None

    def __call__(self) -> Made:
        """Return the page or state."""
        with self._lock:
            if self._last is None or time.monotonic() - self._last[1] >= self._every_s:
                self._last = self._make(), time.monotonic()
            return self._last[0]


class Monitor:
    """HTTP server in threads of its own; listens from its construction on until :meth:`close`.

    Attributes:
        address: host and port.
    """

    def __init__(self, settings: MonitorSettings, pages: dict[str, Callable[[], Reply]]) -> None:
        """Bind, listen and serve.

        Args:
            settings: with a port.
            pages: function of each path.

        Raises:
            ConfigurationError: the address cannot be bound, or is reached by other hosts without a token.
        """
        token = settings.token.get_secret_value() if settings.token else ""
        self._server = _Server(listening_socket(settings, "port", 2 * _MOST_OPEN), pages, token)
        self.address: tuple[str, int] = self._server.socket.getsockname()[:2]
        self._thread = threading.Thread(target=self._server.serve_forever, name="monitor", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening; requests that are under way are broken off."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(_JOIN_S)


class _Server(BoundedServer):
    """Server of the pages."""

    most_open = _MOST_OPEN
    longest_s = _LONGEST_S

    def __init__(self, listening: socket.socket, pages: dict[str, Callable[[], Reply]], token: str) -> None:
        super().__init__(listening, _Handler)
        self.pages, self.token = pages, token.encode()

    def service_actions(self) -> None:
        """See :class:`BoundedServer`; the pause bounds the rate of connections."""
        time.sleep(_PAUSE_S)
        super().service_actions()

    def server_close(self) -> None:
        """Close the listening socket and all connections."""
        super().server_close()
        self.break_off(-math.inf)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log an error of a connection; most come from a client that left."""
        _log.debug("a request for metrics or health failed", exc_info=True)


class _Handler(QuietHandler):
    """One request."""

    timeout = _SILENT_S
    server: _Server

    def do_GET(self) -> None:  # noqa: N802, the name is the library's
        """Reply with a page."""
        page = self._page()
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        self.send_header("Cache-Control", "no-store")
        if page.status is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Bearer")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page.body)

    do_HEAD = do_GET  # noqa: N815, the name is the library's

    def _page(self) -> Reply:
        # http.server decodes headers as Latin-1: these are the bytes as they came.
        given = self.headers.get("Authorization", "").removeprefix("Bearer ").encode("latin-1", "replace")
        if self.server.token and not hmac.compare_digest(given, self.server.token):
            return Reply(b"a token is needed\n", status=HTTPStatus.UNAUTHORIZED)
        make = self.server.pages.get(self.path.partition("?")[0])
        if make is None:
            known = " ".join(self.server.pages)
            return Reply(f"there is {known}\n".encode(), status=HTTPStatus.NOT_FOUND)
        return make()
