"""Feed of the live page: observer that passes results on to the process of the page.

The threads of the chain put results into a bounded queue and go on. One thread of low cost makes messages of
them and writes them to the process; where that takes nothing or has ended, it is started anew, and the oldest
of what came meanwhile are dropped and counted.
"""

from __future__ import annotations

import itertools
import logging
import math
import socket
import subprocess
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import msgpack
import numpy as np

from inline.contouring.plausibility import of_values, poorly_fitted
from inline.data.examination import EcvResult
from inline.data.flags import Flag
from inline.data.results import NO_LABELS, SliceResult
from inline.report.maps import ReportMap, cut
from inline.report.positions import superseded
from inline.serving.health import Checkup
from inline.serving.listening import listening_socket
from inline.serving.observers import Delivery, EcvDelivery, FinalLevels, Observer
from inline.serving.page.board import MOST_RESULTS, MOST_STUDIES
from inline.serving.page.messages import (
    Entry,
    closed_message,
    ecv_changes,
    ecv_message,
    levels_message,
    slice_changes,
    slice_message,
    status_message,
)
from inline.serving.page.waiting import Waiting
from inline.serving.tally import Tally
from inline.settings import MonitorSettings
from model.relaxometry.parametric_map import ParametricMap

_log = logging.getLogger(__name__)

_WAITING: Final = 64
"""Results and connections that wait for the process."""
_WAITING_BYTES: Final = 32 << 20
"""Likewise, bytes of the maps: those of 64 results of 256 x 256 pixels take 21 MB."""
_SHOWN_BYTES: Final = 32 << 20
"""Bytes of the maps that results of another level are measured on: 256 of 512 x 512 pixels of 0.7 mm."""
_BACKLOG: Final = 64
_STATUS_S: Final = 2.0
"""Time between two messages of the state; a page that gets none for longer reports it."""
_STALLED_S: Final = 30.0
"""Longest time of a message on its way; a process of low priority starts slowly on a busy host."""
_RESTART_S: Final = 5.0
_CLOSING_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class _Closed:
    number: int
    tally: Tally


_Event = Delivery | EcvDelivery | FinalLevels | _Closed


@dataclass(slots=True, eq=False)
class _Shown:
    """A slice on the page.

    Attributes:
        number: of its result.
        study: its number.
        session: name of its connection.
        result: as of :func:`_small`.
        unfinished: its complete result may follow.
    """

    number: int
    study: int
    session: str
    result: SliceResult
    unfinished: bool

    def precedes(self, delivery: Delivery) -> bool:
        """Return whether this is the unfinished result of a slice whose complete one is delivered."""
        here, given = self.result, delivery.result
        own = (self.study, self.session, here.quantity, here.identity, here.geometry)
        other = (delivery.study, delivery.session, given.quantity, given.identity, given.geometry)
        return delivery.latecomer and self.unfinished and own == other


@dataclass(slots=True)
class _ShownEcv:
    """An ECV result on the page, without its maps."""

    number: int
    study: int
    result: EcvResult


