"""C-STORE and C-ECHO provider of the node: objects are in the spool before the status is returned."""

from __future__ import annotations

import logging
import socket
import sqlite3
import ssl
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from socketserver import BaseServer
from typing import Any, Final, cast

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import (
    UID,
    AllTransferSyntaxes,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    MRImageStorage,
)
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.transport import ThreadedAssociationServer

from inline.addresses import Acceptor, admitted, host_port
from inline.data.client_text import for_log, foreign
from inline.data.errors import ConfigurationError
from inline.dicom.find import has_decoder
from inline.dicom.missing import MOST_STATED
from inline.dicom.node.commitment import PUSH_MODEL, Commitment, report_handler
from inline.dicom.node.entity import application_entity
from inline.dicom.node.metrics import NodeMetrics
from inline.dicom.node.received import OtherImageError, Received, ReceivedObjects, SpoolFullError
from inline.dicom.node.store import cause
from inline.dicom.write.source import UID_FORM
from inline.settings import DicomSettings

_log = logging.getLogger(__name__)

_ACCEPTED: Final = (MRImageStorage, EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage)
SUCCESS: Final = 0x0000
DUPLICATE: Final = 0x0111
OUT_OF_RESOURCES: Final = 0xA700
MISMATCH: Final = 0xA900
NOT_UNDERSTOOD: Final = 0xC000
_POLL_S: Final = 0.2
_PDU_BYTES: Final = 1 << 18
"""The default of 16 KiB makes large images slow."""
_VERIFICATION: Final = "1.2.840.10008.1.1"
_TIMEOUT_S: Final = 60.0
_REQUEST_S: Final = 15.0
"""Time for a connection to request its association."""
_MOST_CARRIED: Final = 1024
"""Series, and refused objects, that are remembered of one association, which may stay open for days."""
_NO_SUCH_CLASS: Final = 3
"""Result of a presentation context whose abstract syntax is not supported (PS3.8 9.3.3.2)."""
_MOST_STATED_CLASSES: Final = 4096
"""Rejected SOP classes of hosts that are remembered, so that each is logged once."""


@dataclass(slots=True)
class _Carried:
    """Objects of one association.

    Attributes:
        series: Series Instance UIDs of what was stored, the last one last; True where sending the series was
            broken off before.
        refused: Series Instance UID by SOP Instance UID of what could not be stored.
        forgotten: number of refused objects before these.
    """

    series: dict[str, bool] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    forgotten: int = 0


