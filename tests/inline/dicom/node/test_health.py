"""Health of a node, and what the service manager receives of it."""

import sqlite3
import threading

import pytest

from inline.dicom.node.health import Pulse, hanging, health_of, supervision
from inline.dicom.node.spool import Backlog
from inline.serving.health import State
from inline.serving.supervision import ServiceManager
from tests.inline.serving.manager import Manager

from .conftest import wait_for


class Node:
    """A node whose parts a test stops."""

    def __init__(self):
        self.stopping, self.now, self.error, self.state = False, 0.0, None, State(listening=True)
        self.pulse = Pulse(lambda: self.now)

    def backlog(self):
        if self.error is not None:
            raise self.error
        return Backlog(1, 11, (), 0, {"pacs": 2, "store": 3}, {}, 0)


@pytest.fixture
def supervised(tmp_path):
    manager = Manager(tmp_path / "notify", 0.4)
    return manager, ServiceManager(manager.environment)


def test_a_part_without_a_sign_of_life_hangs():
    node = Node()
    assert hanging(node, 180.0) == ""
    for part in ("receiver", "worker"):
        node.pulse.beat(part)
    node.now = 181.0
    node.pulse.beat("receiver")
    assert hanging(node, 180.0) == "worker: no sign of life for 180 s"
    node.stopping = True
    assert hanging(node, 180.0) == ""


def test_a_node_is_ready_while_it_works_and_results_get_contours():
    node = Node()
    node.pulse.beat("worker")

    def found():
        health = health_of(node, 180.0)
        return health.live, health.ready, health.summary

    assert (health_of(None).live, health_of(None).ready) == (True, False)
    assert found() == (True, True, "ready: 1 series to process, 5 results to deliver")
    node.state = State(listening=True, engine="torch", failed=True)
    assert found() == (True, False, "no engine works: 1 series to process, 5 results to deliver")
    node.state, node.error = State(listening=True), sqlite3.OperationalError("disk I/O error")
    assert found() == (True, False, "the spool cannot be used: disk I/O error")
    node.error, node.now = None, 181.0
    assert found() == (False, False, "worker: no sign of life for 180 s")
    node.state, node.stopping = State(listening=True, draining=True), True
    assert found() == (True, False, "stopping: 1 series to process, 5 results to deliver")


def test_the_closed_spool_of_a_node_that_has_stopped_is_no_error(caplog):
    node = Node()
    node.stopping, node.state = True, State(listening=True, draining=True)
    node.error = sqlite3.ProgrammingError("Cannot operate on a closed database.")
    assert health_of(node).summary == "stopping"
    assert not health_of(node).ready
    assert not caplog.records


def test_readiness_status_and_signs_of_life_are_reported(supervised):
    manager, service = supervised
    node = Node()
    with supervision(node, service):
        manager.wait("READY=1")
        manager.wait("STATUS=ready: 1 series to process, 5 results to deliver")
        manager.wait("WATCHDOG=1", 2)
        node.stopping = True
        manager.wait("STOPPING=1")
        manager.wait("STATUS=stopping")
        manager.wait("WATCHDOG=1", 4)
    assert manager.texts().count("STOPPING=1") == 1


@pytest.mark.parametrize("part", ["worker", "spool"])
def test_the_watchdog_is_fed_no_more_where_a_part_hangs(supervised, part, caplog):
    manager, service = supervised
    node = Node()
    node.pulse.beat("worker")
    with supervision(node, service, silent_s=10.0):
        manager.wait("WATCHDOG=1", 2)
        node.error = sqlite3.OperationalError("disk I/O error") if part == "spool" else None
        node.now = 11.0
        if part == "spool":
            node.pulse.beat("worker")
        manager.wait(f"STATUS={part}: no sign of life")
        manager.wait_for_silence()
        # It comes back before it is restarted.
        node.error = None
        node.pulse.beat("worker")
        fed = manager.texts().count("WATCHDOG=1")
        manager.wait("WATCHDOG=1", fed + 2)
    assert caplog.text.count("the watchdog is fed no more") == 1
    assert caplog.text.count("the watchdog is fed again") == 1


def test_a_check_that_fails_once_stops_nothing(supervised, caplog):
    manager, service = supervised
    node = Node()
    with supervision(node, service):
        manager.wait("WATCHDOG=1")
        node.error = KeyError("of one moment")
        wait_for(lambda: "of one moment" in caplog.text)
        node.error = None
        fed = manager.texts().count("WATCHDOG=1")
        manager.wait("WATCHDOG=1", fed + 2, timeout=10)


def test_without_a_manager_nothing_runs():
    before = threading.active_count()
    with supervision(Node(), ServiceManager({})):
        assert threading.active_count() == before


def test_every_part_of_a_node_gives_signs_of_life(running, archive):
    with running([archive.destination()]) as node:
        wait_for(lambda: len(node.pulse._last) == 4)
        assert set(node.pulse._last) == {"receiver", "worker", "engine", "sender archive"}
        first = dict(node.pulse._last)
        wait_for(lambda: all(node.pulse._last[part] > at for part, at in first.items()))
        assert node.backlog().series == 0
        assert not node.stopping
    assert node.stopping


def test_a_worker_that_hangs_gives_no_sign_of_life(running, archive, monkeypatch):
    release = threading.Event()
    with running([archive.destination()]) as node:
        wait_for(lambda: "worker" in node.pulse._last)
        monkeypatch.setattr(node.spool.received, "take", lambda _, unread: release.wait() and None)
        wait_for(lambda: node.pulse.silent(0.6) == ["worker", "engine"] or None)
        release.set()
        wait_for(lambda: node.pulse.silent(0.6) == [])
