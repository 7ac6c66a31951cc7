"""Cluster of a cohort: Dask workers on this host, or those of an existing scheduler, and the run on them."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from typing import Final

import dask
from distributed import Client, KilledWorker, LocalCluster, as_completed

from inline.cohort.discover import ExaminationPath
from inline.cohort.store import Store, document
from inline.cohort.task import TaskOutcome
from inline.cohort.worker import PipelinePlugin, process_examination
from inline.data.errors import CohortError, MyostreamError
from model.processes import import_nothing_from_current_folder

_DASHBOARD: Final = "127.0.0.1:8787"
"""Address of the dashboard of local workers; another port where this one is taken."""
_CONNECT_S: Final = 30
_ENDED: Final = "its worker ended each time: out of memory, killed, or longer at work than the limit of time"
_LOCAL: Final = {
    # An examination whose worker ended is run once more alone, in any case.
    "distributed.scheduler.allowed-failures": 0,
    # A worker's memory is its engine and one examination; none of it can be spilled, and a worker that pauses
    # would never go on. Beyond its share of the host's memory a worker is restarted.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
}


@contextmanager
def connected(workers: int | None = None, scheduler: str = "") -> Iterator[Client]:
    """Yield a client of a cluster. Workers that were started here end with the block.

    Args:
        workers: processes to start on this host, with one thread each; None for one a core.
        scheduler: address of an existing cluster (``tcp://HOST:8786``); empty starts workers on this host.

    Raises:
        CohortError: there is no such scheduler.
    """
    if scheduler:
        try:
            client = Client(scheduler, timeout=_CONNECT_S)
        except (OSError, ValueError, ImportError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise CohortError(
                f"the scheduler {scheduler} cannot be reached ({reason}); give the address that it states "
                "when it starts, such as tcp://127.0.0.1:8786"
            ) from error
        with client:
            yield client
        return
    count = workers or len(os.sched_getaffinity(0))
    with dask.config.set(_LOCAL), _started(count) as cluster, Client(cluster) as client:
        yield client


def _started(workers: int) -> LocalCluster:
    import_nothing_from_current_folder()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(?s).*Port .* is already in use")
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address=_DASHBOARD,
            preload="inline.cohort.local_worker",
            silence_logs=logging.CRITICAL,  # outcomes state what failed; an interruption is an error of each
        )


def process_all(
    client: Client,
    examinations: Sequence[ExaminationPath],
    plugin: PipelinePlugin,
    done: Callable[[TaskOutcome], None],
) -> None:
    """Process examinations on a cluster; failures are outcomes like others.

    A task whose worker ends is run again, as often as the scheduler allows. Then it is run once more with no
    other beside it, so that it alone is to blame, and given up where its worker ends again.

    Args:
        client: of the cluster.
        examinations: to process, each of them once.
        plugin: of this run.
        done: receives each outcome as soon as it is there.

    Raises:
        CohortError: a worker does not fit, or the scheduler has gone.
        ConfigurationError: no engine loads on a worker.
    """
    with _registered(client, plugin):
        killed: list[ExaminationPath] = []
        for examination, outcome in _outcomes(client, examinations, plugin, "examination"):
            if outcome is None:
                killed.append(examination)
            else:
                done(outcome)
        for examination in killed:
            for _, outcome in _outcomes(client, [examination], plugin, "alone"):
                done(outcome or _failure(examination, plugin, _ENDED))


@contextmanager
def _registered(client: Client, plugin: PipelinePlugin) -> Iterator[None]:
    """Make the pipelines of all workers, now and when further ones join; release them at the end."""
    try:
        try:
            client.register_plugin(plugin)
        except ModuleNotFoundError as error:  # raised by a worker
            raise CohortError(
                f"a worker has no module {error.name}; install the same version of myostream for the workers"
            ) from error
        yield
    finally:
        with suppress(OSError):  # the scheduler has gone
            client.unregister_worker_plugin(plugin.name)


def _outcomes(
    client: Client, examinations: Sequence[ExaminationPath], plugin: PipelinePlugin, prefix: str
) -> Iterator[tuple[ExaminationPath, TaskOutcome | None]]:
    """Yield each examination with its outcome in the order of completion; None where its workers ended.

    Raises:
        CohortError: the scheduler has gone.
    """
    # The keys show in dashboards and logs: they hold no path.
    by_key = {f"{prefix}-{each.key}-{plugin.name}": each for each in examinations}
    futures = client.map(process_examination, list(by_key.values()), plugin=plugin.name, key=list(by_key))
    finished = as_completed(futures)
    del futures
    for future in finished:
        examination = by_key[future.key]
        try:
            outcome = future.result()
        except KilledWorker:
            outcome = None
        except (CancelledError, OSError) as error:  # no task raises these: it returns all errors
            raise CohortError(
                "the scheduler has gone; what was processed is stored, and the same command goes on from it"
            ) from error
        except Exception as error:  # of Dask or of Python, outside of the task
            outcome = _failure(examination, plugin, f"{type(error).__name__}: {error}")
        # A result that stays with its worker would be lost, and computed again, when the worker ends.
        future.release()
        yield examination, outcome


def _failure(examination: ExaminationPath, plugin: PipelinePlugin, reason: str) -> TaskOutcome:
    """Store and return the outcome of an examination whose task could not."""
    task = plugin.task
    with suppress(MyostreamError):  # without its file it counts as missing in the end
        Store(task.out).write(examination, document(examination, task.provenance, error=reason))
    return TaskOutcome(examination.key, 0, reason)
