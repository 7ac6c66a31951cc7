"""The budget: nothing lost, everything flagged, the next slice normal."""

import gc
import threading
import time
import weakref
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from inline.assembly.assembler import SeriesAssembler
from inline.data.flags import Flag
from inline.data.memory import MemoryBudget
from inline.data.series import MapSeries, Quantity
from inline.mrd.header import parse_header
from inline.pipeline import Pipeline
from inline.replay.client import exchange
from inline.replay.replies import records
from inline.serving import scheduler as module
from inline.serving import workers as workers_module
from inline.serving.scheduler import Owner, Scheduler
from inline.serving.server import Server
from inline.settings import AssemblySettings, load_settings
from model.engines.fallback import FallbackEngine
from model.engines.self_test import Reference
from tests import shapes
from tests.inline.conftest import wait_until
from tests.inline.serving.gated import Gated


@pytest.fixture
def slices(examination):
    _, header, images = examination
    assembler = SeriesAssembler(parse_header(header), AssemblySettings(motion="both"))
    made = [ready for image in images for ready in assembler.add(image, time.monotonic())]
    assert len(made) == 4
    return made


@pytest.fixture
def maps(slices):
    """The slices as maps of the scanner, which need no fit: their budgets may be short."""
    shape = slices[0].geometry.shape
    values = {Quantity.T1: np.full(shape, 950.0, np.float32), Quantity.T2: np.full(shape, 45.0, np.float32)}
    return [
        replace(each, series=MapSeries(each.quantity, values[each.quantity], each.geometry, each.identity))
        for each in slices
    ]


class Collector:
    """Keeps what is handed over."""

    def __init__(self):
        self.results, self.latecomers = [], []
        self._changed = threading.Condition()

    def __call__(self, result, *, latecomer):
        with self._changed:
            (self.latecomers if latecomer else self.results).append(result)
            self._changed.notify_all()

    def wait(self, results=0, latecomers=0, timeout=20):
        with self._changed:
            assert self._changed.wait_for(
                lambda: len(self.results) >= results and len(self.latecomers) >= latecomers, timeout
            )


class Slow:
    """As the ring engine, after a while."""

    name = "slow"

    def __init__(self, engine, seconds):
        self._engine, self.seconds = engine, seconds
        self.batches = []

    def infer(self, images):
        self.batches.append(len(images))
        time.sleep(self.seconds)
        return self._engine.infer(images)


def now(assembled):
    """The slice as if its last image had come at this moment."""
    return replace(assembled, arrived=time.monotonic())


def run(engine, slices, budget_ms=20000.0, latecomers=0, **more):
    scheduler, collector = Scheduler(Pipeline(engine), 2, budget_ms, **more), Collector()
    for each in slices:
        scheduler.submit(now(each), collector)
    collector.wait(len(slices), latecomers)
    return scheduler, collector


def test_every_slice_comes_back_once(slices, ring_engine):
    scheduler, collector = run(ring_engine, slices)
    scheduler.close()
    assert len(collector.results) == 4
    assert collector.latecomers == []
    assert scheduler.misses == 0
    assert all(result.contours is not None for result in collector.results)
    assert all("wait" in result.times_ms for result in collector.results)


def test_slices_that_wait_together_are_batched(slices, ring_engine):
    slow = Slow(ring_engine, 0.3)
    scheduler, _ = run(slow, slices * 3)
    scheduler.close()
    assert sum(slow.batches) == 12
    assert len(slow.batches) < 12
    assert max(slow.batches) <= 8


def test_a_missed_budget_hands_over_the_map_in_time_and_the_result_later(maps, ring_engine):
    gate = Gated(ring_engine)
    scheduler, collector = Scheduler(Pipeline(gate), 2, 1000.0, patience_s=60.0), Collector()
    scheduler.submit(now(maps[0]), collector)
    collector.wait(results=1)
    (late,) = collector.results
    assert late.flags == (Flag.LATE,)
    assert late.map is not None
    assert late.contours is None
    assert late.confidence is None
    assert "not ready within 1000 ms" in late.error
    gate.open.set()
    collector.wait(latecomers=1)
    assert collector.latecomers[0].contours is not None
    assert Flag.LATE in collector.latecomers[0].flags
    assert scheduler.misses == 1
    scheduler.submit(now(maps[1]), collector)
    collector.wait(results=2)
    # The ring of the engine lies on fat in these T2 maps.
    assert set(collector.results[1].flags) <= {Flag.IMPLAUSIBLE_VALUES}
    scheduler.close()


