"""Slices of one connection: from their images to the results that go back, and the summary."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

from inline.assembly.assembled import Assembled
from inline.assembly.assembler import Account, SeriesAssembler
from inline.data.client_text import foreign, message
from inline.data.flags import Flag
from inline.data.results import SliceResult
from inline.data.series import SlicePlace
from inline.emit import mrd
from inline.emit.numbers import SeriesNumbers
from inline.emit.publisher import Publisher
from inline.mrd.header import MeasurementHeader
from inline.mrd.messages import Image
from inline.mrd.protocol import encode
from inline.pipeline import SliceContext
from inline.serving.dialect import Severity
from inline.serving.dialogue import Dialogue, Reply
from inline.serving.in_order import InOrder
from inline.serving.scheduler import Owner, Scheduler
from inline.serving.send_queue import SendQueue
from inline.serving.studies import Studies, Study
from inline.serving.summary import FinalLevel, Summary, final_levels
from inline.settings import Settings

_log = logging.getLogger(__name__)

_TICK_S: Final = 0.25
_MEMORY: Final = (
    "the memory limit of the connection is reached; the oldest series are given up, their images pass on "
    "without a map (the summary counts them)"
)


@dataclass(slots=True)
class Tally:
    """Counts of a connection, and how it ended.

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
    """A result, its encoded images, and why there is none or it cannot be sent."""

    result: SliceResult
    data: bytes
    problem: str


