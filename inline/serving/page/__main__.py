"""Process of the live page: reads messages from its standard input, serves them on a socket that it inherits.

It ends with its input, and so with the process that started it, however that ends.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from contextlib import suppress
from typing import Final

import msgpack

from inline.serving.page.board import Board
from inline.serving.page.web import Access, PageServer, Streams

_PIECE: Final = 1 << 16
_MOST_MESSAGE: Final = 128 << 20
_NICENESS: Final = 10
"""The chain goes first where both want a core."""


def main() -> None:
    """Serve until the input ends; the first message states the socket and who is admitted."""
    with suppress(OSError):
        os.nice(_NICENESS)
    unpacker = msgpack.Unpacker(max_buffer_size=_MOST_MESSAGE)
    streams = Streams(Board())
    source = sys.stdin.fileno()
    server: PageServer | None = None
    while piece := os.read(source, _PIECE):
        unpacker.feed(piece)
        for message in unpacker:
            if server is None:
                listening = socket.socket(fileno=message["socket"])
                server = PageServer(listening, streams, Access(message["token"], tuple(message["hosts"])))
                threading.Thread(target=server.serve_forever, daemon=True).start()
            else:
                streams.add(message)


if __name__ == "__main__":
    main()
