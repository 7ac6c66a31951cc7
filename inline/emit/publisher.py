"""Results on ZeroMQ: XPUB socket, msgpack messages for slices and closed connections (``docs/stream.md``)."""

from __future__ import annotations

import logging
import queue
import resource
import socket
import threading
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, Final

import msgpack
import zmq
from zmq.utils.monitor import recv_monitor_message

from inline.data.errors import ConfigurationError
from inline.data.examination import EcvResult
from inline.data.results import SliceResult
from inline.emit.access import SERVER, check_address, check_exposure, guarded, public_key, secret_pair
from inline.emit.record import ecv_record, slice_record

TOPIC: Final = b"myostream.slice/1"
ECV_TOPIC: Final = b"myostream.ecv/1"
SUMMARY_TOPIC: Final = b"myostream.summary/1"
_RESULTS: Final = (TOPIC, ECV_TOPIC)
_WAITING: Final = 256
_CLOSING_S: Final = 5.0
_MOST_RECEIVED: Final = 256
_UPDATE_S: Final = 0.25
"""Time between two checks for new subscribers while no message is published."""
_MOST_OPEN: Final = 2048
"""Connections, some 40 kB each; at most half of the descriptors, since the scanner's port needs some too."""

_log = logging.getLogger(__name__)
_numbers = count()


