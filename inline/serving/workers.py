"""Pool of threads for tasks of many connections, in fair shares; a thread that hangs is replaced.

The connection that has used least time comes next.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

T = TypeVar("T")

_log = logging.getLogger(__name__)

_MOST_LEAKED: Final = 32
"""Threads that may hang; beyond it none is replaced, since each holds memory and perhaps a core."""
_NOMINAL_S: Final = 0.02
"""Time charged for a piece of work until its duration is known."""


class Turns:
    """Time that each connection has used while it has work open; contains those that have. Not thread-safe.

    A new connection, or one that comes again, begins with the least time of those that are there: it is among
    the next, and cannot save up time.
    """

    def __init__(self) -> None:
        self._spent: dict[Hashable, float] = {}
        self._open: Counter[Hashable] = Counter()

    def __contains__(self, owner: Hashable) -> bool:
        return owner in self._open

    def opened(self, owner: Hashable) -> None:
        """Note one more piece of work of a connection."""
        if owner not in self._open:
            self._spent[owner] = min(self._spent.values(), default=0.0)
        self._open[owner] += 1

    def closed(self, owner: Hashable) -> None:
        """Note that a piece of work is done."""
        self._open[owner] -= 1
        if not self._open[owner]:
            del self._open[owner], self._spent[owner]

    def begin(self, waiting: list[T], owner: Callable[[T], Hashable], rank: Callable[[T], Any]) -> T:
        """Take the next of the pieces that wait, and charge its connection for it.

        Args:
            waiting: not empty.
            owner: connection of a piece.
            rank: pair, smaller ones first: one that goes before the shares of connections, and one that
                decides within a connection.
        """

        def key(piece: T) -> tuple[Any, float, Any]:
            before, within = rank(piece)
            return before, self._spent.get(owner(piece), 0.0), within

        chosen = min(waiting, key=key)
        waiting.remove(chosen)
        self._charge(owner(chosen), _NOMINAL_S)
        return chosen

    def end(self, owner: Hashable, seconds: float) -> None:
        """Charge a connection with what a piece of work took."""
        self._charge(owner, seconds - _NOMINAL_S)

    def _charge(self, owner: Hashable, seconds: float) -> None:
        if owner in self._spent:
            self._spent[owner] += seconds


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """One stage of one slice.

    Attributes:
        owner: connection that it is of.
        name: for the log.
        rank: returns the pair of :meth:`Turns.begin`; called whenever a thread is free.
        run: runs the stage.
        hung: called, in another thread, with the seconds after which ``run`` was given up.
    """

    owner: Hashable
    name: str
    rank: Callable[[], tuple[object, object]]
    run: Callable[[], None]
    hung: Callable[[float], None]


@dataclass(slots=True, eq=False)
class _Worker:
    thread: threading.Thread = field(init=False)
    task: Task | None = None
    since: float = 0.0
    given_up: bool = False


class Workers:
    """Pool with a fixed number of threads; threads that hang do not count.

    Attributes:
        leaked: number of threads that were given up and have not returned.
    """

    def __init__(self, number: int, name: str = "slice") -> None:
        self._name = name
        self._waiting: list[Task] = []
        self._turns = Turns()
        self._changed = threading.Condition()
        self._closed = False
        self._numbers = itertools.count()
        self._workers: list[_Worker] = []
        self.leaked = 0
        for _ in range(number):
            self._start()

    @property
    def waiting(self) -> int:
        """Number of tasks that wait for a thread."""
        return len(self._waiting)

    @property
    def exhausted_s(self) -> float:
        """Time for which all threads hang and none is replaced any more, s; else 0."""
        with self._changed:
            if not all(worker.given_up for worker in self._workers):
                return 0.0
            return time.monotonic() - max(worker.since for worker in self._workers)

    def submit(self, task: Task) -> None:
        """Queue a task; it does not run after :meth:`close`."""
        with self._changed:
            self._waiting.append(task)
            self._turns.opened(task.owner)
            self._changed.notify()

    def withdraw(self, task: Task) -> bool:
        """Take a task back; return False where it has begun."""
        with self._changed:
            if task not in self._waiting:
                return False
            self._waiting.remove(task)
            self._turns.closed(task.owner)
            return True

    def replace_hung(self, after_s: float, paused_s: float = 0.0) -> None:
        """Give up threads that have worked on one task for longer, and start others in their place.

        Args:
            after_s: time that a task may take.
            paused_s: time since the last call in which the process was paused, which does not count.
        """
        now = time.monotonic()
        hung: list[tuple[Task, float]] = []
        with self._changed:
            for worker in list(self._workers):
                worker.since = min(worker.since + paused_s, now)
                took = now - worker.since
                if worker.task is None or took <= after_s or worker.given_up:
                    continue
                worker.given_up = True
                self.leaked += 1
                hung.append((worker.task, took))
                if self.leaked <= _MOST_LEAKED:
                    self._workers.remove(worker)
                    self._start()
            leaked = self.leaked
        replaced = leaked <= _MOST_LEAKED
        what = (
            "another one takes its place" if replaced else "none takes its place any more; restart myostream"
        )
        for task, took in hung:
            _log.error(
                "%s has hung for %.0f s; its thread is given up, %s (threads given up: %d)",
                task.name,
                took,
                what,
                leaked,
            )
            task.hung(took)

    def close(self, timeout_s: float) -> None:
        """Drop the tasks that wait and join the threads, except for those that hang."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
        end = time.monotonic() + timeout_s
        for worker in self._workers:
            worker.thread.join(timeout=max(end - time.monotonic(), 0.0))

    def _start(self) -> None:
        """Start a thread; the lock is held, or nothing runs yet."""
        worker = _Worker()
        name = f"{self._name}_{next(self._numbers)}"
        worker.thread = threading.Thread(target=self._work, args=(worker,), name=name, daemon=True)
        self._workers.append(worker)
        worker.thread.start()

    def _work(self, worker: _Worker) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                task = self._turns.begin(self._waiting, lambda each: each.owner, lambda each: each.rank())
                worker.task, worker.since = task, time.monotonic()
            try:
                task.run()
            except BaseException:  # the thread serves every connection
                _log.exception("%s failed", task.name)
            with self._changed:
                self._turns.end(task.owner, time.monotonic() - worker.since)
                self._turns.closed(task.owner)
                worker.task = None
                if worker.given_up:
                    self.leaked -= 1
                    _log.warning("%s has returned after %.0f s", task.name, time.monotonic() - worker.since)
                    if worker not in self._workers:
                        return
                    worker.given_up = False
            del task
