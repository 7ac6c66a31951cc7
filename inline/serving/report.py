"""Report of one study of a connection: the maps of its results, and the page that goes back at the end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from inline.contouring.plausibility import of_values
from inline.data.examination import EcvResult
from inline.data.memory import Share
from inline.data.results import SliceResult
from inline.emit.report import report_image
from inline.mrd.header import MeasurementHeader
from inline.mrd.image_header import ImageHeader
from inline.mrd.messages import Image
from inline.report.apart import drawn_apart
from inline.report.content import ExaminationInfo, page
from inline.report.maps import ReportMap, Section
from inline.serving.observers import FinalLevels

_log = logging.getLogger(__name__)

TIMEOUT_S: Final = 30.0
"""Longest time for the drawing of a page; the close of the connection waits for it."""
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
