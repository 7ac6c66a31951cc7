"""Scheduler of the slices of all connections: stages overlap, and each slice has a budget of time.

Fits and contours run in a pool of threads. The network runs in one thread and takes all slices that wait at a
time: a batch costs less than its slices. At the end of its budget a slice is delivered without contours; its
later result is delivered as a latecomer where anybody takes those. Late slices go after all others.
Connections get equal shares of fits and network. A fit or an engine that hangs is logged, and its thread is
replaced.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from inline.assembly.assembled import Assembled, Failed
from inline.data.flags import Flag
from inline.data.memory import Share, unlimited
from inline.data.results import SliceResult
from inline.pipeline import Pipeline, SliceContext, SliceProgress, Stage, Stages
from inline.serving.workers import Task, Turns, Workers
from model.engines.fallback import IDLE_S, FallbackEngine, NoEngineError

_log = logging.getLogger(__name__)

_LARGEST_BATCH: Final = 8
_HANGING: Final = 4.0
"""Budgets that a batch may take before its engine is given up."""
_IDLE_POLL_S: Final = 1.0
"""Time without a slice after which the engine may be verified (:meth:`FallbackEngine.verify_if_idle`)."""
_PATIENCE_S: Final = 5.0
"""Lower bound of the time that a batch may take: an engine is not given up for a short budget."""
_JOIN_S: Final = 5.0
"""Time that closing waits for the threads."""
_PAUSED_S: Final = 1.0
"""Overrun of a wait beyond which the process is taken to have been paused (suspended, snapshot, swapping)."""
_ROOM_S: Final = 2.0
"""Time that a slice waits for memory that its connection holds elsewhere, such as in unread replies."""
_POLL_S: Final = 0.1
_LATE_PART: Final = 8
"""Part of the memory of a connection that its late slices may hold where nobody subscribes, and part of the
memory of all connections that those of ended ones may hold together."""
_TRIES: Final = 2
"""Threads that may hang in the only engine; then slices come back without contours until one returns."""
_RESULT_BYTES: Final = 32
"""Bytes for each pixel of a slice in work, beside its images: map, labels, overlay and their encoding."""

_NO_ROOM: Final = "not worked on: the memory limit of the connection is reached; its images have passed on"
_STUCK: Final = "the only engine hangs in every thread that was started for it; restart myostream"


class Deliver(Protocol):
    """Receiver of the results of a slice."""

    def __call__(self, result: SliceResult, *, latecomer: bool) -> None:
        """Take a result when the slice is ready or its budget ends, and a latecomer if it is ready after."""


@dataclass(slots=True, eq=False)
class Owner:
    """Connection that slices belong to.

    Attributes:
        name: for the log.
        memory: where its slices are counted while they are worked on.
        subscribed: whether anybody but the connection takes results.
        gone: the connection takes no more results.
        ended: the connection is closed (:meth:`end`); only late slices of it are in work.
    """

    name: str = "a client"
    memory: Share = field(default_factory=unlimited)
    subscribed: Callable[[], bool] = lambda: True
    gone: bool = False
    ended: bool = False

    def end(self) -> None:
        """Note that the connection is closed."""
        self.ended = True
        self.memory.end()


_NOBODY: Final = Owner()


class Depths(NamedTuple):
    """Lengths of the queues of a scheduler.

    Attributes:
        slices: slices that were submitted and are not done.
        threads: stages of them that wait for a thread.
        network: slices that wait for the network.
    """

    slices: int
    threads: int
    network: int


@dataclass(slots=True, eq=False)
class _Job:
    progress: SliceProgress
    stages: Stages
    deliver: Deliver
    budget_s: float
    owner: Owner
    late_too: bool = False  # its result is taken even if it is late
    size: int = 0  # bytes that are counted in the memory of its connection
    timed: bool = False  # its budget runs
    queued: float = 0.0  # when it began to wait for the network, s of time.perf_counter
    task: Task | None = None  # its last stage in the pool
    delivered: bool = False
    # Held during a delivery: the result in time comes before the latecomer, never after it.
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def slice_index(self) -> int:
        return self.progress.assembled.identity.slice_index

    def rank(self, stage: int) -> tuple[tuple[bool, int], float]:
        """Return the order of work: late slices last, later stages first, then the earlier deadline."""
        return (self.progress.late, -stage), self.progress.deadline

    @property
    def in_vain(self) -> bool:
        """True when nobody takes the result: its client has left, or it was delivered late."""
        untaken = self.owner.gone or (self.delivered and not self.late_too)
        return untaken and not self.owner.subscribed()


class Scheduler:
    """Takes slices from any number of connections and delivers their results.

    Attributes:
        pipeline: gives the stages of a slice, and the engine.
        misses: slices that were not ready when their budget ended.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        workers: int,
        budget_ms: float,
        *,
        patience_s: float = _PATIENCE_S,
        verify_s: float = IDLE_S,
    ) -> None:
        """Start the threads.

        Args:
            workers: threads for fits and contours.
            budget_ms: time from a slice's last image to its result.
            patience_s: an engine is not given up before a batch has taken so long and four budgets.
            verify_s: time without a slice after which the engine is verified.
        """
        self.pipeline = pipeline
        self._budget = budget_ms / 1000.0
        self._verify_s = verify_s
        self._hanging = max(_HANGING * self._budget, patience_s)
        self._workers = Workers(workers)
        self._turns = Turns()
        self._hung = self._stuck = 0
        self._jobs: dict[_Job, None] = {}
        self._waiting: list[_Job] = []
        self._running: list[_Job] | None = None  # an empty list: the engine is verified
        self._running_since = 0.0
        self._generation = 0
        self._closed = False
        self._changed = threading.Condition()
        self.misses = 0
        self._start_network()
        self._timer = threading.Thread(target=partial(_repeat, self._watch), name="budget", daemon=True)
        self._timer.start()

    @property
    def depths(self) -> Depths:
        """Lengths of the queues at this moment."""
        return Depths(len(self._jobs), self._workers.waiting, len(self._waiting))

    @property
    def stuck(self) -> bool:
        """True while the only engine hangs in every thread that was started for it."""
        return self._stuck >= _TRIES

    @property
    def exhausted_s(self) -> float:
        """Of the threads for fits and contours, see :attr:`Workers.exhausted_s`."""
        return self._workers.exhausted_s

    @property
    def leaked_threads(self) -> int:
        """Threads that hang in a fit or an engine, and were replaced."""
        return self._workers.leaked + self._hung

    def submit(
        self,
        assembled: Assembled,
        deliver: Deliver,
        context: SliceContext | None = None,
        *,
        budget_ms: float | None = None,
        owner: Owner = _NOBODY,
        late_too: bool = False,
    ) -> None:
        """Work on a slice when the turn of its connection comes.

        A slice for which its connection has no memory waits here until others of it are done. Where that does
        not help, it is delivered with an error.

        Args:
            assembled, context, owner: the slice, and the connection that it is of.
            deliver: takes the result, in another thread.
            budget_ms: of this slice, in place of the scheduler's.
            late_too: an observer, or the ECV of a later slice, takes its result even if it is late. Such
                slices hold an eighth of the limit of their connection at most, and do not delay the end.
        """
        budget_s = self._budget if budget_ms is None else budget_ms / 1000.0
        # The budget runs from the last image. A series that was held back, for more images, its corrected
        # twin or a place among the slices in work, has half of it at least: else a burst would lose its
        # contours, since of a latecomer only the ECV goes back.
        start = max(assembled.arrived, time.monotonic() - 0.5 * budget_s)
        progress = SliceProgress(assembled, context or SliceContext(), start + budget_s)
        job = _Job(progress, self.pipeline.stages(progress), deliver, budget_s, owner, late_too)
        room = self._make_room(job)
        with self._changed:
            self._jobs[job] = None
            self._turns.opened(owner)
            job.timed = room
            self._changed.notify_all()
        if room:
            self._later(job, 0, "fit", partial(self._advance, job, partial(next, job.stages)))
        else:
            self._finish(job, progress.without_contours(_NO_ROOM))

    def _make_room(self, job: _Job) -> bool:
        """Count a slice in the memory of its connection, in place of late ones where there is no room."""
        assembled = job.progress.assembled
        if isinstance(assembled, Failed):
            return True
        columns, rows, _ = assembled.template.matrix_size
        size = assembled.nbytes + _RESULT_BYTES * rows * columns
        until = time.monotonic() + _ROOM_S
        while not job.owner.memory.reserve(size):
            with self._changed:
                late = [each for each in self._jobs if each.delivered and each.owner is job.owner]
                busy = job.owner in self._turns
            if any(map(self._drop, late)):
                continue
            if job.progress.late or not (busy or time.monotonic() < until):
                return False
            with self._changed:
                self._changed.wait(timeout=_POLL_S)
        job.size = size
        return True

    def _drop(self, job: _Job) -> bool:
        """End the work on a slice that was delivered late; return False where it is worked on now."""
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)
            elif job.task is None or not self._workers.withdraw(job.task):
                return False
        self._end(job)
        return True

    def _later(self, job: _Job, stage: int, name: str, run: Callable[[], None]) -> None:
        """Queue a stage of a slice."""
        what = f"the {name} of slice {job.slice_index} of {job.owner.name}"
        job.task = Task(job.owner, what, partial(job.rank, stage), run, partial(self._stage_hangs, job, name))
        self._workers.submit(job.task)

    def _stage_hangs(self, job: _Job, name: str, seconds: float) -> None:
        error = f"the {name} hangs and was given up after {seconds:.0f} s"
        if not job.lock.locked():  # else it hangs in its delivery
            self._finish(job, job.progress.without_contours(error, Flag.PROCESSING_ERROR))

    def close(self, timeout_s: float = 60.0) -> None:
        """Finish what was submitted, or give it up after this time; takes nothing more."""
        with self._changed:
            if self._closed:
                return
            jobs = list(self._jobs)
        for job in jobs:
            job.late_too = False
            if job.delivered and job.in_vain:
                self._drop(job)
        with self._changed:
            self._changed.wait_for(lambda: not self._jobs, timeout=timeout_s)
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

    def _advance(self, job: _Job, step: Callable[[], NDArray[np.float32] | SliceResult]) -> None:
        """Run the stages of a slice up to its result, or up to its network input, which it is queued with."""
        if job.in_vain:
            if job.delivered:
                self._end(job)
            else:
                self._finish(job, job.progress.without_contours("its client has left"))
            return
        try:
            output = step()
        except BaseException as error:  # one slice must never take the stream down
            output = job.progress.failure(error)
        if isinstance(output, SliceResult):
            self._finish(job, output)
            return
        with self._changed:
            if job in self._jobs:  # else given up meanwhile
                job.queued = time.perf_counter()
                self._waiting.append(job)
                self._changed.notify_all()

    def _start_network(self, given_up: list[_Job] | None = None) -> None:
        """Start a thread for the network, in place of one that hangs with some slices."""
        self._generation += 1
        run, name = partial(self._network, self._generation, given_up), f"network {self._generation}"
        self._network_thread = threading.Thread(target=run, name=name, daemon=True)
        self._network_thread.start()

    def _network(self, generation: int, given_up: list[_Job] | None) -> None:
        """Run batches until closed, or until another thread has taken over from this one."""
        if given_up is not None:
            self._replace_engine(given_up)
        _repeat(partial(self._run_batch, generation))

    def _run_batch(self, generation: int) -> bool:
        """Run the next batch, or verify the engine where none waits; return whether to go on."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._waiting or self._closed or generation != self._generation,
                timeout=min(_IDLE_POLL_S, self._verify_s),
            )
            if generation != self._generation or (self._closed and not self._waiting):
                return False
            jobs = self._next_batch()
            self._running, self._running_since = jobs, time.monotonic()
        engine = self.pipeline.engine
        if not jobs:
            if isinstance(engine, FallbackEngine) and not self.stuck:
                engine.verify_if_idle(self._verify_s)
            return not self._taken_over(generation)
        if self.stuck:
            self._all_failed(jobs, NoEngineError(_STUCK))
            return not self._taken_over(generation)
        start = time.perf_counter()
        output: NDArray[np.float32] | BaseException
        try:
            prepared = [job.progress.prepared for job in jobs]
            output = engine.infer(np.stack([each.network_input for each in prepared if each]))
        except BaseException as error:
            output = error
        took = (time.perf_counter() - start) * 1000.0
        if self._taken_over(generation):
            return False
        with self._changed:
            for job in jobs:
                self._turns.end(job.owner, took / 1000.0 / len(jobs))
                waited = (start - job.queued) * 1000.0
                job.progress.times_ms |= {Stage.WAIT.value: waited, Stage.NETWORK.value: took}
        if isinstance(output, BaseException):
            self._all_failed(jobs, output)
            return True
        for job, probabilities in zip(jobs, output, strict=True):
            step = partial(job.stages.send, probabilities)
            self._later(job, 1, "contours", partial(self._advance, job, step))
        return True

    def _taken_over(self, generation: int) -> bool:
        """Note that the engine has returned; True where it was given up meanwhile and replaced."""
        with self._changed:
            if generation != self._generation:
                self._hung -= 1
                self._stuck = 0
                _log.warning("the engine that hung has returned (threads given up: %d)", self.leaked_threads)
                return True
            self._running = None
            return False

    def _next_batch(self) -> list[_Job]:
        """Take the slices that run next, one of each connection in turn; the lock is held.

        A late slice runs alone: in a batch it would hold up those in time, or one that comes meanwhile.
        """
        jobs: list[_Job] = []
        in_time = [job for job in self._waiting if not job.progress.late]
        waiting, most = (in_time, _LARGEST_BATCH) if in_time else (list(self._waiting), 1)
        while waiting and len(jobs) < most:
            jobs.append(self._turns.begin(waiting, lambda job: job.owner, lambda job: job.rank(0)))
            self._waiting.remove(jobs[-1])
        return jobs

    def _all_failed(self, jobs: list[_Job], error: BaseException) -> None:
        for job in jobs:
            self._later(job, 1, "error", partial(self._finish, job, job.progress.failure(error)))

    def _finish(self, job: _Job, result: SliceResult) -> None:
        with job.lock:
            if job not in self._jobs:  # given up meanwhile
                return
            latecomer, job.delivered = job.delivered, True
            if latecomer:
                result = replace(result, flags=(*result.flags, Flag.LATE))
            self._deliver(job, result, latecomer=latecomer)
            self._end(job)

    def _end(self, job: _Job) -> None:
        """Let go of a slice that is delivered, or that nobody waits for."""
        with self._changed:
            if job not in self._jobs:
                return
            del self._jobs[job]
            job.task = None
            self._turns.closed(job.owner)
            job.owner.memory.release(job.size)
            self._changed.notify_all()

    def _deliver(self, job: _Job, result: SliceResult, *, latecomer: bool) -> None:
        try:
            job.deliver(result, latecomer=latecomer)
        except BaseException:  # a result that cannot be delivered concerns its connection alone
            _log.exception("the result of slice %d was not delivered", result.identity.slice_index)

    def _watch(self) -> bool:
        """Wait for the next budget to end and do what is due then; return whether to go on.

        Slices that are late are delivered; an engine or a thread that hangs is given up. Time in which the
        process was paused does not count as hanging: it takes no CPU time, unlike a call that computes and
        lets no other thread run.
        """
        with self._changed:
            if self._closed and not self._jobs:
                return False
            next_end = min((job.progress.deadline for job in self._jobs if job.timed), default=math.inf)
            start, worked = time.monotonic(), time.process_time()
            wait = min(max(min(self._budget, next_end - start), 0.001), 0.5)
            self._changed.wait(timeout=wait)
            now = time.monotonic()
            paused_s = now - start - wait - (time.process_time() - worked)
            if paused_s <= _PAUSED_S:
                paused_s = 0.0
            else:
                _log.warning("the process was paused for %.0f s", paused_s)
                self._running_since = min(self._running_since + paused_s, now)
            timed = sorted((job for job in self._jobs if job.timed), key=lambda job: job.progress.deadline)
            if self._closed and not timed:
                return False
            late = [job for job in timed if job.progress.deadline <= now]
            for job in late:
                job.timed = False
            if self._running is not None and now - self._running_since > self._hanging:
                jobs, self._running = self._running, None
                self._hung += 1
                _log.error(
                    "the engine %s has hung for %.0f s with %d slices; its thread is given up, "
                    "another one takes its place (threads given up: %d)",
                    getattr(self.pipeline.engine, "name", ""),
                    now - self._running_since,
                    len(jobs),
                    self.leaked_threads,
                )
                self._start_network(jobs)
        for job in late:
            try:
                self._deliver_late(job)
            except BaseException:  # one slice must not keep the others
                _log.exception("slice %d was not delivered at the end of its budget", job.slice_index)
        self._bound_late()
        self._workers.replace_hung(self._hanging, paused_s)
        return True

    def _bound_late(self) -> None:
        """Drop the oldest late slices beyond the bytes that these may hold, which images need."""
        with self._changed:
            late = [job for job in self._jobs if job.delivered]
        held: dict[Owner | None, list[_Job]] = {}
        for job in late:
            if job.owner.ended or not job.owner.subscribed():
                held.setdefault(None if job.owner.ended else job.owner, []).append(job)
        for owner, jobs in held.items():
            memory = jobs[0].owner.memory
            beyond = sum(job.size for job in jobs)
            if owner is None:
                beyond = max(beyond - memory.limit_of_all // _LATE_PART, memory.beyond_all)
            else:
                beyond -= memory.limit // _LATE_PART
            for job in jobs:
                if beyond > 0 and self._drop(job):
                    beyond -= job.size

    def _deliver_late(self, job: _Job) -> None:
        """Deliver a slice at the end of its budget; in the timer's thread, since the pool may be busy."""
        if not job.lock.acquire(blocking=False):
            return  # its result is being delivered at this moment
        try:
            if job.delivered:
                return
            job.delivered = True
            self.misses += 1
            _log.warning("slice %d missed its budget", job.slice_index)
            error = f"not ready within {job.budget_s * 1000.0:.0f} ms"
            self._deliver(job, job.progress.without_contours(error, Flag.LATE), latecomer=False)
        finally:
            job.lock.release()
        if job.in_vain:
            self._drop(job)

    def _replace_engine(self, jobs: list[_Job]) -> None:
        """Give up the engine that hangs; its slices go to the next one, if there is one.

        In the network's own thread and without the lock: the next engine may take seconds to load.
        """
        engine: Any = self.pipeline.engine
        try:
            if not isinstance(engine, FallbackEngine):
                raise NoEngineError("the engine hangs and there is no other")
            engine.give_up(engine.current, "hangs")
        except NoEngineError as error:
            self._stuck += 1
            _log.error("%s; slices come back without contours", _STUCK if self.stuck else error)
            self._all_failed(jobs, error)
        else:
            with self._changed:
                self._waiting += jobs


def _repeat(step: Callable[[], bool]) -> None:
    """Repeat a step of a thread that serves all connections until it returns False, whatever it raises."""
    while True:
        try:
            if not step():
                return
        except BaseException:
            _log.exception("the thread %s met an error and goes on", threading.current_thread().name)
            time.sleep(_POLL_S)
