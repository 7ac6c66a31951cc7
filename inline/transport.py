"""Transports of a session: a connected socket, or a pair of pipes or files."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from typing import Final, Protocol

_RECEIVE_BYTES: Final = 1 << 20
_TICK_S: Final = 0.25
_LINGER_S: Final = 5.0
_SILENT_S: Final = 1.0


class Transport(Protocol):
    """Bytes from and to one peer. One thread receives, another one sends.

    Attributes:
        patience_s: longest silence of a peer in the middle of a message, and longest time that it may take
            nothing; None for a peer that may take as long as it likes.
    """

    patience_s: float | None

    def receive(self) -> bytes | None:
        """Return the next bytes, none at the end of the stream, or None when none came for a moment.

        Raises:
            OSError: the peer is gone.
        """
        ...

    def send(self, data: bytes) -> None:
        """Send all of these bytes, waiting for the peer to take them.

        Raises:
            OSError: the peer is gone, or takes nothing.
        """
        ...

    def finish(self) -> None:
        """Say that nothing more is sent.

        Raises:
            OSError: the peer is gone.
        """
        ...

    def close(self, *, unread: bool) -> None:
        """Give both directions up.

        Args:
            unread: the peer may still be sending.
        """
        ...


class SocketTransport:
    """A connected socket."""

    def __init__(self, connection: socket.socket, patience_s: float) -> None:
        self._connection = connection
        self.patience_s: float | None = patience_s
        connection.settimeout(None)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, seconds in ((socket.SO_RCVTIMEO, _TICK_S), (socket.SO_SNDTIMEO, patience_s)):
            whole = int(seconds)
            micros = int((seconds - whole) * 1e6)
            connection.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", whole, micros))
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def receive(self) -> bytes | None:
        """See :meth:`Transport.receive`."""
        try:
            return self._connection.recv(_RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return None

    def send(self, data: bytes) -> None:
        """See :meth:`Transport.send`."""
        self._connection.sendall(data)

    def finish(self) -> None:
        """See :meth:`Transport.finish`."""
        self._connection.shutdown(socket.SHUT_WR)

    def close(self, *, unread: bool) -> None:
        """See :meth:`Transport.close`.

        Closing a socket with unread bytes resets the connection and discards what the peer has not read yet,
        results among it. What still comes is therefore read and dropped, for some seconds at most.
        """
        start = heard = time.monotonic()
        try:
            while unread and (now := time.monotonic()) < min(start + _LINGER_S, heard + _SILENT_S):
                data = self.receive()
                unread = data != b""
                heard = now if data else heard
        except OSError:
            pass
        self._connection.close()


class PipeTransport:
    """Two file descriptors: pipes, named pipes or files."""

    patience_s: float | None = None

    def __init__(self, source: int, sink: int) -> None:
        self._source = source
        self._sink = sink

    def receive(self) -> bytes | None:
        """See :meth:`Transport.receive`."""
        ready, _, _ = select.select([self._source], [], [], _TICK_S)
        return os.read(self._source, _RECEIVE_BYTES) if ready else None

    def send(self, data: bytes) -> None:
        """See :meth:`Transport.send`."""
        left = memoryview(data)
        while left:
            left = left[os.write(self._sink, left) :]

    def finish(self) -> None:
        """See :meth:`Transport.finish`."""
        os.close(self._sink)

    def close(self, *, unread: bool) -> None:
        """See :meth:`Transport.close`."""
        os.close(self._source)
