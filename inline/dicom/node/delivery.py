"""Delivery of results to one destination: C-STORE, or STOW-RS (PS3.18 10.5)."""

from __future__ import annotations

import base64
import logging
import secrets
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from time import monotonic
from typing import Any, Final, Protocol, cast
from urllib.parse import urlsplit

from pydicom.filereader import read_file_meta_info
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.pdu_primitives import A_ASSOCIATE

from inline.addresses import host_port
from inline.dicom.node.commitment import PUSH_MODEL, Commitment, report_handler, request_commitment
from inline.dicom.node.entity import application_entity
from inline.settings import DicomDestination

_log = logging.getLogger(__name__)

_CONNECT_S: Final = 10.0
_TIMEOUT_S: Final = 60.0
_REQUEST_S: Final = 120.0
"""Time for a request with its answer; the watchdog of the node waits longer for a sign of life."""
_REPORT_S: Final = 1.0
"""Time for a report on storage commitment on the association of its request; most open one of their own."""
_MOST_ANSWER: Final = 1 << 20
_WARNINGS: Final = (0xB000, 0xB006, 0xB007)
"""Statuses of an object that is stored with a remark (PS3.4 B.2.3)."""
_DUPLICATE: Final = 0x0111
"""Status of an object whose UID the destination has already; a UID follows from the content of its result."""
_THERE: Final = "it has the object already"
_ENDED: Final = "it ended the association"
_UNREADABLE: Final = "its file cannot be read any more"
"""Of an object that a rerun replaced while others were sent; the queue has the new one already."""
_Kinds = tuple[tuple[str, str], ...]


class Transport(Protocol):
    """Way to a destination."""

    def send(self, files: Sequence[Path]) -> Generator[str, None, None]:
        """Send files in their order; yield for each why it was not stored, empty where it was."""
        ...


def waits_of_at_most(seconds: float) -> tuple[Any, Callable[[Event], None]]:
    """Return a handler for associations that are requested: no sending or receiving waits longer.

    The time limits of pynetdicom hold between messages; an archive that stops within one, or takes no bytes,
    would hold its sender for ever.
    """

    def bound(event: Event) -> None:
        event.assoc.dul.socket.socket.settimeout(seconds)  # type: ignore[union-attr]

    return evt.EVT_CONN_OPEN, bound