class Receiver:
    """Provider of the services C-STORE and C-ECHO; every association has a thread of its own.

    Attributes:
        address: host and port that it listens on.
    """

    def __init__(
        self,
        settings: DicomSettings,
        received: ReceivedObjects,
        context: ssl.SSLContext | None,
        alive: Callable[[], None],
        reported: Callable[[Commitment], None],
        metrics: NodeMetrics,
        *,
        foreign_text: bool = False,
    ) -> None:
        """Bind and listen; :meth:`serve` accepts.

        Args:
            settings: of the node.
            received: that objects are stored in.
            context: of TLS; None for none.
            alive: is called some times a second while connections are accepted.
            reported: receives reports on storage commitment.
            metrics: count objects and refused associations.
            foreign_text: quote AE titles of senders in the log.

        Raises:
            ConfigurationError: the address cannot be bound.
        """
        self._settings, self._objects, self._metrics = settings, received, metrics
        self._foreign_text = foreign_text
        self._stated: set[tuple[str, str]] = set()
        self._sent: weakref.WeakKeyDictionary[Association, int] = weakref.WeakKeyDictionary()
        self._carried: weakref.WeakKeyDictionary[Association, _Carried] = weakref.WeakKeyDictionary()
        self._ae = application_entity(settings.ae_title)
        syntaxes = readable_syntaxes()
        for storage in _ACCEPTED:
            self._ae.add_supported_context(storage, syntaxes)
        self._ae.add_supported_context(_VERIFICATION)
        self._ae.require_called_aet = True
        committing = [each.ae_title for each in settings.destinations if each.commitment]
        if committing:
            self._ae.add_supported_context(PUSH_MODEL, scu_role=True, scp_role=True)
        # Destinations call the node to report on storage commitment.
        callers = settings.calling_ae_titles
        self._ae.require_calling_aet = [*callers, *committing] if callers else []
        self._ae.maximum_associations = settings.associations
        self._ae.maximum_pdu_size = _PDU_BYTES
        self._ae.acse_timeout = _REQUEST_S
        self._ae.dimse_timeout = self._ae.network_timeout = _TIMEOUT_S
        handlers: list[Any] = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_ECHO, self._echo),
            (evt.EVT_N_EVENT_REPORT, report_handler(reported)),
            (evt.EVT_REJECTED, self._rejected),
            (evt.EVT_ACCEPTED, self._accepted),
            (evt.EVT_DATA_RECV, self._received),
            (evt.EVT_RELEASED, self._released),
            (evt.EVT_ABORTED, self._broken_off),
            (evt.EVT_CONN_CLOSE, self._broken_off),
            (evt.EVT_CONN_CLOSE, _give_place_back),
        ]
        try:
            self._server = self._ae.make_server(
                (settings.host, settings.port),
                ssl_context=context,
                evt_handlers=handlers,
                server_class=_server_class(settings, alive, metrics.refused.inc),
            )
        except OSError as error:
            raise ConfigurationError(
                f"dicom.host {settings.host} and dicom.port {settings.port} cannot be listened on: "
                f"{error.strerror or error}"
            ) from error
        self.address: tuple[str, int] = self._server.server_address[:2]

    def serve(self) -> None:
        """Accept associations until :meth:`close`, which another thread calls."""
        self._server.serve_forever(_POLL_S)

    def unbind(self) -> None:
        """Give the address back before :meth:`serve`, for the end of which :meth:`close` would wait."""
        self._server.server_close()

    def close(self) -> None:
        """Accept no more associations, and abort the open ones: their senders send again."""
        # pynetdicom's own shutdown expects a server that its AE has started.
        BaseServer.shutdown(self._server)
        self._server.server_close()
        for each in self._server.active_associations:
            each.abort(block=False)
            # Its thread may wait for the rest of a message, and the process would wait for the thread.
            if (held := each.dul.socket) is not None and held.socket is not None:
                with suppress(OSError):
                    held.socket.shutdown(socket.SHUT_RDWR)

    @property
    def associations(self) -> int:
        """Number of associations that are open now."""
        return len(self._server.active_associations)

    def _store(self, event: Event) -> int:
        """Store an object, count it, and return the status for its sender."""
        status = self._status(event)
        (self._metrics.images if status == SUCCESS else self._metrics.refused_images).inc()
        return status

    def _status(self, event: Event) -> int:
        """Store an object and return the status for its sender; success means that it is on disk."""
        peer = _peer(event)
        self._sent[event.assoc] = 0
        carried = self._carried.setdefault(event.assoc, _Carried())
        self._forget_oldest(event, carried)
        try:
            data = event.encoded_dataset()
            received = read_identity(data)
            if received is None or received.uid != cast(C_STORE, event.request).AffectedSOPInstanceUID:
                _log.warning(
                    "%s: an object was refused: its UIDs are missing or not those of the request", peer
                )
                return MISMATCH
            carried.refused[received.uid] = received.series
            broken = self._objects.receive(received, data)
        except SpoolFullError as error:
            _log.error("%s: an object was refused: the spool is full: %s", peer, error)
            return OUT_OF_RESOURCES
        except (OSError, sqlite3.OperationalError) as error:
            _log.error("%s: an object was refused: it cannot be stored: %s", peer, cause(error))
            return OUT_OF_RESOURCES
        except OtherImageError:
            _log.error(
                "%s: an object was refused: an image of another series or patient, or with other pixels, has "
                "its SOP Instance UID; give each image a UID of its own",
                peer,
            )
            return DUPLICATE
        except InvalidDicomError:
            _log.warning("%s: an object was refused: it is not readable as DICOM", peer)
            return NOT_UNDERSTOOD
        except Exception:  # no object may be acknowledged that is not on disk, and no association may hang
            _log.exception("%s: an object could not be stored", peer)
            return OUT_OF_RESOURCES
        del carried.refused[received.uid]
        # The series of the last object comes last.
        carried.series[received.series] = carried.series.pop(received.series, broken)
        return SUCCESS

    def _forget_oldest(self, event: Event, carried: _Carried) -> None:
        """Record now, as at the end of the association, what it sent before the latest series and objects."""
        while len(carried.series) > _MOST_CARRIED:
            oldest, again = next(iter(carried.series.items()))
            del carried.series[oldest]
            repaired = [oldest] if again and oldest not in carried.refused.values() else []
            self._recorded(event, partial(self._objects.released, [oldest], repaired))
        while len(carried.refused) > _MOST_CARRIED:
            series = carried.refused.pop(next(iter(carried.refused)))
            carried.forgotten += 1
            if series in carried.series:
                carried.series[series] = False  # this association does not send it whole
            self._recorded(event, partial(self._objects.broken_off, [series], series))

    def _ended(self, event: Event) -> _Carried:
        carried = self._carried.pop(event.assoc, _Carried())
        if carried.forgotten:
            _log.warning(
                "%s: the series of %d objects that were refused early in a long association stay flagged "
                "until another association sends them whole",
                _peer(event), carried.forgotten,
            )  # fmt: skip
        return carried

    def _released(self, event: Event) -> None:
        """Record that an association has ended as it should; a series lacks the objects that were refused."""
        carried = self._ended(event)
        lacking = set(carried.refused.values())
        whole = [each for each in carried.series if each not in lacking]

        def record() -> None:
            self._objects.released(carried.series, [each for each in whole if carried.series[each]])
            for each in lacking:
                self._objects.broken_off([each], each)

        self._recorded(event, record)

    def _broken_off(self, event: Event) -> None:
        """Record that an association ended without a release: objects of its series may be missing."""
        carried = list(self._ended(event).series)
        if not carried:
            return
        _log.warning(
            "%s: an association was broken off; a series that states no number of objects, or more than "
            "came, is flagged until it is sent again",
            _peer(event),
        )
        self._recorded(event, lambda: self._objects.broken_off(carried, carried[-1]))

    def _recorded(self, event: Event, record: Callable[[], None]) -> None:
        try:
            record()
        except (OSError, sqlite3.Error) as error:
            # After the end of the spool, too: its next start counts the association as broken off.
            _log.warning("%s: the end of an association was not recorded: %s", _peer(event), cause(error))

    def _echo(self, event: Event) -> int:
        _log.info("%s: C-ECHO", _peer(event))
        return SUCCESS

    def _rejected(self, event: Event) -> None:
        self._metrics.refused.inc()
        request, settings = cast(A_ASSOCIATE, event.assoc.requestor.primitive), self._settings
        callers = self._ae.require_calling_aet
        if request.called_ae_title != settings.ae_title.strip():
            called = self._shown(request.called_ae_title)
            why = f"its called AE title {called} is not {settings.ae_title} (dicom.ae_title)"
        elif callers and request.calling_ae_title not in [each.strip() for each in callers]:
            calling = self._shown(request.calling_ae_title)
            why = f"its calling AE title {calling} is none of {', '.join(callers)} (dicom.calling_ae_titles)"
        else:
            why = f"{settings.associations} are open already (dicom.associations)"
        _log.warning("%s: an association was rejected: %s", _peer(event), why)

    def _accepted(self, event: Event) -> None:
        """Log SOP classes that were proposed in vain, each once for a host: few senders state it."""
        host, contexts = event.assoc.requestor.address, event.assoc.rejected_contexts
        rejected = {str(each.abstract_syntax) for each in contexts if each.result == _NO_SUCH_CLASS}
        rejected = {each for each in rejected if (host, each) not in self._stated}
        if not rejected:
            return
        if len(self._stated) > _MOST_STATED_CLASSES:
            self._stated.clear()
        self._stated.update((host, each) for each in rejected)
        _log.log(
            # Archives propose all classes that they know, whatever they send.
            logging.INFO if event.assoc.accepted_contexts else logging.WARNING,
            "%s: SOP classes that it proposed are not accepted, since the node takes MR images alone: %s",
            _peer(event), ", ".join(sorted(map(self._class, rejected))),
        )  # fmt: skip

    def _class(self, uid: str) -> str:
        """Return the name of a SOP class that the standard knows; others are texts of the sender."""
        name = UID(uid).name
        return self._shown(uid) if name == uid else name

    def _shown(self, text: str) -> str:
        return for_log(foreign(text), foreign_text=self._foreign_text)

    def _received(self, event: Event) -> None:
        """Count the bytes of an object, and abort an association that sends too many."""
        sent = self._sent.get(event.assoc, 0) + len(event.data)
        self._sent[event.assoc] = sent
        if sent > self._settings.object_bytes:
            self._sent[event.assoc] = 0
            _log.warning(
                "%s: an association was aborted: an object is larger than %d bytes (dicom.object_bytes)",
                _peer(event), self._settings.object_bytes,
            )  # fmt: skip
            event.assoc.abort(block=False)