class PageFeed(Observer):
    """Observer that feeds a live page; its address listens from the construction on until :meth:`close`.

    Attributes:
        address: host and port of the page.
        dropped: results and ends of connections that did not reach the page.
    """

    def __init__(self, settings: MonitorSettings, checkup: Checkup) -> None:
        """Bind the address and start the process.

        Args:
            settings: with a port of the page.
            checkup: returns the health.

        Raises:
            ConfigurationError: the address cannot be bound, or is reached by other hosts without a token.
        """
        self._settings, self._checkup = settings, checkup
        self._listening = listening_socket(settings, "page_port", _BACKLOG)
        self.address: tuple[str, int] = self._listening.getsockname()[:2]
        self.dropped = 0
        self._numbers, self._connections = itertools.count(1), itertools.count(1)
        self._lock = threading.Lock()
        self._open: dict[str, tuple[int, Tally]] = {}
        self._ended: OrderedDict[str, int] = OrderedDict()
        self._shown: deque[_Shown] = deque(maxlen=MOST_RESULTS)
        self._ecv: deque[_ShownEcv] = deque(maxlen=MOST_RESULTS)
        self._maps: OrderedDict[int, tuple[int, ReportMap]] = OrderedDict()
        self._final: OrderedDict[int, FinalLevels] = OrderedDict()
        self._waiting: Waiting[_Event | None] = Waiting(_WAITING, _WAITING_BYTES)
        self._over = threading.Event()
        self._process: _Process | None = None
        self._started = -math.inf
        self._thread = threading.Thread(target=self._run, name="page", daemon=True)
        self._thread.start()

    def takes_latecomers(self) -> bool:
        """See :class:`inline.serving.observers.Observer`: a late result replaces the unfinished one."""
        return True

    def opened(self, session: str, tally: Tally) -> None:
        """See :class:`inline.serving.observers.Observer`."""
        with self._lock:
            self._open[session] = (next(self._connections), tally)

    def closed(self, session: str, tally: Tally) -> None:
        """See :class:`inline.serving.observers.Observer`."""
        with self._lock:
            number, _ = self._open.pop(session)
            self._ended[session] = number  # a latecomer may follow
            _shorten(self._ended, MOST_RESULTS)
        self._put(_Closed(number, replace(tally)))

    def delivered(self, delivery: Delivery) -> None:
        """See :class:`inline.serving.observers.Observer`."""
        result = replace(delivery.result, labels=NO_LABELS, uncorrected=None)
        if result.map is not None:
            result = replace(result, map=_values_alone(result.map))
        self._put(replace(delivery, result=result), _map_bytes(result))

    def ecv_delivered(self, delivery: EcvDelivery) -> None:
        """See :class:`inline.serving.observers.Observer`."""
        result = replace(delivery.result, partition_sd=None)
        size = sum(each.nbytes for each in (result.partition, result.valid) if each is not None)
        self._put(replace(delivery, result=result), size)

    def levels_known(self, levels: FinalLevels) -> None:
        """See :class:`inline.serving.observers.Observer`."""
        self._put(levels)

    def close(self) -> None:
        """Pass on what is queued, and end the process; at most some seconds."""
        self._waiting.put(None)
        self._thread.join(_CLOSING_S)
        self._over.set()
        if (process := self._process) is not None:
            process.end()
        self._listening.close()

    def _put(self, event: _Event, size: int = 0) -> None:
        if dropped := self._waiting.put(event, size):
            self._drop(dropped)

    def _drop(self, number: int = 1) -> None:
        first, self.dropped = not self.dropped, self.dropped + number
        if first:
            _log.warning("the live page takes results too slowly; some are missing there")

    def _run(self) -> None:
        due = 0.0
        while not self._over.is_set():
            self._ensure_process()
            try:
                event = self._waiting.get(max(due - time.monotonic(), 0.0))
            except TimeoutError:
                due = time.monotonic() + _STATUS_S
                self._send(self._status)
                continue
            if event is None:
                return
            match event:
                case _Closed(number, tally):
                    self._send(partial(closed_message, number, tally))
                    due = 0.0
                case Delivery():
                    self._send(partial(self._slice, event))
                case EcvDelivery():
                    self._send(partial(self._ecv_result, event))
                case FinalLevels():
                    self._send(partial(self._levels, event))
            del event  # nor are its maps held while it waits

    def _ensure_process(self) -> None:
        if self._process is not None or time.monotonic() - self._started < _RESTART_S:
            return
        self._started = time.monotonic()
        try:
            self._process = _Process(self._listening, self._settings)
        except OSError as error:
            _log.warning("the process of the live page does not start: %s", error)

    def _send(self, make: Callable[[], dict[str, Any]]) -> None:
        """Make a message and write it; an error of one result must not end the page."""
        try:
            # A lone surrogate, which UTF-8 cannot express, becomes a question mark.
            packed = msgpack.packb(make(), unicode_errors="replace")
        except Exception:
            _log.exception("a result is missing on the live page")
            return
        if self._process is None:
            self._drop()
            return
        try:
            self._process.write(packed)
        except OSError as error:
            _log.warning("the process of the live page has ended or hangs (%s); it is started anew", error)
            self._process.end()
            self._process = None

    def _status(self) -> dict[str, Any]:
        with self._lock:
            open_ = dict(self._open.values())
        return status_message(self._checkup.health(), open_)

    def _slice(self, delivery: Delivery) -> dict[str, Any]:
        result, number = delivery.result, next(self._numbers)
        if delivery.latecomer and (final := self._final.get(delivery.study)) is not None:
            # The result was made before the final levels were known.
            result = final.of_slice(result, delivery.session)
        before = next((each for each in self._shown if each.precedes(delivery)), None)
        if before is not None:
            self._shown.remove(before)
        self._shown.append(_Shown(number, delivery.study, delivery.session, _small(result), _follows(result)))
        while sum(_map_bytes(each.result) for each in self._shown) > _SHOWN_BYTES:
            self._shown.popleft()
        replaces = [] if before is None else [before.number]
        return slice_message(
            result,
            self._entry(number, delivery, ReportMap.of_slice(replace(result, map=None)), replaces),
            latency_ms=delivery.latency_s * 1000.0,
            budget_ms=delivery.budget_ms,
            texts=self._settings.page_texts,
        )

    def _ecv_result(self, delivery: EcvDelivery) -> dict[str, Any]:
        result, number = delivery.result, next(self._numbers)
        pair = (result.native, result.post)
        single = [
            each
            for each in self._ecv
            if each.study == delivery.study and each.result.post is None and each.result.native in pair
        ]
        for each in single:  # they stated that there was no partner
            self._ecv.remove(each)
        small = replace(result.without_pixels(), contours=None)
        self._ecv.append(_ShownEcv(number, delivery.study, small))
        replaces = [each.number for each in single]
        entry = self._entry(number, delivery, ReportMap.of_ecv(small), replaces)
        return ecv_message(result, entry, texts=self._settings.page_texts)

    def _entry(
        self, number: int, delivery: Delivery | EcvDelivery, shown: ReportMap, replaces: list[int]
    ) -> Entry:
        """Keep a result without its pixels; return its place on the page."""
        superseded = self._superseded(number, delivery.study, shown, replaces)
        return Entry(number, delivery.study, self._connection(delivery.session), replaces, superseded)

    def _superseded(self, number: int, study: int, shown: ReportMap, replaces: list[int]) -> list[int]:
        """Keep a result without its pixels; return the results of its study that a report would not state."""
        kept = [each for each in self._maps if each in replaces]
        if kept:
            # In the place of the last of these results: those after it are newer.
            own = {kept.pop(): (number, (study, shown))}
            for each in kept:
                del self._maps[each]
            self._maps = OrderedDict(own.get(each, (each, entry)) for each, entry in self._maps.items())
        else:
            self._maps[number] = study, shown
        _shorten(self._maps, MOST_RESULTS)
        return superseded({each: kept for each, (own, kept) in self._maps.items() if own == study})

    def _levels(self, final: FinalLevels) -> dict[str, Any]:
        """Return the message of the results of a study whose level is another one than they have."""
        texts = self._settings.page_texts
        self._final[final.study] = final
        _shorten(self._final, MOST_STUDIES)
        changes: dict[int, dict[str, Any]] = {}
        for shown in self._shown:
            with _others_follow():
                before, own = shown.result, shown.study == final.study
                if own and (result := final.of_slice(before, shown.session)) is not before:
                    shown.result = result
                    changes[shown.number] = slice_changes(result, texts=texts)
        for ecv in self._ecv:
            with _others_follow():
                earlier, own = ecv.result, ecv.study == final.study
                if own and (measured := final.of_ecv(earlier)) is not earlier:
                    ecv.result = measured
                    changes[ecv.number] = ecv_changes(measured, texts=texts)
        return levels_message(changes)

    def _connection(self, session: str) -> int:
        """Return the number of a connection, which may have ended; 0 where it is not known."""
        with self._lock:
            return self._open.get(session, (self._ended.get(session, 0),))[0]