class StoreTransport:
    """C-STORE user."""

    def __init__(self, destination: DicomDestination, calling: str, context: ssl.SSLContext | None) -> None:
        """Set destination, own AE title, and TLS (None without)."""
        self._destination, self._calling, self._context = destination, calling, context
        self._silent = f"{host_port(destination.host, destination.port)} does not answer"

    def send(self, files: Sequence[Path]) -> Generator[str, None, None]:
        """Send files over one association, and a further one for those after each that ends it.

        Where associations in a row end at their first file, and take together as long as a destination has to
        respond, the others are left until the next attempt.
        """
        left = [(file, _kinds(file)) for file in files]
        lost_s = 0.0
        while left:
            start, before = monotonic(), len(left)
            there = 0
            for problem in self._send(tuple(left)):
                there += problem == _THERE
                yield "" if problem == _THERE else problem
                del left[0]
            if there:
                _log.warning(
                    "%s: %d objects count as delivered: it states that it has their UIDs already (status "
                    "0x%04X), and keeps its own",
                    self._destination.name, there, _DUPLICATE,
                )  # fmt: skip
            lost_s = lost_s + monotonic() - start if before - len(left) == 1 else 0.0
            if lost_s >= _TIMEOUT_S:
                yield from [_ENDED] * len(left)
                return

    def _send(self, files: Sequence[tuple[Path, _Kinds]]) -> Iterator[str]:
        """Yield the problems of the first files, up to the one that ends the association."""
        own = dict.fromkeys(kinds[0] for _, kinds in files if kinds)
        if not own:
            yield from [_UNREADABLE] * len(files)
            return
        default = dict.fromkeys(kind for _, kinds in files for kind in kinds[1:])
        with self._associated(own | default) as association:
            if isinstance(association, str):
                yield from [association] * len(files)
                return
            for number, (file, kinds) in enumerate(files):
                if number and not association.is_established:
                    return
                if not kinds:
                    yield _UNREADABLE
                    continue
                start, status = monotonic(), None
                try:
                    status = association.send_c_store(file).get("Status")
                except OSError:  # errors of the connection end the association instead
                    yield _UNREADABLE
                    continue
                except (ValueError, RuntimeError, AttributeError):
                    if association.is_established:
                        yield "it does not accept this kind of object"
                        continue
                if status == _DUPLICATE:
                    yield _THERE
                    continue
                if status is not None:
                    stored = status == 0 or status in _WARNINGS
                    yield "" if stored else f"it answered with status 0x{status:04X}"
                    continue
                if monotonic() - start < _TIMEOUT_S:
                    yield _ENDED
                else:  # the others would have to wait as long
                    yield from [self._silent] * (len(files) - number)
                return

    def commit(self, files: Sequence[Path], transaction: str, reported: Callable[[Commitment], None]) -> str:
        """Request storage commitment of stored files; return why it was refused, or empty.

        Args:
            files: that were sent.
            transaction: UID of the request.
            reported: receives the report, if it comes on this association.
        """
        there = threading.Event()

        def passed(report: Commitment) -> None:
            reported(report)
            there.set()

        with self._associated([(PUSH_MODEL, ImplicitVRLittleEndian)], passed) as association:
            if isinstance(association, str):
                return association
            problem = request_commitment(association, files, transaction)
            if not problem:
                there.wait(_REPORT_S)
            return problem

    @contextmanager
    def _associated(
        self, kinds: Iterable[tuple[str, str]], reported: Callable[[Commitment], None] | None = None
    ) -> Iterator[Association | str]:
        """Open an association for kinds of objects; yield why there is none instead, where there is none."""
        entity, wanted = application_entity(self._calling), self._destination
        entity.connection_timeout = _CONNECT_S
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _TIMEOUT_S
        for kind, syntax in kinds:
            entity.add_requested_context(kind, syntax)
        handlers: list[Any] = [waits_of_at_most(_TIMEOUT_S)]
        if reported:
            handlers.append((evt.EVT_N_EVENT_REPORT, report_handler(reported)))
        association = entity.associate(
            wanted.host,
            wanted.port,
            ae_title=wanted.ae_title,
            tls_args=None if self._context is None else (self._context, wanted.host),
            evt_handlers=handlers,
        )
        if not association.is_established:
            if association.rejected_contexts:
                yield "it accepts no such kind of object or service"
            else:
                yield self._rejected(association) if association.is_rejected else self._silent
            return
        try:
            yield association
        finally:
            if association.is_established:
                association.release()

    def _rejected(self, association: Association) -> str:
        """Return why an association was rejected, with both AE titles."""
        wanted, response = self._destination, cast(A_ASSOCIATE, association.acceptor.primitive)
        return (
            f"{host_port(wanted.host, wanted.port)} rejected the association ({response.reason_str}); "
            f"its AE title is {wanted.ae_title!r} here, that of this node {self._calling!r}"
        )


