"""Client of one connection: sends images and collects the replies."""

from __future__ import annotations

import json
import math
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from inline.data.errors import MyostreamError, ProtocolError
from inline.mrd.messages import Close, ConfigFile, Header, Image, Message, Text
from inline.mrd.protocol import Decoder, encode


class ConnectionFailedError(MyostreamError):
    """The server cannot be reached, or its connection ended before its close message."""


@dataclass(slots=True)
class Exchange:
    """Replies of a server.

    Attributes:
        images: originals and results, in the order of arrival.
        texts: of the server.
        first_sent: clock at the first byte sent, s (``time.perf_counter``).
        finished: clock at the server's close message, s.
    """

    images: list[Image] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    first_sent: float = 0.0
    finished: float = 0.0


def exchange(
    address: tuple[str, int],
    header: str | bytes,
    images: Iterable[Image],
    *,
    config: str = "mapping",
    parameters: Mapping[str, object] | None = None,
    received: Callable[[Message], object] = lambda message: None,
    timeout_s: float = 120.0,
) -> Exchange:
    """Stream images to a server and read until it closes.

    Args:
        address: host and port.
        header: XML header, sent unchanged.
        images: in the order of sending; taken in a thread of its own, each when the one before is sent.
        config: name of the configuration.
        parameters: of the connection (``docs/protocol.md``), sent as JSON after the header.
        received: called with each message of the server.
        timeout_s: longest silence of the server once everything is sent, and longest time in which it takes
            nothing of what is sent. Between two images there may be any pause, on both sides.

    Raises:
        ConnectionFailedError: no server listens there, it stays silent, or the connection ends too early.
    """
    try:
        connection = socket.create_connection(address, timeout=timeout_s)
    except OSError as error:
        raise ConnectionFailedError(
            f"no MRD server at {address[0]}:{address[1]} ({error}); start one with: "
            f"myostream serve --port {address[1]}"
        ) from error
    # The peers end texts with a NUL and count it.
    opening = Header(header) if isinstance(header, str) else Header.from_bytes(header + b"\0")
    result = Exchange()
    problems: list[Exception] = []
    all_sent = math.inf

    def send() -> None:
        nonlocal all_sent
        try:
            result.first_sent = time.perf_counter()
            connection.sendall(encode(ConfigFile(config)) + encode(opening))
            if parameters:
                connection.sendall(encode(Text(json.dumps({"parameters": dict(parameters)}))))
            for image in images:
                connection.sendall(encode(image))
            connection.sendall(encode(Close()))
            all_sent = time.perf_counter()
        except Exception as error:
            problems.append(error)
            connection.close()

    with connection:
        sender = threading.Thread(target=send, name="sender", daemon=True)
        sender.start()
        decoder = Decoder()
        try:
            while not decoder.closed:
                try:
                    data = connection.recv(1 << 20)
                except TimeoutError:
                    # A server has nothing to send while the next image is not due yet.
                    if problems or time.perf_counter() - all_sent >= timeout_s:
                        raise
                    continue
                if not data:
                    break
                for message in decoder.receive(data):
                    if isinstance(message, Image):
                        result.images.append(message)
                    elif isinstance(message, Text):
                        result.texts.append(message.text)
                    received(message)
        except (OSError, ProtocolError) as error:
            raise ConnectionFailedError(
                f"the connection to the server broke off: {problems or error}"
            ) from error
        result.finished = time.perf_counter()
        if not decoder.closed:
            raise ConnectionFailedError("the server ended the connection before its close message")
        sender.join(timeout=5.0)
    return result
