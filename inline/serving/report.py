"""Reports of a connection: the maps of the results of each study, and the page that goes back at the end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from inline.contouring.plausibility import of_values
from inline.data.examination import EcvResult
from inline.data.memory import Share
from inline.data.results import SliceResult
from inline.emit.numbers import SeriesNumbers
from inline.emit.report import PLACE, report_image
from inline.mrd.header import MeasurementHeader
from inline.mrd.image_header import ImageHeader
from inline.mrd.messages import Image, Text
from inline.mrd.protocol import encode
from inline.report.apart import drawn_apart
from inline.report.content import ExaminationInfo, page
from inline.report.maps import ReportMap, Section
from inline.report.output import ReportError
from inline.serving.dialect import Severity
from inline.serving.dialogue import Dialogue
from inline.serving.observers import FinalLevels
from inline.serving.scheduler import Owner
from inline.serving.send_queue import SendQueue
from inline.serving.service import Service
from inline.serving.studies import Study
from inline.serving.tally import Tally
from model.weights import DEFAULT, weights_digest

_log = logging.getLogger(__name__)

TIMEOUT_S: Final = 30.0
"""Longest time for the drawing of a page; the close of the connection waits for it."""
_PAGES_S: Final = 60.0
"""Longest time for the drawing of all pages of a connection."""
_MOST_PAGES: Final = 64
"""Studies of a connection that have a page; the first ones count."""
_BESIDE: Final = 4 << 10
"""Bytes of a result beside the pixels of its map: regions, texts."""


class StudyReport:
    """Maps of the results of one study on one connection, and their page. Results may come from any thread.

    Attributes:
        header: of the last measurement of the study.
        dropped: number of results for which the connection had no memory.
    """

    def __init__(self, memory: Share) -> None:
        """Begin without results; ``memory`` counts their maps."""
        self._memory, self._lock = memory, threading.Lock()
        self._maps: list[tuple[ReportMap, SliceResult | EcvResult]] = []
        self._template: ImageHeader | None = None
        self._released = False
        self.header = MeasurementHeader()
        self.dropped = 0

    def add(self, result: SliceResult | EcvResult, template: ImageHeader | None = None) -> None:
        """Keep the part of a result that a page shows; ``template`` is the header of one of its images."""
        made = _map(result)
        with self._lock:
            if self._released:  # the ECV of a late slice
                return
            if self._memory.reserve(_BESIDE + made.nbytes):
                self._maps.append((made, _without_pixels(result)))
                self._template = template or self._template
            else:
                self.dropped += 1

    def at_levels(self, final: FinalLevels, session: str) -> None:
        """Give the results of a connection their final levels, and the regions that follow from them."""
        with self._lock:
            for number, each in enumerate(self._maps):
                try:
                    self._maps[number] = _at_level(*each, final, session)
                except Exception:  # the page must follow, with the level of the result
                    _log.exception("%s: a map of the report has not its final level", session)

    def image(
        self,
        info: ExaminationInfo,
        series: int,
        number: int = 0,
        *,
        timeout_s: float = TIMEOUT_S,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Image | None:
        """Return the page as an image; None without results.

        Args:
            info: facts that the results do not hold.
            series: series number.
            number: of the page among those of the connection, from 0.
            timeout_s: longest time for the drawing; no more than :data:`TIMEOUT_S` is taken.
            cancelled: returns True when the page is not wanted any more.

        Raises:
            ReportError: it was not drawn; the message states the reason.
        """
        with self._lock:
            maps, template = tuple(made for made, _ in self._maps), self._template
        if template is None:
            return None
        drawn = drawn_apart(page(maps, info), timeout_s=min(timeout_s, TIMEOUT_S), cancelled=cancelled)
        return report_image(drawn, template, series, number)

    def release(self) -> None:
        """Drop the maps, and give back their memory; takes no more."""
        with self._lock:
            self._released = True
            maps, self._maps = self._maps, []
        self._memory.release(sum(_BESIDE + made.nbytes for made, _ in maps))


class Reports:
    """Reports of the studies of one connection.

    One thread calls the methods, except :meth:`keep`, which any thread may call.
    """

    def __init__(
        self,
        service: Service,
        dialogue: Dialogue,
        queue: SendQueue,
        owner: Owner,
        tally: Tally,
        numbers: SeriesNumbers,
        reply: Callable[[Iterable[Text]], None],
    ) -> None:
        """Begin without reports; ``numbers`` are those of the results, ``reply`` sends texts to the peer."""
        self._service, self._dialogue, self._queue, self._reply = service, dialogue, queue, reply
        self._name, self._memory, self._tally, self._numbers = owner.name, owner.memory, tally, numbers
        self._reports: dict[Study, StudyReport] = {}
        self._limit_reported = False

    def of(self, study: Study, header: MeasurementHeader) -> StudyReport | None:
        """Return the report of a study, with the texts of its header; None beyond the limit."""
        if study not in self._reports:
            if len(self._reports) >= _MOST_PAGES:
                if not self._limit_reported:
                    self._limit_reported = True
                    problem = f"only the first {_MOST_PAGES} studies of a connection have a report"
                    self._reply(self._dialogue.warn(problem))
                return None
            self._reports[study] = StudyReport(self._memory)
        report = self._reports[study]
        report.header = replace(header, inversion_times=(), echo_times=(), parameters={})
        return report

    def keep(
        self, report: StudyReport, template: ImageHeader, *results: SliceResult | EcvResult | None
    ) -> None:
        """Keep results for the report of their study."""
        try:
            for each in results:
                if each is not None:
                    report.add(each, template)
        except Exception:  # the result of the slice must still go out
            _log.exception("%s: a result could not be kept for the report", self._name)

    def send(self, final: Callable[[Study], FinalLevels], first: Callable[[Study], int]) -> None:
        """Send a report of each study, where the settings ask for it; a failure is a text.

        Args:
            final: returns the final levels of a study.
            first: returns the lowest number of its series.
        """
        shutdown, until = self._service.shutdown, time.monotonic() + _PAGES_S
        for number, (study, report) in enumerate(self._reports.items()):
            try:
                if self._dialogue.settings.emit.report and not (self._tally.refused or shutdown.requested):
                    for unpaired in self._service.kept.unpaired(study, self._name):
                        report.add(unpaired)
                    report.at_levels(final(study), self._name)
                    self._send(report, self._numbers.first(first(study)) + PLACE, number, until)
            except Exception:  # other reports, the summary and the close must follow
                _log.exception("%s: a report could not be made", self._name)
                problem = "the report could not be made; the log of the server has the reason"
                self._reply(self._dialogue.say(problem, Severity.ERROR))
            finally:
                report.release()

    def _send(self, report: StudyReport, series: int, number: int, until: float) -> None:
        service, warn = self._service, self._dialogue.warn
        weights = weights_digest(service.settings.weights or DEFAULT)
        info = ExaminationInfo.of_header(report.header, weights=weights, engine=service.engine.name)
        try:
            left_s = until - time.monotonic()
            if left_s <= 0.0:
                raise ReportError(f"the report was not drawn: those before it took {_PAGES_S:g} s")
            image = report.image(
                info, series, number, timeout_s=left_s, cancelled=lambda: service.shutdown.requested
            )
        except ReportError as error:
            self._reply(warn(error.message))
            return
        if image is not None:
            self._queue.put_now(encode(image))
        if report.dropped:
            problem = f"the report lacks {report.dropped} results: the memory limit was reached"
            self._reply(warn(problem))


def _map(result: SliceResult | EcvResult) -> ReportMap:
    return ReportMap.of_slice(result) if isinstance(result, SliceResult) else ReportMap.of_ecv(result)


def _without_pixels(result: SliceResult | EcvResult) -> SliceResult | EcvResult:
    """Return a result without its images and contours."""
    return replace(result.without_pixels(), contours=None)


def _at_level(
    shown: ReportMap, result: SliceResult | EcvResult, final: FinalLevels, session: str
) -> tuple[ReportMap, SliceResult | EcvResult]:
    """Return map and result at the final level of their slice, measured on the part that the page shows."""
    if isinstance(result, EcvResult):
        changed: SliceResult | EcvResult = final.of_ecv(result)
    else:
        changed = final.of_slice(_with_pixels(result, shown.section), session)
    if changed.level is result.level:
        return shown, result
    bare = _without_pixels(changed)
    return replace(_map(bare), section=shown.section), bare


def _with_pixels(result: SliceResult, section: Section | None) -> SliceResult:
    if section is None or section.lost is None:
        return result
    return replace(result, map=of_values(section.values, section.lost), contours=section.contours)
