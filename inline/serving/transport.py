"""Transports of a session: a connected socket, or a pair of pipes or files."""

from __future__ import annotations

import fcntl
import math
import os
import select
import socket
import struct
import termios
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from inline.data.errors import ProtocolError

_RECEIVE_BYTES: Final = 1 << 20
_TICK_S: Final = 0.25
_LINGER_S: Final = 5.0
_SILENT_S: Final = 1.0
_KEEPALIVE: Final = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
_USER_TIMEOUT: Final = 2.0
"""Times ``stalled_s`` after which the kernel gives a peer up whose host takes nothing."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Time that a peer may take for a message.

    A message of ``n`` bytes must be complete within ``stalled_s + n / least_rate``. Only bytes that have come
    count, not those announced: a large announcement gives no more time.

    Attributes:
        stalled_s: longest time without progress, s.
        least_rate: bytes per second.
    """

    stalled_s: float = math.inf
    least_rate: float = math.inf

    def exhausted(self, seconds: float, moved: int) -> bool:
        """Return whether so few bytes in this time are too few."""
        return seconds > self.stalled_s + max(moved, 0) / self.least_rate

    def check_rest(self, waited: float, silent: float, received: int) -> None:
        """Check a message of which ``received`` bytes have come, ``waited`` s after its start.

        Raises:
            ProtocolError: the last byte came ``silent`` s ago, which is too long, or it comes too slowly.
        """
        if silent > self.stalled_s:
            raise ProtocolError(f"the rest of a message did not come within {self.stalled_s:g} s")
        if self.exhausted(waited, received):
            raise ProtocolError(
                f"{received} bytes of a message came in {waited:.0f} s; it must come with at least "
                f"{self.least_rate:g} bytes/s after {self.stalled_s:g} s"
            )

    def check_taken(self, waited: float, still: float, taken: int) -> None:
        """Check a message of which the peer took ``taken`` bytes, ``waited`` s after the start of sending.

        Raises:
            TimeoutError: it last took some ``still`` s ago, which is too long, or it takes them too slowly.
        """
        if still > self.stalled_s:
            raise TimeoutError(f"it took nothing for {self.stalled_s:g} s")
        if self.exhausted(waited, taken):
            raise TimeoutError(
                f"it took {taken} bytes in {waited:.0f} s; it must take at least {self.least_rate:g} bytes/s "
                f"after {self.stalled_s:g} s"
            )


class SocketTransport:
    """Bytes from and to one peer over a socket. One thread receives, another one sends.

    Attributes:
        patience: with a peer that is slow in a message or takes nothing.
    """

    def __init__(self, connection: socket.socket, patience: Patience, *, must_read: bool = True) -> None:
        """Take a socket.

        Args:
            connection, patience: a connected socket, and the patience with its peer.
            must_read: let the kernel too give up a peer that takes nothing; False where such a peer may go
                on sending.
        """
        self._connection = connection
        self.patience = patience
        self._aborted = False
        connection.settimeout(None)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, int(_TICK_S * 1e6)))
        keep_alive(connection)
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if must_read and hasattr(socket, "TCP_USER_TIMEOUT"):
                milliseconds = min(max(int(_USER_TIMEOUT * 1000.0 * patience.stalled_s), 1), 2**31 - 1)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)

    def receive(self) -> bytes | None:
        """Return the next bytes, ``b""`` at the end of the stream, or None when none came for a moment.

        Raises:
            OSError: the peer is gone.
        """
        try:
            return self._connection.recv(_RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return None

    def send(self, data: bytes) -> None:
        """Send all of these bytes, waiting for the peer to take them.

        Progress is measured by what the peer's host has acknowledged: the local buffer reports room only when
        a third of it is free, which a slow peer may take minutes for.

        Raises:
            OSError: the peer is gone, takes nothing, or takes it too slowly.
        """
        left = memoryview(data)
        start = moved = time.monotonic()
        queued = most = _unacknowledged(self._connection)
        while left:
            try:
                sent = self._connection.send(left, socket.MSG_DONTWAIT)
            except (BlockingIOError, InterruptedError):
                self._wait_for_room()
                now, before = time.monotonic(), queued
                queued = _unacknowledged(self._connection)
                moved = now if queued < before else moved
                self.patience.check_taken(now - start, now - moved, max(most - queued, 0))
            else:
                left = left[sent:]
                queued, most, moved = queued + sent, most + sent, time.monotonic()

    def _wait_for_room(self) -> None:
        waiting = select.poll()
        waiting.register(self._connection, select.POLLOUT)
        waiting.poll(_TICK_S * 1000.0)

    def finish(self) -> None:
        """End the stream to the peer.

        Raises:
            OSError: the peer is gone.
        """
        self._connection.shutdown(socket.SHUT_WR)

    def close(self, *, unread: bool) -> None:
        """Close both directions; ``unread``: the peer may still be sending.

        Closing a socket with unread bytes resets the connection and discards results that the peer has not
        read yet. Bytes that still come are therefore read and dropped until the peer has taken everything and
        ends, for some seconds at most after that.
        """
        start = heard = moved = time.monotonic()
        queued = most = _unacknowledged(self._connection)
        with suppress(OSError):
            # Some clients send a second close message, or more.
            unread = bool(self._connection.recv(_RECEIVE_BYTES, socket.MSG_DONTWAIT)) or unread
        with suppress(OSError):
            while unread and not self._aborted:
                now, before, queued = time.monotonic(), queued, _unacknowledged(self._connection)
                moved = now if queued < before else moved
                if now > moved + _LINGER_S or self.patience.exhausted(now - start, most - queued):
                    break
                if not queued and now > heard + _SILENT_S:
                    break
                data = self.receive()
                unread = data != b""
                heard = now if data else heard
        self._connection.close()

    def abort(self) -> None:
        """End whatever waits in :meth:`receive`, :meth:`send` or :meth:`close`; from any thread."""
        self._aborted = True
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)


class PipeTransport:
    """Bytes from and to pipes, named pipes or files; the programs at either end may take their time."""

    def __init__(self, source: int, sink: int) -> None:
        self._source, self._sink = source, sink
        self.patience = Patience()

    def receive(self) -> bytes | None:
        """See :meth:`SocketTransport.receive`."""
        ready, _, _ = select.select([self._source], [], [], _TICK_S)
        return os.read(self._source, _RECEIVE_BYTES) if ready else None

    def send(self, data: bytes) -> None:
        """See :meth:`SocketTransport.send`."""
        left = memoryview(data)
        while left:
            left = left[os.write(self._sink, left) :]

    def finish(self) -> None:
        """See :meth:`SocketTransport.finish`."""
        os.close(self._sink)

    def close(self, *, unread: bool) -> None:
        """See :meth:`SocketTransport.close`."""
        os.close(self._source)

    def abort(self) -> None:
        """See :meth:`SocketTransport.abort`; the programs at either end of a pipe are ended by the user."""


Transport = SocketTransport | PipeTransport


def keep_alive(connection: socket.socket) -> None:
    """Let the kernel detect within minutes, not hours, that a peer's host has vanished."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if connection.family in (socket.AF_INET, socket.AF_INET6):
        for name, value in _KEEPALIVE:
            if hasattr(socket, name):  # not on every system
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _unacknowledged(connection: socket.socket) -> int:
    """Return the sent bytes that the peer's host has not acknowledged; 0 where the system has no count."""
    try:
        answer = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, struct.pack("i", 0))
    except (OSError, ValueError):
        return 0
    return int(struct.unpack("i", answer)[0])
