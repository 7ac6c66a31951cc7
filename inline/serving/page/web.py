"""HTTP server of the live page: files, images of results, and their stream as server-sent events.

Read-only. Bounded in connections, in the time of each request and in what waits for a browser: one that reads
slowly or not at all is disconnected, and none holds up the others.
"""

from __future__ import annotations

import hmac
import json
import queue
import re
import secrets
import socket
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from importlib import resources
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlsplit

from inline.serving.bounded import BoundedServer, QuietHandler
from inline.serving.page.board import Board

_MOST_OPEN: Final = 96
"""Connections at a time."""
MOST_STREAMS: Final = 32
"""Of these, streams of events: one for each open page."""
_REQUEST_S: Final = 10.0
"""Longest time of a request other than a stream."""
_SEND_S: Final = 5.0
"""Time after which a browser that does not take what is sent is disconnected."""
_WAITING: Final = 64
"""Events that wait for a browser, beyond which it is disconnected; it connects again and gets a snapshot."""
_HEARTBEAT_S: Final = 5.0
_CHECK_S: Final = 0.5
_FILES: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/maps.js": ("maps.js", "text/javascript; charset=utf-8"),
    "/bullseye.js": ("bullseye.js", "text/javascript; charset=utf-8"),
}
_IMAGE: Final = re.compile(r"/results/([0-9]{1,12})/([a-z]+)")
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Connection": "close",
}


class Access(NamedTuple):
    """Condition of access.

    Attributes:
        token: that a request must bear; empty for none.
        hosts: names of this host in a request; others are those of a foreign site that leads a browser here.
            Empty admits any.
    """

    token: str = ""
    hosts: tuple[str, ...] = ()


class Reply(NamedTuple):
    """Reply to a request."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK
    headers: tuple[tuple[str, str], ...] = ()


class Streams:
    """Open streams of events; safe between threads.

    Attributes:
        name: of this process, by which a page knows that it was started anew.
    """

    def __init__(self, board: Board) -> None:
        """Begin without streams; ``board`` is written and read under the lock of this alone."""
        self.name = secrets.token_hex(8)
        self._board = board
        self._lock = threading.Lock()
        self._open: set[queue.Queue[bytes | None]] = set()

    def add(self, message: dict[str, Any]) -> None:
        """Put a message on the board and into every stream; a stream that is full ends."""
        with self._lock:
            event = self._board.add(message)
            for stream in tuple(self._open):
                try:
                    stream.put_nowait(event)
                except queue.Full:
                    self._open.discard(stream)
                    with suppress(queue.Empty):
                        stream.get_nowait()
                    stream.put_nowait(None)

    def open(self) -> tuple[queue.Queue[bytes | None], list[bytes]] | None:
        """Return a new stream (None is its end) and the events before it; None where there are too many."""
        with self._lock:
            if len(self._open) >= MOST_STREAMS:
                return None
            stream: queue.Queue[bytes | None] = queue.Queue(_WAITING)
            self._open.add(stream)
            return stream, self._board.snapshot()

    def close(self, stream: queue.Queue[bytes | None]) -> None:
        """Forget a stream."""
        with self._lock:
            self._open.discard(stream)

    def image(self, number: int, name: str) -> bytes | None:
        """Return an image of a result; None where it is not kept."""
        with self._lock:
            return self._board.image(number, name)


class PageServer(BoundedServer):
    """Server on a socket that listens already; serves in the thread of ``serve_forever``."""

    most_open = _MOST_OPEN
    longest_s = _REQUEST_S

    def __init__(self, listening: socket.socket, streams: Streams, access: Access) -> None:
        super().__init__(listening, _Handler)
        self.streams, self.access = streams, access
        self.files = {path: _file(*each) for path, each in _FILES.items()}
        self._checked = 0.0

    def service_actions(self) -> None:
        """See :class:`BoundedServer`; not after each of many requests."""
        now = time.monotonic()
        if now - self._checked >= _CHECK_S:
            self._checked = now
            super().service_actions()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over an error of a connection: nearly all are those of a browser that left."""


