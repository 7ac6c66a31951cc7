"""Service of the settings: pipeline, scheduler and publisher, for server, Gadgetron module and pipe."""

from __future__ import annotations

import gc
import logging
import math
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from inline.data.errors import ConfigurationError
from inline.data.memory import MemoryBudget
from inline.emit.publisher import Publisher
from inline.engine_selection import build_pipeline
from inline.examination.haematocrits import HaematocritFile
from inline.report.drawing import check_extra
from inline.serving.kept import KeptSlices
from inline.serving.observers import Observers
from inline.serving.scheduler import Scheduler
from inline.serving.signals import Shutdown
from inline.serving.studies import Studies
from inline.settings import Settings
from model.engines.base import Engine
from model.engines.fallback import IDLE_S, NoEngineError
from model.host import release_freed_memory

_log = logging.getLogger(__name__)

_SWITCH_S: Final = 5e-4
_KEPT_PART: Final = 8
"""Part of the memory limit that T1 slices of earlier measurements have: one eighth."""


class Service:
    """Parts that all connections of a program share.

    Attributes:
        scheduler: works on slices.
        settings: of the program; a client's parameters change those of its own connection alone.
        publisher: publishes results on ZeroMQ; None where no address is set.
        shutdown: when it is requested, every session finishes what is in flight.
        memory: budget of all connections.
        kept: T1 slices that wait for their native or post-contrast partner.
        studies: that the slices belong to.
        observers: receive the events of connections and slices.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        settings: Settings,
        publisher: Publisher | None = None,
        drain_s: float = math.inf,
        observers: Observers | None = None,
    ) -> None:
        """Begin without connections; ``drain_s``: see :class:`Shutdown`."""
        self.scheduler, self.settings, self.publisher = scheduler, settings, publisher
        self.shutdown = Shutdown(drain_s)
        server = settings.server
        kept_bytes = server.memory_bytes // _KEPT_PART
        budget = server.memory_bytes - kept_bytes
        self.memory = MemoryBudget(budget, server.connection_bytes, server.connections)
        haematocrits = HaematocritFile(settings.ecv.haematocrits)
        haematocrits.announce()
        self.kept = KeptSlices(kept_bytes, haematocrits)
        self.studies = Studies()
        self.observers = observers or Observers()

    @property
    def engine(self) -> Engine:
        """Engine that runs the network."""
        return self.scheduler.pipeline.engine


@contextmanager
def service(
    settings: Settings, *, address_may_be_taken: bool = False, verify_s: float = IDLE_S
) -> Iterator[Service]:
    """Start the service of these settings, and close it in the end.

    Args:
        settings: of the program.
        address_may_be_taken: run without ZeroMQ where its address cannot be bound, as in one of several
            processes that each serve one measurement.
        verify_s: time without a slice after which the engine is verified.

    Raises:
        ConfigurationError: the weights cannot be used, no engine works, or results cannot be published.
        ImportError: reports are to be sent, and the extra ``report`` is not installed.
    """
    if settings.emit.report:
        check_extra()
    with ExitStack() as stack:
        publisher = None
        try:
            if (emit := settings.emit).zmq:
                publisher = Publisher(emit.zmq, keys=emit.zmq_keys, insecure=emit.zmq_insecure)
                stack.callback(publisher.close)
        except ConfigurationError as error:
            if not address_may_be_taken:
                raise
            _log.warning("%s; going on without", error)
        pipeline = build_pipeline(settings)
        try:
            pipeline.warm_up()
        except NoEngineError as error:
            raise ConfigurationError(str(error)) from error
        scheduler = Scheduler(pipeline, settings.workers, settings.budget_ms, verify_s=verify_s)
        # Garbage collections during a slice need not traverse what is loaded now.
        gc.collect()
        gc.freeze()
        release_freed_memory()
        stack.callback(gc.unfreeze)
        stack.callback(scheduler.close)
        # By default a thread that runs Python code holds up the threads of other connections for 5 ms.
        sys.setswitchinterval(_SWITCH_S)
        yield Service(scheduler, settings, publisher)
