"""Engines in a fallback order: one that fails, or whose output has become wrong, is replaced by the next."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.engines.base import Engine
from model.engines.self_test import Reference, SelfTest, checked, run_self_test
from model.errors import MyostreamError

_log = logging.getLogger(__name__)

Factory = Callable[[], Engine]

VERIFIED_SLICES: Final = 1000
"""Slices after which the engine in use is verified."""
IDLE_S: Final = 60.0
"""Time without a slice after which it is verified."""


class NoEngineError(MyostreamError):
    """Every engine has failed; gives the reason of each."""


@dataclass(slots=True, eq=False)
class _Loaded:
    """Engine that was loaded.

    Attributes:
        engine: the engine.
        self_test: that verifies it; None where there is no reference.
        used: when it was last used or verified, on the caller's clock.
        verified: when it was last verified.
        slices: computed since then.
        suspect: it has failed and no other is left: it is verified before it is used again.
        proven: when it last returned output or was verified.
    """

    engine: Engine
    self_test: SelfTest | None
    used: float
    verified: float
    slices: int = 0
    suspect: bool = False
    proven: float = field(init=False)

    def __post_init__(self) -> None:
        self.proven = self.used


class FallbackEngine:
    """Itself an engine: runs the first of several engines that works.

    An engine fails if it raises when it is loaded or run, if its output has the wrong shape, is not finite or
    differs from the stored output when it is verified, or if it hangs and the caller gives it up
    (:meth:`give_up`).

    With a reference, an engine is verified when it is loaded, every 1,000 slices, and after a minute without
    slices. The batch that completes the 1,000 waits for the verification (0.2 s on two cores) and is
    computed again by the next engine if that fails. After a minute without slices :meth:`verify_if_idle`
    verifies it while no slice waits: at a scanner most series come after a pause. Where nothing calls that
    method, the first batch after the pause is computed after the verification.

    Attributes:
        replacements: number of engines that failed after they had been in use and were replaced.
    """

    def __init__(
        self,
        factories: Sequence[tuple[str, Factory]],
        reference: Reference | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Load the first engine that works.

        Args:
            factories: name and factory of each engine, the preferred one first.
            reference: output that each is compared with; None leaves all verification out.
            clock: seconds.

        Raises:
            NoEngineError: there is none.
        """
        self._next = list(factories)
        self._reference = reference
        self._clock = clock
        self._failures: list[str] = []
        self._lock = threading.Lock()
        self.replacements = 0
        self._current = self._load_next()

    @property
    def name(self) -> str:
        """Name of the engine in use."""
        return self.current.name

    @property
    def failures(self) -> tuple[str, ...]:
        """Reasons why the engines before the one in use are not in use."""
        return tuple(self._failures)

    @property
    def failed(self) -> bool:
        """True while the engine in use has failed and no other is left."""
        return self._current.suspect

    @property
    def unproven_s(self) -> float:
        """Time since the engine in use last returned output or was verified, s; 0 without a reference."""
        loaded = self._current
        return 0.0 if loaded.self_test is None else self._clock() - loaded.proven

    @property
    def current(self) -> Engine:
        """The engine in use, for :meth:`give_up`."""
        return self._current.engine

    def infer(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """See :meth:`model.engines.base.Engine.infer`.

        Raises:
            NoEngineError: the last engine has failed too. It is kept, and used again once it is verified.
        """
        while True:
            loaded = self._current
            try:
                if loaded.suspect or self._idle(loaded):
                    self._verify(loaded)
                probabilities = checked(loaded.engine.infer(images), images)
                if loaded.slices + len(images) >= VERIFIED_SLICES:
                    self._verify(loaded)
                else:
                    loaded.slices += len(images)
            except Exception as error:
                self._replace(loaded, f"{type(error).__name__}: {error}")
            else:
                loaded.used = loaded.proven = self._clock()
                return probabilities

    def verify_if_idle(self, idle_s: float = IDLE_S) -> None:
        """Verify the engine in use after this time without slices; to be called while no slice waits.

        Where it fails and no other is left, slices get an error until it is verified.
        """
        loaded = self._current
        if not self._idle(loaded, idle_s):
            return
        try:
            self._verify(loaded)
        except Exception as error:
            with suppress(NoEngineError):
                self._replace(loaded, f"{type(error).__name__}: {error}")

    def give_up(self, engine: Engine, reason: str) -> None:
        """Replace an engine by the next one, unless another thread has done so already.

        Raises:
            NoEngineError: there is no other.
        """
        loaded = self._current
        if engine is loaded.engine:
            self._replace(loaded, reason)

    def _idle(self, loaded: _Loaded, idle_s: float = IDLE_S) -> bool:
        return loaded.self_test is not None and self._clock() - loaded.used >= idle_s

    def _verify(self, loaded: _Loaded) -> None:
        if loaded.self_test is not None:
            loaded.self_test.repeat()
            _log.debug("the engine %s is verified after %d slices", loaded.engine.name, loaded.slices)
        loaded.slices, loaded.suspect = 0, False
        loaded.used = loaded.verified = loaded.proven = self._clock()

    def _replace(self, loaded: _Loaded, reason: str) -> None:
        with self._lock:
            if loaded is not self._current:
                return
            if loaded.self_test is not None:
                ago = self._clock() - loaded.verified
                reason += f"; slices computed since it was last verified, {ago:.0f} s ago: {loaded.slices}"
            name = loaded.engine.name
            loaded.used, loaded.suspect = self._clock(), True
            if not self._next:
                _log.error("the engine %s failed (%s) and no other is left", name, reason)
                raise NoEngineError(f"the engine {name} failed and no other is left: {reason}")
            self._failures.append(f"{name}: {reason}")
            _log.warning("the engine %s failed (%s); trying the next", name, reason)
            self._current = self._load_next()
            self.replacements += 1

    def _load_next(self) -> _Loaded:
        while self._next:
            name, factory = self._next.pop(0)
            try:
                engine = factory()
                self_test = None if self._reference is None else run_self_test(engine, self._reference)
            except Exception as error:
                reason = str(error) or type(error).__name__  # a MemoryError has no text
                self._failures.append(f"{name}: {reason}")
                _log.warning("the engine %s is not used: %s", name, reason)
            else:
                now = self._clock()
                return _Loaded(engine, self_test, used=now, verified=now)
        raise NoEngineError("no engine works: " + "; ".join(self._failures))