def test_a_budget_of_one_millisecond_loses_nothing(slices, ring_engine):
    scheduler, collector = run(ring_engine, slices, budget_ms=1.0, latecomers=4)
    scheduler.close()
    assert len(collector.results) == 4
    assert all(Flag.LATE in result.flags for result in collector.results)
    assert all(result.contours is not None for result in collector.latecomers)
    assert scheduler.misses == 4


def test_a_slice_may_have_a_budget_of_its_own(slices, ring_engine):
    scheduler, collector = Scheduler(Pipeline(ring_engine), 2, 60_000.0), Collector()
    scheduler.submit(now(slices[0]), collector, budget_ms=0.001)
    collector.wait(results=1, latecomers=1)
    scheduler.submit(now(slices[1]), collector)
    collector.wait(results=2)
    assert [Flag.LATE in result.flags for result in collector.results] == [True, False]
    scheduler.close()


def test_slices_that_are_done_are_not_kept(slices, ring_engine):
    """A replay gives every slice minutes; thousands of them would stay until then."""
    scheduler, kept = Scheduler(Pipeline(ring_engine), 2, 600_000.0), []
    for _ in range(12):
        collector = Collector()
        kept.append(weakref.ref(collector))
        scheduler.submit(now(slices[0]), collector)
        collector.wait(results=1)
    del collector
    gc.collect()
    # The threads hold the last ones that they worked on.
    assert sum(each() is not None for each in kept) <= 3
    scheduler.close()


def test_no_thread_holds_the_engine_once_it_is_closed(slices):
    """One that did would destroy it while the interpreter ends, and the process would abort."""
    for work in (0, 1):
        before = set(threading.enumerate())
        engine = Slow(shapes.Constant(), 0.0)
        gone = weakref.ref(engine)
        scheduler, collector = Scheduler(Pipeline(engine), 2, 20_000.0), Collector()
        for each in slices[:work]:
            scheduler.submit(now(each), collector)
        scheduler.close()
        left = [each.name for each in set(threading.enumerate()) - before]
        assert not [name for name in left if name == "budget" or name.startswith("network")]
        del engine, scheduler
        gc.collect()
        assert work or gone() is None


class Hanging:
    name = "hanging"

    def __init__(self):
        self.released = threading.Event()

    def infer(self, images):
        self.released.wait(30)
        return np.full((len(images), 3, 224, 224), 1 / 3, np.float32)


def test_an_engine_that_hangs_is_replaced(slices, ring_engine):
    hanging = Hanging()
    chain = FallbackEngine([("hanging", lambda: hanging), ("ring", lambda: ring_engine)])
    scheduler, collector = run(chain, slices[:2], budget_ms=100.0, latecomers=2, patience_s=0.5)
    assert [result.flags for result in collector.results] == [(Flag.LATE,)] * 2
    assert all(result.contours is not None for result in collector.latecomers)
    assert chain.name == "ring"
    assert "hangs" in chain.failures[0]
    hanging.released.set()  # what it answers now belongs to nobody
    scheduler.submit(now(slices[2]), collector)
    collector.wait(results=3)
    scheduler.close()
    assert len(collector.latecomers) == 2 + (Flag.LATE in collector.results[2].flags)


def test_slices_are_not_held_up_while_the_next_engine_loads(slices, ring_engine):
    hanging, loaded = Hanging(), threading.Event()

    def load():
        loaded.wait(30)
        return ring_engine

    chain = FallbackEngine([("hanging", lambda: hanging), ("ring", load)])
    scheduler, collector = run(chain, slices[:1], budget_ms=100.0, patience_s=0.3)
    deadline = time.monotonic() + 20
    while not threads("network 2") and time.monotonic() < deadline:
        time.sleep(0.02)
    scheduler.submit(now(slices[1]), collector)
    collector.wait(results=2)
    assert collector.results[1].flags == (Flag.LATE,)
    loaded.set()
    collector.wait(latecomers=2)
    assert all(result.contours is not None for result in collector.latecomers)
    hanging.released.set()
    scheduler.close()


