"""Feed: results reach the process of the page, and whatever becomes of that reaches nobody."""

import http.client
import json
import os
import signal
import socket
from contextlib import closing
from dataclasses import replace
from time import sleep

import numpy as np
import pytest

from inline.data.errors import ConfigurationError
from inline.data.flags import Flag
from inline.data.results import SliceLevel
from inline.data.series import SeriesIdentity
from inline.examination.examine import without_partner
from inline.replay.client import exchange
from inline.replay.replies import records
from inline.serving.health import Checkup
from inline.serving.observers import Delivery, EcvDelivery, FinalLevels, Observers
from inline.serving.page import feed as module
from inline.serving.page.board import MOST_RESULTS
from inline.serving.page.feed import PageFeed
from inline.serving.supervision import supervision
from inline.serving.tally import Tally
from inline.settings import MonitorSettings
from model.polygons import ring_labels
from model.relaxometry.parametric_map import ParametricMap
from tests.inline.examination.phantom import ecv_of, t1_slice
from tests.inline.serving.gated import Gated
from tests.inline.serving.page.results import NAME, final, measured, repeated, result


@pytest.fixture
def started():
    made = []

    def start(**values):
        made.append(PageFeed(MonitorSettings(page_port=0, **values), Checkup()))
        return made[-1]

    yield start
    for each in made:
        each.close()


def delivery(latecomer=False, **values):
    return Delivery("a", result(**values), 0.1, latecomer, study=1, budget_ms=500.0)


class Reader:
    """Reader of the events, by the content of their lines."""

    def __init__(self, address):
        self.connection = http.client.HTTPConnection(*address, timeout=60)
        self.connection.request("GET", "/events")
        self.reply = self.connection.getresponse()

    def next(self, kind, **fields):
        """Return the next event of a kind with these fields."""
        while line := self.reply.readline():
            event = json.loads(line[6:]) if line.startswith(b"data: {") else {}
            if event.get("kind") == kind and fields.items() <= event.items():
                return event
        raise AssertionError("the stream has ended")

    def close(self):
        self.connection.close()


def test_results_state_and_connections_reach_a_browser(started):
    feed = started()
    with closing(Reader(feed.address)) as reader:
        feed.opened("a", Tally(images=11))
        feed.delivered(delivery())
        event = reader.next("slice")
        assert (event["connection"], event["latency_ms"]) == (1, 100.0)
        assert NAME not in json.dumps(event)
        status = reader.next("status")
        assert (status["ready"], status["connections"][0]["images"]) == (False, 11)
        feed.closed("a", Tally(images=11, returned=10))
        assert reader.next("closed", connection=1)["lost"] == 1
        assert reader.next("status")["connections"] == []
    assert feed.dropped == 0


def test_a_latecomer_replaces_its_unfinished_result_after_the_connection_too(started):
    feed = started()
    with closing(Reader(feed.address)) as reader:
        feed.opened("a", Tally())
        feed.delivered(delivery(flags=(Flag.LATE,), contours=None))
        feed.closed("a", Tally())
        feed.delivered(delivery(latecomer=True))
        first, second = reader.next("slice"), reader.next("slice")
        assert second["replaces"] == [first["number"]]
        assert second["connection"] == first["connection"] == 1


def test_a_late_slice_reaches_the_page_although_nobody_subscribes(started, serving, examination, ring_engine):
    _, header, images = examination
    feed, gate = started(), Gated(ring_engine)
    with serving(gate, observers=Observers(feed)) as server, closing(Reader(feed.address)) as reader:
        found = records(exchange(server.address, header, images, parameters={"budget_ms": 3000}).images)
        assert [record["contours"] for record, _ in found] == [None] * 4
        late = [reader.next("slice")["number"] for _ in found]
        gate.open.set()
        replaced = [each for _ in found for each in reader.next("slice")["replaces"]]
        assert sorted(replaced) == sorted(late)


def at_final_level(feed, pipeline, shown, level):
    """Return the change of a result on the page when its level is known."""
    with closing(Reader(feed.address)) as reader:
        feed.delivered(Delivery("a", shown, 0.1, False, 1, 500.0))
        reader.next("slice")
        feed.levels_known(final(pipeline, shown, level))
        (change,) = reader.next("levels")["slices"]
    return change


