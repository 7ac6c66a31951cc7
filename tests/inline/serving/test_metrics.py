"""Metrics equal what was done: images, slices, flags, connections, and images that were lost."""

import socket
import threading
import time
from collections import Counter
from contextlib import suppress

import pytest
from prometheus_client.parser import text_string_to_metric_families

from inline.data.flags import Flag
from inline.mrd.messages import ConfigFile, Header
from inline.mrd.protocol import encode
from inline.pipeline import Stage
from inline.replay.client import exchange
from inline.replay.replies import records
from inline.serving.health import Checkup
from inline.serving.metrics import Metrics
from inline.serving.observers import Observer, Observers
from inline.serving.tally import Tally
from model.engines.fallback import FallbackEngine
from tests.inline.conftest import wait_until
from tests.inline.serving.gated import Gated
from tests.shapes import Raising


def read(metrics):
    """Value of each sample, by its name and the value of its only label."""
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_bucket")
    }


def until(metrics, name, value, timeout=30):
    """Values once one of them is as expected: a connection ends after its client has read the close."""
    end = time.monotonic() + timeout
    while (found := read(metrics))[name,] != value:
        assert time.monotonic() < end, found[name,]
        time.sleep(0.02)
    return found


@pytest.fixture
def metrics():
    return Metrics(Checkup())


def test_everything_is_there_before_the_first_slice(metrics):
    found = read(metrics)
    assert found["myostream_images_lost_total",] == 0
    assert found["myostream_ready",] == 0
    assert all(found["myostream_flags_total", flag.value] == 0 for flag in Flag)
    stages = {name[1] for name in found if name[0] == "myostream_stage_seconds_count"}
    assert stages == set(Stage)
    assert found["myostream_stage_seconds_count", "motion"] == 0
    assert found["process_resident_memory_bytes",] > 0


def test_counts_of_an_examination(metrics, serving, examination):
    _, header, images = examination
    with serving(observers=Observers(metrics)) as server:
        metrics._checkup.server = server
        result = exchange(server.address, header, images)
        found = until(metrics, "myostream_connections_open", 0)
    results = [record for record, _ in records(result.images)]
    assert found["myostream_images_received_total",] == len(images)
    assert found["myostream_images_returned_total",] == len(images)
    assert found["myostream_images_in_transit",] == 0
    assert found["myostream_images_lost_total",] == 0
    assert found["myostream_slices_total",] == len(results) == 4
    assert found["myostream_connections_total",] == 1
    for quantity in ("T1", "T2"):
        assert found["myostream_results_total", quantity] == 2
        assert found["myostream_slice_seconds_count", quantity] == 2
        assert 0 < found["myostream_slice_seconds_sum", quantity] < 120
    flags = Counter(flag for record in results for flag in record["flags"])
    assert {flag: found["myostream_flags_total", flag.value] for flag in Flag} == {
        flag: flags[flag] for flag in Flag
    }
    times = [record["times_ms"] for record in results]
    for stage in Stage:
        spent = [each[stage] for each in times if stage in each]
        assert found["myostream_stage_seconds_count", stage] == len(spent) > 0, stage
    spent = sum(each["fit"] for each in times) / 1000.0
    assert found["myostream_stage_seconds_sum", "fit"] == pytest.approx(spent, rel=1e-3)
    assert found["myostream_budget_misses_total",] == 0
    assert found["myostream_queue_depth", "slices"] == 0
    assert found["myostream_engine_in_use", "ring"] == 1
    assert found["myostream_ready",] == 1


def test_originals_that_do_not_go_back_are_withheld_and_not_lost(metrics, serving, examination):
    _, header, images = examination
    with serving(observers=Observers(metrics), emit={"originals": "none"}) as server:
        exchange(server.address, header, images)
        found = until(metrics, "myostream_connections_total", 1)
        found = until(metrics, "myostream_images_in_transit", 0)
    assert found["myostream_images_withheld_total",] == len(images)
    assert found["myostream_images_returned_total",] == 0
    assert found["myostream_images_lost_total",] == 0


