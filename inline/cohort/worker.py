"""Worker of a cohort on Dask: one engine a process, which every task of the process uses.

This module and :mod:`inline.cohort.cluster` import ``distributed``; callers import them late.
"""

from __future__ import annotations

import asyncio
import platform
import secrets
from collections.abc import Callable
from typing import Any

import cv2
from distributed import WorkerPlugin, get_worker

from inline.cohort.discover import ExaminationPath
from inline.cohort.provenance import CohortProvenance
from inline.cohort.task import CohortTask, TaskOutcome
from inline.data.errors import CohortError
from inline.pipeline import Pipeline
from model.processes import ended_after


class PipelinePlugin(WorkerPlugin):  # type: ignore[misc]  # distributed is not type-checked
    """Pipeline of each worker, made before its first task, also where a worker joins later.

    Attributes:
        name: of this run alone: runs on one scheduler do not disturb each other.
        task: what the tasks of the run have in common.
        timeout_s: longest time of an examination.
    """

    def __init__(self, task: CohortTask, build: Callable[[], Pipeline], timeout_s: float) -> None:
        """Take what all workers need.

        Args:
            task: what the tasks of the run have in common.
            build: makes the pipeline of a worker.
            timeout_s: longest time of an examination. Then its worker ends, which also stops C code that
                never returns, as that of HDF5 on some damaged files.
        """
        self.name = f"myostream-{secrets.token_hex(8)}"
        self.task = task
        self.timeout_s = timeout_s
        self._build = build
        self._pipeline: Pipeline | None = None

    @property
    def pipeline(self) -> Pipeline:
        """Pipeline of this worker.

        Raises:
            CohortError: it has none (any more).
        """
        if self._pipeline is None:
            raise CohortError("this worker has no pipeline; the run that it belongs to has ended")
        return self._pipeline

    async def setup(self, worker: Any) -> None:
        """Make the pipeline. The worker still replies to its scheduler meanwhile.

        Raises:
            CohortError: the worker has other weights, or another version of the program, than the client.
            ConfigurationError: the weights cannot be used, or no engine loads.
        """
        self._pipeline = await asyncio.to_thread(self._make)

    def teardown(self, worker: Any) -> None:
        """Release the engine's memory at the end of the run."""
        self._pipeline = None

    def _make(self) -> Pipeline:
        if CohortProvenance.of(self.task.settings) != self.task.provenance:
            raise CohortError(
                f"a worker on {platform.node()} has other weights or another version of myostream than this "
                "host; install the same there, and give weights a path that all hosts share"
            )
        # A process a core: threads of their own would wait for each other.
        cv2.setNumThreads(1)
        pipeline = self._build()
        pipeline.warm_up()
        return pipeline


def process_examination(examination: ExaminationPath, plugin: str) -> TaskOutcome:
    """Process one examination with the pipeline of this worker."""
    own: PipelinePlugin = get_worker().plugins[plugin]
    with ended_after(own.timeout_s):
        return own.task.run(examination, own.pipeline)
