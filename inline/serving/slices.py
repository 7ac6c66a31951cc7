"""Slices of one connection: from their images to the results that go back, and the summary."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from typing import Final

from inline.assembly.account import Account
from inline.assembly.assembled import Assembled
from inline.assembly.assembler import SeriesAssembler
from inline.data.client_text import foreign, message
from inline.data.examination import EcvResult
from inline.data.flags import Flag
from inline.data.pauses import Pauses
from inline.data.results import SliceResult
from inline.data.series import Quantity, SlicePlace
from inline.emit import mrd
from inline.emit.ecv import ecv_images
from inline.emit.numbers import SeriesNumbers
from inline.emit.record import ecv_region_record, printed
from inline.mrd.header import Identities, MeasurementHeader
from inline.mrd.messages import Image, Text
from inline.mrd.protocol import encode
from inline.pipeline import SliceContext
from inline.serving.dialect import Severity
from inline.serving.dialogue import Dialogue
from inline.serving.observers import Delivery, EcvDelivery, FinalLevels
from inline.serving.report import Reports
from inline.serving.result_line import log_result
from inline.serving.scheduler import Owner
from inline.serving.send_queue import InOrder, SendQueue
from inline.serving.service import Service
from inline.serving.studies import Study, same_patient
from inline.serving.summary import FinalLevel, Summary, final_levels, slice_name
from inline.serving.tally import Tally
from inline.settings import Settings

_log = logging.getLogger(__name__)

_TICK_S: Final = 0.25
_MOST_SLICES: Final = 4096
"""Slices of a connection whose final level is stated; the last ones count."""
_MEMORY: Final = (
    "the memory limit of the connection is reached; the oldest series are given up, their images pass on "
    "without a map (the summary counts them)"
)

_LATE_ECV: Final = (
    "{}; its images were not sent: a slice of the pair missed its budget, and the connection ended before "
    "its result. Send the series again, with a longer budget_ms"
)


@dataclass(slots=True)
class _Slice:
    """Slice of a connection.

    Attributes:
        study, place: of the slice.
        mapped: its result has a map, as far as it is known.
        stated: flags, and stages whose times, that the earlier delivery stated.
    """

    study: Study
    place: SlicePlace
    mapped: bool = True
    stated: frozenset[str] = frozenset()


class Slices:
    """Slices of one connection. Results are queued in the order in which their slices were complete.

    One thread calls the methods; results come from the threads of the scheduler.
    """

    def __init__(
        self,
        service: Service,
        dialogue: Dialogue,
        queue: SendQueue,
        owner: Owner,
        tally: Tally,
        reply: Callable[[Iterable[Text]], None],
    ) -> None:
        """Begin without a measurement; ``tally`` is kept up to date, ``reply`` sends texts to the peer."""
        self._service, self._dialogue, self._queue, self._owner = service, dialogue, queue, owner
        self._name, self._memory, self._tally, self._reply = owner.name, owner.memory, tally, reply
        self._free = threading.BoundedSemaphore(service.settings.server.slices_in_flight)
        self._numbers = SeriesNumbers(service.settings.emit.series_offset)
        self._results = InOrder()
        self._pauses = Pauses(time.monotonic)
        self._assembler: SeriesAssembler | None = None
        self._account = Account(0, 0, 0, {})
        self._study = Study()
        self._slices: deque[_Slice] = deque(maxlen=_MOST_SLICES)
        self._memory_reported = False
        self._header = MeasurementHeader()
        self._reports = Reports(service, dialogue, queue, owner, tally, self._numbers, reply)
        self._final: dict[Study, FinalLevels] = {}
        self._take_settings()

    @property
    def waiting(self) -> int:
        """Images that wait for the rest of their series."""
        return self._assembler.waiting if self._assembler is not None else 0

    def arrived(self, image: Image) -> None:
        """Note an image of the peer: results keep clear of its series number."""
        self._tally.images += 1
        self._numbers.saw(image.header.image_series_index)

    def begin(self, header: MeasurementHeader) -> None:
        """Begin a measurement, after the series of the one before.

        Parameters that came since the last image are those of the new measurement.
        """
        self._finish(early=False)
        if any(header.uids) or not same_patient(header, self._header):
            study = self._service.studies.of(header)
            if study.notice and study is not self._study:
                self._reply(self._dialogue.warn(study.notice))
            self._study = study
        self._header = header

    def add(self, image: Image) -> None:
        """Add an image to its series, and work on what it completes."""
        self._take_settings()
        if self._assembler is None:
            header = self._dialogue.measurement or MeasurementHeader()
            self._assembler = SeriesAssembler(header, self._dialogue.settings.assembly, self._memory)
        self._assemble(partial(self._assembler.add, image, self._now(self._assembler)))

    def expire(self) -> None:
        """Work on the series that have waited too long for their next image."""
        if self._assembler is not None:
            self._assemble(partial(self._assembler.expire, self._now(self._assembler)))

    def _now(self, assembler: SeriesAssembler) -> float:
        """Return the time. What the peer sent in a pause of this thread is not read yet."""
        now = time.monotonic()
        if paused_s := self._pauses.tick():
            assembler.postpone(paused_s)
        return now

    def finish(self, *, early: bool = False) -> None:
        """Work on the rest of a measurement, and keep its account; ``early``: no close message came."""
        self._take_settings()
        self._finish(early=early)

    def _take_settings(self) -> None:
        """Take those of the connection for the series that are complete from now on."""
        self._settings, self._stated = self._dialogue.settings, self._dialogue.haematocrit_stated

    def _finish(self, *, early: bool) -> None:
        if self._assembler is not None:
            self._assemble(partial(self._assembler.finish, early=early))
            self._account += self._assembler.account()
            self._assembler = None

    def wait(self) -> None:
        """Wait for the results of all slices, or until a shutdown leaves time for the last messages alone."""
        for _ in range(self._service.settings.server.slices_in_flight):
            while not self._free.acquire(timeout=_TICK_S):
                if self._service.shutdown.parting:
                    unfinished = self._tally.slices - self._tally.results
                    problem = f"{unfinished} slices were not finished when the server stopped"
                    _log.warning("%s: %s", self._name, problem)
                    self._reply(self._dialogue.say(problem, Severity.ERROR))
                    return

    def report(self) -> None:
        """Send a report of each study, where the settings ask for it; a failure is a text."""
        self._reports.send(self._final_levels, self._first_series)

    def summarise(self) -> None:
        """Send, log and publish the account of every image and the final level of every slice."""
        slices: list[FinalLevel] = []
        earlier: list[FinalLevel] = []
        for study in dict.fromkeys(each.study for each in self._slices):
            final = self._final_levels(study)
            for each in final.levels:
                (slices if each.place.session == self._name else earlier).append(each)
            self._service.observers.levels_known(final)
            for unpaired in self._service.kept.unpaired(study, self._name):
                self._deliver_ecv(study, final.of_ecv(unpaired))
                self._report_ecv(unpaired)
        tally = self._tally
        summary = Summary.of(
            self._account, tally.images, tally.results, tally.errors, tuple(slices), tuple(earlier)
        )
        _log.info("%s summary: %s", self._name, summary.text(self._dialogue.loggable))
        self._reply(self._dialogue.say(summary.text()))
        if self._service.publisher is not None:
            self._service.publisher.summarise(summary.record(), session=self._name)

    def _final_levels(self, study: Study) -> FinalLevels:
        """Return the final levels of a study, those of this connection first; computed once."""
        if study not in self._final:
            own = [each for each in self._slices if each.study is study]
            mapped = [each.place for each in own if each.mapped]
            others = [place for place in study.slices if place.session != self._name]
            # The study may have dropped some of this connection's.
            shown = (*study.slices, *(each.place for each in own))
            levels = final_levels((*mapped, *others), shown, self._dialogue.settings.regions.levels)
            measure = self._service.scheduler.pipeline.at_level
            self._final[study] = FinalLevels(study.number, levels, measure)
        return self._final[study]

    def _first_series(self, study: Study) -> int:
        """Return the lowest number of the series of a study on this connection."""
        own = (each.place.identity.series_index for each in self._slices if each.study is study)
        return min(own, default=0)

    def _assemble(self, step: Callable[[], list[Assembled]]) -> None:
        """Submit every series that a step of the assembly completes, in the order of series and slices."""
        try:
            complete = step()
        except Exception:  # images are forwarded whatever becomes of their maps
            _log.exception("%s: the assembly of series failed", self._name)
            problem = "an image could not be sorted into a series; it has passed on"
            self._reply(self._dialogue.say(problem, Severity.ERROR))
            return
        complete.sort(key=attrgetter("identity.series_index", "identity.slice_index"))
        places = [each.slice_place(self._name) for each in complete]
        for place in places:  # all before the first slice is worked on: its level depends on them
            self._study.add(place)
        for assembled, place in zip(complete, places, strict=True):
            self._submit(assembled, place)
        if self._assembler is not None and self._assembler.refused and not self._memory_reported:
            self._memory_reported = True
            self._reply(self._dialogue.warn(_MEMORY))

    def _submit(self, assembled: Assembled, place: SlicePlace) -> None:
        self._free.acquire()
        self._tally.slices += 1
        settings, stated, program = self._settings, self._stated, self._service.settings
        identities = self._header.identities
        number, submitted = self._tally.slices - 1, _Slice(self._study, place)
        self._slices.append(submitted)
        report = self._reports.of(self._study, self._header) if settings.emit.report else None

        def deliver(result: SliceResult, *, latecomer: bool) -> None:
            """Take a result of the scheduler. Of a latecomer only its ECV goes back."""
            if result.map is None and Flag.LATE not in result.flags:
                submitted.mapped = False
            ecv: EcvResult | None = None
            latency_s = time.monotonic() - assembled.arrived
            number_of_study, already_stated = submitted.study.number, submitted.stated
            submitted.stated |= {*result.times_ms, *result.flags}
            self._service.observers.delivered(
                Delivery(
                    self._name,
                    result,
                    latency_s,
                    latecomer,
                    number_of_study,
                    settings.budget_ms,
                    already_stated,
                )
            )
            try:
                if self._service.publisher is not None:
                    self._service.publisher.publish(result, session=self._name)
                ecv = self._ecv(submitted, result, settings, identities, stated=stated)
            finally:
                if report is not None:
                    self._reports.keep(report, assembled.template, None if latecomer else result, ecv)
                if not latecomer:
                    data, problem = self._encoded(result, ecv, assembled, settings)
                    self._results.add(number, partial(self._send, result, ecv, data, problem))
                elif ecv is not None:
                    self._send_late(result, ecv, assembled, settings)

        context = SliceContext((*self._study.slices, place), settings)
        own_budget = settings.budget_ms if settings.budget_ms != program.budget_ms else None
        self._service.scheduler.submit(
            assembled,
            deliver,
            context,
            budget_ms=own_budget,
            owner=self._owner,
            late_too=assembled.quantity is Quantity.T1 or self._service.observers.takes_latecomers(),
        )

    def _ecv(
        self,
        submitted: _Slice,
        result: SliceResult,
        settings: Settings,
        identities: Identities,
        *,
        stated: bool,
    ) -> EcvResult | None:
        """Return the ECV that a slice completes, as published; None without.

        ``identities``: of the study, by the header. ``stated``: the client stated the haematocrit of the
        settings.
        """
        try:
            found = self._service.kept.add(
                submitted.study,
                result,
                submitted.place,
                settings,
                self._service.scheduler.pipeline,
                haematocrit_stated=stated,
                identities=identities,
            )
            if found is not None:
                self._deliver_ecv(submitted.study, found)
            return found
        except Exception:  # the result of the slice must still go out
            _log.exception("%s: ECV could not be computed", self._name)
            return None

    def _deliver_ecv(self, study: Study, result: EcvResult) -> None:
        """Pass an ECV result on to observers and subscribers."""
        self._service.observers.ecv_delivered(EcvDelivery(self._name, result, study.number))
        if self._service.publisher is not None:
            self._service.publisher.publish_ecv(result, session=self._name)

    def _report_ecv(self, result: EcvResult) -> None:
        """Log an ECV result, and send its error to the peer."""
        # A replay reads it (inline/replay/report.py).
        self._state(f"ECV of {result.native.name}", result.notes, result.error, Severity.WARNING)

    def _state(self, name: str, notes: Iterable[str], problem: str, severity: Severity) -> None:
        """Log notes and a problem of a result, and send the problem to the peer; empty for none."""
        loggable = self._dialogue.loggable
        for note in notes:
            _log.info("%s: %s: %s", self._name, name, loggable(note))
        if problem:
            named = message("{}: {}", name, problem)
            _log.warning("%s: %s", self._name, loggable(named))
            self._reply(self._dialogue.say(named, severity))

    def _encoded(
        self, result: SliceResult, ecv: EcvResult | None, assembled: Assembled, settings: Settings
    ) -> tuple[bytes, str]:
        """Return the encoded images of a result, and why there is none or it cannot be sent."""
        try:
            images = mrd.images(result, assembled.template, settings.emit, self._numbers)
            if ecv is not None:
                images += ecv_images(
                    ecv, assembled.template, settings.emit, self._numbers, completed_by=result.identity
                )
            data = b"".join(encode(image) for image in images)
            self._memory.take(len(data))  # it may wait for results of slices before it
            return data, result.error
        except Exception as error:  # the next result must still go out
            _log.exception("%s: a result could not be made into images", self._name)
            return b"", message(
                "the result could not be sent: {}: {}", type(error).__name__, foreign(str(error))
            )

    def _send(self, result: SliceResult, ecv: EcvResult | None, data: bytes, problem: str) -> None:
        """Queue the images of a result in one piece: nothing comes between map, labels and overlay."""
        try:
            late = Flag.LATE in result.flags
            self._tally.late += late
            self._tally.errors += bool(problem)
            log_result(_log, result, self._name)
            name = slice_name(result.identity, result.quantity)  # inline/replay/replies.py reads it
            self._state(name, result.notes, problem, Severity.WARNING if late else Severity.ERROR)
            if ecv is not None:
                self._report_ecv(ecv)
            if data:
                self._queue.put_now(data)
            self._tally.results += 1
        finally:
            self._memory.release(len(data))
            self._free.release()

    def _send_late(
        self, result: SliceResult, ecv: EcvResult, assembled: Assembled, settings: Settings
    ) -> None:
        """Queue the images of the ECV that a late slice completes; without a connection, log its value."""
        images = ecv_images(
            ecv, assembled.template, settings.emit, self._numbers, completed_by=result.identity
        )
        if images and not self._queue.put_now(b"".join(map(encode, images))):
            ecv = replace(ecv, error=_LATE_ECV.format(median_words(ecv)))
        self._report_ecv(ecv)


def median_words(ecv: EcvResult) -> str:
    """Return the median of the myocardium in words: ECV, or without haematocrit the partition coefficient."""
    ring = ecv_region_record(ecv.regions[0]) if ecv.regions else None
    if ring is None or ring["partition_coefficient"] is None:
        return "no values"
    if ring["median"] is None:
        return f"partition coefficient {printed(ring['partition_coefficient'], 3)}"
    return f"median {printed(ring['median'], 1)} %"
