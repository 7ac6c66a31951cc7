"""Listening sockets of metrics, health and the live page."""

from __future__ import annotations

import socket

from inline.data.errors import ConfigurationError
from inline.emit.access import is_loopback
from inline.emit.addresses import bound, host_port
from inline.settings import MonitorSettings


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
            f"choose another monitor.{name}"
        ) from error
    if not (settings.token or is_loopback(made.getsockname()[0])):
        made.close()
        raise ConfigurationError(
            f"{served} on {host_port(host, port)} could be read by every host that reaches it: give "
            'monitor.token, or monitor.host = "127.0.0.1"'
        )
    return made
