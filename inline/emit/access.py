"""Access to published results: addresses that may be bound, CURVE keys from files (``docs/privacy.md``)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator

from inline.addresses import is_loopback
from inline.data.errors import ConfigurationError

SERVER: Final = "server"
CLIENTS: Final = "clients"
_LOCAL_TRANSPORTS: Final = ("ipc", "inproc")
_LOCAL_NAMES: Final = ("localhost", "lo")


def check_address(address: str) -> None:
    """Check that an address has a transport, and one of TCP a port; libzmq takes 99999 for 34463.

    Raises:
        ConfigurationError: there is no ``tcp://`` or the like, or a port that is neither a number from 0 to
            65535 nor ``*``.
    """
    transport, separator, place = address.partition("://")
    if not separator:
        place = f"127.0.0.1:{address}" if address.isdigit() else address
        raise ConfigurationError(f"the address {address!r} names no transport; give tcp://{place}")
    port = place.rpartition(":")[2]
    if transport != "tcp" or port in ("*", "!"):
        return
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise ConfigurationError(
            f"{address} has no port from 0 to 65535; give an address such as tcp://127.0.0.1:5560"
        )


def check_exposure(address: str, *, keys: bool, insecure: bool) -> None:
    """Check that results go to other hosts only with keys or with ``insecure``.

    Raises:
        ConfigurationError: the address is no loopback address, and there are neither keys nor ``insecure``.
    """
    transport, _, place = address.partition("://")
    host = place.rpartition(":")[0]
    local = transport in _LOCAL_TRANSPORTS or (
        transport == "tcp" and (host in _LOCAL_NAMES or is_loopback(host))
    )
    if not (keys or insecure or local):
        raise ConfigurationError(
            f"results on {address} could be read by every host that reaches it: publish on "
            "tcp://127.0.0.1:PORT, or give keys (myostream keys FOLDER, then --zmq-keys FOLDER), or give "
            "--insecure"
        )


def make_keys(folder: Path, client: str) -> tuple[Path, Path]:
    """Make the keys of one more client, and those of the server where there are none.

    Args:
        folder: that the server is given.
        client: name of the client's files; letters, digits, ``-`` and ``_``.

    Returns:
        Files of the server's public key and the client's secret key, which the client needs.

    Raises:
        ConfigurationError: the client has keys already, or the folder cannot be written.
    """
    if not client.replace("-", "").replace("_", "").isalnum():
        raise ConfigurationError(f"{client!r} is no name for keys; use letters, digits, - and _")
    clients = folder / CLIENTS
    before = os.umask(0o077)
    try:
        clients.mkdir(parents=True, exist_ok=True)
        if not (folder / f"{SERVER}.key_secret").exists():
            zmq.auth.create_certificates(folder, SERVER)
        if (clients / f"{client}.key").exists():
            raise ConfigurationError(f"{clients} has keys of {client} already; choose a name with --client")
        _, secret = zmq.auth.create_certificates(clients, client)
    except OSError as error:
        raise ConfigurationError(f"no keys can be written to {folder}: {error}") from error
    finally:
        os.umask(before)
    return folder / f"{SERVER}.key", Path(secret)


def guarded(context: zmq.Context[zmq.Socket[bytes]], folder: Path) -> ThreadAuthenticator:
    """Let the clients of a folder of keys, and no others, connect to the CURVE servers of a context.

    Raises:
        ConfigurationError: the folder holds no key of a client.
    """
    try:
        known = zmq.auth.load_certificates(folder / CLIENTS)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the keys in {folder / CLIENTS} cannot be read: {error}") from error
    if not known:
        raise ConfigurationError(f"{folder / CLIENTS} holds no key; myostream keys {folder} makes one")
    authenticator = ThreadAuthenticator(context)
    authenticator.start()
    authenticator.configure_curve(domain="*", location=str(folder / CLIENTS))
    return authenticator


def secret_pair(file: Path) -> tuple[bytes, bytes]:
    """Return the public and the secret key of a file.

    Raises:
        ConfigurationError: it cannot be read, or holds no secret key.
    """
    public, secret = _keys(file)
    if secret is None:
        raise ConfigurationError(f"{file} holds no secret key; give the file that ends in .key_secret")
    return public, secret


def public_key(file: Path) -> bytes:
    """Return the public key of a file; raise ConfigurationError where it cannot be read."""
    return _keys(file)[0]


def _keys(file: Path) -> tuple[bytes, bytes | None]:
    try:
        public, secret = zmq.auth.load_certificate(file)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the key file {file} cannot be read: {error}") from error
    if any(len(key) != 40 for key in (public, secret) if key is not None):
        raise ConfigurationError(f"the key file {file} holds no CURVE key of 40 characters")
    return public, secret