class _Handler(QuietHandler):
    """One request; the connection ends with it."""

    timeout = _SEND_S
    server: PageServer

    def do_GET(self) -> None:  # noqa: N802, the name is the library's
        """Reply with a file, an image, or a stream; to HEAD without the body."""
        path, _, query = self.path.partition("?")
        refusal = self._refusal(query)
        if refusal is None and path == "/events":
            if self.command == "HEAD":
                self._begin(HTTPStatus.OK, "text/event-stream", None)
            else:
                self._stream()
            return
        reply = refusal or self._reply(path)
        self._begin(reply.status, reply.content_type, len(reply.body), reply.headers)
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    do_HEAD = do_GET  # noqa: N815, the name is the library's

    def _refusal(self, query: str) -> Reply | None:
        """Return the reply to a request that is not admitted, or that brings the token in its address."""
        access = self.server.access
        if access.hosts and self._host() not in access.hosts:
            return Reply(b"this page has another address\n", status=HTTPStatus.FORBIDDEN)
        if not access.token or any(map(self._same, self._borne())):
            return None
        # As typed into an address a plus sign is itself; tokens in base64 hold it.
        given = parse_qs(query.replace("+", "%2B")).get("token", [""])[0]
        if self._same(given.encode("utf-8", "replace")):
            cookie = f"{self._cookie}={quote(given, safe='')}; HttpOnly; SameSite=Strict; Path=/"
            return Reply(
                b"", status=HTTPStatus.SEE_OTHER, headers=(("Location", "/"), ("Set-Cookie", cookie))
            )
        return Reply(b"a token is needed: open /?token=TOKEN\n", status=HTTPStatus.UNAUTHORIZED)

    def _host(self) -> str:
        """Return the name of this host in the request; empty where there is none or a malformed one."""
        with suppress(ValueError):
            return urlsplit(f"//{self.headers.get('Host', '')}").hostname or ""
        return ""

    @property
    def _cookie(self) -> str:
        """Name of the cookie: browsers send those of all ports of a host, so that it names this one."""
        return f"myostream-{self.server.server_address[1]}"

    def _borne(self) -> list[bytes]:
        """Return the token of the header, or those of the cookies of this name."""
        if bearer := self.headers.get("Authorization", ""):
            return [bearer.removeprefix("Bearer ").encode("latin-1", "replace")]  # as its bytes came
        # http.cookies drops all that follow one of another program that it cannot read.
        cookies = (each.strip().partition("=") for each in self.headers.get("Cookie", "").split(";"))
        return [
            unquote(value.strip('"')).encode("utf-8", "replace")  # RFC 6265 allows the quotes
            for name, _, value in cookies
            if name == self._cookie
        ]

    def _same(self, given: bytes) -> bool:
        return hmac.compare_digest(given, self.server.access.token.encode())

    def _reply(self, path: str) -> Reply:
        if path in self.server.files:
            return self.server.files[path]
        if match := _IMAGE.fullmatch(path):
            body = self.server.streams.image(int(match[1]), match[2])
            if body is not None:
                return Reply(body, "application/octet-stream")
        return Reply(b"there is no such page\n", status=HTTPStatus.NOT_FOUND)

    def _stream(self) -> None:
        """Send events until the browser leaves or does not keep up."""
        opened = self.server.streams.open()
        if opened is None:
            self._begin(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", 0)
            return
        stream, before = opened
        try:
            self.server.lasts(self.connection)
            self._begin(HTTPStatus.OK, "text/event-stream", None)
            name = json.dumps({"server": self.server.streams.name}).encode()
            self.wfile.write(b"retry: 1000\n\nevent: reset\ndata: " + name + b"\n\n")
            for event in before:
                self.wfile.write(b"data: " + event + b"\n\n")
            while True:
                try:
                    following = stream.get(timeout=_HEARTBEAT_S)
                except queue.Empty:
                    self.wfile.write(b": \n\n")
                    continue
                if following is None:
                    return
                self.wfile.write(b"data: " + following + b"\n\n")
        finally:
            self.server.streams.close(stream)

    def _begin(
        self,
        status: HTTPStatus,
        content_type: str,
        length: int | None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.send_response(status)
        for name, value in (("Content-Type", content_type), *_HEADERS.items(), *headers):
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()


def _file(name: str, content_type: str) -> Reply:
    return Reply(resources.files("inline.serving.page").joinpath("static", name).read_bytes(), content_type)
