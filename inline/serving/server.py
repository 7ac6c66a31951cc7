"""MRD server: accepts connections and serves each in threads of its own."""

from __future__ import annotations

import errno
import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from inline.addresses import Acceptor, admitted, bound, host_port, is_loopback
from inline.data.errors import ConfigurationError
from inline.data.recent import Recent
from inline.emit.publisher import Publisher
from inline.mrd.messages import Close
from inline.mrd.protocol import encode
from inline.serving.dialect import Severity, takes_texts, text_message
from inline.serving.observers import Observers
from inline.serving.scheduler import Scheduler
from inline.serving.service import Service
from inline.serving.session import Session
from inline.serving.transport import Patience, SocketTransport, keep_alive
from inline.settings import ServerSettings, Settings

_log = logging.getLogger(__name__)

_BACKLOG: Final = 512
_MOST_WAITING: Final = 256
"""Connections that wait to be served; those beyond it wait unaccepted in the kernel."""
_NAMES: Final = 4096
"""Connections whose names are remembered."""
_TICK_S: Final = 0.2
_ABORT_S: Final = 2.0
_OPENING_BYTES: Final = 8


@dataclass(slots=True)
class _Waiting:
    """A connection that waits to be served; ``texts`` is None until its first bytes show its dialect."""

    connection: socket.socket
    name: str
    texts: bool | None = None


@contextmanager
def _binding(settings: ServerSettings) -> Iterator[tuple[str, int]]:
    """Give host and port; raise what binding to them raises as :class:`ConfigurationError`."""
    host, port = settings.host, settings.port
    try:
        yield host, port
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigurationError(
                f"port {port} of {host} is taken, perhaps by another myostream or Gadgetron; choose another "
                "with --port"
            ) from error
        reason = error.strerror or error
        raise ConfigurationError(f"cannot listen on {host_port(host, port)}: {reason}") from error


def check_address(settings: ServerSettings) -> None:
    """Bind to the address for a moment, before the network is loaded; nothing listens meanwhile.

    Raises:
        ConfigurationError: the address cannot be bound.
    """
    with _binding(settings) as address:
        bound(*address).close()


