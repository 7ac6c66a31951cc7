"""Listening sockets of metrics, health and the live page, and ports that they share with others."""

from __future__ import annotations

import socket
from itertools import combinations
from typing import Final

from inline.addresses import bound, host_port, is_loopback
from inline.data.errors import ConfigurationError
from inline.settings import MonitorSettings, Settings

_OPTIONS: Final = {"port": "--monitor-port", "page_port": "--page-port"}
"""Option of ``myostream serve`` for each setting of a port."""
_ALL: Final = {"", "0.0.0.0", "::"}
"""Hosts that stand for all addresses of this host."""


def check_distinct(settings: Settings) -> None:
    """Check that MRD, metrics and live page have ports of their own where they listen on one address.

    Raises:
        ConfigurationError: two of them have the same.
    """
    monitor, hosts = settings.monitor, {settings.server.host, settings.monitor.host}
    ports = [("--monitor-port", monitor.port), ("--page-port", monitor.page_port)]
    if len(hosts) == 1 or hosts & _ALL:
        ports.insert(0, ("--port", settings.server.port))
    for (one, port), (other, same) in combinations(ports, 2):
        if port and port == same:
            raise ConfigurationError(f"{one} and {other} are both {port}; give each a port of its own")


def listening_socket(settings: MonitorSettings, name: str, backlog: int) -> socket.socket:
    """Return the listening socket of the setting ``monitor.<name>`` (``port`` or ``page_port``).

    Raises:
        ConfigurationError: the address cannot be bound, or is reached by other hosts without a token.
    """
    served = {"port": "metrics and health", "page_port": "the live page"}[name]
    host, port = settings.host, getattr(settings, name) or 0
    try:
        made = bound(host, port)
        try:
            made.listen(backlog)
        except OSError:
            made.close()
            raise
    except OSError as error:
        raise ConfigurationError(
            f"{served} cannot listen on {host_port(host, port)} ({error.strerror or error}); "
            f"choose another with {_OPTIONS[name]} or monitor.{name}"
        ) from error
    if not (settings.token or is_loopback(made.getsockname()[0])):
        made.close()
        raise ConfigurationError(
            f"{served} on {host_port(host, port)} could be read by every host that reaches it: give "
            'monitor.token, or monitor.host = "127.0.0.1"'
        )
    return made