class Publisher:
    """Publisher with a thread of its own; messages that are not received are dropped and counted.

    One thread serves all connections. A message that cannot be packed or sent is counted and logged.

    Attributes:
        dropped: messages that found the queue full.
        failed: messages that could not be packed or sent.
    """

    def __init__(self, address: str, *, keys: Path | None = None, insecure: bool = False) -> None:
        """Bind the socket.

        Args:
            address: to bind.
            keys: folder of ``myostream keys``; the clients in it, and no others, receive the messages.
            insecure: bind an address that other hosts reach without keys too.

        Raises:
            ConfigurationError: the address cannot or must not be bound, or the keys cannot be read.
        """
        check_address(address)
        check_exposure(address, keys=keys is not None, insecure=insecure)
        pair = secret_pair(keys / f"{SERVER}.key_secret") if keys is not None else None
        # libzmq authenticates the clients of a whole context.
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context() if keys else zmq.Context.instance()
        self._authenticator = guarded(self._context, keys) if keys is not None else None
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.SNDHWM, _WAITING)
        self._socket.setsockopt(zmq.LINGER, 200)
        # All that subscribers send is the beginning of a topic, and for CURVE a handshake of some 300 bytes.
        self._socket.setsockopt(zmq.MAXMSGSIZE, _MOST_RECEIVED if pair is None else 2 * _MOST_RECEIVED)
        if pair is not None:
            self._socket.curve_publickey, self._socket.curve_secretkey = pair
            self._socket.curve_server = True
        self._socket.ipv6 = "[" in address
        self._changes = self._monitor()
        try:
            self._socket.bind(address)
        except zmq.ZMQError as error:
            self._close_sockets()
            self._release()
            raise ConfigurationError(f"results cannot be published on {address}: {error}") from error
        self.address: str = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._queue: queue.Queue[tuple[bytes, dict[str, Any]] | None] = queue.Queue(_WAITING)
        self.dropped = 0
        self.failed = 0
        self._subscriptions: set[bytes] = set()
        self._open: set[int] = set()
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most_open = _MOST_OPEN if limit == resource.RLIM_INFINITY else min(limit // 2, _MOST_OPEN)
        self._full = False
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._thread.start()

    @property
    def subscribed(self) -> bool:
        """True if there is a subscriber to slices or ECV, as checked about a quarter of a second ago."""
        return bool(self._subscriptions)

    @property
    def waiting(self) -> int:
        """Number of messages that wait to be sent."""
        return self._queue.qsize()

    def publish(self, result: SliceResult, **more: Any) -> None:
        """Queue a result; never waits, and never raises for what the result holds.

        Args:
            result: of one slice.
            more: further fields of the message (``session``).
        """
        try:
            self._put(TOPIC, {**slice_record(result), **more})
        except Exception as error:  # of one result; the publisher serves all connections
            self._fail(TOPIC, error)

    def publish_ecv(self, result: EcvResult, **more: Any) -> None:
        """Queue an ECV result; never waits and never raises. ``more`` as in :meth:`publish`."""
        try:
            self._put(ECV_TOPIC, {**ecv_record(result), **more})
        except Exception as error:  # of one result; the publisher serves all connections
            self._fail(ECV_TOPIC, error)

    def summarise(self, summary: dict[str, Any], **more: Any) -> None:
        """Queue the summary of a connection as plain values; never waits. ``more`` as in :meth:`publish`."""
        self._put(SUMMARY_TOPIC, {**summary, **more})

    def _put(self, topic: bytes, message: dict[str, Any]) -> None:
        try:
            self._queue.put_nowait((topic, message))
        except queue.Full:
            self.dropped += 1
            if self.dropped == 1:
                _log.warning("results are published faster than ZeroMQ takes them; some are dropped")

    def close(self) -> None:
        """Send what is queued and close; at most some seconds."""
        with suppress(queue.Full):
            self._queue.put(None, timeout=_CLOSING_S)
        self._thread.join(timeout=_CLOSING_S)
        if not self._thread.is_alive():
            self._release()
        if self.dropped or self.failed:
            _log.warning("results not published: %d dropped, %d failed", self.dropped, self.failed)

    def _release(self) -> None:
        """Close the authenticator and its context; without keys the context is shared."""
        if self._authenticator is not None:
            self._authenticator.stop()
            self._context.term()

    def _monitor(self) -> zmq.Socket[bytes]:
        """Return a socket that receives an event of each connection of :attr:`_socket`."""
        # The thread of libzmq would wait for the reader of a queue with an end.
        changes: zmq.Socket[bytes] = self._context.socket(zmq.PAIR)
        changes.setsockopt(zmq.RCVHWM, 0)
        # libzmq frees the address later than Python the id of a publisher that could not bind.
        address = f"inproc://connections-{next(_numbers)}"
        self._socket.monitor(address, zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)
        changes.connect(address)
        return changes

    def _close_sockets(self) -> None:
        self._socket.disable_monitor()
        self._changes.close(linger=0)
        self._socket.close()

    def _run(self) -> None:
        while True:
            self._update_subscribers()
            self._limit_connections()
            try:
                waiting = self._queue.get(timeout=_UPDATE_S)
            except queue.Empty:
                continue
            if waiting is None:
                break
            topic, message = waiting
            try:
                # A lone surrogate, which UTF-8 cannot express, becomes a question mark.
                packed = msgpack.packb(message, unicode_errors="replace")
                self._socket.send_multipart([topic, packed])
            except Exception as error:  # what one client sent must not end the stream of all
                self._fail(topic, error)
        self._close_sockets()

    def _update_subscribers(self) -> None:
        """Receive changes of subscriptions: 1 (begins) or 0 (ends), then the beginning of a topic."""
        with suppress(zmq.ZMQError):  # nothing is there, or a subscriber is at fault
            while change := self._socket.recv(zmq.NOBLOCK):
                # Other topics are not stored: a subscriber may invent any number of them.
                if any(topic.startswith(change[1:]) for topic in _RESULTS):
                    (self._subscriptions.add if change[0] else self._subscriptions.discard)(change[1:])

    def _limit_connections(self) -> None:
        """End each connection beyond the limit, and none before.

        libzmq has no limit. It ends connections without a handshake after 30 s, and no others.
        """
        with suppress(zmq.ZMQError):  # nothing is there
            while self._changes.poll(0):
                event = recv_monitor_message(self._changes)
                number = event["value"]  # the descriptor
                if event["event"] == zmq.EVENT_DISCONNECTED:
                    self._open.discard(number)
                    continue
                self._open.add(number)
                if len(self._open) <= self._most_open:
                    continue
                self._end(number)
                if not self._full:
                    _log.warning(
                        "%d connections to %s are open; further ones are ended at once",
                        self._most_open, self.address,
                    )  # fmt: skip
                self._full = True
        if self._full and len(self._open) <= self._most_open // 2:
            _log.warning("further connections to %s are accepted again", self.address)
            self._full = False

    def _end(self, number: int) -> None:
        """End a connection by its descriptor, unless another connection has that number meanwhile."""
        with suppress(OSError), socket.fromfd(number, socket.AF_INET, socket.SOCK_STREAM) as connection:
            place = connection.getsockname()
            # Of the Unix sockets of this program, only those of the publisher come and go.
            if not isinstance(place, tuple) or self.address.endswith(f":{place[1]}"):
                connection.shutdown(socket.SHUT_RDWR)

    def _fail(self, topic: bytes, error: Exception) -> None:
        self.failed += 1
        # Only the first is logged; the others are counted at the close.
        if self.failed == 1:
            _log.warning("a message of %s was not published: %s", topic.decode(), type(error).__name__)


def subscribe(address: str, *, server_key: Path | None = None, keys: Path | None = None) -> zmq.Socket[bytes]:
    """Return a socket that receives all messages of an address, as ``[topic, message]``.

    Args:
        address: to connect to.
        server_key: public key file of a server with keys.
        keys: secret key file of this client, for such a server.

    Raises:
        ConfigurationError: the address or a key file cannot be used.
    """
    check_address(address)
    if (server_key is None) != (keys is None):
        raise ConfigurationError("give both --server-key and --keys, or neither")
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
    if server_key is not None and keys is not None:
        socket.curve_serverkey = public_key(server_key)
        socket.curve_publickey, socket.curve_secretkey = secret_pair(keys)
    socket.setsockopt(zmq.SUBSCRIBE, b"myostream.")
    socket.ipv6 = "[" in address
    socket.connect(address)
    return socket


def decode(parts: list[bytes]) -> dict[str, Any]:
    """Return the content of a message; ``schema`` is that of a slice, of ECV or of a connection.

    Raises:
        ValueError: it is no message of these schemas.
    """
    topics = (TOPIC, ECV_TOPIC, SUMMARY_TOPIC)
    if len(parts) != 2 or parts[0] not in topics:
        raise ValueError(f"not a message of {', '.join(topic.decode() for topic in topics)}")
    content = msgpack.unpackb(parts[1])
    if not isinstance(content, dict):
        raise ValueError("a message must be a map")
    return content
