"""Health of the service: liveness, readiness, and the state that they follow from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from inline.data.plural import counted
from inline.serving.server import Server
from model.engines.fallback import IDLE_S, FallbackEngine

SPARED_S: Final = 600.0
"""Time for which a service whose engine or fits hang is not restarted while connections are open: their
images still pass, and a restart would end them."""


@dataclass(frozen=True, slots=True)
class State:
    """State of a service at one moment.

    Attributes:
        listening: it accepts connections, or did before it drained.
        draining: it finishes what is in flight and accepts nothing more.
        engine: name of the engine in use; empty before there is one.
        failed: that engine has failed or hangs, and no other is left.
        unproven_s: time since the engine last returned output or was verified, s.
        exhausted_s: time for which every thread for fits and contours hangs, s; 0 while one works.
        connections: number of open connections.
    """

    listening: bool = False
    draining: bool = False
    engine: str = ""
    failed: bool = False
    unproven_s: float = 0.0
    exhausted_s: float = 0.0
    connections: int = 0

    @classmethod
    def of(cls, server: Server | None) -> State:
        """Return the state of a server; None while it is not there yet."""
        if server is None:
            return cls()
        scheduler, engine = server.service.scheduler, server.service.engine
        watched = engine if isinstance(engine, FallbackEngine) else None
        return cls(
            listening=True,
            draining=server.service.shutdown.requested,
            engine=engine.name,
            failed=scheduler.stuck or (watched is not None and watched.failed),
            unproven_s=0.0 if watched is None else watched.unproven_s,
            exhausted_s=scheduler.exhausted_s,
            connections=server.connections,
        )


@dataclass(frozen=True, slots=True)
class Health:
    """Health of a service.

    Attributes:
        live: it needs no restart.
        ready: it takes connections, and their slices get contours.
        summary: one line for a person.
        state: of the service, from which the others follow.
    """

    live: bool
    ready: bool
    summary: str
    state: State

    def record(self) -> dict[str, Any]:
        """Return the health as JSON can hold it."""
        return {"live": self.live, "ready": self.ready, "summary": self.summary, **asdict(self.state)}


class Checkup:
    """Health check of one service, from its start on.

    Attributes:
        server: the server, as soon as it listens.
        verify_s: time without a slice after which its engine is verified.
    """

    def __init__(self, verify_s: float = IDLE_S) -> None:
        self.server: Server | None = None
        self.verify_s = verify_s

    def health(self) -> Health:
        """Return the health now."""
        return judge(State.of(self.server), 2.0 * self.verify_s)


def judge(state: State, limit_s: float) -> Health:
    """Return the health that follows from a state.

    Args:
        state: of the service.
        limit_s: time for which an engine may neither return output nor be verified.
    """
    silent = state.unproven_s > limit_s
    useless_s = max(state.unproven_s - limit_s, state.exhausted_s)
    spared = state.connections > 0 and useless_s <= SPARED_S
    live = useless_s <= 0.0 or spared or state.draining
    ready = state.listening and not (state.draining or useless_s > 0.0 or state.failed)
    return Health(live, ready, _summary(state, silent=silent), state)


def _summary(state: State, *, silent: bool) -> str:
    if not state.listening:
        return "starting: the network is loaded"
    connections = counted(state.connections, "connection")
    if state.draining:
        return f"stopping: {connections} to finish"
    if state.exhausted_s:
        return f"every thread for fits hangs, for {state.exhausted_s:.0f} s now: slices make no maps"
    if state.failed:
        return f"the engine {state.engine} has failed and no other is left: maps come without contours"
    if silent:
        return f"the engine {state.engine} has returned nothing for {state.unproven_s:.0f} s"
    return f"ready: engine {state.engine}, {connections}"