def named(regions):
    return {each["name"]: each["median"] for each in regions}


def test_final_levels_change_the_segments_of_results_that_are_shown(started):
    pipeline, mid = measured()
    expected = pipeline.at_level(mid, SliceLevel.APICAL, "position 1 of 3")
    feed = started()
    with closing(Reader(feed.address)) as reader:
        feed.delivered(Delivery("a", mid, 0.1, False, 1, 500.0))
        first = reader.next("slice")
        feed.levels_known(final(pipeline, mid, SliceLevel.MID))
        assert reader.next("levels")["slices"] == [], "nothing has changed"
        feed.levels_known(final(pipeline, mid, SliceLevel.APICAL, session="another"))
        assert reader.next("levels")["slices"] == []
        feed.levels_known(final(pipeline, mid, SliceLevel.APICAL))
        (change,) = reader.next("levels")["slices"]
        assert (change["number"], change["level"]) == (first["number"], "apical")
        # Kept is the part of the map about the heart; values are those of the whole one.
        assert named(change["regions"]) == pytest.approx(
            {each.name: each.median for each in expected.regions}
        )
        assert "AHA 14 apical septal" in named(change["regions"])
    with closing(Reader(feed.address)) as reader:
        assert reader.next("slice")["level"] == "apical", "a page that opens later"


def test_a_scanner_made_map_has_its_final_level(started):
    pipeline, mid = measured()
    values = mid.map.values_ms.copy()
    outlines = mid.contours.endo, mid.contours.epi
    rows, columns = np.nonzero(ring_labels(*outlines, values.shape) == 2)
    values[rows[::20], columns[::20]] = 4095.0
    made = replace(mid, map=ParametricMap.of_values(values), scanner_made=True)
    feed = started()
    change = at_final_level(feed, pipeline, made, SliceLevel.APICAL)
    assert change["level"] == "apical"
    assert "AHA 14 apical septal" in named(change["regions"])


def test_a_result_that_fails_at_its_final_level_keeps_no_other_one_back(started, caplog):
    pipeline, mid = measured()
    _, other = measured(identity=replace(mid.identity, slice_index=7))
    known = [final(pipeline, each, SliceLevel.BASAL).levels[0] for each in (mid, other)]

    def measure(result, level, source):
        assert result.identity != mid.identity, "no regions"
        return pipeline.at_level(result, level, source)

    feed = started()
    with closing(Reader(feed.address)) as reader:
        for each in (mid, other):
            feed.delivered(Delivery("a", each, 0.1, False, 1, 500.0))
        numbers = [reader.next("slice")["number"] for _ in range(2)]
        feed.levels_known(FinalLevels(1, tuple(known), measure))
        assert [each["number"] for each in reader.next("levels")["slices"]] == numbers[1:]
    assert "a result on the live page has not its final level" in caplog.text


def test_a_segment_of_noise_has_no_value_at_the_final_level_either(started):
    pipeline, mid = measured()
    rows, columns = np.indices(mid.map.failed.shape) - mid.contours.endo.mean(axis=0)[::-1, None, None]
    noise = np.abs(np.degrees(np.arctan2(rows, columns)) - 45.0) < 60.0
    made = replace(
        mid.map, r_squared=np.where(noise, 0.3, 1.0), sd_ms=np.where(noise, 0.5, 0.01) * mid.map.values_ms
    )
    mid = pipeline.at_level(replace(mid, map=made), SliceLevel.MID, "position")
    expected = {each.name: each.median for each in pipeline.at_level(mid, SliceLevel.BASAL, "").regions}
    assert None in expected.values()
    feed = started()
    change = at_final_level(feed, pipeline, mid, SliceLevel.BASAL)
    assert {name: value is None for name, value in named(change["regions"]).items()} == {
        name: value is None for name, value in expected.items()
    }


