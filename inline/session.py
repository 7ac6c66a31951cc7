"""One MRD connection from its first message to its close: images pass, slices are worked on, results go back.

``docs/protocol.md`` states what peers send and expect.
"""

from __future__ import annotations

import json
import logging
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Final
from xml.etree import ElementTree

from inline.assembly.assembler import Assembled, SeriesAssembler
from inline.emit import mrd
from inline.emit.numbers import SeriesNumbers
from inline.emit.publisher import Publisher
from inline.errors import ProtocolError
from inline.flags import Flag
from inline.mrd.header import MeasurementHeader, parse_header
from inline.mrd.messages import (
    Acquisition,
    Close,
    ConfigFile,
    ConfigText,
    Header,
    Image,
    Message,
    Text,
    Waveform,
)
from inline.mrd.protocol import Decoder, encode
from inline.outbox import Outbox
from inline.processor import Processor
from inline.results import SliceResult
from inline.settings import Settings

_log = logging.getLogger(__name__)

_RECEIVE_BYTES: Final = 1 << 20
_TICK_S: Final = 0.25


class Configuration(StrEnum):
    """What a client can ask for by name."""

    MAPPING = "mapping"
    PASSTHROUGH = "passthrough"


@dataclass(slots=True)
class Tally:
    """What came and went on a connection."""

    images: int = 0
    slices: int = 0
    results: int = 0
    late: int = 0
    skipped: int = 0
    error: str = ""