class _Process:
    """Process of the page, on the other end of a socket."""

    def __init__(self, listening: socket.socket, settings: MonitorSettings) -> None:
        self._ours, theirs = socket.socketpair()
        with theirs:
            # -P: a file in the current folder may have the name of a module.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "inline.serving.page"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                pass_fds=[listening.fileno()],
                start_new_session=True,  # Ctrl-C is for the server, which then ends it
            )
        self._ours.settimeout(_STALLED_S)
        token = settings.token.get_secret_value() if settings.token else ""
        hosts = [] if token else ["127.0.0.1", "localhost", "::1", settings.host.strip("[]")]
        self.write(msgpack.packb({"socket": listening.fileno(), "token": token, "hosts": hosts}))

    def write(self, data: bytes) -> None:
        """Write a message.

        Raises:
            OSError: the process has ended, or takes nothing.
        """
        self._ours.sendall(data)

    def end(self) -> None:
        """End the process: by the end of its input, else by force."""
        self._ours.close()
        try:
            self._process.wait(_CLOSING_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def _others_follow() -> Iterator[None]:
    """Log an error of the final level of one result, without keeping back those of others."""
    try:
        yield
    except Exception:
        _log.exception("a result on the live page has not its final level")


def _shorten(entries: OrderedDict[Any, Any], most: int) -> None:
    """Drop the oldest entry where there are too many."""
    if len(entries) > most:
        entries.popitem(last=False)


def _small(result: SliceResult) -> SliceResult:
    """Return a result without arrays but the map around its contours, which another level is measured on."""
    bare = result.without_pixels()
    if result.map is None or result.contours is None:
        return bare
    values = np.where(result.map.failed, np.float32(np.nan), result.map.values_ms)
    part = cut(values, result.geometry.spacing, result.contours, lost=poorly_fitted(result.map))
    assert part.lost is not None
    made = _values_alone(of_values(part.values, part.lost))
    return replace(bare, map=made, contours=part.contours)


def _values_alone(made: ParametricMap) -> ParametricMap:
    """Return a map without SD and R2, which the page does not show, but for pixels that are lost."""
    kept = of_values(np.where(made.failed, np.float32(np.nan), made.values_ms), poorly_fitted(made))
    return replace(kept, r_squared=np.broadcast_to(np.float32(0.0), made.values_ms.shape))


def _map_bytes(result: SliceResult) -> int:
    """Return the bytes of the maps of a result, as of :func:`_values_alone`."""
    made, uncertainty = result.map, result.boundary_uncertainty
    size = 0 if made is None else made.values_ms.nbytes + made.sd_ms.nbytes + made.failed.nbytes
    return size if uncertainty is None else size + uncertainty.nbytes


def _follows(result: SliceResult) -> bool:
    """Return whether the complete result of a slice that missed its budget may follow."""
    return Flag.LATE in result.flags and result.contours is None