def threads(name):
    return [each for each in threading.enumerate() if each.name == name]


def test_a_short_budget_alone_costs_no_engine(slices, ring_engine):
    chain = FallbackEngine(
        [("slow", lambda: Slow(ring_engine, 0.2)), ("none", lambda: pytest.fail("loaded"))]
    )
    scheduler, collector = run(chain, slices, budget_ms=1.0, latecomers=4)
    scheduler.close()
    assert chain.failures == ()
    assert all(result.contours is not None for result in collector.latecomers)


def test_the_only_engine_hanging_is_reported(slices):
    hanging = Hanging()
    scheduler, collector = run(hanging, slices[:1], budget_ms=100.0, latecomers=1, patience_s=0.3)
    assert "hangs" in collector.latecomers[0].error
    assert Flag.PROCESSING_ERROR in collector.latecomers[0].flags
    hanging.released.set()
    scheduler.close()


def test_slices_in_time_go_before_those_that_are_late_already(maps, ring_engine):
    gate = Gated(ring_engine)
    scheduler, collector = Scheduler(Pipeline(gate), 2, 500.0, patience_s=60.0), Collector()
    scheduler.submit(now(maps[0]), collector)  # holds the network
    assert gate.entered.wait(20)
    for _ in range(10):
        scheduler.submit(now(maps[1]), collector)
    collector.wait(results=11)
    scheduler.submit(now(maps[2]), collector, budget_ms=60_000.0)
    wait_until(lambda: len(scheduler._waiting) == 11)
    with scheduler._changed:
        # A batch takes longer with each slice: a late one is never in that of a slice in time.
        first, second = scheduler._next_batch(), scheduler._next_batch()
        scheduler._waiting += first + second
    assert [job.progress.assembled.identity for job in first] == [maps[2].identity]
    assert [job.progress.late for job in second] == [True]
    gate.open.set()
    scheduler.close()
    assert scheduler.misses >= 11


def test_the_latecomer_never_overtakes_what_was_ready_in_time(slices, ring_engine):
    """Handing over takes a while; the result comes meanwhile and has to wait for it."""
    gate, order = Gated(ring_engine), []

    def done(result, *, latecomer):
        if not latecomer:
            gate.open.set()
            time.sleep(0.5)
        order.append(latecomer)

    scheduler = Scheduler(Pipeline(gate), 2, 500.0, patience_s=60.0)
    scheduler.submit(now(slices[0]), done)
    scheduler.close()
    assert order == [False, True]


def test_a_hung_engine_holds_up_no_image_and_every_map_comes_in_time(examination):
    """Over a socket: originals in their order, each slice's map flagged late, the close at the end."""
    _, header, images = examination
    hanging = Hanging()
    scheduler = Scheduler(Pipeline(hanging), 2, 400.0)
    server = Server(scheduler, load_settings(server={"port": 0}))
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    result = exchange(server.address, header, images)
    hanging.released.set()
    server.stop()
    thread.join(timeout=30)
    scheduler.close()
    assert scheduler.misses == 4
    came = [image for image in result.images if image.header.image_series_index < 1000]
    assert came == images
    found = records(result.images)
    assert len(found) == 4
    assert all("late" in record["flags"] and record["contours"] is None for record, _ in found)
    by_series = Counter(image.header.image_series_index for image in result.images)
    assert by_series[5010] == by_series[5011] == by_series[5012] == 2
    assert all("not ready within 400 ms" in text for text in result.texts[:-1])


def test_a_result_that_cannot_be_delivered_stops_nothing(slices, ring_engine):
    scheduler, collector = Scheduler(Pipeline(ring_engine), 2, 5000.0), Collector()

    def broken(result, *, latecomer):
        raise ValueError("nobody there")

    scheduler.submit(slices[0], broken)
    scheduler.submit(slices[1], collector)
    collector.wait(results=1)
    scheduler.close()


# Verification of the engine in a pause. When it is due: tests/model/engines/test_fallback.py.


