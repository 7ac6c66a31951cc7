"""IPv4 and IPv6 addresses: text form, binding, admission."""

from __future__ import annotations

import ipaddress
import logging
import socket
import time
from collections.abc import Collection
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Final

_SHORTAGE_S: Final = 1.0


def host_port(host: str, port: int) -> str:
    """Return ``host:port``, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Return whether a numeric address is a loopback address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def bound(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address; ``::`` is that of all IPv4 and IPv6 interfaces.

    Raises:
        OSError: it cannot be bound.
    """
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        # The port may have connections of an earlier server that are about to end.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if made.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made


def accepted(listening: socket.socket) -> tuple[socket.socket, Any]:
    """Accept the connection that waits.

    Raises:
        OSError: it cannot be accepted, or none waits. Without file descriptors this takes a second: the
            connection goes on waiting, and a server that tries again at once would use a core.
    """
    try:
        return listening.accept()
    except OSError as error:
        if not isinstance(error, ConnectionError | TimeoutError):
            time.sleep(_SHORTAGE_S)
        raise


class Acceptor:
    """Accepts connections; logs the first failure of several, and that it is over."""

    def __init__(self, log: logging.Logger) -> None:
        """Begin without a failure; ``log`` is that of the server."""
        self._log, self._failing = log, False

    def accept(self, listening: socket.socket) -> tuple[socket.socket, Any]:
        """Accept the connection that waits; raises as :func:`accepted`."""
        try:
            connection = accepted(listening)
        except TimeoutError:
            raise
        except OSError as error:
            if not self._failing:
                self._log.warning("connections cannot be accepted: %s; tried again every second", error)
            self._failing = True
            raise
        if self._failing:
            self._log.warning("connections are accepted again")
        self._failing = False
        return connection


def admitted(host: str, peers: Collection[IPv4Network | IPv6Network]) -> bool:
    """Return whether a host may connect: it is in one of the networks, or there are none."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return not peers or any(address in network for network in peers)
