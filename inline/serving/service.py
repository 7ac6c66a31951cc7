"""Service of the settings: pipeline, scheduler and publisher, for server, Gadgetron module and pipe."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from inline.data.errors import ConfigurationError
from inline.emit.publisher import Publisher
from inline.engine_selection import build_pipeline
from inline.serving.scheduler import Scheduler
from inline.settings import Settings
from model.engines.base import Engine
from model.engines.fallback import NoEngineError

_log = logging.getLogger(__name__)

_SWITCH_S: Final = 5e-4


@dataclass(frozen=True, slots=True)
class Service:
    """Parts that all sessions share, warmed up.

    Attributes:
        engine: runs the network.
        scheduler: works on slices.
        publisher: publishes results on ZeroMQ; None where no address is set.
    """

    engine: Engine
    scheduler: Scheduler
    publisher: Publisher | None


@contextmanager
def service(settings: Settings, *, address_may_be_taken: bool = False) -> Iterator[Service]:
    """Start the service of these settings, and close it in the end.

    Args:
        settings: of the program.
        address_may_be_taken: run without ZeroMQ where its address cannot be bound, as in one of several
            processes that each serve one measurement.

    Raises:
        ConfigurationError: the weights cannot be used, no engine works, or results cannot be published.
    """
    publisher = _publisher(settings, optional=address_may_be_taken)
    try:
        pipeline = build_pipeline(settings)
        try:
            pipeline.warm_up()
        except NoEngineError as error:
            raise ConfigurationError(str(error)) from error
        scheduler = Scheduler(pipeline, settings.workers, settings.budget_ms)
        # Garbage collections during a slice need not traverse what is loaded now.
        gc.collect()
        gc.freeze()
        # By default a thread that runs Python code holds up the threads of other connections for 5 ms.
        sys.setswitchinterval(_SWITCH_S)
        try:
            yield Service(pipeline.engine, scheduler, publisher)
        finally:
            scheduler.close()
            gc.unfreeze()
    finally:
        if publisher is not None:
            publisher.close()


def _publisher(settings: Settings, *, optional: bool) -> Publisher | None:
    if not settings.emit.zmq:
        return None
    try:
        emit = settings.emit
        return Publisher(emit.zmq, keys=emit.zmq_keys, insecure=emit.zmq_insecure)
    except ConfigurationError as error:
        if not optional:
            raise
        _log.warning("%s; going on without", error)
        return None