class Faulty:
    """As the ring engine until it gets a fault: then no heart in any image, or no return."""

    name = "faulty"

    def __init__(self, engine):
        self._engine, self.fault, self.released = engine, "", threading.Event()

    def infer(self, images):
        if self.fault == "hangs":
            self.released.wait(30)
        output = self._engine.infer(images)
        return np.roll(output, 60, axis=2) if self.fault == "wrong" else output


@pytest.fixture
def faulty(ring_engine):
    """An engine that can get a fault, and a function for the chain that it is the first of."""
    engine, clock = Faulty(ring_engine), shapes.Clock()
    images = np.zeros((2, 224, 224), np.float32)

    def chain(*others):
        makers = [("faulty", lambda: engine), *((each.name, lambda each=each: each) for each in others)]
        return FallbackEngine(makers, Reference(images, ring_engine.infer(images)), clock)

    yield engine, chain, clock
    engine.released.set()


@pytest.mark.parametrize("fault", ["wrong", "hangs"])
def test_an_engine_that_fails_in_a_pause_is_replaced_before_the_next_slice(
    slices, ring_engine, faulty, monkeypatch, fault
):
    monkeypatch.setattr(module, "_IDLE_POLL_S", 0.02)
    engine, chain, clock = faulty
    made = chain(ring_engine)
    scheduler, collector = run(made, slices[:1], budget_ms=60_000.0, patience_s=0.3)
    scheduler._hanging = 0.3
    engine.fault = fault
    clock.now += 61.0
    wait_until(lambda: made.name == "ring")
    assert made.failures[0].startswith("faulty: ")
    scheduler.submit(now(slices[1]), collector)
    collector.wait(results=2)
    scheduler.close()
    assert scheduler.misses == 0
    assert all(result.contours is not None for result in collector.results)
    assert {flag for result in collector.results for flag in result.flags} <= {Flag.IMPLAUSIBLE_VALUES}


def test_slices_of_a_wrong_last_engine_come_back_with_their_map_an_error_and_no_values(
    slices, faulty, monkeypatch
):
    monkeypatch.setattr(module, "_IDLE_POLL_S", 0.02)
    engine, chain, clock = faulty
    made = chain()
    scheduler, collector = run(made, slices[:1])
    engine.fault = "wrong"
    clock.now += 61.0
    wait_until(lambda: made._current.suspect)
    scheduler.submit(now(slices[1]), collector)
    collector.wait(results=2)
    wrong = collector.results[1]
    assert Flag.PROCESSING_ERROR in wrong.flags
    assert wrong.map is not None
    assert (wrong.contours, wrong.regions, wrong.confidence) == (None, (), None)
    assert "no other is left" in wrong.error
    assert "61 s ago: 1" in wrong.error
    engine.fault = ""
    scheduler.submit(now(slices[2]), collector)
    collector.wait(results=3)
    scheduler.close()
    assert collector.results[2].contours is not None


# Fair shares, late slices, memory, and what hangs.


def owner(name="client", limit=1 << 30, *, subscribed=False):
    return Owner(name, MemoryBudget(limit, limit, connections=1).connection(), lambda: subscribed)


def test_connections_take_turns_at_the_network(maps, ring_engine):
    gate, order = Gated(ring_engine), []
    scheduler, collector = Scheduler(Pipeline(gate), 2, 60_000.0), Collector()
    scheduler.submit(now(maps[0]), collector)  # holds the network
    assert gate.entered.wait(20)
    hostile, good = owner("hostile"), owner("good")
    for each in [hostile] * 20 + [good] * 4:
        scheduler.submit(
            now(maps[1]), lambda result, *, latecomer, each=each: order.append(each.name), owner=each
        )
    wait_until(lambda: len(scheduler._waiting) == 24)
    with scheduler._changed:
        batch = scheduler._next_batch()
        scheduler._waiting += batch
    assert [job.owner.name for job in batch].count("good") == 4
    gate.open.set()
    scheduler.close()
    assert len(order) == 24
    # Before, the good one came after all others.
    assert "hostile" in order[order.index("good") :]


