"""Engines in order of preference: one that fails is replaced by the next while the stream goes on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from model.engines.base import Engine

_log = logging.getLogger(__name__)

Factory = Callable[[], Engine]


class NoEngineError(Exception):
    """Every engine has failed; says how each did."""


class EngineChain:
    """Itself an engine: runs the first of its engines that works.

    An engine fails by raising when it is made or run, by an answer of the wrong shape or with values that are
    no numbers, or by being given up from outside (:meth:`give_up`) because it hangs.
    """

    def __init__(self, factories: Sequence[tuple[str, Factory]]) -> None:
        """Make the first engine that can be made.

        Args:
            factories: name and maker of each engine, the preferred one first.

        Raises:
            NoEngineError: none of them can be made.
        """
        self._waiting = list(factories)
        self._failures: list[str] = []
        self._lock = threading.Lock()
        self._current = self._next()

    @property
    def name(self) -> str:
        """Of the engine in use."""
        return self._current.name

    @property
    def failures(self) -> tuple[str, ...]:
        """What became of the engines before the one in use."""
        return tuple(self._failures)

    def infer(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """See :meth:`model.engines.base.Engine.infer`.

        Raises:
            NoEngineError: the last engine has failed too. It is kept: the next slice may be better.
        """
        while True:
            engine = self._current
            try:
                return _checked(engine.infer(images), images)
            except Exception as error:
                self.give_up(engine, f"{type(error).__name__}: {error}")

    @property
    def current(self) -> Engine:
        """The engine in use, to name it in :meth:`give_up`."""
        return self._current

    def give_up(self, engine: Engine, reason: str) -> None:
        """Replace an engine, unless another thread has done so already.

        Raises:
            NoEngineError: there is no other.
        """
        with self._lock:
            if engine is not self._current:
                return
            if not self._waiting:
                raise NoEngineError(f"the engine {engine.name} failed and no other is left: {reason}")
            self._failures.append(f"{engine.name}: {reason}")
            _log.warning("the engine %s failed (%s); trying the next", engine.name, reason)
            self._current = self._next()

    def _next(self) -> Engine:
        while self._waiting:
            name, factory = self._waiting.pop(0)
            try:
                return factory()
            except Exception as error:
                self._failures.append(f"{name}: {error}")
                _log.warning("the engine %s does not load: %s", name, error)
        raise NoEngineError("no engine works: " + "; ".join(self._failures))


def _checked(answer: NDArray[np.float32], images: NDArray[np.float32]) -> NDArray[np.float32]:
    expected = (len(images), 3, *images.shape[1:])
    if answer.shape != expected:
        raise ValueError(f"answered {answer.shape} to a question of {expected}")
    if not np.isfinite(answer).all():
        raise ValueError("answered with values that are no numbers")
    return answer
