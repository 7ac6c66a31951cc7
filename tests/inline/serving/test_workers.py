"""Threads that work for many connections: shares, what raises, what hangs, and the end."""

import logging
import threading
import time

import pytest

from inline.serving.workers import Task, Workers
from tests.inline.conftest import wait_until


@pytest.fixture
def pool():
    made, release = [], threading.Event()

    def make(number=1):
        made.append(Workers(number, name="tested"))
        return made[-1]

    yield make, release
    release.set()
    for each in made:
        each.close(5.0)


def task(run, owner="a", rank=(0, 0), hung=lambda seconds: None, name="a task"):
    return Task(owner, name, lambda: rank, run, hung)


def test_connections_take_turns(pool):
    make, _ = pool
    workers, order, gate = make(), [], threading.Event()
    workers.submit(task(lambda: gate.wait(20), "first"))
    for owner in ["hostile"] * 6 + ["good"] * 3:
        workers.submit(task(lambda owner=owner: (time.sleep(0.03), order.append(owner)), owner))
    gate.set()
    wait_until(lambda: len(order) == 9)
    assert sorted(order[:6]) == ["good"] * 3 + ["hostile"] * 3


@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit(3), KeyboardInterrupt(), MemoryError()])
def test_nothing_that_a_task_raises_ends_a_thread(pool, error, caplog):
    make, _ = pool
    workers, done = make(), threading.Event()

    def raising():
        raise error

    workers.submit(task(raising, name="the fit of slice 7"))
    workers.submit(task(done.set))
    assert done.wait(20)
    assert "the fit of slice 7 failed" in caplog.text


def test_a_thread_that_hangs_is_replaced_counted_and_logged(pool, caplog):
    make, release = pool
    caplog.set_level(logging.INFO)
    workers, reported, done = make(), [], threading.Event()
    workers.submit(task(lambda: release.wait(60), name="the fit of slice 7", hung=reported.append))
    workers.submit(task(done.set))
    time.sleep(0.2)
    workers.replace_hung(60.0)
    assert not done.is_set()
    workers.replace_hung(0.1)
    assert done.wait(20)
    assert len(reported) == 1
    assert workers.leaked == 1
    assert "the fit of slice 7 has hung for" in caplog.text
    assert "threads given up: 1" in caplog.text
    workers.replace_hung(0.1)
    assert (len(reported), workers.leaked) == (1, 1)
    release.set()
    wait_until(lambda: workers.leaked == 0)
    assert "has returned after" in caplog.text
    wait_until(lambda: sum(each.name.startswith("tested") for each in threading.enumerate()) == 1)


def test_threads_that_hang_are_not_replaced_without_end(pool, caplog):
    most = 32  # docs/protocol.md
    make, release = pool
    workers, begun, reported, done = make(), [], [], threading.Event()

    def hang():
        begun.append(1)
        release.wait(60)

    for _ in range(most + 3):
        workers.submit(task(hang, hung=reported.append))
    workers.submit(task(done.set, rank=(1, 0)))
    for number in range(1, most + 2):
        assert workers.exhausted_s == 0.0
        wait_until(lambda number=number: len(begun) == number)
        time.sleep(0.02)
        workers.replace_hung(0.01)
    assert (workers.leaked, len(reported), len(begun)) == (most + 1,) * 3
    assert "another one takes its place (threads given up: 32)" in caplog.text
    assert "none takes its place any more; restart myostream (threads given up: 33)" in caplog.text
    assert 0.02 <= workers.exhausted_s < 20.0
    release.set()
    assert done.wait(20)
    wait_until(lambda: workers.leaked == 0)
    assert workers.exhausted_s == 0.0


def test_a_task_can_be_withdrawn_until_it_begins(pool):
    make, release = pool
    workers, ran = make(), []
    begun = task(lambda: release.wait(60))
    workers.submit(begun)
    waiting = task(lambda: ran.append(1), "b")
    workers.submit(waiting)
    wait_until(lambda: begun not in workers._waiting)
    assert not workers.withdraw(begun)
    assert workers.withdraw(waiting)
    assert not workers.withdraw(waiting)
    release.set()
    workers.close(5.0)
    assert ran == []


def test_closing_drops_what_waits_and_joins(pool):
    make, _ = pool
    workers, ran, begun = make(2), [], threading.Event()
    workers.submit(task(lambda: (begun.set(), time.sleep(0.1), ran.append("begun"))))
    assert begun.wait(20)
    workers.close(5.0)
    assert ran == ["begun"]
    assert not [each for each in threading.enumerate() if each.name.startswith("tested")]