def test_a_good_client_beside_eight_hostile_ones_waits_no_longer_than_beside_eight_good_ones(
    maps, ring_engine
):
    """Counted, not timed: slices that are served before the last one of the good client."""

    def before_the_last(each):
        gate, order, good = Gated(ring_engine), [], owner("good")
        scheduler = Scheduler(Pipeline(gate), 1, 60_000.0)

        def submit(one):
            scheduler.submit(now(maps[0]), lambda result, *, latecomer: order.append(one.name), owner=one)

        submit(owner("first"))
        assert gate.entered.wait(20)
        others = [owner(f"other {number}") for number in range(8)]
        for _ in range(each):
            for other in others:
                submit(other)
        for _ in range(3):
            submit(good)
        wait_until(lambda: len(scheduler._waiting) == 8 * each + 3, timeout=60)
        gate.open.set()
        scheduler.close()
        assert len(order) == 8 * each + 4
        return len(order) - order[::-1].index("good")

    # A batch more or less, since eight of nine connections are in each.
    assert before_the_last(12) <= before_the_last(3) + 8


def test_late_slices_that_nobody_takes_are_let_go_at_once(maps, ring_engine):
    gate = Gated(ring_engine)
    scheduler, collector = Scheduler(Pipeline(gate), 2, 300.0, patience_s=60.0), Collector()
    client = owner()
    for _ in range(30):
        scheduler.submit(now(maps[0]), collector, owner=client)
    collector.wait(results=30)
    wait_until(lambda: len(scheduler._jobs) <= 8)  # the batch that the engine has
    assert len(scheduler._waiting) == 0
    gate.open.set()
    scheduler.close()
    assert client.memory.held == 0
    assert len(collector.results) == 30
    assert all(Flag.LATE in each.flags for each in collector.results)
    assert collector.latecomers == []


@pytest.mark.parametrize("subscribed", [False, True])
def test_slices_of_a_client_that_has_left_are_worked_on_where_somebody_subscribes(
    subscribed, slices, ring_engine
):
    client = owner(subscribed=subscribed)
    gate = Gated(ring_engine)
    scheduler, collector = Scheduler(Pipeline(gate), 1, 60_000.0), Collector()
    scheduler.submit(now(slices[0]), collector)  # holds the network
    assert gate.entered.wait(20)
    for _ in range(3):
        scheduler.submit(now(slices[0]), collector, owner=client)
    client.gone = True
    gate.open.set()
    collector.wait(results=4)
    scheduler.close()
    worked_on = [each for each in collector.results if each.contours is not None]
    assert len(worked_on) == (4 if subscribed else 1)
    given_up = [each.error for each in collector.results if each.contours is None]
    assert given_up == ([] if subscribed else ["its client has left"] * 3)
    assert client.memory.held == 0


def test_late_slices_that_somebody_takes_are_worked_on(maps, ring_engine):
    gate = Gated(ring_engine)
    scheduler, collector = Scheduler(Pipeline(gate), 2, 300.0, patience_s=60.0), Collector()
    for each in maps:
        scheduler.submit(now(each), collector, owner=owner(subscribed=True))
    collector.wait(results=4)
    gate.open.set()
    collector.wait(latecomers=4)
    scheduler.close()


def test_late_slices_that_may_be_partners_are_worked_on_until_their_client_has_left(maps, ring_engine):
    """Nobody subscribes. The first of each client is in the engine when it misses its budget."""
    gate = Gated(ring_engine)
    scheduler, staying, leaving = (
        Scheduler(Pipeline(gate), 2, 300.0, patience_s=60.0),
        Collector(),
        Collector(),
    )
    clients = owner("staying"), owner("leaving")
    for client, collector in zip(clients, (staying, leaving), strict=True):
        for _ in range(4):
            scheduler.submit(now(maps[0]), collector, owner=client, late_too=True)
        scheduler.submit(now(maps[1]), collector, owner=client)
        collector.wait(results=5)
    clients[1].gone = True
    gate.open.set()
    staying.wait(latecomers=4)
    scheduler.close()
    assert all(each.contours is not None for each in staying.latecomers)
    assert len(leaving.latecomers) == 0
    assert [client.memory.held for client in clients] == [0, 0]


