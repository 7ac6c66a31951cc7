"""The budget: nothing lost, everything flagged, the next slice normal."""

import threading
import time

import numpy as np
import pytest

from inline.assembly.assembler import SeriesAssembler
from inline.flags import Flag
from inline.mrd.header import parse_header
from inline.pipeline import Pipeline
from inline.processor import Processor
from model.engines.chain import EngineChain


@pytest.fixture
def slices(examination):
    _, header, images = examination
    assembler = SeriesAssembler(parse_header(header))
    return [ready for image in images for ready in assembler.add(image, time.monotonic())]


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


def run(engine, slices, budget_ms=5000.0, latecomers=0):
    processor, collector = Processor(Pipeline(engine), 2, budget_ms), Collector()
    for each in slices:
        processor.submit(each, collector)
    collector.wait(len(slices), latecomers)
    return processor, collector


def test_every_slice_comes_back_once(slices, ring_engine):
    processor, collector = run(ring_engine, slices)
    processor.close()
    assert len(collector.results) == 4
    assert collector.latecomers == []
    assert processor.misses == 0
    assert all(result.contours is not None for result in collector.results)
    assert all("wait" in result.times_ms for result in collector.results)


def test_slices_that_wait_together_are_batched(slices, ring_engine):
    slow = Slow(ring_engine, 0.3)
    processor, _ = run(slow, slices * 3)
    processor.close()
    assert sum(slow.batches) == 12
    assert len(slow.batches) < 12
    assert max(slow.batches) <= 8


def test_a_missed_budget_hands_over_the_map_in_time_and_the_result_later(slices, ring_engine):
    slow = Slow(ring_engine, 1.0)
    start = time.monotonic()
    processor, collector = Processor(Pipeline(slow), 2, 600.0), Collector()
    processor.submit(slices[0], collector)
    collector.wait(results=1)
    assert time.monotonic() - start < 0.95
    (late,) = collector.results
    assert late.flags == (Flag.LATE,)
    assert late.map is not None
    assert late.contours is None
    assert "not ready within 600 ms" in late.error
    collector.wait(latecomers=1)
    assert collector.latecomers[0].contours is not None
    assert Flag.LATE in collector.latecomers[0].flags
    assert processor.misses == 1
    slow.seconds = 0.0
    processor.submit(slices[1], collector)
    collector.wait(results=2)
    assert collector.results[1].flags == ()
    processor.close()


def test_a_budget_of_one_millisecond_loses_nothing(slices, ring_engine):
    processor, collector = run(ring_engine, slices, budget_ms=1.0, latecomers=4)
    processor.close()
    assert len(collector.results) == 4
    assert all(Flag.LATE in result.flags for result in collector.results)
    assert all(result.contours is not None for result in collector.latecomers)
    assert processor.misses == 4


class Hanging:
    name = "hanging"

    def __init__(self):
        self.released = threading.Event()

    def infer(self, images):
        self.released.wait(30)
        return np.full((len(images), 3, 224, 224), 1 / 3, np.float32)


def test_an_engine_that_hangs_is_replaced(slices, ring_engine):
    hanging = Hanging()
    chain = EngineChain([("hanging", lambda: hanging), ("ring", lambda: ring_engine)])
    processor, collector = run(chain, slices[:2], budget_ms=300.0, latecomers=2)
    assert [result.flags for result in collector.results] == [(Flag.LATE,)] * 2
    assert all(result.contours is not None for result in collector.latecomers)
    assert chain.name == "ring"
    assert "hangs" in chain.failures[0]
    hanging.released.set()  # what it answers now belongs to nobody
    processor.submit(slices[2], collector)
    collector.wait(results=3)
    assert collector.results[2].contours is not None
    time.sleep(0.2)
    assert len(collector.latecomers) == 2
    processor.close()


def test_the_only_engine_hanging_is_told(slices):
    hanging = Hanging()
    processor, collector = run(hanging, slices[:1], budget_ms=300.0, latecomers=1)
    assert "hangs" in collector.latecomers[0].error
    hanging.released.set()
    processor.close()


def test_a_result_that_cannot_be_delivered_stops_nothing(slices, ring_engine):
    processor, collector = Processor(Pipeline(ring_engine), 2, 5000.0), Collector()

    def broken(result, *, latecomer):
        raise ValueError("nobody there")

    processor.submit(slices[0], broken)
    processor.submit(slices[1], collector)
    collector.wait(results=1)
    processor.close()
