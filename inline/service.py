"""Composition of everything that sessions share, from the settings: the same for every way in.

Server, Gadgetron module and pipe differ in where their bytes come from, and in nothing else.
"""

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
from inline.engine_selection import make_engine
from inline.pipeline import Pipeline
from inline.serving.scheduler import Processor
from inline.settings import Settings
from model.engines.fallback import FallbackEngine, NoEngineError

_log = logging.getLogger(__name__)

_SWITCH_S: Final = 5e-4


@dataclass(frozen=True, slots=True)
class Service:
    """Engine, processor and publisher, warmed up.

    Attributes:
        settings: what they were made from.
        engine: runs the network.
        processor: works on slices.
        publisher: publishes results on ZeroMQ; None where no address is set.
    """

    settings: Settings
    engine: FallbackEngine
    processor: Processor
    publisher: Publisher | None


@contextmanager
def service(settings: Settings, *, address_may_be_taken: bool = False) -> Iterator[Service]:
    """Make the service of these settings, and close it in the end.

    Args:
        settings: of the program.
        address_may_be_taken: go on without ZeroMQ where its address cannot be bound, as for one of several
            processes that are started for a measurement each.

    Raises:
        ConfigurationError: the weights cannot be used, no engine works, or results cannot be published.
    """
    publisher = _publisher(settings, optional=address_may_be_taken)
    try:
        engine = make_engine(settings)
        pipeline = Pipeline.of(engine, settings)
        try:
            pipeline.warm_up()
        except NoEngineError as error:
            raise ConfigurationError(str(error)) from error
        processor = Processor(pipeline, settings.workers, settings.budget_ms)
        # What is loaded now stays: collections that need not look through it take no time off a slice's
        # budget.
        gc.collect()
        gc.freeze()
        # A thread that works for one connection in Python alone would keep those of the others waiting 5 ms
        # each time that they want to go on.
        sys.setswitchinterval(_SWITCH_S)
        try:
            yield Service(settings, engine, processor, publisher)
        finally:
            processor.close()
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