def test_a_latecomer_has_the_final_level(started):
    pipeline, mid = measured()
    feed = started()
    with closing(Reader(feed.address)) as reader:
        late = replace(mid, contours=None, regions=(), flags=(Flag.LATE,), level=None)
        feed.delivered(Delivery("a", late, 0.1, False, 1, 500.0))
        feed.levels_known(final(pipeline, mid, SliceLevel.BASAL))
        assert reader.next("levels")["slices"][0]["level"] == "basal"
        feed.delivered(Delivery("a", mid, 0.9, True, 1, 500.0))
        whole = reader.next("slice", level="basal")
        assert len(whole["replaces"]) == 1
        assert "AHA 1 basal anterior" in named(whole["regions"])


def test_slices_of_one_identity_all_have_their_final_level(started):
    """Without time stamps native and post-contrast slices have one; a late one replaces its own alone."""
    pipeline, native = measured(identity=SeriesIdentity(1, 0))
    _, post = measured(post=True, identity=SeriesIdentity(1, 0))
    _, other = measured(identity=SeriesIdentity(1, 0))
    elsewhere = replace(other, geometry=replace(other.geometry, position=(0.0, 0.0, 300.0)))
    late = replace(post, contours=None, regions=(), flags=(Flag.LATE,), level=None)
    feed = started()
    with closing(Reader(feed.address)) as reader:
        for each in (native, late, elsewhere):
            feed.delivered(Delivery("a", each, 0.1, False, 1, 500.0))
        numbers = [reader.next("slice")["number"] for _ in range(3)]
        feed.levels_known(final(pipeline, native, SliceLevel.BASAL))
        changes = {each["number"]: each["level"] for each in reader.next("levels")["slices"]}
        assert changes == dict.fromkeys(numbers[:2], "basal"), "the third lies at another position"
        feed.delivered(Delivery("a", post, 0.9, True, 1, 500.0))
        whole = reader.next("slice", level="basal")
        assert whole["replaces"] == [numbers[1]]
        feed.levels_known(final(pipeline, native, SliceLevel.APICAL))
        changes = [each["number"] for each in reader.next("levels")["slices"]]
        assert changes == [numbers[0], whole["number"]]


def test_ecv_has_the_final_level_of_its_native_slice(started):
    (pipeline, native), (_, post) = measured(), measured(post=True)
    ecv = ecv_of(native, post)
    feed = started()
    with closing(Reader(feed.address)) as reader:
        feed.ecv_delivered(EcvDelivery("a", ecv, 1))
        shown = reader.next("ecv", level="mid")
        feed.levels_known(final(pipeline, native, SliceLevel.BASAL, study=2))
        assert reader.next("levels")["slices"] == [], "another study"
        feed.levels_known(final(pipeline, native, SliceLevel.BASAL))
        (change,) = reader.next("levels")["slices"]
        assert (change["number"], change["level"]) == (shown["number"], "basal")
        assert list(named(change["regions"]).values()) == list(named(shown["regions"]).values())
        assert "AHA 1 basal anterior" in named(change["regions"])


def test_ecv_replaces_the_error_of_a_slice_that_had_no_partner_yet(started):
    (_, native), (_, post) = measured(), measured(post=True)
    (lonely,) = without_partner([post], [post])
    ecv = ecv_of(native, post)
    feed = started()
    with closing(Reader(feed.address)) as reader:
        for study in (1, 2):
            feed.ecv_delivered(EcvDelivery("a", lonely, study))
        error, other = reader.next("ecv"), reader.next("ecv")
        assert (error["images"], error["findings"][0]["flag"]) == ([], "no-native")
        feed.ecv_delivered(EcvDelivery("b", ecv, 1))
        assert reader.next("ecv", images=["map"])["replaces"] == [error["number"]] != [other["number"]]
        feed.ecv_delivered(EcvDelivery("b", ecv, 1))
        assert reader.next("ecv")["replaces"] == []


def test_ecv_replaces_the_errors_of_both_slices_of_its_pair(started):
    """Both were late at the close of their connections."""
    (_, native), (_, post) = measured(), measured(post=True)
    late = [replace(each, contours=None, flags=(Flag.LATE,)) for each in (native, post)]
    errors = without_partner(late, late)
    assert [each.flags for each in errors] == [(Flag.LATE,)] * 2
    feed = started()
    with closing(Reader(feed.address)) as reader:
        for each in errors:
            feed.ecv_delivered(EcvDelivery("a", each, 1))
        numbers = [reader.next("ecv")["number"] for _ in errors]
        ecv = ecv_of(native, post)
        feed.ecv_delivered(EcvDelivery("a", ecv, 1))
        whole = reader.next("ecv", images=["map"])
        assert (whole["replaces"], whole["superseded"]) == (numbers, [])