def readable_syntaxes() -> list[UID]:
    """Return the transfer syntaxes whose pixels can be read here; a sender then chooses one of them.

    Decoders of compressed pixels are packages of their own. Deflated objects are not read.
    """
    return [each for each in AllTransferSyntaxes if not each.is_deflated and _decodable(each)]


def _decodable(syntax: UID) -> bool:
    try:
        return has_decoder(syntax)
    except NotImplementedError:
        return False


def read_identity(data: bytes) -> Received | None:
    """Return the UIDs of an object; None where one is missing or no UID.

    Args:
        data: DICOM file.

    Raises:
        pydicom.errors.InvalidDicomError: it is none.
    """
    names = ["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "NumberOfSeriesRelatedInstances"]
    try:
        dataset = dcmread(BytesIO(data), stop_before_pixels=True, specific_tags=[*names])
        uids = [str(dataset.get(name) or "") for name in names[:3]]
        stated = _count(dataset)
    except InvalidDicomError:
        raise
    except Exception as error:  # pydicom raises many kinds on malformed input
        raise InvalidDicomError("the object cannot be read") from error
    if not all(map(UID_FORM.fullmatch, uids)):
        return None
    return Received(uids[0], uids[1], uids[2], stated)


def _count(dataset: Dataset) -> int | None:
    """Return the number of objects of the series, where it is stated as a plausible number."""
    try:
        number = int(dataset.get("NumberOfSeriesRelatedInstances") or 0)
    except (TypeError, ValueError):
        return None
    return number if 0 < number <= MOST_STATED else None


def _server_class(
    settings: DicomSettings, alive: Callable[[], None], refused: Callable[[], None]
) -> type[ThreadedAssociationServer]:
    """Return the class of a server whose connections cannot hold up each other."""
    most = max(settings.associations // 2, 1)

    class Server(ThreadedAssociationServer):
        acceptor = Acceptor(_log)

        def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
            """Accept a connection; its thread does the TLS handshake, at its first reading."""
            connection, address = self.acceptor.accept(cast(socket.socket, self.socket))
            connection.settimeout(_TIMEOUT_S)
            if self.ssl_context is not None:
                connection = self.ssl_context.wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                )
            return connection, address

        def verify_request(self, request: Any, client_address: Any) -> bool:
            """Close connections of other hosts at once, and those by which one would take all places."""
            host = client_address[0]
            if not admitted(host, settings.peers):
                _log.warning("%s: a connection was closed: its host is not in dicom.peers", host)
                refused()
                return False
            same = [each for each in self.active_associations if each.requestor.address == host]
            if len(same) >= most:
                _log.warning(
                    "%s: a connection was closed: its host has %d open (half of dicom.associations)",
                    host,
                    most,
                )
                refused()
                return False
            return True

        def service_actions(self) -> None:
            """Give a sign of life between two connections."""
            super().service_actions()
            alive()

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Log an error of one connection, in place of printing it."""
            _log.exception("%s: the connection failed", client_address[0])

    return Server


def _give_place_back(event: Event) -> None:
    """End an association whose connection has closed before its request, which its thread waits for."""
    if event.assoc.requestor.primitive is None:
        event.assoc.dul.to_user_queue.put(cast(Any, None))


def _peer(event: Event) -> str:
    """Return the address of a sender; its AE title is a text from outside."""
    requestor = event.assoc.requestor
    return host_port(requestor.address, requestor.port)