def test_a_client_that_leaves_does_not_take_images_and_loses_none(metrics, serving, examination):
    _, header, images = examination
    size = sum(len(encode(image)) for image in images)
    with serving(observers=Observers(metrics)) as server:
        metrics._checkup.server = server
        connection = socket.create_connection(server.address, timeout=30)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        connection.sendall(encode(ConfigFile("passthrough")) + encode(Header(header)))
        data = b"".join(map(encode, images)) * (1 + (1 << 24) // size)  # more than the buffers hold
        threading.Thread(target=send, args=(connection, data), daemon=True).start()
        wait_until(lambda: read(metrics)["myostream_images_in_transit",] > 3)
        connection.close()  # reset
        found = until(metrics, "myostream_connections_open", 0)
    assert found["myostream_images_untaken_total",] > 0
    assert found["myostream_images_lost_total",] == 0
    assert found["myostream_images_in_transit",] == 0
    parts = ("returned", "untaken", "lost", "withheld")
    assert (
        sum(found[f"myostream_images_{each}_total",] for each in parts)
        == (found["myostream_images_received_total",])
    )


def send(connection, data):
    with suppress(OSError):
        connection.sendall(data)


def test_images_that_the_server_fails_to_send_are_lost(metrics):
    tally = Tally(images=9, returned=4)
    metrics.opened("a", tally)
    assert read(metrics)["myostream_images_in_transit",] == 5
    tally.failed = True
    metrics.closed("a", tally)
    assert read(metrics)["myostream_images_lost_total",] == 5


def test_connections_with_the_same_name_are_counted_apart(metrics):
    first, second = Tally(images=1), Tally(images=2)
    metrics.opened("gadgetron", first)
    metrics.opened("gadgetron", second)
    metrics.closed("gadgetron", first)
    assert read(metrics)["myostream_images_received_total",] == 3
    assert read(metrics)["myostream_images_in_transit",] == 2


class Taking(Observer):
    """Takes late results."""

    def takes_latecomers(self):
        return True


def test_each_stage_of_a_late_slice_is_counted_once(metrics, serving, examination, ring_engine):
    _, header, images = examination
    gate = Gated(ring_engine)
    with serving(gate, observers=Observers(metrics, Taking())) as server:
        exchange(server.address, header, images, parameters={"budget_ms": 3000})
        gate.open.set()
        found = until(metrics, "myostream_latecomers_total", 4)
    assert found["myostream_results_total", "T1"] == found["myostream_results_total", "T2"] == 2
    counts = {stage: found["myostream_stage_seconds_count", stage] for stage in Stage}
    assert counts == dict.fromkeys(Stage, 4)
    assert found["myostream_flags_total", Flag.LATE.value] == 4
    for quantity in ("T1", "T2"):
        for name in ("slice", "latecomer"):
            assert found[f"myostream_{name}_seconds_count", quantity] == 2
        in_time = found["myostream_slice_seconds_sum", quantity]
        assert found["myostream_latecomer_seconds_sum", quantity] > in_time > 2 * 3.0 * 0.9


def test_flags_and_confidence_of_a_late_result_are_counted_once(metrics, serving, examination, ring_engine):
    """Of seven images the end of the budget states one as missing; the result states that again."""
    _, header, images = examination
    missing = next(number for number, each in enumerate(images) if each.header.set == 1)
    gate, events = Gated(ring_engine), Taking()
    seen = []
    events.delivered = seen.append
    with serving(gate, observers=Observers(metrics, events)) as server:
        exchange(
            server.address, header, images[:missing] + images[missing + 1 :], parameters={"budget_ms": 3000}
        )
        gate.open.set()
        found = until(metrics, "myostream_latecomers_total", 4)
    late = [each.result for each in seen if each.latecomer]
    stated = Counter(flag for each in late for flag in set(each.flags))
    assert stated[Flag.MISSING_IMAGES] == 1
    assert {flag: found["myostream_flags_total", flag.value] for flag in stated} == stated
    assert found["myostream_confidence_count",] == sum(each.confidence is not None for each in late)


def test_an_engine_that_is_replaced_is_counted_and_the_next_is_in_use(
    metrics, serving, examination, ring_engine
):
    _, header, images = examination
    engine = FallbackEngine([("raising", Raising), ("ring", lambda: ring_engine)])
    with serving(engine, observers=Observers(metrics)) as server:
        metrics._checkup.server = server
        assert read(metrics)["myostream_engine_in_use", "raising"] == 1
        exchange(server.address, header, images)
        found = until(metrics, "myostream_engine_replacements_total", 1)
    assert found["myostream_engine_in_use", "ring"] == 1
    assert ("myostream_engine_in_use", "raising") not in found


def test_values_of_a_result_that_states_an_error_are_counted_as_one(metrics, serving, examination):
    _, header, images = examination
    with serving(Raising(RuntimeError("out of memory")), observers=Observers(metrics)) as server:
        exchange(server.address, header, images)
        found = until(metrics, "myostream_result_errors_total", 4)
    assert found["myostream_flags_total", Flag.PROCESSING_ERROR.value] == 4
    assert found["myostream_slice_seconds_count", "T1"] == found["myostream_slice_seconds_count", "T2"] == 0
    assert found["myostream_images_lost_total",] == 0