def test_a_newer_result_of_a_kind_and_position_supersedes_the_others(started):
    _, native = measured()
    _, post = measured(post=True)
    ecv = ecv_of(native, post)
    again = repeated(native, 5, along=2.0)
    feed = started()

    def event(made, study=1):
        if made is ecv:
            feed.ecv_delivered(EcvDelivery("a", made, study))
        else:
            feed.delivered(Delivery("a", made, 0.1, False, study, 500.0))
        return reader.next("ecv" if made is ecv else "slice")

    with closing(Reader(feed.address)) as reader:
        first = event(native)
        assert first["superseded"] == []
        assert event(post)["superseded"] == [], "another kind"
        assert event(repeated(native, 4, along=8.0))["superseded"] == [], "another position"
        assert event(native, study=2)["superseded"] == [], "another examination"
        second = event(again)
        assert second["superseded"] == [first["number"]]
        # A failed repeat has no values.
        failed = event(repeated(native, 6, contours=None, regions=()))
        gone = {first["number"], failed["number"]}
        assert set(failed["superseded"]) == gone
        # One that was acquired before, and finished later.
        earlier = event(repeated(native, 3, along=1.0))
        gone.add(earlier["number"])
        assert set(earlier["superseded"]) == gone
        # Two post-contrast series of one native slice.
        gone.add(event(ecv)["number"])
        last = event(ecv)
        assert set(last["superseded"]) == gone
    with closing(Reader(feed.address)) as reader:
        events = [reader.next("slice", study=1) for _ in range(6)] + [reader.next("ecv") for _ in range(2)]
        assert set(events[-1]["superseded"]) == gone, "a page that opens later"


def test_the_complete_result_of_a_late_slice_supersedes_as_its_own(started):
    _, native = measured()
    feed = started()
    with closing(Reader(feed.address)) as reader:
        feed.delivered(Delivery("a", native, 0.1, False, 1, 500.0))
        first = reader.next("slice")["number"]
        again = repeated(native, 5)
        late = replace(again, contours=None, regions=(), flags=(Flag.LATE,), level=None)
        feed.delivered(Delivery("a", late, 0.1, False, 1, 500.0))
        unfinished = reader.next("slice")
        assert unfinished["superseded"] == [unfinished["number"]]
        feed.delivered(Delivery("a", again, 0.9, True, 1, 500.0))
        assert reader.next("slice", replaces=[unfinished["number"]])["superseded"] == [first]


def test_a_latecomer_without_time_stamps_supersedes_no_result_after_its_unfinished_one(started):
    _, native = measured()
    first, again = (replace(native, identity=SeriesIdentity(series, 0)) for series in (1, 2))
    late = replace(first, contours=None, regions=(), flags=(Flag.LATE,), level=None)
    feed = started()
    with closing(Reader(feed.address)) as reader:
        for each, latecomer in ((late, False), (again, False), (first, True)):
            feed.delivered(Delivery("a", each, 0.1, latecomer, 1, 500.0))
        unfinished, _, whole = (reader.next("slice") for _ in range(3))
        assert whole["replaces"] == [unfinished["number"]]
        assert whole["superseded"] == [whole["number"]]


def test_ecv_of_an_earlier_acquisition_supersedes_none_of_a_later_one(started):
    """Post-contrast T1 10 and 20 minutes after contrast agent, the first of them late; a late native one."""
    natives = [measured(identity=SeriesIdentity(series, 0, "", 1000 * series))[1] for series in (1, 2)]
    posts = [
        measured(post=True, partition=value, identity=SeriesIdentity(series, 0, "", 1000 * series))[1]
        for series, value in ((3, 0.4), (4, 0.5))
    ]
    pairs = [(natives[1], posts[1]), (natives[1], posts[0]), (natives[0], posts[1])]
    feed = started()
    with closing(Reader(feed.address)) as reader:
        for native, post in pairs:
            made = ecv_of(native, post)
            feed.ecv_delivered(EcvDelivery("a", made, 1))
        numbers, gone = zip(
            *((each["number"], each["superseded"]) for each in (reader.next("ecv") for _ in pairs)),
            strict=True,
        )
    assert gone == ([], [numbers[1]], [numbers[1], numbers[2]])


