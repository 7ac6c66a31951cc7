"""Checks of the network: ports of the server, Gadgetron, DICOM destinations."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final
from urllib.parse import urlsplit

from inline.addresses import admitted, bound, is_loopback
from inline.data.errors import MyostreamError
from inline.doctor.finding import Finding, good, problem, warning
from inline.mrd.messages import Close
from inline.mrd.protocol import Decoder, encode
from inline.settings import DicomDestination, ServerSettings, Settings

_PATIENCE_S: Final = 5.0
"""Longest wait for a connection or a reply."""


def ports(settings: Settings) -> Iterator[Finding]:
    """Yield whether the ports of the settings are free, or taken by a server that runs already."""
    host, port = settings.server.host, settings.server.port
    reason = bind_error(host, port)
    taken = reason == os.strerror(errno.EADDRINUSE)
    running = replies(host, port) if taken else False
    refused = taken and not running and not _admits_this_host(settings.server)
    hidden = refused or running is None
    if running:
        yield good("port of MRD", f"{host}:{port} is taken by an MRD server that answers")
    # Neither is a problem: to end that program might end the server of the scanner.
    elif refused:
        text = f"{host}:{port} is taken, perhaps by a server: it would refuse this host (server.peers)"
        yield warning("port of MRD", text, "add 127.0.0.1/32 to server.peers")
    elif hidden:
        text = f"{host}:{port} is taken, perhaps by a busy server: no reply within {_PATIENCE_S:g} s"
        yield warning("port of MRD", text, "try again when no measurement runs")
    elif reason:
        advice = "end the program that has it, or choose another with server.port"
        yield problem("port of MRD", f"{host}:{port} cannot be used: {reason}", advice)
    else:
        yield good("port of MRD", f"{host}:{port} is free")
    if not is_loopback(host) and host != "localhost" and not settings.server.peers:
        advice = "list the scanner's hosts in server.peers"
        yield warning("access", f"{host} is reached by other hosts, all of which may connect", advice)
    named = {port: "port of MRD"} if port else {}
    yield from further_ports(_further(settings), named, running=bool(running), hidden=hidden)


def further_ports(
    listed: Iterable[tuple[str, str, int]],
    named: Mapping[int, str],
    *,
    running: bool,
    hidden: bool = False,
) -> Iterator[Finding]:
    """Yield whether further ports of a program are free.

    Args:
        listed: part, host and port of each.
        named: parts of earlier ones.
        running: the program runs already.
        hidden: whether it does could not be found out.
    """
    for name, host, port in listed:
        reason = bind_error(host, port)
        if port in named:
            yield problem(name, f"{host}:{port} is also the {named[port]}", "choose another in the settings")
            continue
        named = {**named, port: name} if port else named
        if not reason:
            yield good(name, f"{host}:{port} is free")
        elif running:
            yield good(name, f"{host}:{port} is taken while the server runs")
        elif hidden:
            yield warning(name, f"{host}:{port} cannot be used: {reason}", "none, if the server runs")
        else:
            yield problem(name, f"{host}:{port} cannot be used: {reason}", "choose another in the settings")


def _further(settings: Settings) -> Iterator[tuple[str, str, int]]:
    if settings.monitor.port is not None:
        yield "port of metrics", settings.monitor.host, settings.monitor.port
    if settings.monitor.page_port is not None:
        yield "port of the live page", settings.monitor.host, settings.monitor.page_port
    transport, _, place = settings.emit.zmq.partition("://")
    host, _, port = place.rpartition(":")
    if transport == "tcp" and port.isdigit():
        yield "port of ZeroMQ", "" if host == "*" else host.strip("[]"), int(port)


def _admits_this_host(server: ServerSettings) -> bool:
    """Return whether a server at the address of the settings takes connections of this host."""
    try:
        with socket.create_connection((server.host or "127.0.0.1", server.port), _PATIENCE_S) as connection:
            own = connection.getsockname()[0]
    except OSError:
        return True
    return admitted(own, server.peers)


def bind_error(host: str, port: int) -> str:
    """Return why an address cannot be bound; empty if it can."""
    try:
        bound(host, port).close()
    except (OSError, OverflowError) as error:
        return getattr(error, "strerror", None) or str(error)
    return ""


def replies(host: str, port: int) -> bool | None:
    """Return whether a server replies to a close message with a close message; None without a reply in time.

    A server whose connections are all taken replies when one of them ends.
    """
    try:
        with socket.create_connection((host or "127.0.0.1", port), timeout=_PATIENCE_S) as connection:
            connection.sendall(encode(Close()))
            decoder = Decoder()
            while not decoder.closed and (data := connection.recv(1 << 16)):
                list(decoder.receive(data))
            return decoder.closed
    except TimeoutError:
        return None
    except (OSError, MyostreamError):
        return False


def gadgetron() -> Iterator[Finding]:
    """Yield whether Gadgetron can use this installation."""
    import_module("inline.serving.gadgetron")
    package = "installed" if find_spec("gadgetron") else "not installed"
    yield good(
        "Gadgetron",
        f"chains can connect to the server or start its module; the gadgetron package, which the second way "
        f"needs, is {package}",
    )


def destinations(targets: Iterable[DicomDestination], calling: str) -> Iterator[Finding]:
    """Yield whether DICOM destinations are reached, by C-ECHO where that is possible.

    Args:
        targets: of the settings.
        calling: AE title of this node.
    """
    for target in targets:
        part = f"DICOM destination {target.name}"
        place = urlsplit(target.url)
        host = place.hostname or target.host
        port = (place.port or (443 if place.scheme == "https" else 80)) if target.url else target.port
        try:
            socket.create_connection((host, port), timeout=_PATIENCE_S).close()
        except OSError as error:
            advice = "check address, network and firewall"
            yield problem(part, f"{host}:{port} is not reached: {error.strerror or error}", advice)
            continue
        if target.url or target.tls:
            yield good(part, f"{host}:{port} takes connections (nothing was sent)")
            continue
        reason = echo(target, calling)
        if reason:
            advice = f"check the AE titles there: it is {target.ae_title!r}, this node is {calling!r}"
            yield problem(part, f"{host}:{port} takes connections, but no C-ECHO: {reason}", advice)
        else:
            yield good(part, f"{target.ae_title} at {host}:{port} returns C-ECHO")


def echo(target: DicomDestination, calling: str) -> str:
    """Return why a C-ECHO failed; empty if it succeeded.

    Raises:
        ImportError: pynetdicom is not installed (extra ``dicom``).
    """
    from inline.dicom.node.delivery import waits_of_at_most
    from inline.dicom.node.entity import application_entity

    entity = application_entity(calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _PATIENCE_S
    entity.add_requested_context("1.2.840.10008.1.1")  # Verification
    handlers: list[Any] = [waits_of_at_most(_PATIENCE_S)]
    association = entity.associate(target.host, target.port, ae_title=target.ae_title, evt_handlers=handlers)
    if not association.is_established:
        return "the association is rejected" if association.is_rejected else "no association"
    status = association.send_c_echo()
    association.release()
    return "" if status and status.Status == 0 else "no success"
