"""Module that a Gadgetron chain starts for itself.

Two ways in, both with the chain files of ``inline/serving/chains``:

- ``<execute name="inline.serving.gadgetron" target="mapping" type="python"/>``: Gadgetron starts
  ``python -m gadgetron PORT inline.serving.gadgetron mapping``, and that package calls :func:`mapping`;
- ``<connect address="127.0.0.1" port="9003"/>``: Gadgetron connects to a running ``myostream serve``, and
  nothing here is used.

The messages are read and written by myostream's own protocol code, not by the ``gadgetron`` package, for the
reasons in ``docs/gadgetron.md``; nothing here imports it, and ``python -m inline.serving.gadgetron PORT``
does without.
"""

from __future__ import annotations

import logging
import socket
import struct
import sys
from typing import Any

from inline.data.errors import MyostreamError
from inline.mrd.protocol import MessageId
from inline.serving.deadlines import Patience
from inline.serving.logs import log_to_stderr
from inline.serving.service import service
from inline.serving.session import Session
from inline.serving.signals import leave_hanging_threads
from inline.serving.transport import SocketTransport
from inline.settings import load_settings


def mapping(connection: Any) -> None:
    """Serve a chain through the ``gadgetron`` package's connection.

    Args:
        connection: ``gadgetron.external.Connection``. It has read configuration and header; their bytes are
            put before the rest of the stream.

    Raises:
        MyostreamError: settings, weights or engines cannot be used.
    """
    # The package logs everything, and numba's compiler says a great deal.
    logging.getLogger("numba").setLevel(logging.WARNING)
    read = connection.raw_bytes
    before = _message(MessageId.CONFIG_TEXT, read.config) + _message(MessageId.HEADER, read.header)
    # The session ends the stream. The package would send a second close message, and fail where the peer is
    # gone.
    wrapper = connection.socket
    wrapper.close = lambda: None
    _serve(wrapper.socket, before)


def main(arguments: list[str] | None = None) -> int:
    """Connect to the Gadgetron that listens on a port of this host, and serve its chain."""
    given = sys.argv[1:] if arguments is None else arguments
    if not given or not given[0].isdigit():
        print("usage: python -m inline.serving.gadgetron PORT", file=sys.stderr)
        return 2
    try:
        _serve(socket.create_connection(("localhost", int(given[0])), timeout=30), b"")
    except ConnectionResetError as error:  # the chain has ended before its first byte was read
        print(f"myostream: {error}", file=sys.stderr)
    except (OSError, MyostreamError) as error:
        print(f"myostream: {error}", file=sys.stderr)
        return 1
    return 0


def _serve(connection: socket.socket, before: bytes) -> None:
    # Gadgetron passes no options on. Where two measurements overlap, two modules run.
    settings = load_settings()
    with (
        connection,
        log_to_stderr(settings.log, names=("inline", "model")),
        service(settings, address_may_be_taken=True) as made,
    ):
        patience = Patience(settings.server.stalled_s, settings.server.least_rate)
        transport = SocketTransport(connection, patience, must_read=made.publisher is None)
        Session(transport, made.scheduler, settings, name="gadgetron", publisher=made.publisher).run(before)


def _message(number: MessageId, body: bytes) -> bytes:
    """The bytes that the package has read, as they came."""
    return struct.pack("<HI", number, len(body)) + body


if __name__ == "__main__":
    code = main()
    leave_hanging_threads(code)
    raise SystemExit(code)
