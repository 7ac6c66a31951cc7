"""Session of one MRD connection: a thread that receives, and one that sends.

``docs/protocol.md`` states what peers send and expect.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Final

from inline.data.errors import ProtocolError
from inline.data.memory import give_back
from inline.data.pauses import LONGEST_S
from inline.mrd.messages import Close, ConfigFile, ConfigText, Header, Image, Message, Text
from inline.mrd.protocol import Decoder, encode
from inline.serving.configuration import Configuration
from inline.serving.dialect import UNKNOWN, Dialect, Severity
from inline.serving.dialogue import Assemble, Begin, Decision, Dialogue, Forward, Reject, Withhold
from inline.serving.scheduler import Owner
from inline.serving.send_queue import SendQueue
from inline.serving.service import Service
from inline.serving.slices import Slices
from inline.serving.tally import Tally
from inline.serving.transport import Transport

_log = logging.getLogger(__name__)

_SMALL_BYTES: Final = 1 << 20
"""Messages up to this size are received without being counted."""
_TEXTS_AT_ONCE: Final = 256
"""Texts in a row that are taken without a pause; beyond it, a flood slows itself down."""
_TEXT_PAUSE_S: Final = 0.005
_ROOM_POLL_S: Final = 0.1


class Session:
    """Serves one peer.

    Attributes:
        tally: counts of the connection.
    """

    def __init__(
        self,
        transport: Transport,
        service: Service,
        *,
        name: str = "client",
        dialect: Dialect = UNKNOWN,
        configuration: Configuration | None = None,
    ) -> None:
        """Prepare to serve.

        Args:
            transport: bytes from and to the peer; closed in the end.
            service: parts of all sessions.
            name, dialect, configuration: see :class:`Dialogue`.
        """
        self._transport, self._service, self._name = transport, service, name
        self._memory = service.memory.connection()
        publisher = service.publisher
        self._owner = Owner(name, self._memory, lambda: publisher is not None and publisher.subscribed)
        self._queue = SendQueue(service.settings.server.queue_bytes, self._memory)
        self._dialogue = Dialogue(service.settings, name=name, dialect=dialect, configuration=configuration)
        self.tally = Tally()
        self._slices = Slices(service, self._dialogue, self._queue, self._owner, self.tally, self._act)
        self._received = 0
        self._texts = 0

    def run(self, received: bytes = b"") -> Tally:
        """Serve until the peer closes, misbehaves or goes away; never raises for what a peer does.

        ``received`` are bytes that were read from the connection before.
        """
        observers = self._service.observers
        observers.opened(self._name, self.tally)
        try:
            self._serve(received)
        except BaseException:
            self.tally.failed = True
            raise
        finally:
            observers.closed(self._name, self.tally)
        return self.tally

    def _serve(self, received: bytes) -> None:
        start = time.monotonic()
        _log.info("%s connected", self._name)
        sender = threading.Thread(target=self._send, name=f"to {self._name}", daemon=True)
        sender.start()
        try:
            for message in self._messages(received):
                self._take(message)
                del message  # an idle connection holds none
        except ProtocolError as error:
            self.tally.error = str(error)
            _log.warning("%s: %s", self._name, self._dialogue.loggable(error.message))
            self._say(str(error))
        except OSError as error:
            self.tally.error = str(error)
            _log.warning("%s: connection lost: %s", self._name, error)
            self._owner.gone = True
        try:
            self._conclude()
        finally:
            self._queue.close()
            sender.join()  # the transport ends it where the peer takes nothing
            self._release()
            tally = self.tally
            self._transport.close(unread=not (tally.closed or tally.refused))
            counts = (tally.images, tally.slices, tally.results, tally.late, tally.skipped, tally.errors)
            _log.info(
                "%s closed: images=%d slices=%d results=%d late=%d skipped=%d errors=%d seconds=%.1f",
                self._name,
                *counts,
                time.monotonic() - start,
            )

    def abort(self) -> None:
        """End the connection at once, whatever it waits for; from another thread."""
        self.tally.failed = True
        self._queue.close(discard=True)
        self._transport.abort()

    def _messages(self, received: bytes) -> Iterator[Message]:
        """Return the messages until the close; between them, series that wait too long are completed."""
        decoder, patience = Decoder(), self._transport.patience
        data: bytes | None = received
        # Time for which the peer was waited for, in the message that is under way and since its last byte.
        # What it is held back for, while its images wait to be sent, does not count against it.
        started, waited, silent = bool(received), 0.0, 0.0
        while True:
            if data:
                for message in decoder.receive(data):
                    waited = 0.0
                    yield message
                self._wait_for_room(decoder.pending)
                if decoder.closed:
                    self.tally.closed = True
                    if decoder.pending:
                        _log.info("%s: bytes after the close message are dropped", self._name)
                    return
            self._slices.expire()  # after the messages of what was read: they may have come in a pause
            if self._service.shutdown.requested:
                self._report_shutdown(in_message=not decoder.at_boundary)
                return
            if self.tally.refused and self._service.publisher is None:
                return
            # Between messages a scanner may be silent for as long as it likes; a peer that never began, or
            # that is slow in the middle of a message, would hold one of the connections for ever.
            if started and decoder.at_boundary:
                waited = 0.0
            else:
                patience.check_rest(waited, silent, decoder.pending)
            asked = time.monotonic()
            data = self._transport.receive()
            took = min(time.monotonic() - asked, LONGEST_S)  # more is a pause of this process
            waited, silent = waited + took, 0.0 if data else silent + took
            if data:
                started = True
            elif data is not None:
                if not decoder.at_boundary:
                    raise decoder.error("the connection ended in the middle of a message")
                return

    def _take(self, message: Message) -> None:
        """Take a message; an unexpected error of one must not end the stream of those that follow."""
        is_text = isinstance(message, ConfigFile | ConfigText | Header | Text)
        self._texts = self._texts + 1 if is_text else 0
        if self._texts > _TEXTS_AT_ONCE:
            time.sleep(_TEXT_PAUSE_S)
        try:
            if isinstance(message, Image):
                self._slices.arrived(message)
            self._act(self._dialogue.receive(message))
        except (ProtocolError, OSError):
            raise
        except Exception as error:
            self.tally.errors += 1
            _log.exception("%s: a message was not taken", self._name)
            self._say(f"a message could not be taken: {type(error).__name__}")

    def _act(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            match decision:
                case Forward(message):
                    self._queue.put(encode(message), image=isinstance(message, Image))
                case Text():
                    self._queue.put_text(encode(decision))
                case Begin(header):
                    self._slices.begin(header)
                case Withhold():
                    self.tally.withheld += 1
                case Assemble(image):
                    self._slices.add(image)
                case Reject():
                    self.tally.skipped += 1

    def _say(self, problem: str) -> None:
        self._act(self._dialogue.say(problem, Severity.ERROR))

    def _wait_for_room(self, pending: int) -> None:
        """Count a large message; wait while others hold all memory, for no longer than a peer may stall."""
        size = max(pending - _SMALL_BYTES, 0)
        since = time.monotonic()
        while size > self._received and not self._memory.reserve_shared(size - self._received):
            if self._service.shutdown.requested:
                return
            if time.monotonic() - since > self._service.settings.server.stalled_s:
                raise ProtocolError("there is no memory for a large message; send it later")
            time.sleep(_ROOM_POLL_S)
            self._slices.expire()
        self._memory.release(max(self._received - size, 0))
        self._received = size

    def _report_shutdown(self, *, in_message: bool) -> None:
        """Report in log and text that the stream ends before its close, and what is in flight."""
        waiting, in_flight = self._slices.waiting, self.tally.slices - self.tally.results
        report = f"the server stops; {waiting} images waiting in series and {in_flight} slices are in flight"
        if in_message:
            report += ", and a message of which a part has come is lost"
        _log.warning("%s: %s", self._name, report)
        self._say(f"{report}; what is sent from now on is not received")

    def _conclude(self) -> None:
        """Finish the slices, send the summary, then the close."""
        self._slices.finish(early=not self.tally.closed)
        self._slices.wait()
        # A peer that sent neither header nor image asked only whether there is a server.
        if self._dialogue.measurement is not None or self.tally.images:
            self._slices.report()
            try:
                self._slices.summarise()
            except Exception:  # the close must follow whatever becomes of the summary
                _log.exception("%s: the connection could not be summed up", self._name)
        self._queue.close(encode(Close()))  # the ECV of a late slice must not follow it

    def _release(self) -> None:
        """Give back the memory of the connection, except for slices that are still worked on."""
        if dropped := self._queue.texts_dropped:
            _log.warning("%s: %d texts were not sent, since it reads too slowly", self._name, dropped)
        self._queue.close(discard=True)
        self._memory.release(self._received)
        self._owner.end()
        give_back()

    def _send(self) -> None:
        """Send what the queue holds until it is closed."""
        try:
            while (data := self._queue.get()) is not None:
                self._transport.send(data)
                self.tally.returned += self._queue.image
                del data  # nor while it waits for the next
            self._transport.finish()
            return
        except OSError as error:
            # Results still go to ZeroMQ; only this peer gets no more.
            _log.info("%s takes nothing more: %s", self._name, error)
        except Exception:  # whoever waits for room in the queue would wait for ever
            _log.exception("%s: sending failed", self._name)
            self.tally.failed = True
        self.tally.refused = self._owner.gone = True
        self._queue.close(discard=True)
