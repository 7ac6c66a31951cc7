"""Runs on Dask: workers as threads of this process where nothing has to end, as processes where it has."""

import os
import signal
from collections import Counter

import pytest

pytest.importorskip("distributed")

import cv2
import torch
from distributed import Client, LocalCluster

from inline.cohort.cluster import connected, process_all
from inline.cohort.discover import discover
from inline.cohort.store import Store
from inline.cohort.task import CohortTask
from inline.cohort.worker import PipelinePlugin
from inline.data.errors import CohortError, ConfigurationError


@pytest.fixture
def threads():
    """Restore the threads of this process, which a worker within it limits to one."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    yield
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])


@pytest.fixture
def client(threads):
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def contents(folder):
    return {file.name: file.read_bytes() for file in (folder / "examinations").glob("*.json")}


def process_into(out, client, task, root, build, done=lambda _: None):
    """Process all of a root into a folder and return the outcomes."""
    own, found, outcomes = CohortTask(task.settings, task.provenance, out), discover(root), []
    Store(out).begin(root, own.provenance, own.settings)

    def add(outcome):
        outcomes.append(outcome)
        done(outcome)

    process_all(client, found.examinations, PipelinePlugin(own, build, 600.0), add)
    return outcomes


def test_every_examination_has_one_outcome_and_a_damaged_one_ends_nothing(client, task, root, ring):
    (root / "exam-4.h5").write_bytes(b"damaged")
    outcomes = process_into(task.out, client, task, root, ring)
    found = {each.key: each.name for each in discover(root).examinations}
    assert Counter(outcome.key for outcome in outcomes) == dict.fromkeys(found, 1)
    assert [found[outcome.key] for outcome in outcomes if outcome.failure] == ["exam-4.h5"]
    assert len(contents(task.out)) == 6
    again = process_into(task.out.with_name("again"), client, task, root, ring)
    assert len(again) == 6
    assert contents(task.out) == contents(task.out.with_name("again"))


def test_the_engine_is_released_at_the_end(client, task, root, ring):
    process_into(task.out, client, task, root, ring)
    (plugins,) = client.run(lambda dask_worker: list(dask_worker.plugins)).values()
    assert not any(name.startswith("myostream") for name in plugins)


def test_a_worker_without_an_engine_ends_the_run_with_its_reason(client, task, root):
    def build():
        raise ConfigurationError("no engine works: none is installed")

    with pytest.raises(ConfigurationError, match="no engine works"):
        process_into(task.out, client, task, root, build)


def test_a_worker_with_other_weights_is_refused(client, task, root, ring):
    other = CohortTask(task.settings.model_copy(update={"review_below": 0.1}), task.provenance, task.out)
    with pytest.raises(CohortError, match="other weights or another version"):
        process_all(client, discover(root).examinations, PipelinePlugin(other, ring, 600.0), print)


def test_an_error_outside_of_the_task_is_stored_as_its_reason(client, task, root, ring, monkeypatch):
    def broken(*_):
        raise KeyError("plugin")

    monkeypatch.setattr(PipelinePlugin, "pipeline", property(broken))
    outcomes = process_into(task.out, client, task, root, ring)
    assert {outcome.failure for outcome in outcomes} == {"KeyError: 'plugin'"}
    summary = Store(task.out).finish(discover(root).examinations, task.provenance)
    assert {each.reason for each in summary.failures} == {"KeyError: 'plugin'"}


@pytest.mark.parametrize("address", ["127.0.0.1:1", "tcp://127.0.0.1:1", "nonsense://x", "tcp://"])
def test_a_scheduler_that_is_not_there(address, monkeypatch):
    monkeypatch.setattr("inline.cohort.cluster._CONNECT_S", 1)
    with pytest.raises(CohortError, match="cannot be reached"), connected(scheduler=address):
        pass


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_worker_loses_and_doubles_nothing(client, task, root, ring, tmp_path):
    """Two processes, one of them killed in the middle of a task, against threads of this process."""
    alone = process_into(tmp_path / "alone", client, task, root, ring)
    with connected(2) as processes:
        # Ctrl-C in a terminal is for the command alone.
        assert set(processes.run(signal.getsignal, signal.SIGINT).values()) == {signal.SIG_IGN}
        pids = list(processes.run(os.getpid).values())

        def kill(_):
            if pids:
                os.kill(pids.pop(), signal.SIGKILL)
                pids.clear()

        both = process_into(tmp_path / "both", processes, task, root, lambda: ring(0.3), kill)
    assert Counter(each.key for each in both) == Counter(each.key for each in alone)
    assert not any(each.failure for each in both)
    assert contents(tmp_path / "both") == contents(tmp_path / "alone")
    tables = []
    for name in ("alone", "both"):
        Store(tmp_path / name).finish(discover(root).examinations, task.provenance)
        tables.append(Store(tmp_path / name).table.read_bytes())
    assert tables[0] == tables[1]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_examination_that_ends_its_worker_is_given_up_alone(task, root, ring):
    from inline import read_mrd
    from inline.contouring.segment import network_input
    from inline.data.series import Quantity
    from inline.fit import make_map
    from model.frame import Frame

    bad = discover(root).examinations[3]
    first = read_mrd(bad.file)[0]
    frame = Frame(first.geometry.shape, first.geometry.spacing)
    poison = float(network_input(make_map(first.series), Quantity.T1, frame).max())
    with connected(1) as client:
        outcomes = process_into(task.out, client, task, root, lambda: ring(0.0, poison))
    assert len(outcomes) == 6
    (failed,) = (each for each in outcomes if each.failure)
    assert failed.key == bad.key
    assert failed.failure.startswith("its worker ended")
    summary = Store(task.out).finish(discover(root).examinations, task.provenance)
    assert [each.examination for each in summary.failures] == [bad.name]
    assert summary.slices == 10
