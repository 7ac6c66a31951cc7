"""Works on slices beside the connections, so that reading and writing never wait for a fit."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from inline.assembly.assembler import Assembled
from inline.pipeline import Pipeline
from inline.results import SliceResult

_log = logging.getLogger(__name__)


class Processor:
    """Takes slices from any number of connections and hands back their results."""

    def __init__(self, pipeline: Pipeline, workers: int = 2) -> None:
        self._pipeline = pipeline
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="slice")

    def submit(self, assembled: Assembled, done: Callable[[SliceResult], None]) -> None:
        """Work on a slice when its turn comes, then call ``done`` from a worker's thread, exactly once."""

        def work() -> None:
            result = self._pipeline.process(assembled)
            try:
                done(result)
            except Exception:  # a result that cannot be delivered concerns its connection alone
                _log.exception("the result of slice %d was not delivered", result.identity.slice_index)

        self._pool.submit(work)

    def close(self) -> None:
        """Finish what was submitted."""
        self._pool.shutdown(wait=True)
