"""Requests to stop, and the time that they leave."""

import math

import pytest

from inline.serving import signals as module
from inline.serving.signals import Shutdown


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_nothing_ends_before_a_request(clock):
    shutdown = Shutdown(20.0)
    clock[0] += 1e6
    assert (shutdown.requested, shutdown.left_s, shutdown.parting) == (False, math.inf, False)


def test_the_time_runs_from_the_first_request_and_its_end_is_for_the_last_messages(clock):
    shutdown = Shutdown(20.0)
    shutdown.request()
    clock[0] += 18.9
    assert shutdown.left_s == pytest.approx(1.1)
    assert not shutdown.parting
    clock[0] += 0.2
    assert shutdown.parting
    clock[0] += 5.0
    assert shutdown.left_s == 0.0


def test_a_second_request_hurries_and_a_third_does_not_prolong(clock):
    shutdown = Shutdown(20.0)
    shutdown.request()
    clock[0] += 0.6
    shutdown.request()
    assert shutdown.left_s == pytest.approx(1.0)
    assert shutdown.parting
    clock[0] += 0.5
    shutdown.request()
    assert shutdown.left_s == pytest.approx(0.5)


def test_two_signals_at_once_are_one_request(clock):
    shutdown = Shutdown(20.0)
    shutdown.request()
    clock[0] += 0.4
    shutdown.request()
    assert shutdown.left_s == pytest.approx(19.6)


def test_without_a_limit_a_request_leaves_all_the_time(clock):
    shutdown = Shutdown()
    shutdown.request()
    assert (shutdown.requested, shutdown.left_s, shutdown.parting) == (True, math.inf, False)
