"""External language module of a Gadgetron chain.

There are two ways to run it, both with chain files in ``inline/serving/chains``:

- ``<execute name="inline.serving.gadgetron" target="mapping" type="python"/>``: Gadgetron starts
  ``python -m gadgetron PORT inline.serving.gadgetron mapping``, and that package calls :func:`mapping`;
- ``<connect address="127.0.0.1" port="9003"/>``: Gadgetron connects to a running ``myostream serve``, and
  this module is not used.

Messages are read and written by the protocol code of the server (``docs/gadgetron.md`` states why). The
``gadgetron`` package is not imported, and ``python -m inline.serving.gadgetron PORT`` works without it.
"""

from __future__ import annotations

import logging
import socket
import struct
import sys
from typing import Any

from inline.data.descriptors import hold_standard_descriptors
from inline.data.errors import MyostreamError
from inline.mrd.protocol import MessageId
from inline.serving.logs import log_to_stderr
from inline.serving.service import service
from inline.serving.session import Session
from inline.serving.signals import leave_hanging_threads
from inline.serving.transport import Patience, SocketTransport
from inline.settings import load_settings


def mapping(connection: Any) -> None:
    """Serve a chain through the ``gadgetron`` package's connection.

    Args:
        connection: ``gadgetron.external.Connection``, which has read configuration and header.

    Raises:
        MyostreamError: settings, weights or engines cannot be used.
    """
    # The package logs every message of every library, numba's compiler included.
    logging.getLogger("numba").setLevel(logging.WARNING)
    read = connection.raw_bytes
    messages = ((MessageId.CONFIG_TEXT, read.config), (MessageId.HEADER, read.header))
    before = b"".join(struct.pack("<HI", number, len(body)) + body for number, body in messages)
    # The session has closed the stream. A second close message would fail where the peer is gone.
    wrapper = connection.socket
    wrapper.close = lambda: None
    _serve(wrapper.socket, before)


def main(arguments: list[str] | None = None) -> int:
    """Connect to the Gadgetron that listens on a port of this host, and serve its chain."""
    hold_standard_descriptors()
    given = sys.argv[1:] if arguments is None else arguments
    if not given or not given[0].isdigit():
        print("usage: python -m inline.serving.gadgetron PORT", file=sys.stderr)
        return 2
    try:
        _serve(socket.create_connection(("localhost", int(given[0])), timeout=30), b"")
    except (OSError, MyostreamError) as error:
        print(f"myostream: {error}", file=sys.stderr)
        # Reset: the chain has ended before its first byte was read.
        return 0 if isinstance(error, ConnectionResetError) else 1
    return 0


def _serve(connection: socket.socket, before: bytes) -> None:
    # Gadgetron passes no options. Where two measurements overlap, two modules run.
    settings = load_settings()
    with (
        connection,
        log_to_stderr(settings.log, names=("inline", "model")),
        service(settings, address_may_be_taken=True) as made,
    ):
        patience = Patience(settings.server.stalled_s, settings.server.least_rate)
        transport = SocketTransport(connection, patience, must_read=made.publisher is None)
        Session(transport, made, name="gadgetron").run(before)


if __name__ == "__main__":
    code = main()
    leave_hanging_threads(code)
    raise SystemExit(code)