def _kinds(file: Path) -> _Kinds:
    """Return the SOP class of a file with its own transfer syntax, and with the default one.

    The default syntax is to be proposed too (PS3.5, 10.1); compressed pixels cannot be converted. Empty where
    the file cannot be read.
    """
    try:
        meta = read_file_meta_info(file)
    except OSError:
        return ()
    kind, syntax = meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID
    return ((kind, syntax), *([] if syntax.is_compressed else [(kind, ImplicitVRLittleEndian)]))


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Handler that follows no redirect: a redirected POST becomes a GET, which stores nothing."""

    def redirect_request(self, *_: Any) -> None:
        """Refuse the redirect."""


class _Connections(urllib.request.HTTPSHandler, urllib.request.HTTPHandler):
    """Handler of HTTP and HTTPS whose requests can be limited in time, however slowly the response comes."""

    _socket: socket.socket | None = None
    _over = False

    def do_open(self, http_class: Any, req: Any, **arguments: Any) -> HTTPResponse:
        """Send the request, as the handlers of the library do."""
        handler = self

        class Connection(http_class):  # type: ignore[misc]
            def connect(self) -> None:
                super().connect()
                handler._socket = self.sock
                if handler._over:  # before there was a connection to break off
                    raise TimeoutError

        return super().do_open(cast(Any, Connection), req, **arguments)

    @contextmanager
    def limited(self, seconds: float) -> Iterator[None]:
        """Break off the connection of a request in the block after this time.

        Raises:
            TimeoutError: the time is over at the end of the block: what was read may not be all.
        """
        timer = threading.Timer(seconds, self._break_off)
        timer.daemon = True
        self._socket, self._over = None, False
        end = monotonic() + seconds
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
        if monotonic() >= end:
            raise TimeoutError

    def _break_off(self) -> None:
        self._over = True
        if self._socket is not None:
            with suppress(OSError):  # not the method of TLS, which changes what the reading thread uses
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class WebTransport:
    """STOW-RS user."""

    def __init__(self, destination: DicomDestination, context: ssl.SSLContext) -> None:
        """Set destination and TLS."""
        self._destination = destination
        place = urlsplit(destination.url)
        self._silent = f"{place.scheme}://{place.netloc.rpartition('@')[2]} does not answer"
        self._connections = _Connections(context=context)
        self._opener = urllib.request.build_opener(self._connections, _NoRedirects())

    def send(self, files: Sequence[Path]) -> Generator[str, None, None]:
        """Send each file as a request of its own; see :class:`Transport`."""
        for file in files:
            try:
                content, uid = file.read_bytes(), read_file_meta_info(file).MediaStorageSOPInstanceUID
            except OSError:
                yield _UNREADABLE
                continue
            try:
                yield self._send(content, str(uid))
            except urllib.error.HTTPError as error:
                error.close()
                yield f"it answered with status {error.code}"
            except urllib.error.URLError as error:
                yield f"{self._silent} ({type(error.reason).__name__})"
            except (OSError, HTTPException, ValueError) as error:
                yield f"{self._silent} ({type(error).__name__})"

    def _send(self, content: bytes, uid: str) -> str:
        boundary = secrets.token_hex(16)
        start = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        request = urllib.request.Request(
            f"{self._destination.url.rstrip('/')}/studies",
            data=start + content + f"\r\n--{boundary}--\r\n".encode(),
            headers=self._headers(boundary),
            method="POST",
        )
        with (
            self._connections.limited(_REQUEST_S),
            self._opener.open(request, timeout=_TIMEOUT_S) as response,
        ):
            body = response.read(_MOST_ANSWER)
            if response.status != 200:  # 202: stored with remarks, or not at all
                return f"it answered with status {response.status}"
        # Any web server may answer 200; a service that stores names what it stored.
        return "" if uid.encode() in body else "its answer does not name the object: it is no STOW-RS service"

    def _headers(self, boundary: str) -> dict[str, str]:
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Accept": "application/dicom+json",
        }
        if self._destination.user:
            login = f"{self._destination.user}:{self._destination.password.get_secret_value()}"
            headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
        return headers


def transport_of(destination: DicomDestination, calling: str, context: ssl.SSLContext) -> Transport:
    """Return the way to a destination.

    Args:
        destination: of the settings.
        calling: own AE title.
        context: of TLS, where the destination uses it.
    """
    if destination.url:
        return WebTransport(destination, context)
    return StoreTransport(destination, calling, context if destination.tls else None)
