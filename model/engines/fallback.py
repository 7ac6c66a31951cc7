"""Engines in a fallback order: one that fails, or whose output has become wrong, is replaced by the next."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.engines.base import Engine
from model.engines.self_test import Reference, Trial, checked, try_out
from model.errors import MyostreamError

_log = logging.getLogger(__name__)

Factory = Callable[[], Engine]

VERIFIED_SLICES: Final = 1000
"""Slices after which the engine in use is verified."""
IDLE_S: Final = 60.0
"""Time without a slice after which it is verified."""


class NoEngineError(MyostreamError):
    """Every engine has failed; says how each did."""


@dataclass(slots=True, eq=False)
class _InUse:
    """An engine that was loaded.

    Attributes:
        engine: itself.
        trial: what it is verified with; None where there is no reference.
        active: when it was last used or verified, on the chain's clock.
        verified: when it last proved right.
        slices: computed since then.
        suspect: it has failed and no other is left: it is verified before it is used again.
    """

    engine: Engine
    trial: Trial | None
    active: float
    verified: float
    slices: int = 0
    suspect: bool = False


class EngineChain:
    """Itself an engine: runs the first of its engines that works.

    An engine fails by raising when it is made or run, by output of the wrong shape or with values that are no
    numbers, by output that differs from the stored one when it is verified, or by being given up from outside
    (:meth:`give_up`) because it hangs.

    With a reference, an engine is verified when it is loaded, every 1,000 slices, and after a minute without
    slices. The batch that completes the 1,000 waits for its verification (0.2 s on two cores) and is
    computed again by the next engine if that fails. After a minute without slices :meth:`verify_if_idle` does
    it, while nobody waits: at a scanner, most series come after a pause, and each would pay for it otherwise.
    Where nobody calls that method, the first batch after the pause is verified before it is computed.
    """

    def __init__(
        self,
        factories: Sequence[tuple[str, Factory]],
        reference: Reference | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make the first engine that can be made and proves right.

        Args:
            factories: name and maker of each engine, the preferred one first.
            reference: output that each is compared with; None leaves all verification out.
            clock: seconds.

        Raises:
            NoEngineError: there is none.
        """
        self._waiting = list(factories)
        self._reference = reference
        self._clock = clock
        self._failures: list[str] = []
        self._lock = threading.Lock()
        self._current = self._next()

    @property
    def name(self) -> str:
        """Name of the engine in use."""
        return self.current.name

    @property
    def failures(self) -> tuple[str, ...]:
        """Reasons why the engines before the one in use are not in use."""
        return tuple(self._failures)

    @property
    def current(self) -> Engine:
        """The engine in use, to name it in :meth:`give_up`."""
        return self._current.engine

    def infer(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """See :meth:`model.engines.base.Engine.infer`.

        Raises:
            NoEngineError: the last engine has failed too. It is kept, and used again once it proves right.
        """
        while True:
            used = self._current
            try:
                if used.suspect or self._idle(used):
                    self._verify(used)
                probabilities = checked(used.engine.infer(images), images)
                if used.slices + len(images) >= VERIFIED_SLICES:
                    self._verify(used)
                else:
                    used.slices += len(images)
            except Exception as error:
                self._replace(used, _said(error))
            else:
                used.active = self._clock()
                return probabilities

    def verify_if_idle(self) -> None:
        """Verify the engine in use after a minute without slices; to be called while no slice waits.

        Where it fails and no other is left, slices get that as an error until it proves right.
        """
        used = self._current
        if not self._idle(used):
            return
        try:
            self._verify(used)
        except Exception as error:
            with suppress(NoEngineError):
                self._replace(used, _said(error))

    def give_up(self, engine: Engine, reason: str) -> None:
        """Replace an engine, unless another thread has done so already.

        Raises:
            NoEngineError: there is no other.
        """
        used = self._current
        if engine is used.engine:
            self._replace(used, reason)

    def _idle(self, used: _InUse) -> bool:
        return used.trial is not None and self._clock() - used.active >= IDLE_S

    def _verify(self, used: _InUse) -> None:
        if used.trial is not None:
            used.trial.repeat()
            _log.debug("the engine %s is right after %d slices", used.engine.name, used.slices)
        used.slices, used.suspect = 0, False
        used.active = used.verified = self._clock()

    def _replace(self, used: _InUse, reason: str) -> None:
        with self._lock:
            if used is not self._current:
                return
            if used.trial is not None:
                ago = self._clock() - used.verified
                reason += f"; slices computed since it last proved right, {ago:.0f} s ago: {used.slices}"
            name = used.engine.name
            used.active, used.suspect = self._clock(), True
            if not self._waiting:
                _log.error("the engine %s failed (%s) and no other is left", name, reason)
                raise NoEngineError(f"the engine {name} failed and no other is left: {reason}")
            self._failures.append(f"{name}: {reason}")
            _log.warning("the engine %s failed (%s); trying the next", name, reason)
            self._current = self._next()

    def _next(self) -> _InUse:
        while self._waiting:
            name, factory = self._waiting.pop(0)
            try:
                engine = factory()
                trial = None if self._reference is None else try_out(engine, self._reference)
            except Exception as error:
                self._failures.append(f"{name}: {error}")
                _log.warning("the engine %s is not used: %s", name, error)
            else:
                now = self._clock()
                return _InUse(engine, trial, active=now, verified=now)
        raise NoEngineError("no engine works: " + "; ".join(self._failures))


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
