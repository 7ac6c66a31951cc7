"""The MRD server: accepts connections and serves each in threads of its own."""

from __future__ import annotations

import logging
import socket
import threading

from inline.emit.publisher import Publisher
from inline.errors import ConfigurationError
from inline.processor import Processor
from inline.session import Session, budget_of
from inline.settings import Settings
from inline.transport import SocketTransport

_log = logging.getLogger(__name__)


class Server:
    """Listens from its construction on; :meth:`serve` accepts until :meth:`stop`.

    Attributes:
        address: host and port that it listens on.
    """

    def __init__(
        self, processor: Processor, settings: Settings | None = None, publisher: Publisher | None = None
    ) -> None:
        """Bind and listen.

        Raises:
            ConfigurationError: the address cannot be bound.
        """
        self._settings = settings or Settings()
        self._processor = processor
        self._publisher = publisher
        self._memory = budget_of(self._settings)
        self._stopping = threading.Event()
        self._slots = threading.BoundedSemaphore(self._settings.server.connections)
        self._sessions: set[threading.Thread] = set()
        host, port = self._settings.server.host, self._settings.server.port
        try:
            self._socket = socket.create_server((host, port), backlog=64)
        except OSError as error:
            raise ConfigurationError(f"cannot listen on {host}:{port}: {error}") from error
        self._socket.settimeout(0.2)
        name = self._socket.getsockname()
        self.address: tuple[str, int] = (name[0], name[1])

    def serve(self) -> None:
        """Accept connections until stopped, then wait for those that are open to finish what they have."""
        _log.debug("listening on %s:%d", *self.address)
        while not self._stopping.is_set():
            if not self._slots.acquire(timeout=0.2):
                continue
            try:
                connection, peer = self._socket.accept()
            except OSError as error:
                self._slots.release()
                if not isinstance(error, TimeoutError) and not self._stopping.is_set():
                    _log.warning("a connection was not accepted: %s", error)
                continue
            thread = threading.Thread(
                target=self._serve_one,
                args=(connection, f"{peer[0]}:{peer[1]}"),
                name=f"from {peer[1]}",
                daemon=True,
            )
            self._sessions.add(thread)
            thread.start()
        self._socket.close()
        for thread in list(self._sessions):
            thread.join(timeout=self._settings.server.drain_s)

    def stop(self) -> None:
        """Accept nothing more and let every connection finish what is in flight; safe in a signal handler."""
        self._stopping.set()

    def _serve_one(self, connection: socket.socket, name: str) -> None:
        try:
            Session(
                SocketTransport(connection, self._settings.server.stalled_s),
                self._processor,
                self._settings,
                name=name,
                publisher=self._publisher,
                stopping=self._stopping,
                memory=self._memory,
            ).run()
        except Exception:  # a bug met by one connection must leave the others alone
            _log.exception("%s: the session failed", name)
            connection.close()
        finally:
            self._slots.release()
            self._sessions.discard(threading.current_thread())