class Slices:
    """Slices of one connection. Results are queued in the order in which their slices were complete.

    One thread calls the methods; results come from the threads of the scheduler.
    """

    def __init__(
        self,
        dialogue: Dialogue,
        queue: SendQueue,
        scheduler: Scheduler,
        owner: Owner,
        tally: Tally,
        *,
        reply: Callable[[Iterable[Reply]], None],
        studies: Studies,
        publisher: Publisher | None,
    ) -> None:
        """Begin without a measurement.

        Args:
            dialogue: of the connection, with its settings.
            queue: takes the results for the peer.
            scheduler: works on the slices.
            owner: the connection, for the scheduler.
            tally: of the connection, kept up to date.
            reply: sends texts to the peer.
            studies: of all connections.
            publisher: where results are published besides, if anywhere.
        """
        self._dialogue, self._queue, self._scheduler, self._owner = dialogue, queue, scheduler, owner
        self._name, self._memory, self._tally, self._reply = owner.name, owner.memory, tally, reply
        self._studies, self._publisher = studies, publisher
        self._program_budget_ms = dialogue.settings.budget_ms
        self._in_flight = dialogue.settings.server.slices_in_flight
        self._free = threading.BoundedSemaphore(self._in_flight)
        self._numbers = SeriesNumbers(dialogue.settings.emit.series_offset)
        self._results = InOrder(self._send)
        self._header = MeasurementHeader()
        self._assembler: SeriesAssembler | None = None
        self._accounts: list[Account] = []
        self._study = Study()
        self._places: list[tuple[Study, SlicePlace]] = []
        self._without_map: set[int] = set()
        self._memory_reported = False

    @property
    def waiting(self) -> int:
        """Images that wait for the rest of their series."""
        return self._assembler.waiting if self._assembler is not None else 0

    def arrived(self, image: Image) -> None:
        """Note an image of the peer: results keep clear of its series number."""
        self._tally.images += 1
        self._numbers.saw(image.header.image_series_index)

    def begin(self, header: MeasurementHeader) -> None:
        """Begin a measurement, after the series of the one before."""
        self.finish()
        self._header = header
        self._study = self._studies.of(header)

    def add(self, image: Image) -> None:
        """Add an image to its series, and work on what it completes."""
        if self._assembler is None:
            self._assembler = SeriesAssembler(self._header, self._dialogue.settings.assembly, self._memory)
        self._assemble(partial(self._assembler.add, image, time.monotonic()))

    def expire(self) -> None:
        """Work on the series that have waited too long for their next image."""
        if self._assembler is not None:
            self._assemble(partial(self._assembler.expire, time.monotonic()))

    def finish(self, *, early: bool = False) -> None:
        """Work on the series that are left of a measurement, and keep its account.

        Args:
            early: the connection ended without a close message.
        """
        if self._assembler is not None:
            self._assemble(partial(self._assembler.finish, early=early))
            self._accounts.append(self._assembler.account())
            self._assembler = None

    def wait(self, stop: Callable[[], bool]) -> None:
        """Wait for the results of all slices, or until ``stop`` returns True."""
        for _ in range(self._in_flight):
            while not self._free.acquire(timeout=_TICK_S):
                if stop():
                    unfinished = self._tally.slices - self._tally.results
                    problem = f"{unfinished} slices were not finished when the server stopped"
                    _log.warning("%s: %s", self._name, problem)
                    self._reply(self._dialogue.say(problem, Severity.ERROR))
                    return

    def summarise(self) -> None:
        """Send, log and publish the account of every image and the final level of every slice."""
        slices: tuple[FinalLevel, ...] = ()
        earlier: tuple[FinalLevel, ...] = ()
        stated = self._dialogue.settings.regions.levels
        for study in dict.fromkeys(study for study, _ in self._places):
            known = study.slices
            own = [place for each, place in self._places if each is study]
            mapped = [
                place
                for number, (each, place) in enumerate(self._places)
                if each is study and number not in self._without_map
            ]
            others = [place for place in known if place.session != self._name]
            slices += final_levels(mapped, (*known, *own), stated)
            earlier += final_levels(others, known, stated)
        tally = self._tally
        summary = Summary.of(self._accounts, tally.images, tally.results, tally.errors, slices, earlier)
        _log.info("%s summary: %s", self._name, summary.text(self._dialogue.loggable))
        self._reply(self._dialogue.say(summary.text()))
        if self._publisher is not None:
            self._publisher.summarise(summary.record(), session=self._name)

    def _assemble(self, step: Callable[[], list[Assembled]]) -> None:
        """Submit every series that a step of the assembly completes, in the order of series and slices."""
        try:
            complete = step()
        except Exception:  # images are forwarded whatever becomes of their maps
            _log.exception("%s: the assembly of series failed", self._name)
            problem = "an image could not be sorted into a series; it has passed on"
            self._reply(self._dialogue.say(problem, Severity.ERROR))
            return
        for assembled in sorted(complete, key=_order):
            self._submit(assembled)
        if self._assembler is not None and self._assembler.refused and not self._memory_reported:
            self._memory_reported = True
            self._reply(self._dialogue.warn(_MEMORY))

    def _submit(self, assembled: Assembled) -> None:
        self._free.acquire()
        self._tally.slices += 1
        ticket, settings = self._results.ticket(), self._dialogue.settings
        number = len(self._places)

        def deliver(result: SliceResult, *, latecomer: bool) -> None:
            """Take a result of the scheduler. A latecomer goes to subscribers alone."""
            if result.map is None and Flag.LATE not in result.flags:
                self._without_map.add(number)
            try:
                if self._publisher is not None:
                    self._publisher.publish(result, session=self._name)
            finally:
                if not latecomer:
                    self._results.redeem(ticket, self._packed(result, assembled, settings))

        place = assembled.slice_place(self._name)
        self._places.append((self._study, place))
        context = SliceContext(settings.mapping.t1_scale, self._study.add(place))
        own_budget = settings.budget_ms if settings.budget_ms != self._program_budget_ms else None
        self._scheduler.submit(assembled, deliver, context, budget_ms=own_budget, owner=self._owner)

    def _packed(self, result: SliceResult, assembled: Assembled, settings: Settings) -> _Packed:
        try:
            images = mrd.images(result, assembled.template, settings.emit, self._numbers)
            data = b"".join(encode(image) for image in images)
            self._memory.take(len(data))  # it may wait for results of slices before it
            return _Packed(result, data, result.error)
        except Exception as error:  # the next result must still go out
            _log.exception("%s: a result could not be made into images", self._name)
            why = message("the result could not be sent: {}: {}", type(error).__name__, foreign(str(error)))
            return _Packed(result, b"", why)

    def _send(self, packed: _Packed) -> None:
        """Queue the images of a result in one piece: nothing comes between map, labels and overlay."""
        result = packed.result
        try:
            late = Flag.LATE in result.flags
            self._tally.late += late
            self._tally.errors += bool(packed.problem)
            _log.info("%s result: %s", self._name, _fields(result))
            identity, loggable = result.identity, self._dialogue.loggable
            # Numbered as in the summary; a replay reads it (inline/replay/run.py).
            name = f"series {identity.series_index} slice {identity.slice_index + 1} ({result.quantity})"
            for note in result.notes:
                _log.info("%s: %s: %s", self._name, name, loggable(note))
            if packed.problem:
                problem = message("{}: {}", name, packed.problem)
                _log.warning("%s: %s", self._name, loggable(problem))
                self._reply(self._dialogue.say(problem, Severity.WARNING if late else Severity.ERROR))
            if packed.data:
                self._queue.put_now(packed.data)
            self._tally.results += 1
        finally:
            self._memory.release(len(packed.data))
            self._free.release()


def _order(assembled: Assembled) -> tuple[int, int]:
    return assembled.identity.series_index, assembled.identity.slice_index


def _fields(result: SliceResult) -> str:
    """Return a result in one line of fields, for the log; nothing of the patient is in it."""
    identity = result.identity
    median = result.regions[0].median if result.regions else None
    return (
        f"series={identity.series_index} slice={identity.slice_index} level={result.level or '-'} "
        f"quantity={result.quantity} median_ms={'-' if median is None else f'{median:.1f}'} "
        f"motion_corrected={'yes' if result.motion_corrected else 'no'} t1_scale={result.t1_scale:g} "
        f"flags={','.join(result.flags) or '-'} stages_ms={sum(result.times_ms.values()):.0f}"
    )