def test_late_slices_of_connections_that_have_ended_do_not_pile_up(maps, ring_engine):
    """Their memory is no longer limited by that of a connection: any number of them may follow."""
    size = job_bytes(maps[0])
    budget = MemoryBudget(48 * size, 24 * size, connections=4)  # each is sure of 6, an eighth of all
    gate, clients = Gated(ring_engine), []
    scheduler, collector = Scheduler(Pipeline(gate), 2, 200.0, patience_s=60.0), Collector()
    scheduler.submit(now(maps[0]), collector)  # holds the network
    assert gate.entered.wait(20)
    for number in range(1, 6):
        clients.append(Owner(str(number), budget.connection(), lambda: True))
        for _ in range(4):
            scheduler.submit(now(maps[0]), collector, owner=clients[-1])
        collector.wait(results=1 + 4 * number)
        if number < 5:
            clients[-1].end()
    held = [0, 0, 2, 4, 4]  # the oldest go first; those of the last one, which is there, are its own affair
    wait_until(lambda: [each.memory.held / size for each in clients] == held)
    assert budget.free == 18 * size  # of 24: the next connections are sure of their own parts
    # Others take all, and one holds what it must beyond it.
    assert budget.connection().reserve(24 * size)
    budget.connection().take(7 * size)
    wait_until(lambda: [each.memory.held / size for each in clients] == [0, 0, 1, 4, 4])
    gate.open.set()
    collector.wait(latecomers=10)
    scheduler.close()
    assert len(collector.latecomers) == 10


@pytest.mark.parametrize("subscribed", [False, True])
def test_late_slices_leave_room_for_images_where_nobody_subscribes(subscribed, maps, ring_engine):
    size = job_bytes(maps[0])
    client = owner(limit=24 * size, subscribed=subscribed)
    gate = Gated(ring_engine)
    scheduler, collector = Scheduler(Pipeline(gate), 2, 200.0, patience_s=60.0), Collector()
    scheduler.submit(now(maps[0]), collector)  # holds the network
    assert gate.entered.wait(20)
    for _ in range(20):
        scheduler.submit(now(maps[0]), collector, owner=client, late_too=True)
    collector.wait(results=21)
    held = 20 * size if subscribed else 3 * size
    wait_until(lambda: client.memory.held == held)
    gate.open.set()
    scheduler.close()
    assert client.memory.held == 0


def test_what_only_a_later_slice_would_need_does_not_delay_the_end(maps, ring_engine):
    slow = Slow(ring_engine, 0.5)
    scheduler, collector = Scheduler(Pipeline(slow), 2, 100.0, patience_s=60.0), Collector()
    for _ in range(40):
        scheduler.submit(now(maps[0]), collector, owner=owner(), late_too=True)
    collector.wait(results=40)
    start = time.monotonic()
    scheduler.close()
    assert time.monotonic() - start < 10.0


def job_bytes(assembled):
    columns, rows, _ = assembled.template.matrix_size
    return assembled.nbytes + 32 * rows * columns


def test_slices_in_work_are_counted_and_late_ones_make_room(maps, ring_engine):
    size = job_bytes(maps[0])
    client = owner(limit=4 * size, subscribed=True)
    gate = Gated(ring_engine)
    scheduler, collector = Scheduler(Pipeline(gate), 2, 400.0, patience_s=60.0), Collector()
    scheduler.submit(now(maps[0]), collector, owner=client)
    assert gate.entered.wait(20)
    for _ in range(3):
        scheduler.submit(now(maps[0]), collector, owner=client)
    assert client.memory.held == 4 * size
    assert collector.results == []
    collector.wait(results=4)
    for _ in range(3):  # each in place of a late one
        scheduler.submit(now(maps[0]), collector, owner=client)
        assert client.memory.held == 4 * size
    collector.wait(results=7)
    assert all("not ready within" in each.error for each in collector.results)
    gate.open.set()
    scheduler.close()
    assert client.memory.held == 0
    assert len(collector.latecomers) == 4