def test_results_without_positions_are_superseded_by_slice_index(started):
    _, native = measured()
    slices = [
        replace(
            native,
            geometry=replace(native.geometry, position=(0.0, 0.0, 0.0)),
            identity=SeriesIdentity(series, number),
        )
        for series in (1, 2)
        for number in range(3)
    ]
    feed = started()
    with closing(Reader(feed.address)) as reader:
        found = []
        for each in slices:
            feed.delivered(Delivery("a", each, 0.1, False, 1, 500.0))
            found.append(reader.next("slice"))
    numbers = [each["number"] for each in found]
    assert [each["superseded"] for each in found] == [[], [], [], numbers[:1], numbers[:2], numbers[:3]]


def test_a_slice_of_unknown_level_without_a_position_supersedes_no_named_one(started):
    _, basal = measured()
    basal = replace(basal, geometry=replace(basal.geometry, position=(0.0, 0.0, 0.0)))
    other = replace(basal, identity=SeriesIdentity(2, 0), level=SliceLevel.UNKNOWN)
    feed = started()
    with closing(Reader(feed.address)) as reader:
        for each in (basal, other):
            feed.delivered(Delivery("a", each, 0.1, False, 1, 500.0))
            assert reader.next("slice")["superseded"] == []


def test_of_very_many_results_the_latest_alone_change_their_levels_and_are_superseded(started):
    """The results that the feed of a server of many days keeps are bounded: a page shows no more."""
    pipeline, native = measured()
    feed, many = started(), MOST_RESULTS + 4
    slices = [replace(native, identity=SeriesIdentity(number, 0)) for number in range(many)]
    numbers = []
    with closing(Reader(feed.address)) as reader:
        for each in slices:
            feed.delivered(Delivery("a", each, 0.1, False, 1, 500.0))
            event = reader.next("slice")
            numbers.append(event["number"])
        assert event["superseded"] == numbers[-MOST_RESULTS:-1]
        changed = []
        for each in slices[:5] + slices[-1:]:
            feed.levels_known(final(pipeline, each, SliceLevel.APICAL))
            changed += [each["number"] for each in reader.next("levels")["slices"]]
        assert changed == [numbers[4], numbers[-1]]


def test_what_waits_for_a_process_that_hangs_is_bounded_in_bytes_and_the_latest_stay(started, monkeypatch):
    """Per pixel wait 4 bytes of value, 4 of a poor fit and 1 of validity, no labels, no uncorrected map."""
    made = t1_slice()
    monkeypatch.setattr(module, "_WAITING_BYTES", 10 * 9 * made.map.values_ms.size + 1)
    feed = started()
    with closing(Reader(feed.address)) as reader:
        reader.next("status")
        os.kill(feed._process._process.pid, signal.SIGSTOP)
        feed.delivered(delivery(notes=("x" * 1_000_000,)))  # fills the socket, and holds the thread up
        sleep(0.5)
        for number in range(30):
            feed.delivered(delivery(identity=SeriesIdentity(number, 0), map=made.map, uncorrected=made.map))
        assert feed.dropped == 20
        os.kill(feed._process._process.pid, signal.SIGCONT)
        reader.next("slice")
        assert [reader.next("slice")["series_index"] for _ in range(10)] == list(range(20, 30))


