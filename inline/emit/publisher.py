"""Results on ZeroMQ: PUB socket, msgpack messages for slices and closed connections (``docs/stream.md``)."""

from __future__ import annotations

import logging
import queue
import threading
from typing import Any, Final

import msgpack
import zmq

from inline.emit.record import record
from inline.errors import ConfigurationError
from inline.results import SliceResult
from inline.summary import Summary

TOPIC: Final = b"myostream.slice/1"
SUMMARY_TOPIC: Final = b"myostream.summary/1"
_WAITING: Final = 256

_log = logging.getLogger(__name__)


class Publisher:
    """Publishes from a thread of its own; when nobody takes the messages, they are dropped and counted.

    Attributes:
        dropped: messages that found the queue full.
    """

    def __init__(self, address: str) -> None:
        """Bind the socket.

        Raises:
            ConfigurationError: the address cannot be bound.
        """
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUB)
        self._socket.setsockopt(zmq.SNDHWM, _WAITING)
        self._socket.setsockopt(zmq.LINGER, 200)
        try:
            self._socket.bind(address)
        except zmq.ZMQError as error:
            self._socket.close()
            raise ConfigurationError(f"results cannot be published on {address}: {error}") from error
        self.address: str = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._queue: queue.Queue[tuple[bytes, dict[str, Any]] | None] = queue.Queue(_WAITING)
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._thread.start()

    def publish(self, result: SliceResult, **more: Any) -> None:
        """Queue a result; never waits.

        Args:
            result: of one slice.
            more: further fields of the message (``session``).
        """
        self._put(TOPIC, {**record(result), **more})

    def summarise(self, summary: Summary, **more: Any) -> None:
        """Queue the summary of a connection; never waits. ``more`` as in :meth:`publish`."""
        self._put(SUMMARY_TOPIC, {**summary.record(), **more})

    def _put(self, topic: bytes, message: dict[str, Any]) -> None:
        try:
            self._queue.put_nowait((topic, message))
        except queue.Full:
            self.dropped += 1
            if self.dropped == 1:
                _log.warning("results are published faster than ZeroMQ takes them; some are dropped")

    def close(self) -> None:
        """Send what is queued and close."""
        self._queue.put(None)
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        while (waiting := self._queue.get()) is not None:
            topic, message = waiting
            self._socket.send_multipart([topic, msgpack.packb(message)])
        self._socket.close()


def subscribe(address: str) -> zmq.Socket[bytes]:
    """A socket that receives everything published on an address, as ``[topic, message]``."""
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
    socket.setsockopt(zmq.SUBSCRIBE, b"myostream.")
    socket.connect(address)
    return socket


def decode(parts: list[bytes]) -> dict[str, Any]:
    """The content of a message; its ``schema`` says whether it is of a slice or of a connection.

    Raises:
        ValueError: it is no message of these schemas.
    """
    if len(parts) != 2 or parts[0] not in (TOPIC, SUMMARY_TOPIC):
        raise ValueError(f"not a message of {TOPIC.decode()} or {SUMMARY_TOPIC.decode()}")
    content = msgpack.unpackb(parts[1])
    if not isinstance(content, dict):
        raise ValueError("a message must be a map")
    return content
