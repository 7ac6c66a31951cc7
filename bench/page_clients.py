"""Clients of the live page for a measurement: those that read, slowly or not at all, and hostile ones.

``python -m bench.page_clients HOST PORT NUMBER`` is a process of them. It prints a line once they are there,
and ends with its input. It has the lowest priority: on a site, they are other hosts.
"""

from __future__ import annotations

import json
import os
import random
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

Address = tuple[str, int]

_NICENESS: Final = 19
_AGAIN_S: Final = 1.0
"""Pause before a new connection, as of a browser."""
_SIP_BYTES, _SIP_S = 256, 0.5
_ATTACK_S: Final = 0.1
_HELD: Final = 5
"""Requests that a hostile client leaves half sent."""
_PIECE: Final = 1 << 16


def watch(address: Address) -> None:
    """Do what an open page does, without drawing: read the events and fetch every map."""
    with _get(address, "/events") as events:
        for line in events.makefile("rb"):
            if line.startswith(b"data: {") and b'"map"' in line:
                content = json.loads(line[6:])
                if "map" in content.get("images", ()):
                    with _get(address, f"/results/{content['number']}/map") as reply:
                        while reply.recv(_PIECE):
                            pass


def sip(address: Address) -> None:
    """Read the events a little at a time."""
    with _get(address, "/events") as events:
        while events.recv(_SIP_BYTES):
            time.sleep(_SIP_S)


def ignore(address: Address) -> None:
    """Ask for the events and never read them, for as long as a server may keep such a client, and longer."""
    with _get(address, "/events"):
        time.sleep(30.0)


def attack(address: Address) -> None:
    """Send requests in turn that are no HTTP, that are broken off, and that are never finished."""
    random_, held = random.Random(1), list[socket.socket]()
    try:
        while True:
            with suppress(OSError), socket.create_connection(address, timeout=5.0) as connection:
                connection.sendall(random_.randbytes(random_.randrange(1, 2000)))
            with suppress(OSError):
                _get(address, f"/results/{random_.randrange(400)}/map").close()
            with suppress(OSError):
                held.append(socket.create_connection(address, timeout=5.0))
                held[-1].sendall(b"GET /events HTTP/1.1\r\nHost: ")
            while len(held) > _HELD:
                held.pop(0).close()
            time.sleep(_ATTACK_S)
    finally:
        for each in held:
            each.close()


def kinds(number: int) -> list[Callable[[Address], None]]:
    """Return what each of so many clients does: one in ten reads slowly, one not at all, two attack."""
    few = number // 10
    shares: dict[Callable[[Address], None], int] = {attack: 2 * few, ignore: few, sip: few}
    return [*(kind for kind, share in shares.items() for _ in range(share)), *[watch] * (number - 4 * few)]


def _get(address: Address, path: str) -> socket.socket:
    connection = socket.create_connection(address)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return connection


def _again(work: Callable[[Address], None], address: Address) -> None:
    """Do it for ever, with a new connection each time."""
    while True:
        with suppress(OSError):
            work(address)
        time.sleep(_AGAIN_S)


def main(host: str, port: int, number: int) -> None:
    """Run so many clients until the input ends."""
    os.nice(_NICENESS)
    for work in kinds(number):
        threading.Thread(target=_again, args=(work, (host, port)), daemon=True).start()
    time.sleep(_AGAIN_S)
    print("ready", flush=True)
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