def test_the_maps_that_another_level_is_measured_on_are_bounded_in_bytes(started, monkeypatch):
    """Of each the 110 mm around the heart are kept, some 75 x 75 pixels."""
    pipeline, native = measured()
    most = 4 * 9 * 80 * 80
    monkeypatch.setattr(module, "_SHOWN_BYTES", most)
    feed = started()
    slices = [replace(native, identity=SeriesIdentity(number, 0)) for number in range(8)]
    with closing(Reader(feed.address)) as reader:
        for each in slices:
            feed.delivered(Delivery("a", each, 0.1, False, 1, 500.0))
        numbers = [reader.next("slice")["number"] for _ in slices]
        kept = [shown.result.map for shown in feed._shown]
        assert 4 <= len(kept) < 8
        assert sum(each.values_ms.nbytes + each.sd_ms.nbytes + each.failed.nbytes for each in kept) <= most
        assert all(each.r_squared.strides == (0, 0) for each in kept)  # no memory
        for each in (slices[0], slices[-1]):
            feed.levels_known(final(pipeline, each, SliceLevel.APICAL))
        assert reader.next("levels")["slices"] == []
        (change,) = reader.next("levels")["slices"]
        assert change["number"] == numbers[-1]
        expected = pipeline.at_level(native, SliceLevel.APICAL, "").regions
        assert named(change["regions"]) == pytest.approx(
            {each.name: each.median for each in expected}, abs=1e-3
        )


def test_texts_of_a_sender_need_a_setting(started):
    feed = started(page_texts=True)
    with closing(Reader(feed.address)) as reader:
        feed.delivered(delivery())
        assert NAME in reader.next("slice")["description"]


def test_a_result_that_makes_no_message_is_missing_alone(started, caplog):
    feed = started()
    with closing(Reader(feed.address)) as reader:
        feed.delivered(delivery(geometry=None))
        feed.delivered(delivery())
        assert reader.next("slice")
    assert "missing on the live page" in caplog.text


def test_a_process_that_ends_is_started_anew_on_the_same_address(started, monkeypatch, caplog):
    monkeypatch.setattr(module, "_RESTART_S", 0.1)
    monkeypatch.setattr(module, "_STATUS_S", 0.1)
    feed = started()
    with closing(Reader(feed.address)):
        os.kill(feed._process._process.pid, signal.SIGKILL)
    with closing(Reader(feed.address)) as reader:  # waits in the backlog meanwhile
        reader.next("status")
        feed.delivered(delivery())
        assert reader.next("slice")
    assert "started anew" in caplog.text


def test_a_process_that_hangs_holds_up_nobody_and_is_replaced(started, monkeypatch):
    monkeypatch.setattr(module, "_STALLED_S", 0.5)
    monkeypatch.setattr(module, "_RESTART_S", 0.1)
    monkeypatch.setattr(module, "_CLOSING_S", 0.2)
    feed = started()
    with closing(Reader(feed.address)) as reader:
        reader.next("status")
        monkeypatch.setattr(module, "_STALLED_S", 30.0)  # of the next process, which may start slowly
        hanging = feed._process._process
        os.kill(hanging.pid, signal.SIGSTOP)
        texts = "x" * 20_000
        for _ in range(300):  # would wait for ever, if one of them did
            feed.delivered(delivery(notes=(texts,)))
        assert feed.dropped > 0
        assert hanging.wait(60) == -signal.SIGKILL
    with closing(Reader(feed.address)) as reader:
        assert reader.next("status")


def test_the_process_ends_with_the_feed(started, monkeypatch):
    monkeypatch.setattr(module, "_CLOSING_S", 60.0)
    feed = started()
    with closing(Reader(feed.address)) as reader:
        reader.next("status")
    process = feed._process._process
    feed.close()
    assert process.poll() == 0, "by the end of its input, not by force"
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(feed.address, timeout=5)


def test_other_hosts_need_a_token_and_a_port_is_taken_once(started):
    with pytest.raises(ConfigurationError, match=r"give\s+monitor\.token"):
        started(host="0.0.0.0")
    assert started(host="0.0.0.0", token="0123456789abcdef").address[1]
    taken = started().address[1]
    with pytest.raises(
        ConfigurationError, match=r"\(Address already in use\); choose another with --page-port or m"
    ):
        PageFeed(MonitorSettings(page_port=taken), Checkup())


def test_the_page_is_beside_metrics_and_each_may_be_alone():
    with supervision(MonitorSettings(page_port=0), {}) as supervised:
        assert supervised.address is None
        with closing(Reader(supervised.page_address)) as reader:
            supervised.observers.delivered(delivery())
            assert reader.next("slice")
    with supervision(MonitorSettings(port=0, page_port=0), {}) as supervised:
        assert None not in (supervised.address, supervised.page_address)
        assert supervised.address != supervised.page_address
