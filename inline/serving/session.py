"""One MRD connection from its first message to its close: images pass, slices are worked on, results go back.

``docs/protocol.md`` states what peers send and expect.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from inline.assembly.assembled import Assembled
from inline.assembly.assembler import Account, SeriesAssembler
from inline.data.client_text import for_log, foreign, message
from inline.data.errors import ProtocolError
from inline.data.flags import Flag
from inline.data.memory import MemoryBudget, give_back
from inline.data.results import SliceResult
from inline.data.series import SlicePlace
from inline.emit import mrd
from inline.emit.numbers import SeriesNumbers
from inline.emit.originals import returned
from inline.emit.publisher import Publisher
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
from inline.mrd.text import parse_xml
from inline.pipeline import SliceContext
from inline.serving.configuration import Configuration
from inline.serving.dialect import CHAIN, CLIENT, UNKNOWN, Dialect, Severity
from inline.serving.examinations import Examination
from inline.serving.in_order import InOrder
from inline.serving.parameters import PARAMETERS, read_parameters, with_parameters
from inline.serving.scheduler import Owner, Processor
from inline.serving.send_queue import Outbox
from inline.serving.shutdown import Shutdown
from inline.serving.summary import FinalLevel, Summary, final_levels
from inline.serving.transport import Transport
from inline.settings import Settings

_log = logging.getLogger(__name__)

_TICK_S: Final = 0.25
_CONFIGURATION_KEYS: Final = ("customconfig", "config")


_SMALL_BYTES: Final = 1 << 20
"""Messages up to this size are received without being counted."""
_TEXTS_AT_ONCE: Final = 256
"""So many texts in a row are taken as they come, further ones with a pause each: a flood holds up itself."""
_TEXT_PAUSE_S: Final = 0.005


@dataclass(slots=True)
class Tally:
    """What came and went on a connection.

    Attributes:
        closed: the peer ended the stream with a close message.
        refused: the peer took nothing more before the end.
        error: why the stream broke off, or empty.
    """

    images: int = 0
    slices: int = 0
    results: int = 0
    errors: int = 0
    late: int = 0
    skipped: int = 0
    closed: bool = False
    refused: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class _Packed:
    """A result with the bytes that go back for it, and what is to be said of it."""

    result: SliceResult
    data: bytes
    problem: str


class Session:
    """Serves one peer."""

    def __init__(
        self,
        transport: Transport,
        processor: Processor,
        settings: Settings,
        *,
        name: str = "client",
        publisher: Publisher | None = None,
        shutdown: Shutdown | None = None,
        dialect: Dialect = UNKNOWN,
        configuration: Configuration | None = None,
        memory: MemoryBudget | None = None,
    ) -> None:
        """Prepare to serve.

        Args:
            transport: bytes from and to the peer; closed in the end.
            processor: shared by all sessions.
            settings: of the program; a client's parameters change this session's copy alone.
            name: of the peer, for the log.
            publisher: where results are published besides, if anywhere.
            shutdown: when it is requested, the session finishes what is in flight.
            dialect: of the peer, where it is known; else the peer's first message tells.
            configuration: in place of what the peer asks for.
            memory: of all sessions; None for one of its own, by the settings.
        """
        self._transport = transport
        self._processor = processor
        self._settings = settings
        self._program_budget_ms = settings.budget_ms
        self._name = name
        self._publisher = publisher
        self._shutdown = shutdown or Shutdown()
        self._dialect = dialect
        self._dialect_fixed = dialect is not UNKNOWN
        self._header_due = dialect.header
        self._configuration = configuration or Configuration.MAPPING
        self._configuration_fixed = configuration is not None
        self._measurement: MeasurementHeader | None = None
        self._assembler: SeriesAssembler | None = None
        self._accounts: list[Account] = []
        self._examination = Examination()
        self._shown: list[tuple[Examination, SlicePlace]] = []
        self._told_of_raw_data = False
        self._memory = (memory or budget_of(settings)).connection()
        self._owner = Owner(name, self._memory, lambda: publisher is not None and publisher.subscribed)
        self._told_of_memory = False
        self._received = 0
        self._texts = 0
        self._outbox = Outbox(settings.server.queue_bytes, self._memory)
        self._numbers = SeriesNumbers(settings.emit.series_offset)
        self._free = threading.BoundedSemaphore(settings.server.slices_in_flight)
        self._results = InOrder(self._send_result)
        self.tally = Tally()

    def run(self, received: bytes = b"") -> Tally:
        """Serve until the peer closes, misbehaves or goes away; never raises for what a peer does.

        Args:
            received: bytes that were read from the connection before.
        """
        start = time.monotonic()
        _log.info("%s connected", self._name)
        writer = threading.Thread(target=self._write, name=f"to {self._name}", daemon=True)
        writer.start()
        try:
            for message in self._messages(received):
                self._take_safely(message)
                del message  # an idle connection holds none
        except ProtocolError as error:
            self.tally.error = str(error)
            _log.warning("%s: %s", self._name, self._loggable(error.message))
            self._tell(str(error), Severity.ERROR)
        except OSError as error:
            self.tally.error = str(error)
            _log.warning("%s: connection lost: %s", self._name, error)
            self._owner.gone = True
        try:
            self._conclude()
        finally:
            self._outbox.close()
            writer.join()  # the transport ends it where the peer takes nothing
            self._release()
            tally = self.tally
            self._transport.close(unread=not (tally.closed or tally.refused))
            _log.info(
                "%s closed: images=%d slices=%d results=%d late=%d skipped=%d errors=%d seconds=%.1f",
                self._name,
                tally.images,
                tally.slices,
                tally.results,
                tally.late,
                tally.skipped,
                tally.errors,
                time.monotonic() - start,
            )
        return self.tally

    def abort(self) -> None:
        """End the connection at once, whatever it waits for; from another thread."""
        self._outbox.close(discard=True)
        self._transport.abort()

    def _messages(self, received: bytes) -> Iterator[Message]:
        """Messages until the close; between them, series that wait too long are taken as they are."""
        decoder, patience = Decoder(), self._transport.patience
        data: bytes | None = received
        # Time for which the peer was waited for, in the message that is under way and since its last byte.
        # What it is held back for, while its images wait to be sent, does not count against it.
        started, waited, silent = bool(received), 0.0, 0.0
        while not decoder.closed:
            if data:
                for message in decoder.receive(data):
                    waited = 0.0
                    yield message
                self._wait_for_room(decoder.pending)
                if decoder.closed:
                    self.tally.closed = True
                    return
            if self._shutdown.requested:
                self._say_that_it_stops(in_message=not decoder.at_boundary)
                return
            if self.tally.refused and self._publisher is None:
                return
            # Between messages a scanner may be silent for as long as it likes; a peer that never began, or
            # that is slow in the middle of a message, would hold one of the connections for ever.
            if started and decoder.at_boundary:
                waited = 0.0
            elif patience is not None:
                patience.check_rest(waited, silent, decoder.pending)
            asked = time.monotonic()
            data = self._transport.receive()
            took = time.monotonic() - asked
            waited, silent = waited + took, 0.0 if data else silent + took
            if data:
                started = True
            elif data is not None:
                if not decoder.at_boundary:
                    raise ProtocolError("the connection ended in the middle of a message")
                return
            if self._assembler is not None:
                self._assemble(partial(self._assembler.expire, time.monotonic()))

    def _release(self) -> None:
        """Give back what the connection holds, but for slices that are still worked on."""
        if self._outbox.texts_dropped:
            _log.warning(
                "%s: %d texts were not sent, since it reads too slowly",
                self._name,
                self._outbox.texts_dropped,
            )
        self._outbox.close(discard=True)
        self._memory.release(self._received)
        give_back()

    def _wait_for_room(self, pending: int) -> None:
        """Wait while other connections hold all of the memory, for no longer than a peer may stall."""
        since = time.monotonic()
        while not self._has_room(pending) and not self._shutdown.requested:
            if time.monotonic() - since > self._settings.server.stalled_s:
                raise ProtocolError("there is no memory for a large message; send it later")
            time.sleep(0.1)
            if self._assembler is not None:
                self._assemble(partial(self._assembler.expire, time.monotonic()))

    def _has_room(self, buffered: int) -> bool:
        """Count the message that is being received, where it is large."""
        size = max(buffered - _SMALL_BYTES, 0)
        if size > self._received and not self._memory.reserve_shared(size - self._received):
            return False
        self._memory.release(max(self._received - size, 0))
        self._received = size
        return True

    def _say_that_it_stops(self, *, in_message: bool) -> None:
        """Say in log and text that the stream ends before its close, and what is in flight."""
        images = self._assembler.waiting if self._assembler is not None else 0
        slices = self.tally.slices - self.tally.results
        said = f"the server stops; {images} images waiting in series and {slices} slices are in flight"
        if in_message:
            said += ", and a message of which a part has come is lost"
        _log.warning("%s: %s", self._name, said)
        self._tell(f"{said}; what is sent from now on is not received", Severity.ERROR)

    def _take_safely(self, message: Message) -> None:
        """Take a message; a bug that one message meets must not end the stream of those that follow."""
        try:
            self._take(message)
        except (ProtocolError, OSError):
            raise
        except Exception as error:
            self.tally.errors += 1
            _log.exception("%s: a message was not taken", self._name)
            self._tell(f"a message could not be taken: {type(error).__name__}", Severity.ERROR)

    def _take(self, message: Message) -> None:
        self._texts = self._texts + 1 if isinstance(message, ConfigFile | ConfigText | Header | Text) else 0
        if self._texts > _TEXTS_AT_ONCE:
            time.sleep(_TEXT_PAUSE_S)
        match message:
            case Image():
                self._pass_on(message)
                if self._configuration is Configuration.MAPPING:
                    self._assemble(partial(self._series().add, message, time.monotonic()))
            case ConfigFile(name):
                # Whoever names a file is an MRD client.
                self._recognise(CLIENT)
                self._configure(name)
            case ConfigText(text):
                self._configure_by_text(text.strip())
            case Header(xml):
                if self._header_due:
                    self._header_due = False
                    self._outbox.put(encode(message))
                self._begin(self._header(xml))
            case Text(text):
                if self._dialect is UNKNOWN:
                    self._recognise(CLIENT)
                self._configure_by_parameters(text.strip())
            case Acquisition() | Waveform():
                if self._dialect.raw:
                    self._header_due = False
                    self._outbox.put(encode(message))
                else:
                    self._skip(message)
            case Close():
                pass

    def _recognise(self, dialect: Dialect) -> None:
        if not self._dialect_fixed:
            self._dialect = dialect

    def _pass_on(self, image: Image) -> None:
        self.tally.images += 1
        self._header_due = False
        self._numbers.saw(image.header.image_series_index)
        originals = self._settings.emit.originals
        if originals == "none" and self._configuration is Configuration.PASSTHROUGH:
            originals = "as-is"
        back: Image | None = image
        try:
            back = returned(image, originals)
        except Exception:  # an image passes whatever is in its attributes
            _log.exception("%s: the attributes of an image were not changed", self._name)
        if back is not None:
            self._outbox.put(encode(back))

    def _begin(self, measurement: MeasurementHeader) -> None:
        """Take the header for the images that follow; what waits belongs to the one before."""
        if measurement == self._measurement:
            return
        self._end_assembly()
        self._measurement = measurement
        self._examination = self._processor.examinations.of(measurement)

    def _skip(self, message: Acquisition | Waveform) -> None:
        self.tally.skipped += 1
        if isinstance(message, Acquisition) and not self._told_of_raw_data:
            self._told_of_raw_data = True
            self._tell("raw data is not reconstructed here; send images", Severity.ERROR)

    def _header(self, xml: str) -> MeasurementHeader:
        try:
            return parse_header(xml)
        except ProtocolError as error:
            # Clients that have no header send a line of text in its place.
            _log.info(
                "%s: no MRD header (%s); going on without one", self._name, self._loggable(error.message)
            )
            if xml.lstrip().startswith("<"):
                self._tell(f"{error}; the images are taken without a header", Severity.WARNING)
            return MeasurementHeader()

    def _configure(self, name: str) -> None:
        """Take a configuration by its name alone: nothing that a client names is ever imported or opened."""
        if self._configuration_fixed:
            return
        wanted = name.strip().removesuffix(".xml")
        try:
            self._configuration = Configuration(wanted)
        except ValueError:
            self._configuration = Configuration.MAPPING
            known = ", ".join(Configuration)
            named = foreign(wanted, shown=repr(wanted[:80]))
            self._report(message("there is no configuration {} ({}); mapping is used", named, known))

    def _configure_by_text(self, text: str) -> None:
        """Take a configuration sent as text: a name, JSON parameters, or Gadgetron's XML."""
        if text in list(Configuration):
            self._recognise(CLIENT)
            self._configure(text)
        elif text.startswith("{"):
            self._recognise(CLIENT)
            self._configure_by_parameters(text)
        elif text.startswith("<"):
            # Gadgetron opens with XML. Its chain wants raw data and waveforms to go on and takes no texts; an
            # RGB image ends its DICOM writer.
            self._recognise(CHAIN)
            if self._dialect is CHAIN:
                self._settings, _ = with_parameters(self._settings, {"overlay": False})
            self._configure_by_xml(text)
        else:
            _log.warning(
                "%s: a configuration text that is neither name, JSON nor XML is not read", self._name
            )

    def _configure_by_xml(self, text: str) -> None:
        try:
            element = parse_xml(text, "the configuration").find(".//myostream")
        except ProtocolError as error:
            self._report(error.message)
            return
        if element is not None:
            self._set(dict(element.attrib))

    def _configure_by_parameters(self, text: str) -> None:
        """Take JSON parameters, as scanners send them after the header; any other text is logged alone."""
        if not text.startswith(("{", "[")):
            _log.info("%s says: %s", self._name, self._loggable(foreign(text)))
            return
        try:
            self._set(read_parameters(text))
        except ProtocolError as error:
            self._report(error.message)

    def _set(self, given: Mapping[str, object]) -> None:
        """Take configuration and parameters; ``customconfig``, where not empty, goes before ``config``."""
        for key in _CONFIGURATION_KEYS:
            name = given.get(key, "")
            if not isinstance(name, str):
                self._report(f"parameter {key} is no text")
            elif name.strip():
                self._configure(name)
                break
        rest = {name: value for name, value in given.items() if name not in _CONFIGURATION_KEYS}
        settings, problems = with_parameters(self._settings, rest)
        if self._assembler is not None and settings.assembly != self._settings.assembly:
            settings = settings.model_copy(update={"assembly": self._settings.assembly})
            problems.append("parameter motion came after the first image; send it before")
        for problem in problems:
            self._report(problem)
        if settings != self._settings:
            _log.info("%s sets %s", self._name, ", ".join(name for name in rest if name in PARAMETERS))
        self._settings = settings

    def _series(self) -> SeriesAssembler:
        if self._assembler is None:
            self._assembler = SeriesAssembler(
                self._measurement or MeasurementHeader(), self._settings.assembly, self._memory
            )
        return self._assembler

    def _assemble(self, step: Callable[[], list[Assembled]]) -> None:
        """Work on every series that a step of the assembly completes, in the order of series and slices."""
        try:
            ready = step()
        except Exception:  # images pass on whatever becomes of their maps
            _log.exception("%s: the assembly of series failed", self._name)
            self._tell("an image could not be sorted into a series; it has passed on", Severity.ERROR)
            return
        for assembled in sorted(ready, key=_place):
            self._submit(assembled)
        if self._assembler is not None and self._assembler.refused and not self._told_of_memory:
            self._told_of_memory = True
            self._report(
                "the memory limit of the connection is reached; the oldest series are given up, their images "
                "pass on without a map (the summary counts them)"
            )

    def _end_assembly(self, *, early: bool = False) -> None:
        """Work on what is left of the assembly, and keep its account."""
        if self._assembler is not None:
            self._assemble(partial(self._assembler.finish, early=early))
            self._accounts.append(self._assembler.account())
            self._assembler = None

    def _submit(self, assembled: Assembled) -> None:
        self._free.acquire()
        self.tally.slices += 1
        ticket, settings = self._results.ticket(), self._settings

        def deliver(result: SliceResult, *, latecomer: bool) -> None:
            """Take a result from a worker. A latecomer goes to subscribers alone."""
            try:
                if self._publisher is not None:
                    self._publisher.publish(result, session=self._name)
            finally:
                if not latecomer:
                    self._results.redeem(ticket, self._packed(result, assembled, settings))

        place = assembled.slice_place(self._name)
        shown = self._examination.show(place)
        self._shown.append((self._examination, place))
        context = SliceContext(settings.mapping.t1_scale, shown)
        own_budget = settings.budget_ms if settings.budget_ms != self._program_budget_ms else None
        self._processor.submit(assembled, deliver, context, budget_ms=own_budget, owner=self._owner)

    def _packed(self, result: SliceResult, assembled: Assembled, settings: Settings) -> _Packed:
        try:
            sent = mrd.images(result, assembled.template, settings.emit, self._numbers)
            data = b"".join(encode(image) for image in sent)
            self._memory.take(len(data))  # it may wait for results of slices before it
            return _Packed(result, data, result.error)
        except Exception as error:  # the next result must still go out
            _log.exception("%s: a result could not be made into images", self._name)
            why = message("the result could not be sent: {}: {}", type(error).__name__, foreign(str(error)))
            return _Packed(result, b"", why)

    def _send_result(self, packed: _Packed) -> None:
        """Queue what goes back for a slice, in one piece: nothing comes between map, labels and overlay."""
        result = packed.result
        try:
            late = Flag.LATE in result.flags
            self.tally.late += late
            self.tally.errors += bool(packed.problem)
            _log.info("%s result: %s", self._name, _fields(result))
            for note in result.notes:
                _log.info("%s: slice %d: %s", self._name, result.identity.slice_index, self._loggable(note))
            if packed.problem:
                said = message("slice {}: {}", result.identity.slice_index, packed.problem)
                _log.warning("%s: %s", self._name, self._loggable(said))
                self._tell(said, Severity.WARNING if late else Severity.ERROR)
            if packed.data:
                self._outbox.put_now(packed.data)
            self.tally.results += 1
        finally:
            self._memory.release(len(packed.data))
            self._free.release()

    def _report(self, problem: str) -> None:
        """Say in log and text what of a client's wishes is not done."""
        _log.warning("%s: %s", self._name, self._loggable(problem))
        self._tell(problem, Severity.WARNING)

    def _loggable(self, text: str) -> str:
        """The form of a text for the log, which by default holds nothing that a client sent."""
        return for_log(text, foreign_text=self._settings.log.foreign_text)

    def _tell(self, text: str, severity: Severity = Severity.NORMAL) -> None:
        """Say something to the person behind the client, where the client takes texts."""
        if self._dialect.texts:
            self._outbox.put_text(encode(Text(f"{severity} myostream: {text}")))

    def _conclude(self) -> None:
        """Work on what is left, wait for what is in flight, sum up, say that nothing more comes."""
        self._end_assembly(early=not self.tally.closed)
        self._wait_for_slices()
        # A peer that sent neither header nor image asked only whether there is a server.
        if self._measurement is not None or self.tally.images:
            try:
                self._summarise()
            except Exception:  # the close must follow whatever becomes of the summary
                _log.exception("%s: the connection could not be summed up", self._name)
        self._outbox.put_now(encode(Close()))

    def _wait_for_slices(self) -> None:
        """Wait for the slices in flight, for as long as the end of the program allows."""
        for _ in range(self._settings.server.slices_in_flight):
            while not self._free.acquire(timeout=_TICK_S):
                if self._shutdown.parting:
                    unfinished = self.tally.slices - self.tally.results
                    said = f"{unfinished} slices were not finished when the server stopped"
                    _log.warning("%s: %s", self._name, said)
                    self._tell(said, Severity.ERROR)
                    return

    def _summarise(self) -> None:
        """Send, log and publish the account of every image and the final level of every slice."""
        slices: tuple[FinalLevel, ...] = ()
        earlier: tuple[FinalLevel, ...] = ()
        stated = self._settings.regions.levels
        for examination in dict.fromkeys(each for each, _ in self._shown):
            shown = examination.shown
            own = [place for each, place in self._shown if each is examination]
            others = [place for place in shown if place.session != self._name]
            slices += final_levels(own, (*shown, *own), stated)
            earlier += final_levels(others, shown, stated)
        tally = self.tally
        summary = Summary.of(self._accounts, tally.images, tally.results, tally.errors, slices, earlier)
        _log.info("%s summary: %s", self._name, summary.text(self._loggable))
        self._tell(summary.text())
        if self._publisher is not None:
            self._publisher.summarise(summary.record(), session=self._name)

    def _write(self) -> None:
        try:
            while (data := self._outbox.get()) is not None:
                self._transport.send(data)
                del data  # nor while it waits for the next
            self._transport.finish()
        except OSError as error:
            # Results still go to ZeroMQ; only this peer gets no more.
            _log.info("%s takes nothing more: %s", self._name, error)
            self._give_up_sending()
        except Exception:  # whoever waits for room in the outbox would wait for ever
            _log.exception("%s: sending failed", self._name)
            self._give_up_sending()

    def _give_up_sending(self) -> None:
        self.tally.refused = self._owner.gone = True
        self._outbox.close(discard=True)


def budget_of(settings: Settings) -> MemoryBudget:
    """Return the memory budget that the settings ask for."""
    server = settings.server
    return MemoryBudget(server.memory_bytes, server.connection_bytes, server.connections)


def _place(assembled: Assembled) -> tuple[int, int]:
    return assembled.identity.series_index, assembled.identity.slice_index


def _fields(result: SliceResult) -> str:
    """A result in one line of fields, for the log; nothing of the patient is in it."""
    identity = result.identity
    median = result.regions[0].median if result.regions else None
    return (
        f"series={identity.series_index} slice={identity.slice_index} level={result.level or '-'} "
        f"quantity={result.quantity} median_ms={'-' if median is None else f'{median:.1f}'} "
        f"motion_corrected={'yes' if result.motion_corrected else 'no'} t1_scale={result.t1_scale:g} "
        f"flags={','.join(result.flags) or '-'} stages_ms={sum(result.times_ms.values()):.0f}"
    )