def test_a_slice_waits_for_memory_until_another_one_is_done(slices, ring_engine):
    client = owner(limit=2 * job_bytes(slices[0]))
    gate = Gated(ring_engine)
    scheduler, collector = Scheduler(Pipeline(gate), 2, 60_000.0), Collector()
    for _ in range(2):
        scheduler.submit(now(slices[0]), collector, owner=client)
    assert gate.entered.wait(20)
    third = threading.Thread(
        target=scheduler.submit, args=(now(slices[0]), collector), kwargs={"owner": client}
    )
    third.start()
    third.join(timeout=0.3)
    assert third.is_alive()
    gate.open.set()
    collector.wait(results=3)
    third.join(timeout=20)
    scheduler.close()
    assert all(each.contours is not None for each in collector.results)
    assert client.memory.held == 0


def test_a_slice_for_which_there_is_no_memory_comes_back_with_an_error(slices, ring_engine, monkeypatch):
    monkeypatch.setattr(module, "_ROOM_S", 0.05)
    client = owner(limit=job_bytes(slices[0]) - 1)
    scheduler, collector = Scheduler(Pipeline(ring_engine), 2, 60_000.0), Collector()
    scheduler.submit(now(slices[0]), collector, owner=client)
    (refused,) = collector.results
    assert "memory limit of the connection" in refused.error
    assert refused.map is None
    scheduler.close()
    assert client.memory.held == 0


class HangingFits(Pipeline):
    """As the pipeline, but fits hang while they should."""

    def __init__(self, engine):
        super().__init__(engine)
        self.hangs, self.released = True, threading.Event()

    def stages(self, progress):
        if self.hangs:
            self.released.wait(60)
        yield from super().stages(progress)


def test_fits_that_hang_are_logged_replaced_counted_and_end_with_an_error(slices, ring_engine, caplog):
    pipeline = HangingFits(ring_engine)
    scheduler, collector = Scheduler(pipeline, 2, 100.0, patience_s=0.4), Collector()
    client = owner("10.0.0.9:4711", subscribed=True)
    for each in slices[:2]:
        scheduler.submit(now(each), collector, owner=client)
    collector.wait(results=2, latecomers=2)
    assert all(each.flags[-1] is Flag.LATE for each in collector.results)
    assert all("the fit hangs and was given up" in each.error for each in collector.latecomers)
    assert all(Flag.PROCESSING_ERROR in each.flags for each in collector.latecomers)
    assert scheduler.leaked_threads == 2
    assert "the fit of slice 0 of 10.0.0.9:4711 has hung for" in caplog.text
    pipeline.hangs = False
    scheduler.submit(now(slices[2]), collector, budget_ms=60_000.0)
    collector.wait(results=3)
    assert collector.results[2].contours is not None
    pipeline.released.set()
    wait_until(lambda: scheduler.leaked_threads == 0)
    scheduler.close()
    # What they return now belongs to nobody.
    assert (len(collector.results), len(collector.latecomers)) == (3, 2)


def test_a_pause_of_the_process_does_not_count_as_hanging(slices, maps, ring_engine, monkeypatch):
    """The clock jumps by an hour while a batch and a fit are in work."""
    paused_s = [0.0]
    clock = SimpleNamespace(
        monotonic=lambda: time.monotonic() + paused_s[0],
        perf_counter=time.perf_counter,
        process_time=time.process_time,
        sleep=time.sleep,
    )
    for each in (module, workers_module):
        monkeypatch.setattr(each, "time", clock)
    gate = Gated(ring_engine)
    engine = FallbackEngine([("gated", lambda: gate), ("ring", lambda: ring_engine)])
    pipeline, collector = HangingFits(engine), Collector()
    pipeline.hangs = False
    scheduler = Scheduler(pipeline, 2, 100.0)
    scheduler.submit(now(maps[0]), collector, budget_ms=1e9)
    assert gate.entered.wait(20)
    pipeline.hangs = True
    scheduler.submit(now(slices[0]), collector, budget_ms=1e9)
    wait_until(lambda: scheduler.depths == (2, 0, 0))
    paused_s[0] = 3600.0
    time.sleep(1.2)  # two waits of the thread that watches
    assert (engine.name, engine.replacements, scheduler.leaked_threads) == ("gated", 0, 0)
    gate.open.set()
    pipeline.released.set()
    collector.wait(results=2)
    scheduler.close()
    assert all(each.error == "" and each.contours is not None for each in collector.results)


