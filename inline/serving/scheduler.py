"""Works on slices beside the connections, in stages that overlap, each slice within its budget of time.

Fits and contours run in a pool of threads; the network runs in one thread of its own and takes all slices
that wait at a time, since a batch costs less than its slices. A slice that is not ready when its budget ends
is handed over as far as it is; should its result come later, it is handed over too, as a latecomer, where
anybody takes latecomers. Connections get equal shares of fits and network. A fit or an engine that hangs is
logged, and its thread is replaced.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from inline.assembly.assembled import Assembled, Failed, Ready
from inline.data.flags import Flag
from inline.data.memory import Share, unlimited
from inline.data.results import SliceResult
from inline.pipeline import Pipeline, Prepared, SliceContext, Stopwatch, broken, failed
from inline.serving.examinations import Examinations
from inline.serving.turns import Turns
from inline.serving.workers import Task, Workers
from model.engines.fallback import FallbackEngine, NoEngineError

_log = logging.getLogger(__name__)

_LARGEST_BATCH: Final = 8
_HANGING: Final = 4.0
"""Budgets that the network may take for a batch before its engine is given up."""
_IDLE_POLL_S: Final = 1.0
"""Time without a slice after which the engine may use the pause (:meth:`FallbackEngine.verify_if_idle`)."""
_PATIENCE_S: Final = 5.0
"""What it may take at least: a short budget alone says nothing against an engine."""
_JOIN_S: Final = 5.0
"""How long closing waits for the threads."""
_ROOM_S: Final = 2.0
"""How long a slice waits for memory that its connection holds elsewhere, as in what its peer has not read."""
_POLL_S: Final = 0.1
_TRIES: Final = 2
"""Threads that may hang in the only engine; then slices come back without contours until one returns."""
_RESULT_BYTES: Final = 32
"""Bytes for each pixel of a slice in work, beside its images: map, labels, overlay and what they become."""

_NO_ROOM: Final = "not worked on: the memory limit of the connection is reached; its images have passed on"
_STUCK: Final = "the only engine hangs in every thread that was started for it; restart myostream"


class Done(Protocol):
    """Takes the result of a slice."""

    def __call__(self, result: SliceResult, *, latecomer: bool) -> None:
        """Called once with what there is when the slice is ready or its budget ends, and once more, as a
        latecomer, when a result comes after that.
        """
        ...


@dataclass(slots=True, eq=False)
class Owner:
    """Connection that slices belong to.

    Attributes:
        name: for the log.
        memory: where its slices are counted while they are worked on.
        subscribed: whether anybody but the connection takes results.
        gone: the connection takes no more results.
    """

    name: str = "a client"
    memory: Share = field(default_factory=unlimited)
    subscribed: Callable[[], bool] = lambda: True
    gone: bool = False


_NOBODY: Final = Owner()


@dataclass(slots=True, eq=False)
class _Job:
    assembled: Assembled
    done: Done
    watch: Stopwatch
    budget_s: float
    owner: Owner
    context: SliceContext | None = None
    size: int = 0
    prepared: Prepared | None = None
    queued: float = 0.0
    task: Task | None = None
    handed_over: bool = False
    finished: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def rank(self, stage: int) -> tuple[tuple[bool, int], float]:
        """What is late already comes last; what is nearly done comes first."""
        return (self.watch.late, -stage), self.watch.deadline

    @property
    def in_vain(self) -> bool:
        """Whether nobody takes the result: it was handed over as far as it was, or its client has left."""
        return (self.handed_over or self.owner.gone) and not self.owner.subscribed()


class Processor:
    """Takes slices from any number of connections and hands back their results.

    Attributes:
        misses: slices that were not ready when their budget ended.
        examinations: slices that each examination has shown, for all connections.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        workers: int = 2,
        budget_ms: float = 2000.0,
        *,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        """Start the threads.

        Args:
            pipeline: what is done to a slice.
            workers: threads for fits and contours.
            budget_ms: time from a slice's last image to its result.
            patience_s: an engine is not given up before a batch has taken so long and four budgets.
        """
        self._pipeline = pipeline
        self._budget = budget_ms / 1000.0
        self._hanging = max(_HANGING * self._budget, patience_s)
        self._workers = Workers(workers)
        self._turns = Turns()
        self._hung = self._stuck = 0
        self._late: dict[_Job, None] = {}
        self._waiting: list[_Job] = []
        self._running: list[_Job] | None = None  # an empty list: the engine is verified
        self._running_since = 0.0
        self._generation = 0
        self._open = 0
        self._due: list[tuple[float, int, _Job]] = []
        self._number = itertools.count()
        self._closed = False
        self._changed = threading.Condition()
        self.misses = 0
        self.examinations = Examinations()
        self._start_network()
        self._timer = threading.Thread(target=self._watch, name="budget", daemon=True)
        self._timer.start()

    @property
    def leaked_threads(self) -> int:
        """Threads that hang in a fit or an engine, and were replaced."""
        return self._workers.leaked + self._hung

    def submit(
        self,
        assembled: Assembled,
        done: Done,
        context: SliceContext | None = None,
        *,
        budget_ms: float | None = None,
        owner: Owner = _NOBODY,
    ) -> None:
        """Work on a slice when the turn of its connection comes.

        A slice for which its connection has no memory waits here until others of it are done. Where that does
        not help, it is handed over with an error.

        Args:
            assembled: the slice.
            done: takes the result, in another thread.
            context: of the slice, for the pipeline.
            budget_ms: of this slice, in place of the processor's.
            owner: connection that it is of.
        """
        budget_s = self._budget if budget_ms is None else budget_ms / 1000.0
        # The budget runs from the last image; a series that ended by patience has spent it waiting for more.
        start = max(assembled.arrived, time.monotonic() - 0.5 * budget_s)
        job = _Job(assembled, done, Stopwatch(deadline=start + budget_s), budget_s, owner, context)
        room = self._make_room(job)
        with self._changed:
            self._open += 1
            self._turns.opened(owner)
            if room:
                heapq.heappush(self._due, (job.watch.deadline, next(self._number), job))
            self._changed.notify_all()
        if room:
            self._later(job, 0, "fit", partial(self._fit, job))
        else:
            self._finish(job, failed(assembled, _NO_ROOM))

    def _make_room(self, job: _Job) -> bool:
        """Count a slice in the memory of its connection, in place of late ones where there is no room."""
        if isinstance(job.assembled, Failed):
            return True
        columns, rows, _ = job.assembled.template.matrix_size
        size = job.assembled.nbytes + _RESULT_BYTES * rows * columns
        until = time.monotonic() + _ROOM_S
        while not job.owner.memory.reserve(size):
            with self._changed:
                late = [each for each in self._late if each.owner is job.owner]
                busy = job.owner in self._turns
            if any(map(self._drop, late)):
                continue
            if job.watch.late or not (busy or time.monotonic() < until):
                return False
            with self._changed:
                self._changed.wait(timeout=_POLL_S)
        job.size = size
        return True

    def _drop(self, job: _Job) -> bool:
        """Work no more on a slice that was handed over as far as it was; False where it is worked on now."""
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)
            elif job.task is None or not self._workers.withdraw(job.task):
                return False
        self._end(job)
        return True

    def _later(self, job: _Job, stage: int, name: str, run: Callable[[], None]) -> None:
        """Queue a stage of a slice."""
        what = f"the {name} of slice {job.assembled.identity.slice_index} of {job.owner.name}"
        job.task = Task(job.owner, what, partial(job.rank, stage), run, partial(self._stage_hangs, job, name))
        self._workers.submit(job.task)

    def _stage_hangs(self, job: _Job, name: str, seconds: float) -> None:
        error = f"the {name} hangs and was given up after {seconds:.0f} s"
        result = failed(job.assembled, error, Flag.PROCESSING_ERROR, job.prepared, dict(job.watch.times_ms))
        if job.lock.acquire(blocking=False):  # else it hangs while it is handed over
            job.lock.release()
            self._finish(job, result)

    def close(self, timeout_s: float = 60.0) -> None:
        """Finish what was submitted, or give it up when it takes longer; once closed, it stays so."""
        with self._changed:
            if self._closed:
                return
            self._changed.wait_for(lambda: self._open == 0, timeout=timeout_s)
            self._closed = True
            self._changed.notify_all()
        end = time.monotonic() + _JOIN_S
        self._workers.close(_JOIN_S)
        # A thread that still holds the engine when the interpreter ends destroys it there, and the process
        # ends by SIGABRT. One that hangs in its engine cannot be waited for.
        for thread in (self._timer, self._network_thread):
            thread.join(timeout=max(end - time.monotonic(), 0.0))
        if self.misses:
            _log.warning("%d slices missed their budget", self.misses)

    def _fit(self, job: _Job) -> None:
        if job.in_vain:
            self._skip(job)
            return
        if isinstance(job.assembled, Failed):
            self._finish(job, failed(job.assembled, job.assembled.error))
            return
        try:
            job.prepared = self._pipeline.prepare(job.assembled, job.watch, job.context)
        except BaseException as error:  # one slice must never take the stream down
            self._finish(job, self._broken(job, error))
            return
        with self._changed:
            if job.finished:  # given up meanwhile
                return
            job.queued = time.perf_counter()
            self._waiting.append(job)
            self._changed.notify_all()

    def _start_network(self, given_up: list[_Job] | None = None) -> None:
        """Start a thread for the network, in place of one that hangs with some slices."""
        self._generation += 1
        self._network_thread = threading.Thread(
            target=self._network,
            args=(self._generation, given_up),
            name=f"network {self._generation}",
            daemon=True,
        )
        self._network_thread.start()

    def _network(self, generation: int, given_up: list[_Job] | None = None) -> None:
        """Run batches until closed, or until another thread has taken over from this one."""
        if given_up is not None:
            self._replace_engine(given_up)
        while True:
            try:
                if not self._run_batch(generation):
                    return
            except BaseException:  # it serves all connections: whatever one slice brings about, it goes on
                _log.exception("a batch failed in the thread of the network, which goes on")
                time.sleep(_POLL_S)

    def _run_batch(self, generation: int) -> bool:
        """Run the next batch, or verify the engine where none waits; returns whether to go on."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._waiting or self._closed or generation != self._generation,
                timeout=_IDLE_POLL_S,
            )
            if generation != self._generation or (self._closed and not self._waiting):
                return False
            jobs = self._next_batch()
            self._running, self._running_since = jobs, time.monotonic()
        if not jobs:
            if isinstance(self._pipeline.engine, FallbackEngine) and self._stuck < _TRIES:
                self._pipeline.engine.verify_if_idle()
            return not self._taken_over(generation)
        if self._stuck >= _TRIES:
            self._all_broken(jobs, NoEngineError(_STUCK))
            return not self._taken_over(generation)
        start = time.perf_counter()
        answer: NDArray[np.float32] | None = None
        error: BaseException | None = None
        try:
            pictures = np.stack([job.prepared.picture for job in jobs if job.prepared is not None])
            answer = self._pipeline.engine.infer(pictures)
        except BaseException as problem:
            error = problem
        took = (time.perf_counter() - start) * 1000.0
        if self._taken_over(generation):
            return False
        with self._changed:
            for job in jobs:
                self._turns.end(job.owner, took / 1000.0 / len(jobs))
        for number, job in enumerate(jobs):
            job.watch.times_ms["wait"] = (start - job.queued) * 1000.0
            job.watch.times_ms["network"] = took
            if answer is None:
                assert error is not None
                self._all_broken([job], error)
            else:
                self._later(job, 1, "contours", partial(self._conclude, job, answer[number]))
        return True

    def _taken_over(self, generation: int) -> bool:
        """Note that the engine has returned, unless it was given up meanwhile and another thread works on."""
        with self._changed:
            if generation != self._generation:
                self._hung -= 1
                self._stuck = 0
                _log.warning("the engine that hung has returned (threads given up: %d)", self.leaked_threads)
                return True
            self._running = None
            return False

    def _next_batch(self) -> list[_Job]:
        """The slices that wait, one of each connection in turn, and those first whose budget ends next; what
        is late already comes last.

        The lock is held.
        """
        jobs: list[_Job] = []
        while self._waiting and len(jobs) < _LARGEST_BATCH:
            jobs.append(self._turns.begin(self._waiting, lambda job: job.owner, lambda job: job.rank(0)))
            self._waiting.remove(jobs[-1])
        return jobs

    def _conclude(self, job: _Job, probabilities: NDArray[np.float32]) -> None:
        assert job.prepared is not None
        assert isinstance(job.assembled, Ready)
        if job.in_vain:
            self._skip(job)
            return
        try:
            result = self._pipeline.conclude(
                job.assembled, job.prepared, probabilities, job.watch, job.context
            )
        except BaseException as error:  # as above
            result = self._broken(job, error)
        self._finish(job, result)

    def _all_broken(self, jobs: list[_Job], error: BaseException) -> None:
        for job in jobs:
            self._later(job, 1, "error", partial(self._finish, job, self._broken(job, error)))

    def _broken(self, job: _Job, error: BaseException) -> SliceResult:
        return broken(job.assembled, error, job.prepared, dict(job.watch.times_ms))

    def _finish(self, job: _Job, result: SliceResult) -> None:
        # Held until it is handed over: what was ready in time comes before the latecomer, never after it.
        with job.lock:
            if job.finished:  # given up meanwhile
                return
            latecomer, job.handed_over = job.handed_over, True
            if latecomer:
                result = replace(result, flags=(*result.flags, Flag.LATE))
            self._hand_over(job, result, latecomer=latecomer)
            self._end(job)

    def _skip(self, job: _Job) -> None:
        if job.handed_over:
            self._end(job)
        else:
            self._finish(job, failed(job.assembled, "its client has left"))

    def _end(self, job: _Job) -> None:
        """Let go of a slice that is handed over, or that nobody waits for."""
        with self._changed:
            if job.finished:
                return
            job.finished, job.task = True, None
            self._late.pop(job, None)
            self._open -= 1
            self._turns.closed(job.owner)
            # What is done needs no watching; left there, it would be kept until its budget ends.
            self._due = [each for each in self._due if each[2] is not job]
            heapq.heapify(self._due)
            job.owner.memory.release(job.size)
            self._changed.notify_all()

    def _hand_over(self, job: _Job, result: SliceResult, *, latecomer: bool) -> None:
        try:
            job.done(result, latecomer=latecomer)
        except BaseException:  # a result that cannot be delivered concerns its connection alone
            _log.exception("the result of slice %d was not delivered", result.identity.slice_index)

    def _watch(self) -> None:
        """Hand over what is late, and give up an engine that hangs."""
        while True:
            try:
                if not self._watch_once():
                    return
            except BaseException:  # as in the thread of the network
                _log.exception("the thread of the budgets met an error and goes on")
                time.sleep(_POLL_S)

    def _watch_once(self) -> bool:
        """Wait for the next budget to end and do what is due then; returns whether to go on."""
        with self._changed:
            if self._closed and self._open == 0:
                return False
            wait = self._budget
            if self._due:
                wait = min(wait, max(self._due[0][0] - time.monotonic(), 0.0))
            self._changed.wait(timeout=min(max(wait, 0.001), 0.5))
            if self._closed and not self._due:
                return False
            now = time.monotonic()
            late: list[_Job] = []
            while self._due and self._due[0][0] <= now:
                late.append(heapq.heappop(self._due)[2])
            if self._running is not None and now - self._running_since > self._hanging:
                jobs, self._running = self._running, None
                self._hung += 1
                _log.error(
                    "the engine %s has hung for %.0f s with %d slices; its thread is given up, "
                    "another one takes its place (threads given up: %d)",
                    getattr(self._pipeline.engine, "name", ""),
                    now - self._running_since,
                    len(jobs),
                    self.leaked_threads,
                )
                self._start_network(jobs)
        for job in late:
            try:
                self._hand_over_late(job)
            except BaseException:  # as in the thread of the network
                _log.exception("slice %d was not handed over late", job.assembled.identity.slice_index)
        self._workers.replace_hung(self._hanging)
        return True

    def _hand_over_late(self, job: _Job) -> None:
        """What is ready of a slice whose budget has ended; from the timer's thread: the pool may be busy."""
        if not job.lock.acquire(blocking=False):
            return  # its result is being handed over at this moment
        try:
            if job.handed_over:
                return
            job.handed_over = True
            with self._changed:
                self._late[job] = None
            self.misses += 1
            _log.warning("slice %d missed its budget", job.assembled.identity.slice_index)
            error = f"not ready within {job.budget_s * 1000.0:.0f} ms"
            result = failed(job.assembled, error, Flag.LATE, job.prepared, dict(job.watch.times_ms))
            self._hand_over(job, result, latecomer=False)
        finally:
            job.lock.release()
        if job.in_vain:
            self._drop(job)

    def _replace_engine(self, jobs: list[_Job]) -> None:
        """Give up the engine that hangs; its slices go to the next one, if there is one.

        From the network's own thread and without the lock: the next engine may take seconds to load.
        """
        engine: Any = self._pipeline.engine
        try:
            if not isinstance(engine, FallbackEngine):
                raise NoEngineError("the engine hangs and there is no other")
            engine.give_up(engine.current, "hangs")
        except NoEngineError as error:
            self._stuck += 1
            _log.error("%s; slices come back without contours", _STUCK if self._stuck >= _TRIES else error)
            self._all_broken(jobs, error)
        else:
            with self._changed:
                self._waiting += jobs
