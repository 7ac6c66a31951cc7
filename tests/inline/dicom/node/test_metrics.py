"""Metrics of a node over HTTP equal what senders and archives saw."""

import copy
import json
import time
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families

from inline.data.flags import Flag
from inline.dicom.node.metrics import NodeMetrics
from inline.dicom.node.store import DENIED, open_database
from inline.dicom.node.waiting import ATTEMPTS
from inline.serving.health import State, judge
from inline.serving.supervision import monitored
from inline.settings import MonitorSettings

from .. import scanner
from .conftest import OUTPUTS, associated, send, wait_for

ARCHIVE = ("myostream_results_waiting", "archive")


@contextmanager
def asked(metrics):
    """A function that returns status and content of a page of these metrics."""
    with monitored(MonitorSettings(port=0), metrics.text, metrics.health) as (host, port):

        def get(page):
            try:
                with urllib.request.urlopen(f"http://{host}:{port}{page}", timeout=20) as reply:
                    return reply.status, reply.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()

        yield get


@pytest.fixture
def scraping(monkeypatch):
    monkeypatch.setattr("inline.serving.supervision._METRICS_EVERY_S", 0.0)

    @contextmanager
    def scrape(metrics):
        """A function that returns the value of each sample, by its name and the value of its only label."""
        with asked(metrics) as get:
            yield lambda: {
                (sample.name, *sample.labels.values()): sample.value
                for family in text_string_to_metric_families(get("/metrics")[1])
                for sample in family.samples
                if not sample.name.endswith("_bucket")
            }

    return scrape


def series(found):
    return tuple(
        found["myostream_series", state] for state in ("waiting", "processing", "given-up", "unreadable")
    )


def test_what_came_and_what_waits_for_an_archive_that_is_down(running, archive, scanned, scraping, tmp_path):
    molli = scanner.series_of(scanned, 1)
    archive.stop()
    with running([archive.destination()]) as node, scraping(node._metrics) as read:
        assert (read()[ARCHIVE], read()["myostream_oldest_result_seconds", "archive"]) == (0, 0)
        wrong = copy.deepcopy(molli[:1])
        wrong[0].SeriesInstanceUID = "Planted"
        assert send(node.address, molli) == [0] * len(molli)
        assert send(node.address, wrong) == [0xA900]
        with associated(node.address, called="OTHER") as stranger:
            assert stranger is None
        wait_for(lambda: read()[ARCHIVE] == len(OUTPUTS))
        found = read()
        assert found["myostream_images_received_total",] == len(molli)
        assert found["myostream_images_refused_total",] == 1
        assert found["myostream_associations_refused_total",] == 1
        assert (found["myostream_results_total", "T1"], found["myostream_results_total", "T2"]) == (1, 0)
        assert series(found) == (0, 0, 0, 0)
        assert found["myostream_ready",] == found["myostream_engine_in_use", "ring"] == 1
        assert found["myostream_spool_limit_bytes",] == 20 << 30
        assert 0 < found["myostream_spool_room_bytes",] <= 20 << 30
        for made, age in ((time.time() - 7200, pytest.approx(7200, abs=60)), (0, pytest.approx(30, abs=30))):
            with closing(open_database(tmp_path / "spool" / "spool.sqlite")) as database:
                database.execute(
                    "UPDATE result SET made = ? WHERE uid = (SELECT min(uid) FROM result)", (made,)
                )
            assert read()["myostream_oldest_result_seconds", "archive"] == age
        archive.start()
        wait_for(lambda: read()[ARCHIVE] == 0)
        assert read()["myostream_oldest_result_seconds", "archive"] == 0


def test_results_are_counted_by_quantity_and_flag_as_the_reports_state_them(
    running, archive, scanned, scraping
):
    with running([archive.destination()], outputs=("report",)) as node, scraping(node._metrics) as read:
        molli = scanner.series_of(scanned, 1)
        send(node.address, molli[:-1])
        send(node.address, scanner.series_of(scanned, 2))
        wait_for(lambda: len(archive.stored) == 2)
        found = read()
    stated = Counter()
    for each in archive.stored:
        text = each.to_json()
        stated.update(flag for flag in Flag if f'"{flag.value}"' in text)
    assert stated
    assert {flag: found["myostream_flags_total", flag.value] for flag in Flag} == {
        flag: stated[flag] for flag in Flag
    }
    assert (found["myostream_results_total", "T1"], found["myostream_results_total", "T2"]) == (1, 1)
    assert found["myostream_stage_seconds_count", "fit"] == 2


def test_series_by_what_becomes_of_them(running, archive, scanned, scraping, tmp_path):
    with running([archive.destination()], idle_s=60.0) as node, scraping(node._metrics) as read:
        send(node.address, scanner.series_of(scanned, 1))
        send(node.address, scanner.series_of(scanned, 2)[:2])
        assert series(read()) == (2, 0, 0, 0)
        node.in_work = tuple(node.spool.received.unprocessed())[:1]
        assert series(read()) == (1, 1, 0, 0)
        with closing(open_database(tmp_path / "spool" / "spool.sqlite")) as database:
            database.execute("UPDATE series SET attempts = ?", (ATTEMPTS,))
            assert series(read()) == (0, 1, 1, 0)
            database.execute("UPDATE series SET attempts = 0, error = ?", (DENIED,))
        assert series(read()) == (0, 1, 0, 1)


def test_a_health_that_takes_long_is_found_once_for_all_who_ask_meanwhile(monkeypatch):
    """As with a locked database: each question would wait for it in turn."""
    found = []

    def health_of(_):
        found.append(time.sleep(1.0))
        return judge(State(), 0.0)

    monkeypatch.setattr("inline.dicom.node.metrics.health_of", health_of)
    with asked(NodeMetrics()) as get, ThreadPoolExecutor() as scrapers:
        assert {status for status, _ in scrapers.map(get, ["/healthz", "/readyz", "/healthz"])} == {200, 503}
    assert len(found) == 1


def test_health_over_http_from_before_the_node_listens_to_a_spool_that_is_gone(
    running, archive, tmp_path, monkeypatch
):
    monkeypatch.setattr("inline.dicom.node.metrics._HEALTH_EVERY_S", 0.0)
    with asked(NodeMetrics()) as get:
        assert (get("/healthz")[0], get("/readyz")[0]) == (200, 503)
        assert "starting" in get("/readyz")[1]
    with running([archive.destination()]) as node, asked(node._metrics) as get:
        assert get("/readyz")[0] == 200
        assert json.loads(get("/healthz")[1])["summary"].startswith("ready: 0 series to process")
        (tmp_path / "spool" / "spool.sqlite").rename(tmp_path / "away")
        assert (get("/healthz")[0], get("/readyz")[0]) == (200, 503)
        assert "myostream_ready 0.0" in get("/metrics")[1]
        (tmp_path / "away").rename(tmp_path / "spool" / "spool.sqlite")
        assert get("/readyz")[0] == 200