def test_computing_that_lets_no_thread_run_is_no_pause(maps, ring_engine, monkeypatch):
    """The clock and the CPU time jump alike."""
    jump_s = [0.0]
    clock = SimpleNamespace(
        monotonic=lambda: time.monotonic() + jump_s[0],
        perf_counter=time.perf_counter,
        process_time=lambda: time.process_time() + jump_s[0],
        sleep=time.sleep,
    )
    for each in (module, workers_module):
        monkeypatch.setattr(each, "time", clock)
    gate, collector = Gated(ring_engine), Collector()
    engine = FallbackEngine([("gated", lambda: gate), ("ring", lambda: ring_engine)])
    scheduler = Scheduler(Pipeline(engine), 1, 100.0)
    scheduler.submit(now(maps[0]), collector, budget_ms=1e9)
    assert gate.entered.wait(20)
    jump_s[0] = 3600.0
    wait_until(lambda: engine.name == "ring")
    gate.open.set()
    collector.wait(results=1)
    scheduler.close()


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), MemoryError("no memory")])
def test_whatever_a_fit_or_an_engine_raises_its_slice_comes_back(slices, ring_engine, error):
    class Raising(Pipeline):
        def stages(self, progress):
            if progress.assembled is first:
                raise error
            yield from super().stages(progress)

    first = now(slices[0])
    scheduler, collector = Scheduler(Raising(ring_engine), 2, 60_000.0), Collector()
    scheduler.submit(first, collector)
    collector.wait(results=1)
    assert type(error).__name__ in collector.results[0].error
    scheduler.submit(now(slices[1]), collector)
    collector.wait(results=2)
    assert collector.results[1].contours is not None
    scheduler.close()
    scheduler, collector = run(shapes.Raising(error), slices[:2])
    scheduler.close()
    assert all(type(error).__name__ in each.error and each.map is not None for each in collector.results)


@pytest.mark.parametrize("chained", [False, True])
def test_the_only_engine_that_hangs_is_logged_and_leaks_two_threads_at_most(maps, chained, caplog):
    hanging = Hanging()
    engine = FallbackEngine([("hanging", lambda: hanging)]) if chained else hanging
    scheduler, collector = Scheduler(Pipeline(engine), 2, 100.0, patience_s=0.3), Collector()
    for number in range(5):
        scheduler.submit(now(maps[0]), collector, owner=owner(subscribed=True))
        collector.wait(results=number + 1, latecomers=min(number + 1, 2), timeout=30)
    assert scheduler.leaked_threads == 2
    assert "the engine hanging has hung for" in caplog.text
    assert "threads given up: 2" in caplog.text
    assert "restart myostream" in caplog.text
    assert "hangs" in collector.results[-1].error or Flag.LATE in collector.results[-1].flags
    hanging.released.set()
    wait_until(lambda: scheduler.leaked_threads == 0)
    again = Collector()
    for tries in range(1, 20):  # on a busy machine the engine may seem to hang once more
        scheduler.submit(now(maps[0]), again, budget_ms=60_000.0)
        again.wait(results=tries)
        if not again.results[-1].error:
            break
    assert again.results[-1].map is not None
    assert again.results[-1].error == ""
    scheduler.close()


@pytest.mark.parametrize("broken", ["_next_batch", "_deliver_late"])
def test_an_error_in_a_thread_of_all_connections_does_not_end_it(
    broken, slices, ring_engine, monkeypatch, caplog
):
    """Whatever it is that one slice brings about there: the next ones are worked on."""
    real, met = getattr(Scheduler, broken), []

    def failing(self, *arguments):
        if len(met) < 2:
            met.append(arguments)
            raise KeyError("a bug")
        return real(self, *arguments)

    monkeypatch.setattr(Scheduler, broken, failing)
    scheduler, collector = Scheduler(Pipeline(Slow(ring_engine, 0.3)), 2, 200.0), Collector()
    for each in slices:
        scheduler.submit(now(each), collector)
    collector.wait(len(slices))
    assert len(met) == 2
    again = Collector()
    for each in slices:
        scheduler.submit(now(each), again, budget_ms=60_000.0)
    again.wait(len(slices))
    scheduler.close()
    assert all(result.contours is not None for result in again.results)
    assert "a bug" in caplog.text