class Session:
    """Serves one connected socket."""

    def __init__(
        self,
        connection: socket.socket,
        processor: Processor,
        settings: Settings,
        *,
        name: str = "client",
        publisher: Publisher | None = None,
        stopping: threading.Event | None = None,
        owned: bool = True,
    ) -> None:
        """Prepare to serve.

        Args:
            connection: connected.
            processor: shared by all sessions.
            settings: of the server.
            name: of the peer, for the log.
            publisher: where results are published besides, if anywhere.
            stopping: set when the program is to end; the session then finishes what is in flight.
            owned: say that nothing more comes and close the connection at the end; else leave both to the
                caller.
        """
        self._connection = connection
        self._processor = processor
        self._settings = settings
        self._name = name
        self._publisher = publisher
        self._stopping = stopping or threading.Event()
        self._owned = owned
        self._in_chain = False
        self._takes_texts = False
        self._configuration = Configuration.MAPPING
        self._assembler: SeriesAssembler | None = None
        self._closed = False
        self._told_of_raw_data = False
        self._outbox = Outbox(settings.server.queue_bytes)
        self._numbers = SeriesNumbers(settings.emit.series_offset)
        self._free = threading.BoundedSemaphore(settings.server.slices_in_flight)
        self.tally = Tally()

    def run(self, received: bytes = b"") -> Tally:
        """Serve until the peer closes, misbehaves or goes away; never raises for what a peer does.

        Args:
            received: bytes that were read from the connection before.
        """
        send_timeout = self._settings.server.stalled_s
        self._connection.settimeout(None)
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, seconds in ((socket.SO_RCVTIMEO, _TICK_S), (socket.SO_SNDTIMEO, send_timeout)):
            whole = int(seconds)
            micros = int((seconds - whole) * 1e6)
            self._connection.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", whole, micros))
        if self._connection.family in (socket.AF_INET, socket.AF_INET6):
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        start = time.monotonic()
        _log.info("%s connected", self._name)
        writer = threading.Thread(target=self._write, name=f"to {self._name}", daemon=True)
        writer.start()
        try:
            for message in self._messages(received):
                self._take(message)
        except ProtocolError as error:
            self.tally.error = str(error)
            _log.warning("%s: %s", self._name, error)
            self._tell(f"myostream: {error}")
        except OSError as error:
            self.tally.error = str(error)
            _log.warning("%s: connection lost: %s", self._name, error)
        try:
            self._conclude()
        finally:
            self._outbox.close()
            writer.join(timeout=send_timeout + 5.0)
            if self._owned:
                self._connection.close()
            tally = self.tally
            _log.info(
                "%s closed: images=%d slices=%d results=%d late=%d skipped=%d seconds=%.1f",
                self._name,
                tally.images,
                tally.slices,
                tally.results,
                tally.late,
                tally.skipped,
                time.monotonic() - start,
            )
        return self.tally

    def _messages(self, received: bytes) -> Iterator[Message]:
        """Messages until the close; between them, series that wait too long are taken as they are."""
        decoder = Decoder()
        data = received
        started, heard = bool(received), time.monotonic()
        while not decoder.closed:
            if data:
                yield from decoder.receive(data)
                if decoder.closed:
                    self._closed = True
                    return
            if self._stopping.is_set():
                return
            try:
                data = self._connection.recv(_RECEIVE_BYTES)
                if not data:
                    if not decoder.at_boundary:
                        raise ProtocolError("the connection ended in the middle of a message")
                    return
                started, heard = True, time.monotonic()
            except (BlockingIOError, InterruptedError):
                data = b""
                # Between messages a scanner may be silent for as long as it likes; a peer that never began,
                # or stopped in the middle of a message, would hold one of the connections for ever.
                if not (started and decoder.at_boundary):
                    self._check_silence(time.monotonic() - heard)
            if self._assembler is not None:
                self._assemble(partial(self._assembler.expire, time.monotonic()))

    def _check_silence(self, seconds: float) -> None:
        limit = self._settings.server.stalled_s
        if seconds > limit:
            raise ProtocolError(f"the rest of a message did not come within {limit:g} s")

    def _take(self, message: Message) -> None:
        match message:
            case Image():
                self.tally.images += 1
                self._numbers.saw(message.header.image_series_index)
                self._outbox.put(encode(message))
                if self._configuration is Configuration.MAPPING:
                    self._assemble(partial(self._series().add, message, time.monotonic()))
            case ConfigFile(name):
                # Whoever names a file is an MRD client, with a person before it.
                self._takes_texts = True
                self._configure(name)
            case ConfigText(text):
                self._configure_by_text(text)
            case Header(xml):
                self._assembler = SeriesAssembler(self._header(xml), self._settings.assembly)
            case Text(text):
                self._configure_by_parameters(text)
            case Acquisition() | Waveform():
                if self._in_chain:
                    self._outbox.put(encode(message))
                else:
                    self._skip(message)
            case Close():
                pass

    def _skip(self, message: Acquisition | Waveform) -> None:
        self.tally.skipped += 1
        if isinstance(message, Acquisition) and not self._told_of_raw_data:
            self._told_of_raw_data = True
            self._tell("myostream: raw data is not reconstructed here; send images")

    def _header(self, xml: str) -> MeasurementHeader:
        try:
            return parse_header(xml)
        except ProtocolError as error:
            # Clients that have no header send a line of text in its place.
            _log.info("%s: no MRD header (%s); going on without one", self._name, error)
            if xml.lstrip().startswith("<"):
                self._tell(f"myostream: {error}; the images are taken without a header")
            return MeasurementHeader()

    def _configure(self, name: str) -> None:
        """Take a configuration by its name alone: nothing that a client names is ever imported or opened."""
        wanted = name.strip().removesuffix(".xml")
        try:
            self._configuration = Configuration(wanted)
        except ValueError:
            self._configuration = Configuration.MAPPING
            known = ", ".join(Configuration)
            _log.info("%s: unknown configuration %r, taking mapping", self._name, wanted[:80])
            self._tell(f"myostream: there is no configuration {wanted[:80]!r} ({known}); mapping is used")

    def _configure_by_text(self, text: str) -> None:
        """A configuration sent as text: a name, JSON parameters, or Gadgetron's XML."""
        stripped = text.strip()
        if stripped in list(Configuration):
            self._configure(stripped)
        elif stripped.startswith("{"):
            self._configure_by_parameters(stripped)
        elif stripped.startswith("<") and "<!" not in stripped:
            # Gadgetron opens with XML. Its chain wants raw data and waveforms to go on, and takes no texts.
            self._in_chain = True
            try:
                element = ElementTree.fromstring(stripped).find(".//myostream")
            except ElementTree.ParseError:
                return
            if element is not None and element.get("config"):
                self._configure(element.get("config", ""))

    def _configure_by_parameters(self, text: str) -> None:
        """Take ``{"parameters": {"config": NAME, "customconfig": NAME}}``, as scanners send after the header.

        ``customconfig``, where it is not empty, goes before ``config``. Other texts are logged.
        """
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            _log.info("%s says: %r", self._name, text[:200])
            return
        parameters = content.get("parameters") if isinstance(content, dict) else None
        if not isinstance(parameters, dict):
            return
        for name in (parameters.get("customconfig"), parameters.get("config")):
            if isinstance(name, str) and name.strip():
                self._configure(name)
                return

    def _series(self) -> SeriesAssembler:
        if self._assembler is None:
            self._assembler = SeriesAssembler(MeasurementHeader(), self._settings.assembly)
        return self._assembler

    def _assemble(self, step: Callable[[], list[Assembled]]) -> None:
        """Work on every series that a step of the assembly completes."""
        try:
            ready = step()
        except Exception:  # images pass on whatever becomes of their maps
            _log.exception("%s: the assembly of series failed", self._name)
            self._tell("myostream: an image could not be sorted into a series; it has passed on")
            return
        for assembled in ready:
            self._submit(assembled)

    def _submit(self, assembled: Assembled) -> None:
        self._free.acquire()
        self.tally.slices += 1

        def deliver(result: SliceResult, *, latecomer: bool) -> None:
            self._deliver(assembled, result, latecomer=latecomer)

        self._processor.submit(assembled, deliver)

    def _deliver(self, assembled: Assembled, result: SliceResult, *, latecomer: bool) -> None:
        """Queue what goes back for a slice; called from a worker. A latecomer goes to subscribers alone."""
        if self._publisher is not None:
            self._publisher.publish(result, session=self._name)
        if latecomer:
            return
        try:
            self.tally.late += Flag.LATE in result.flags
            _log.info("%s result: %s", self._name, _summary(result))
            if result.error:
                _log.warning("%s: slice %d: %s", self._name, result.identity.slice_index, result.error)
                self._tell(f"myostream: slice {result.identity.slice_index}: {result.error}")
            # In one piece: another worker's slice must not come between map, labels and overlay.
            sent = mrd.images(result, assembled.template, self._settings.emit, self._numbers)
            self._outbox.put_now(b"".join(encode(image) for image in sent))
            self.tally.results += 1
        finally:
            self._free.release()

    def _tell(self, text: str) -> None:
        """Say something to the person behind the client, where the client takes texts."""
        if self._takes_texts:
            self._outbox.put_now(encode(Text(text)))

    def _conclude(self) -> None:
        """Work on what is left, wait for what is in flight, say that nothing more comes."""
        if self._assembler is not None:
            self._assemble(partial(self._assembler.finish, early=not self._closed))
        for _ in range(self._settings.server.slices_in_flight):
            self._free.acquire()
        if self._owned:
            self._outbox.put_now(encode(Close()))

    def _write(self) -> None:
        try:
            while (data := self._outbox.get()) is not None:
                self._connection.sendall(data)
            if self._owned:
                self._connection.shutdown(socket.SHUT_WR)
        except OSError as error:
            # Results still go to ZeroMQ; only this peer gets no more.
            _log.info("%s takes nothing more: %s", self._name, error)
            self._outbox.close(discard=True)


def _summary(result: SliceResult) -> str:
    """A result in one line of fields, for the log; nothing of the patient is in it."""
    identity = result.identity
    ring = result.regions[0] if result.regions else None
    return (
        f"series={identity.series_index} slice={identity.slice_index} quantity={result.quantity} "
        f"median_ms={f'{ring.median:.1f}' if ring else '-'} flags={','.join(result.flags) or '-'} "
        f"stages_ms={sum(result.times_ms.values()):.0f}"
    )
