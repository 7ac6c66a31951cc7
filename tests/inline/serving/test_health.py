"""Health at the start, with an engine that fails, while connections are spared, and while it stops."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from inline.pipeline import Pipeline
from inline.serving.health import Checkup, State, judge
from inline.serving.scheduler import Scheduler
from inline.serving.server import Server
from inline.serving.workers import Task
from inline.settings import load_settings
from model.engines.fallback import FallbackEngine
from model.engines.self_test import Reference, self_test_images
from tests.inline.conftest import wait_until

LIMIT_S = 100.0


def judged(**changes):
    health = judge(State(**{"listening": True, "engine": "e", **changes}), LIMIT_S)
    return health.live, health.ready, health.summary


def test_states_of_a_service():
    assert judge(State(), LIMIT_S).summary.startswith("starting")
    assert (judge(State(), LIMIT_S).live, judge(State(), LIMIT_S).ready) == (True, False)
    assert judged(connections=1) == (True, True, "ready: engine e, 1 connection")
    assert judged(draining=True, connections=2) == (True, False, "stopping: 2 connections to finish")
    assert judged(failed=True)[:2] == (True, False)


def test_a_silent_engine_is_restarted_once_nobody_is_connected():
    assert judged(unproven_s=LIMIT_S)[:2] == (True, True)
    live, ready, summary = judged(unproven_s=LIMIT_S + 1)
    assert (live, ready) == (False, False)
    assert "the engine e has returned nothing for 101 s" in summary
    assert judged(unproven_s=LIMIT_S + 1, connections=1)[:2] == (True, False)
    assert judged(unproven_s=LIMIT_S + 600, connections=1)[:2] == (True, False)  # docs/monitoring.md
    assert judged(unproven_s=LIMIT_S + 601, connections=1)[:2] == (False, False)
    assert judged(unproven_s=LIMIT_S + 1, draining=True)[:2] == (True, False)


def test_a_service_whose_fits_all_hang_is_restarted_likewise():
    live, ready, summary = judged(exhausted_s=6)
    assert (live, ready) == (False, False)
    assert "every thread for fits hangs, for 6 s now" in summary
    assert judged(exhausted_s=600, connections=1)[:2] == (True, False)
    assert judged(exhausted_s=601, connections=1)[:2] == (False, False)
    assert judged(exhausted_s=601, draining=True)[:2] == (True, False)


class Stub:
    name = "stub"

    def __init__(self):
        self.wrong = False

    def infer(self, images):
        if self.wrong:
            raise RuntimeError("no kernel image")
        return np.full((len(images), 3, 224, 224), 1 / 3, np.float32)


@pytest.fixture
def watched():
    """A server whose engine has a clock of its own."""
    clock, stub, images = SimpleNamespace(now=0.0), Stub(), self_test_images()
    reference = Reference(images, stub.infer(images))
    engine = FallbackEngine([("stub", lambda: stub)], reference, lambda: clock.now)
    scheduler = Scheduler(Pipeline(engine), 1, 2000.0, verify_s=1e9)  # the test verifies itself
    server = Server(scheduler, load_settings(server={"port": 0}))
    checkup = Checkup()
    yield SimpleNamespace(clock=clock, stub=stub, engine=engine, server=server, checkup=checkup)
    server.stop()
    server.serve()
    scheduler.close()


def test_health_of_a_server_follows_its_engine(watched):
    assert not watched.checkup.health().ready
    watched.checkup.server = watched.server
    assert watched.checkup.health().ready
    watched.clock.now = 121.0  # two verifications have not come
    assert not watched.checkup.health().live
    watched.engine.verify_if_idle()
    assert watched.checkup.health().ready
    watched.stub.wrong = True
    watched.clock.now += 61.0
    watched.engine.verify_if_idle()
    health = watched.checkup.health()
    assert (health.live, health.ready, health.state.failed) == (True, False, True)
    assert "no other is left" in health.summary
    watched.clock.now += 61.0
    watched.engine.verify_if_idle()  # it fails again: only output proves an engine
    assert not watched.checkup.health().live
    watched.stub.wrong = False
    watched.clock.now += 61.0
    watched.engine.verify_if_idle()
    assert watched.checkup.health().ready


def test_health_of_a_server_follows_its_fits(watched):
    watched.checkup.server = watched.server
    workers, released = watched.server.service.scheduler._workers, threading.Event()
    for number in range(1, 34):
        assert watched.checkup.health().ready
        workers.submit(Task("a", "a fit", lambda: (0, 0), lambda: released.wait(60), lambda seconds: None))
        wait_until(lambda: workers.waiting == 0)
        time.sleep(0.002)
        workers.replace_hung(0.001)
        assert workers.leaked == number
    health = watched.checkup.health()
    assert (health.live, health.ready) == (False, False)
    released.set()
    wait_until(lambda: watched.checkup.health().ready)


def test_a_server_that_stops_is_not_ready(watched):
    watched.checkup.server = watched.server
    watched.server.stop()
    health = watched.checkup.health()
    assert (health.live, health.ready) == (True, False)
    assert health.summary == "stopping: 0 connections to finish"
    assert health.record()["draining"] is True
