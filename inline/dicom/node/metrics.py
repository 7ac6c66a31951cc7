"""Metrics of a DICOM node for Prometheus (``docs/monitoring.md`` lists them)."""

from __future__ import annotations

import sqlite3
from collections import Counter as Counted
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from inline.dicom.node.health import Supervised, health_of
from inline.dicom.node.spool import Spool
from inline.serving.health import Health
from inline.serving.metrics import ResultMetrics, of_health, of_replacements
from inline.serving.monitor import Kept
from model.engines.base import Engine

_HEALTH_EVERY_S: Final = 0.9


class Monitored(Supervised, Protocol):
    """Node as its metrics read it."""

    @property
    def engine(self) -> Engine:
        """Engine of its pipeline."""
        ...

    @property
    def spool(self) -> Spool:
        """Spool that it has open."""
        ...

    @property
    def destinations(self) -> Collection[str]:
        """Names of the destinations of its settings."""
        ...

    @property
    def in_work(self) -> Collection[str]:
        """Series Instance UIDs of the series that are processed now."""
        ...


class NodeMetrics(ResultMetrics):
    """Counts of a node from its start on, and the content of its spool at each scrape.

    Attributes:
        node: the node, as soon as it listens.
        images: objects that were stored.
        refused_images: objects that were not.
        refused: associations and connections that were refused.
    """

    def __init__(self) -> None:
        made = CollectorRegistry()
        super().__init__(made, self._read)
        self.node: Monitored | None = None
        # It waits for the database: while another program locks that, each question would wait in turn.
        self._health = Kept(lambda: health_of(self.node), _HEALTH_EVERY_S)
        self.images = Counter("myostream_images_received", "Images that came.", registry=made)
        self.refused_images = Counter("myostream_images_refused", "Images that were refused.", registry=made)
        self.refused = Counter(
            "myostream_associations_refused", "Associations that were refused.", registry=made
        )

    def health(self) -> Health:
        """Return the health of the node, of the last second."""
        return self._health()

    def _read(self) -> Iterator[Metric]:
        yield from of_health(self.health())
        if self.node is not None:
            yield of_replacements(self.node.engine)
            with suppress(OSError, sqlite3.Error):  # the node is not ready then
                yield from _of_spool(self.node)


def _of_spool(node: Monitored) -> Iterator[Metric]:
    spool, in_work = node.spool, set(node.in_work)
    left = Counted(state for uid, state in spool.received.unprocessed().items() if uid not in in_work)
    series = GaugeMetricFamily("myostream_series", "Series in the queue of a node.", labels=["state"])
    left["processing"] = len(in_work)
    for state in ("waiting", "processing", "given-up", "unreadable"):
        series.add_metric([state], left[state])
    yield series
    numbers, ages = spool.results.waiting(), spool.results.ages_s()
    waiting = GaugeMetricFamily(
        "myostream_results_waiting", "Results that are to be delivered.", labels=["destination"]
    )
    oldest = GaugeMetricFamily(
        "myostream_oldest_result_seconds", "Age of the oldest of these results.", labels=["destination"]
    )
    for name in dict.fromkeys((*node.destinations, *numbers)):
        waiting.add_metric([name], numbers.get(name, 0))
        oldest.add_metric([name], ages.get(name, 0.0))
    yield waiting
    yield oldest
    yield GaugeMetricFamily(
        "myostream_spool_room_bytes",
        "Bytes that the spool still takes by dicom.spool_bytes and dicom.free_bytes.",
        spool.room(),
    )
    yield GaugeMetricFamily("myostream_spool_limit_bytes", "The setting dicom.spool_bytes.", spool.most)