class Server:
    """Listens from its construction on; :meth:`serve` accepts until :meth:`stop`.

    Attributes:
        address: host and port that it listens on.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        settings: Settings | None = None,
        publisher: Publisher | None = None,
        observers: Observers | None = None,
    ) -> None:
        """Bind and listen; arguments as those of :class:`Service`.

        Raises:
            ConfigurationError: the address cannot be bound.
        """
        settings = settings or Settings()
        self._settings = settings.server
        self._service = Service(scheduler, settings, publisher, settings.server.drain_s, observers)
        self._shutdown = self._service.shutdown
        self._patience = Patience(settings.server.stalled_s, settings.server.least_rate)
        self._lock = threading.Lock()
        self._sessions: dict[threading.Thread, Session | SocketTransport] = {}
        self._waiting: deque[_Waiting] = deque()
        self._names = Recent[str, int](_NAMES)
        self._acceptor = Acceptor(_log)
        with _binding(self._settings) as address:
            self._socket = bound(*address)
            self._socket.listen(_BACKLOG)
        self._socket.settimeout(_TICK_S)
        name = self._socket.getsockname()
        self.address: tuple[str, int] = (name[0], name[1])
        if not is_loopback(name[0]):
            _log.warning(
                "%s is reached by other hosts, and MRD has neither encryption nor passwords: let a "
                "firewall and the setting server.peers admit the scanner's hosts alone",
                host_port(*self.address),
            )

    @property
    def service(self) -> Service:
        """Parts that the connections share."""
        return self._service

    @property
    def connections(self) -> int:
        """Number of connections that are served now."""
        return len(self._sessions)

    @property
    def waiting(self) -> int:
        """Number of connections that wait to be served."""
        return len(self._waiting)

    @property
    def left_s(self) -> float:
        """Time left of ``drain_s``, s: infinite before :meth:`stop`."""
        return self._shutdown.left_s

    def serve(self) -> None:
        """Accept connections until stopped, then wait for those that are open to finish what they have."""
        _log.debug("listening on %s", host_port(*self.address))
        while not self._shutdown.requested:
            self._greet_waiting()
            if len(self._waiting) >= _MOST_WAITING:
                time.sleep(_TICK_S)
            else:
                self._accept()
        _log.info("stops accepting; open connections: %d", self.connections)
        self._socket.close()
        self._turn_away()
        # Sleeping and not waiting on a lock: a signal handler of this thread may shorten the time left.
        while self._sessions and self._shutdown.left_s > 0:
            time.sleep(0.02)
        with self._lock:
            left = dict(self._sessions)
        if left:
            _log.warning("%d connections are cut off: the time to finish is over", len(left))
        for session in left.values():
            session.abort()
        end = time.monotonic() + _ABORT_S
        for thread in left:
            thread.join(timeout=max(end - time.monotonic(), 0.0))

    def stop(self) -> None:
        """Accept nothing more and let every connection finish what is in flight; safe in a signal handler.

        Called again, it leaves connections about a second to report what they did not finish.
        """
        self._shutdown.request()

    def _accept(self) -> None:
        """Accept the next connection, if one comes in a moment, and serve it or let it wait its turn."""
        try:
            connection, peer = self._acceptor.accept(self._socket)
        except OSError:
            return
        address = host_port(*peer[:2])
        if not admitted(peer[0], self._settings.peers):
            _log.warning("%s is refused: it is not among server.peers", address)
            connection.close()
            return
        with suppress(OSError):
            keep_alive(connection)
        waiting = _Waiting(connection, self._name(address))
        with self._lock:
            self._waiting.append(waiting)
            self._serve_waiting()
            if self._waiting and self._waiting[-1] is waiting:
                _log.warning("all %d connections taken; %s waits", len(self._sessions), waiting.name)

    def _name(self, address: str) -> str:
        """Return the name of a connection: its address, numbered where an earlier one had the same.

        Slices and levels belong to a connection by its name, while it is open and afterwards.
        """
        number = self._names.pop(address, 0) + 1
        self._names[address] = number
        return address if number == 1 else f"{address} #{number}"

    def _serve_waiting(self) -> None:
        """Serve those that wait, in the order of their arrival, up to the limit; the lock is held."""
        limit = self._settings.connections
        while self._waiting and len(self._sessions) < limit and not self._shutdown.requested:
            waiting = self._waiting.popleft()
            try:
                must_read = self._service.publisher is None
                transport = SocketTransport(waiting.connection, self._patience, must_read=must_read)
                session = Session(transport, self._service, name=waiting.name)
                self._start(waiting, session, session.run)
            except (OSError, RuntimeError) as error:  # the peer is gone, or no thread can be started
                _log.warning("%s cannot be served: %s", waiting.name, error)
                waiting.connection.close()

    def _start(
        self, waiting: _Waiting, session: Session | SocketTransport, run: Callable[[], object]
    ) -> None:
        """Run a session in a thread; the lock is held.

        Raises:
            RuntimeError: no thread can be started.
        """

        def serve() -> None:
            try:
                run()
            except Exception:  # an unexpected error of one connection must leave the others alone
                _log.exception("%s: the session failed", waiting.name)
                waiting.connection.close()
            finally:
                with self._lock:
                    del self._sessions[thread]
                    self._serve_waiting()

        thread = threading.Thread(target=serve, name=f"from {waiting.name.rpartition(':')[2]}", daemon=True)
        thread.start()
        self._sessions[thread] = session  # the thread cannot have left it yet: that takes the lock

    def _greet_waiting(self) -> None:
        """Send a warning to those that wait, once their first bytes say that they take texts."""
        limit = self._settings.connections
        warning = f"all {limit} connections of the server are taken; this one is served when another one ends"
        with self._lock:  # a session that began meanwhile would write to the same connection
            for waiting in [each for each in self._waiting if each.texts is None]:
                try:
                    opening = waiting.connection.recv(_OPENING_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
                    if not opening:
                        raise ConnectionError("it has closed")
                    waiting.texts = takes_texts(opening)
                    if waiting.texts:
                        text = encode(text_message(Severity.WARNING, warning))
                        waiting.connection.send(text, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    continue
                except OSError as error:
                    _log.info("%s waits no longer: %s", waiting.name, error)
                    self._waiting.remove(waiting)
                    waiting.connection.close()

    def _turn_away(self) -> None:
        """End the connections that wait; one without texts breaks off, since a close would look regular."""
        text = text_message(Severity.ERROR, "the server stops; nothing of this connection was read")
        with self._lock:
            while self._waiting:
                waiting = self._waiting.popleft()
                _log.warning("%s is turned away: the server stops before its turn", waiting.name)
                if not waiting.texts:
                    waiting.connection.close()
                    continue
                try:
                    transport = SocketTransport(waiting.connection, self._patience)
                    transport.send(encode(text) + encode(Close()))
                    transport.finish()
                    self._start(waiting, transport, partial(transport.close, unread=True))
                except (OSError, RuntimeError):
                    waiting.connection.close()
