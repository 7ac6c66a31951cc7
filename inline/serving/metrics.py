"""Metrics of the service for Prometheus (``docs/monitoring.md`` lists them).

Results are counted as they come. Everything else is read at a scrape, from counts that the service keeps
anyway: it costs nothing in between.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from inline.data.flags import Flag
from inline.data.results import SliceResult
from inline.data.series import Quantity
from inline.data.version import software_version
from inline.pipeline import Stage
from inline.serving.health import Checkup, Health
from inline.serving.observers import Delivery, Observer
from inline.serving.server import Server
from inline.serving.tally import Tally
from model.engines.base import Engine
from model.engines.fallback import FallbackEngine

_STAGE_BUCKETS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_SLICE_BUCKETS: Final = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
_LATECOMER_BUCKETS: Final = (0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0)
_CONFIDENCE_BUCKETS: Final = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


@dataclass(slots=True)
class Totals:
    """Sums over connections; the first names are those of :class:`Tally`.

    Attributes:
        lost: images that closed connections lost here.
        untaken: images that clients did not take before they left.
        connections: number of them.
    """

    images: int = 0
    returned: int = 0
    withheld: int = 0
    slices: int = 0
    skipped: int = 0
    lost: int = 0
    untaken: int = 0
    connections: int = 0

    def add(self, tally: Tally, *, closed: bool) -> None:
        """Add one connection."""
        self.images += tally.images
        self.returned += tally.returned
        self.withheld += tally.withheld
        self.slices += tally.slices
        self.skipped += tally.skipped
        self.connections += 1
        if closed:
            self.lost += tally.lost
            self.untaken += tally.in_transit - tally.lost


class ResultMetrics:
    """Counts of results, and the text of a registry.

    Attributes:
        registry: of these metrics alone.
    """

    def __init__(self, registry: CollectorRegistry, read: Callable[[], Iterable[Metric]]) -> None:
        """Begin with everything at 0.

        Args:
            registry: of these metrics; those in it are collected before them.
            read: returns further metrics at each scrape.
        """
        self.registry = made = registry
        self._results = Counter(
            "myostream_results", "Results that were delivered, errors included.", ["quantity"], registry=made
        )
        self._failed = Counter("myostream_result_errors", "Results that state an error.", registry=made)
        self._flags = Counter("myostream_flags", "Results with a flag.", ["flag"], registry=made)
        self._stages = Histogram(
            "myostream_stage_seconds", "Stage of a slice.", ["stage"], buckets=_STAGE_BUCKETS, registry=made
        )
        self._confidence = Histogram(
            "myostream_confidence",
            "Dice to be expected of the contours.",
            buckets=_CONFIDENCE_BUCKETS,
            registry=made,
        )
        for quantity in Quantity:
            self._results.labels(quantity.value)
        for flag in Flag:
            self._flags.labels(flag.value)
        for stage in Stage:
            self._stages.labels(stage.value)
        self.registry.register(_AtScrape(read))
        ProcessCollector(registry=made)

    def count(
        self, result: SliceResult, stated: Collection[str] = frozenset(), *, again: bool = False
    ) -> None:
        """Count a result.

        Args:
            result: of a slice.
            stated: flags and stages of it that are counted already.
            again: the result itself is counted already.
        """
        for stage, milliseconds in result.times_ms.items():
            if stage in stated:
                continue
            self._stages.labels(stage).observe(milliseconds / 1000.0)
        for flag in set(result.flags).difference(stated):
            self._flags.labels(flag.value).inc()
        if result.confidence is not None:
            self._confidence.observe(result.confidence)
        if again:
            return
        self._results.labels(result.quantity.value).inc()
        if result.error:
            self._failed.inc()

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class Metrics(ResultMetrics, Observer):
    """Observer that counts results and connections."""

    def __init__(self, checkup: Checkup) -> None:
        """Begin with everything at 0; ``checkup`` has the server."""
        made = CollectorRegistry()
        # Collected before flags and stages, which are counted first: a scrape has those of each late result.
        self._latecomers = Counter(
            "myostream_latecomers", "Results that were ready after their budget.", registry=made
        )
        super().__init__(made, self._read)
        self._checkup = checkup
        self._lock = threading.Lock()
        self._closed = Totals()
        self._open: dict[int, Tally] = {}  # by identity: names may be used again
        self._latency = Histogram(
            "myostream_slice_seconds",
            "Time from the last image of a slice to its result or the end of its budget, without errors.",
            ["quantity"],
            buckets=_SLICE_BUCKETS,
            registry=made,
        )
        self._latecomer_latency = Histogram(
            "myostream_latecomer_seconds",
            "Time from the last image of a slice to a result that was ready after its budget.",
            ["quantity"],
            buckets=_LATECOMER_BUCKETS,
            registry=made,
        )
        for quantity in Quantity:
            self._latency.labels(quantity.value)
            self._latecomer_latency.labels(quantity.value)

    def opened(self, session: str, tally: Tally) -> None:
        """See :class:`inline.serving.observers.Observer`."""
        with self._lock:
            self._open[id(tally)] = tally

    def closed(self, session: str, tally: Tally) -> None:
        """See :class:`inline.serving.observers.Observer`."""
        with self._lock:
            self._open.pop(id(tally), None)
            self._closed.add(tally, closed=True)

    def delivered(self, delivery: Delivery) -> None:
        """See :class:`inline.serving.observers.Observer`."""
        result, quantity = delivery.result, delivery.result.quantity.value
        self.count(result, delivery.stated, again=delivery.latecomer)
        if delivery.latecomer:
            self._latecomers.inc()
            if not result.error:
                self._latecomer_latency.labels(quantity).observe(delivery.latency_s)
        elif not result.error or Flag.LATE in result.flags:  # other errors may come at once
            self._latency.labels(quantity).observe(delivery.latency_s)

    def totals(self) -> tuple[Totals, int]:
        """Return the sums over all connections, and the images in transit on the open ones."""
        with self._lock:
            totals = replace(self._closed)
            for tally in self._open.values():
                totals.add(tally, closed=False)
            return totals, sum(tally.in_transit for tally in self._open.values())

    def _read(self) -> Iterator[Metric]:
        totals, in_transit = self.totals()
        yield from _of_connections(totals, in_transit)
        yield from of_health(self._checkup.health())
        if self._checkup.server is not None:
            yield from _of_server(self._checkup.server)


class _AtScrape(Collector):
    """Metrics that a function returns at each scrape."""

    def __init__(self, read: Callable[[], Iterable[Metric]]) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        return self._read()


def _of_connections(totals: Totals, in_transit: int) -> Iterator[Metric]:
    counters = (
        ("images_received", "Images that came.", totals.images),
        ("images_returned", "Images that were sent back.", totals.returned),
        ("images_withheld", "Images that do not go back by emit.originals.", totals.withheld),
        ("images_untaken", "Images that a client which left did not take.", totals.untaken),
        ("images_lost", "Images that were lost here; must stay 0.", totals.lost),
        ("slices", "Slices whose images were complete.", totals.slices),
        ("connections", "Connections that were served.", totals.connections),
        ("messages_skipped", "Messages that were neither sent back nor worked on.", totals.skipped),
    )
    for name, text, number in counters:
        yield CounterMetricFamily(f"myostream_{name}", text, number)
    yield GaugeMetricFamily(
        "myostream_images_in_transit",
        "Images that came on open connections and have not gone back.",
        in_transit,
    )


def of_health(health: Health) -> Iterator[Metric]:
    """Yield the metrics of a health."""
    state = health.state
    yield GaugeMetricFamily("myostream_ready", "1 if the service takes connections.", float(health.ready))
    yield GaugeMetricFamily("myostream_live", "1 if the service needs no restart.", float(health.live))
    yield GaugeMetricFamily("myostream_connections_open", "Connections that are served.", state.connections)
    in_use = GaugeMetricFamily("myostream_engine_in_use", "1 for the engine in use.", labels=["engine"])
    if state.engine:
        in_use.add_metric([state.engine], 1.0)
    yield in_use
    yield GaugeMetricFamily(
        "myostream_engine_failed", "1 if the last engine has failed.", float(state.failed)
    )
    yield GaugeMetricFamily(
        "myostream_engine_unproven_seconds",
        "Time since the engine returned output or was verified.",
        state.unproven_s,
    )
    info = GaugeMetricFamily("myostream_build_info", "Version of myostream.", labels=["version"])
    info.add_metric([software_version()], 1.0)
    yield info


def _of_server(server: Server) -> Iterator[Metric]:
    scheduler, publisher, engine = server.service.scheduler, server.service.publisher, server.service.engine
    yield CounterMetricFamily("myostream_budget_misses", "Slices that missed their budget.", scheduler.misses)
    yield of_replacements(engine)
    yield GaugeMetricFamily(
        "myostream_threads_given_up", "Threads that hang in a fit or an engine.", scheduler.leaked_threads
    )
    yield GaugeMetricFamily("myostream_connections_waiting", "Connections that wait.", server.waiting)
    depths = scheduler.depths
    queues = GaugeMetricFamily("myostream_queue_depth", "Length of a queue.", labels=["queue"])
    queues.add_metric(["slices"], depths.slices)
    queues.add_metric(["threads"], depths.threads)
    queues.add_metric(["network"], depths.network)
    queues.add_metric(["publisher"], publisher.waiting if publisher else 0)
    yield queues
    yield CounterMetricFamily(
        "myostream_messages_unpublished",
        "ZeroMQ messages that were dropped or could not be sent.",
        publisher.dropped + publisher.failed if publisher else 0,
    )


def of_replacements(engine: Engine) -> Metric:
    """Return the number of engines that failed in use."""
    return CounterMetricFamily(
        "myostream_engine_replacements",
        "Engines that failed in use and were replaced.",
        engine.replacements if isinstance(engine, FallbackEngine) else 0,
    )
