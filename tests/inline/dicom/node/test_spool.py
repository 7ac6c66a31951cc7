import errno
import os
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from typer.testing import CliRunner

from inline.cli.commands import app
from inline.dicom.node import received
from inline.dicom.node.received import OtherImageError, Received, SpoolFullError
from inline.dicom.node.sender import Sender
from inline.dicom.node.spool import Spool, inspect
from inline.dicom.node.store import DENIED, SpoolError
from inline.dicom.node.waiting import ATTEMPTS
from inline.settings import DicomDestination, DicomSettings

IDLE_S = 5.0
KEPT_S = 3600.0


class Clock:
    def __init__(self):
        self.now = 1e6

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def opened(tmp_path, clock):
    """Opens the spool; what was open before is closed, as by the end of a process."""
    held = []

    def again(most=1 << 20, free=0, kept_s=KEPT_S):
        for each in held:
            each.close()
        held[:] = [Spool(tmp_path / "spool", most, free, kept_s, clock=clock)]
        return held[0]

    yield again
    for each in held:
        each.close()


def receive(spool, series="1.1", uids=("a", "b"), study="1", stated=None):
    for uid in uids:
        spool.received.receive(Received(uid, series, study, stated), f"object {uid}".encode())


def complete_now(spool, idle_s=IDLE_S, *, unread=False):
    """Series that are taken and processed now."""
    if (batch := spool.received.take(idle_s, unread=unread)) is None:
        return ()
    spool.finish(batch, [], ["pacs"])
    return batch.series


def files(spool_folder):
    return sorted(each.name for each in spool_folder.glob("*.dcm*"))


def test_the_spool_goes_on_while_two_objects_are_compared(opened, tmp_path, monkeypatch):
    """And what comes meanwhile with their UID is compared too."""
    spool, compared = opened(), []

    def may_replace(earlier, data):
        compared.append(earlier.read_text())
        with ThreadPoolExecutor() as others:
            assert others.submit(spool.received.given_up).result(timeout=10.0) == 0
            if len(compared) == 1:
                others.submit(spool.received.receive, Received("a", "1.1", "1"), b"meanwhile").result(10.0)
        return True

    receive(spool, uids="a")
    monkeypatch.setattr(received, "may_replace", may_replace)
    spool.received.receive(Received("a", "1.1", "1"), b"again")
    assert compared == ["object a", "object a", "meanwhile"]
    assert [file.read_text() for file in (tmp_path / "spool").glob("*.dcm")] == ["again"]


def test_a_series_is_complete_after_its_idle_time(opened, clock):
    spool = opened()
    receive(spool)
    assert spool.received.take(IDLE_S) is None
    clock.now += IDLE_S
    batch = spool.received.take(IDLE_S)
    assert (batch.series, batch.attempts) == (("1.1",), 1)
    assert {uid: file.read_text() for uid, file in batch.files.items()} == {"a": "object a", "b": "object b"}


def test_a_series_is_complete_with_the_number_of_objects_that_it_states(opened):
    spool = opened()
    receive(spool, uids="a", stated=2)
    assert spool.received.take(IDLE_S) is None
    receive(spool, uids="b", stated=2)
    assert len(spool.received.take(IDLE_S).files) == 2


def test_a_series_that_states_more_than_came_is_complete_after_its_idle_time(opened, clock):
    spool = opened()
    receive(spool, stated=9)
    clock.now += IDLE_S
    assert len(spool.received.take(IDLE_S).files) == 2


def test_a_clock_that_was_put_back_does_not_hold_up_a_series(opened, clock):
    spool = opened()
    receive(spool)
    clock.now -= 3600.0
    assert spool.received.take(IDLE_S) is not None


def test_a_clock_that_was_put_back_holds_up_no_further_attempt(opened, clock):
    spool = opened()
    receive(spool, "1.1", "a")
    receive(spool, "1.2", "b", study="2")
    clock.now += IDLE_S
    spool.finish(spool.received.take(IDLE_S), [("r", b"one")], ["pacs"])
    spool.received.fail(spool.received.take(IDLE_S), "ValueError", 30.0)
    spool.results.postpone(spool.results.due("pacs", 1)[0], "pacs", "refused", 30.0)
    clock.now -= 3600.0
    assert [each.uid for each in spool.results.due("pacs", 1)] == ["r"]
    assert spool.received.take(IDLE_S).series == ("1.2",)


def test_a_clock_that_was_put_back_keeps_no_processed_object(opened, clock, tmp_path):
    spool = opened(most=20)
    receive(spool)
    clock.now += IDLE_S
    spool.finish(spool.received.take(IDLE_S), [], ["pacs"])
    clock.now -= 3600.0
    receive(spool, "1.2", "c")
    spool.received.purge()
    assert len(files(tmp_path / "spool")) == 1


def test_the_room_counts_processed_series_which_are_removed_for_a_new_one(opened, clock):
    spool = opened(most=30)
    for series in ("1.1", "1.2", "1.3"):
        receive(spool, series, (series,))
    assert spool.room() == 30 - 3 * len("object 1.1")
    clock.now += IDLE_S
    batch = spool.received.take(IDLE_S)
    assert spool.room() == 0
    spool.finish(batch, [], ["pacs"], batch.files.values())
    assert spool.room() == 30
    spool.received.receive(Received("new", "1.4", "1"), b"x" * 30)
    assert spool.room() == 0


def test_what_was_being_sent_when_its_sender_ended_waits_no_longer_than_the_longest_time(opened, clock):
    class Ending:
        def send(self, _):
            yield ""
            raise OSError(errno.EIO, "Input/output error")

    spool = opened()
    receive(spool)
    clock.now += IDLE_S
    results = [(uid, bytes(128) + b"DICM") for uid in ("r", "s")]
    spool.finish(spool.received.take(IDLE_S), results, ["pacs"])
    destination = DicomDestination(name="pacs", ae_title="PACS", host="127.0.0.1", port=104)
    settings = DicomSettings(retry_s=3600.0, retry_most_s=10.0)
    with pytest.raises(OSError, match="Input/output"):
        Sender(destination, Ending(), spool.results, settings, lambda: None).deliver()
    assert spool.results.due("pacs", 2) == []
    clock.now += 10.0
    assert len(spool.results.due("pacs", 2)) == 1


def test_a_result_that_was_replaced_while_it_was_sent_is_due_at_once(opened, clock):
    spool, under_way = opened(), []
    for content in (b"first", b"second"):
        receive(spool)
        clock.now += IDLE_S
        spool.finish(spool.received.take(IDLE_S), [("r", content)], ["pacs"])
        under_way += spool.results.due("pacs", 1)
    spool.results.postpone(under_way[0], "pacs", "refused", 30.0)
    assert [each.file.read_bytes() for each in spool.results.due("pacs", 1)] == [b"second"]


def test_complete_series_of_one_study_are_taken_together(opened, clock):
    spool = opened()
    receive(spool, "1.1", "a")
    receive(spool, "2.1", "x", study="2")
    receive(spool, "1.2", "b")
    clock.now += IDLE_S
    batch = spool.received.take(IDLE_S)
    assert set(batch.series) == {"1.1", "1.2"}
    spool.finish(batch, [], ["pacs"])
    assert spool.received.take(IDLE_S).series == ("2.1",)


def test_series_of_one_study_that_come_one_after_another_are_taken_together(opened, clock):
    """One a second, of which the first are complete before the last one comes; another study goes on."""
    spool = opened()
    receive(spool, "2.1", "x", study="2")
    for number in range(9):
        receive(spool, f"1.{number}", (f"{number}",))
        clock.now += 1.0
        assert complete_now(spool) == (("2.1",) if number == IDLE_S - 1 else ())
    clock.now += IDLE_S - 1.0
    assert len(complete_now(spool)) == 9


def test_series_wait_for_others_of_their_study_for_a_minute_at_most(opened, clock):
    spool, taken = opened(), []
    for number in range(100):
        receive(spool, f"1.{number}", (f"{number}",))
        clock.now += 1.0
        taken.append(len(complete_now(spool)))
    assert {second: series for second, series in enumerate(taken, start=1) if series} == {60: 56}


def test_a_series_that_may_not_be_read_lets_no_other_go_before_the_rest(opened, clock):
    spool = opened()
    receive(spool, "1.0", "x")
    clock.now += 60.0
    spool.received.fail(spool.received.take(IDLE_S), DENIED, 0.0, counted=False)
    receive(spool, "1.1", "a", stated=1)
    receive(spool, "1.2", "b")
    assert complete_now(spool) == ()
    clock.now += IDLE_S
    assert complete_now(spool) == ("1.0", "1.1", "1.2")


@pytest.mark.parametrize(("idle_s", "longest_s"), [(0.5, 6), (5.0, 60), (60.0, 120)])
def test_series_wait_for_others_of_their_study_for_a_minute_beyond_their_idle_time(
    opened, clock, idle_s, longest_s
):
    """Each 0.4 times the idle time another object of the second series comes."""
    spool, began = opened(), clock.now
    receive(spool, "1.1", "a")
    number = 0
    while "1.1" not in complete_now(spool, idle_s):
        receive(spool, "1.2", (f"{number}",))
        number += 1
        clock.now += 0.4 * idle_s
        assert clock.now - began <= longest_s + 0.4 * idle_s
    assert longest_s <= clock.now - began


def test_after_a_pause_a_stated_number_of_objects_counts_and_silence_does_not(opened, clock):
    spool = opened()
    receive(spool, "1.1", "a", study="1")
    receive(spool, "2.1", "b", study="2", stated=1)
    clock.now += IDLE_S
    assert [complete_now(spool, unread=True) for _ in range(2)] == [("2.1",), ()]
    assert complete_now(spool) == ("1.1",)


@pytest.mark.parametrize(("takes_s", "held"), [(2.0 * IDLE_S, True), (61.0, False)])
def test_a_series_is_not_complete_while_an_object_of_it_is_stored(opened, clock, monkeypatch, takes_s, held):
    spool, taken = opened(), []
    receive(spool, "1.1", "a")
    receive(spool, "2.1", "c", study="2")

    def slow(_):
        monkeypatch.undo()
        clock.now += takes_s
        taken.extend(complete_now(spool) for _ in range(2))

    monkeypatch.setattr(os, "fsync", slow)
    receive(spool, "1.1", "b")
    assert taken == ([("2.1",), ()] if held else [("1.1",), ("2.1",)])
    clock.now += IDLE_S
    assert set(spool.received.take(IDLE_S).files) == {"a", "b"}


@pytest.mark.parametrize("attempts", [1, ATTEMPTS])
def test_a_series_that_fails_holds_up_no_other_and_waits_for_none(opened, clock, attempts):
    spool = opened()
    receive(spool, "1.1", "a")
    clock.now += IDLE_S
    for _ in range(attempts):
        spool.received.fail(spool.received.take(IDLE_S), "ValueError", 0.0)
    receive(spool, "1.2", "b", stated=1)
    assert complete_now(spool) == ("1.2",)
    receive(spool, "1.3", "c")
    assert complete_now(spool) == (("1.1",) if attempts < ATTEMPTS else ())


def test_results_are_due_for_every_destination_until_each_has_them(opened, clock, tmp_path):
    spool = opened()
    receive(spool)
    clock.now += IDLE_S
    spool.finish(spool.received.take(IDLE_S), [("r1", b"one"), ("r2", b"two")], ["pacs", "store"])
    assert spool.received.take(IDLE_S) is None
    clock.now += 601.0
    spool.received.purge()
    assert len(files(tmp_path / "spool")) == 2
    for destination in ("pacs", "store"):
        due = spool.results.due(destination, 10)
        assert [each.uid for each in due] == ["r1", "r2"]
        assert due[0].file.read_bytes() == b"one"
        for each in due:
            spool.results.delivered(each, destination)
        assert spool.results.due(destination, 10) == []
    assert files(tmp_path / "spool") == []
    assert inspect(tmp_path / "spool").bytes == 0


def test_a_failed_delivery_waits_and_keeps_its_error(opened, clock, tmp_path):
    spool = opened()
    receive(spool)
    clock.now += IDLE_S
    spool.finish(spool.received.take(IDLE_S), [("r", b"one")], ["pacs"])
    spool.results.postpone(spool.results.due("pacs", 1)[0], "pacs", "refused", 30.0)
    assert spool.results.due("pacs", 1) == []
    assert inspect(tmp_path / "spool").errors == {"pacs": "refused"}
    clock.now += 30.0
    assert spool.results.due("pacs", 1)[0].attempts == 1


def test_nothing_is_lost_by_a_restart_at_any_point(opened, clock, tmp_path, caplog):
    receive(opened())
    clock.now += IDLE_S
    assert opened().received.take(IDLE_S) is not None  # and the process ends while it works
    spool = opened()
    batch = spool.received.take(IDLE_S)
    assert len(batch.files) == 2
    spool.finish(batch, [("r", b"one")], ["pacs"])
    spool.results.postpone(spool.results.due("pacs", 1)[0], "pacs", "down", 1e6)
    for name in ("01" * 16 + ".dcm.part", "23" * 16 + ".dcm"):
        (tmp_path / "spool" / name).write_bytes(b"never acknowledged")
    spool = opened()
    assert [each.file.read_bytes() for each in spool.results.due("pacs", 10)] == [b"one"]
    assert len(files(tmp_path / "spool")) == 3
    assert "2 files without a record were removed" in caplog.text


def test_no_file_is_removed_that_a_spool_has_not_made(opened, tmp_path):
    opened()
    others = ["1.2.3.dcm", "AB" * 16 + ".dcm", "ab" * 15 + ".dcm", "ab" * 16 + ".dcm.bak", "image.dcm.part"]
    for name in others:
        (tmp_path / "spool" / name).write_bytes(b"an image")
    opened()
    assert files(tmp_path / "spool") == sorted(others)


@pytest.mark.parametrize("emptied", [False, True])
def test_the_log_of_a_database_that_was_moved_away_is_kept(opened, tmp_path, emptied):
    """SQLite removes it where it opens a database without content."""
    receive(opened())
    folder = shutil.copytree(tmp_path / "spool", tmp_path / "after a crash")
    database, log = folder / "spool.sqlite", (folder / "spool.sqlite-wal").read_bytes()
    database.rename(tmp_path / "moved")
    if emptied:
        database.touch()
    with pytest.raises(SpoolError, match="it has 2 files"):
        Spool(folder, 1 << 20, 0, KEPT_S)
    assert (folder / "spool.sqlite-wal").read_bytes() == log
    (tmp_path / "moved").replace(database)
    with closing(Spool(folder, 1 << 20, 0, KEPT_S)) as spool:
        assert len(spool.received.take(IDLE_S).files) == 2


def test_an_object_after_processing_makes_its_whole_series_be_processed_again(opened, clock):
    spool = opened()
    receive(spool)
    clock.now += IDLE_S
    batch = spool.received.take(IDLE_S)
    receive(spool, uids="c")  # while it is processed
    spool.finish(batch, [], ["pacs"])
    clock.now += IDLE_S
    assert set(spool.received.take(IDLE_S).files) == {"a", "b", "c"}


def test_an_object_that_comes_again_replaces_the_earlier_one(opened, clock, tmp_path):
    spool = opened()
    receive(spool, uids=("a", "a"))
    clock.now += IDLE_S
    assert list(spool.received.take(IDLE_S).files) == ["a"]
    assert len(files(tmp_path / "spool")) == 1
    assert inspect(tmp_path / "spool").bytes == len("object a")


def test_a_rerun_replaces_a_result_that_still_waits(opened, clock, tmp_path):
    spool = opened()
    for content in (b"first", b"second"):
        receive(spool)
        clock.now += IDLE_S
        spool.finish(spool.received.take(IDLE_S), [("r", content)], ["pacs"])
    earlier = spool.results.due("pacs", 10)
    assert [each.file.read_bytes() for each in earlier] == [b"second"]
    receive(spool)
    clock.now += IDLE_S
    spool.finish(spool.received.take(IDLE_S), [("r", b"third")], ["pacs"])
    spool.results.delivered(earlier[0], "pacs")  # which was under way when the third came
    assert [each.file.read_bytes() for each in spool.results.due("pacs", 10)] == [b"third"]


def test_a_series_that_fails_waits_and_is_given_up_but_kept(opened, clock, tmp_path):
    spool = opened()
    receive(spool, "1.1", "a")
    receive(spool, "1.2", "b")
    clock.now += IDLE_S
    spool.received.fail(spool.received.take(IDLE_S), "ValueError", 10.0)
    assert spool.received.take(IDLE_S) is None
    for _ in range(2 * (ATTEMPTS - 1)):
        clock.now += 10.0
        batch = spool.received.take(IDLE_S)
        assert len(batch.series) == 1
        spool.received.fail(batch, "ValueError", 10.0)
    clock.now += 1e6
    assert spool.received.take(IDLE_S) is None
    assert inspect(tmp_path / "spool").failed == ("ValueError", "ValueError")
    inspect(tmp_path / "spool", retry=True)
    assert len(spool.received.take(IDLE_S).files) == 2


def test_an_attempt_that_failed_for_want_of_room_does_not_count(opened, clock):
    spool = opened()
    receive(spool)
    clock.now += IDLE_S
    for _ in range(2 * ATTEMPTS):
        batch = spool.received.take(IDLE_S)
        assert batch.attempts == 1
        spool.received.fail(batch, "no space", 1.0, counted=False)
        clock.now += 1.0


def test_a_full_spool_refuses_objects_and_keeps_what_it_has(opened, clock, tmp_path):
    spool = opened(most=20)
    receive(spool)
    with pytest.raises(SpoolFullError, match=r"dicom\.spool_bytes"):
        receive(spool, uids="c")
    assert len(files(tmp_path / "spool")) == 2
    clock.now += IDLE_S
    spool.finish(spool.received.take(IDLE_S), [], ["pacs"])
    receive(spool, "1.2", "c")  # processed objects make room
    assert len(files(tmp_path / "spool")) == 1


def test_a_disk_without_room_refuses_objects(opened):
    with pytest.raises(SpoolFullError, match=r"dicom\.free_bytes"):
        receive(opened(free=1 << 60))


def test_an_object_that_cannot_be_recorded_leaves_no_file(opened, tmp_path):
    spool = opened()
    with pytest.raises(sqlite3.Error):
        spool.received.receive(Received("a", None, "1"), b"object")
    assert files(tmp_path / "spool") == []
    receive(spool)
    assert inspect(tmp_path / "spool").objects == 2


@pytest.mark.parametrize("replaced", [True, False])
def test_nothing_is_received_into_a_spool_that_was_removed(replaced, opened, tmp_path):
    spool, folder = opened(), tmp_path / "spool"
    receive(spool)
    for each in folder.iterdir():
        each.unlink()
    if replaced:
        (folder / "spool.sqlite").touch()
    with pytest.raises(FileNotFoundError):
        receive(spool, uids="c")
    assert files(folder) == []


def test_a_second_node_is_refused(opened, tmp_path):
    opened()
    with pytest.raises(SpoolError, match="another node uses the spool"):
        Spool(tmp_path / "spool", 1, 0, 0.0)


def test_files_are_for_their_owner_alone(opened, tmp_path):
    receive(opened())
    folder = tmp_path / "spool"
    modes = {
        each.stat().st_mode & 0o777 for each in folder.iterdir() if not each.name.endswith(("-wal", "-shm"))
    }
    assert modes == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100])
def test_a_folder_that_cannot_be_used_is_an_error_message(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(SpoolError, match=r"set dicom\.spool"):
        Spool(tmp_path / "file", 1, 0, 0.0)
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "spool.sqlite").write_bytes(content or b"x" * 4096)
    with pytest.raises(SpoolError, match=r"set dicom\.spool"):
        Spool(tmp_path / "spool", 1, 0, 0.0)


def test_a_folder_without_a_spool_cannot_be_inspected(tmp_path):
    with pytest.raises(SpoolError, match="there is no spool"):
        inspect(tmp_path)


def processed(spool, clock, *mapped):
    """Process what is complete; the series of these SOP Instance UIDs have maps."""
    clock.now += IDLE_S
    batch = spool.received.take(IDLE_S)
    spool.finish(batch, [], ["pacs"], [batch.files[each] for each in mapped])
    return batch


def test_processed_series_with_maps_are_kept_for_later_series_of_their_study(opened, clock, tmp_path):
    spool = opened()
    receive(spool, "1.1", "a")
    receive(spool, "1.2", "b")
    processed(spool, clock, "a")
    receive(spool, "2.1", "x", study="2")
    assert processed(spool, clock).kept == ()
    spool = opened()  # a restart
    clock.now += KEPT_S / 2.0
    spool.received.purge()
    receive(spool, "1.3", "c")
    clock.now += IDLE_S
    batch = spool.received.take(IDLE_S)
    assert [file.read_text() for file in batch.kept] == ["object a"]
    assert set(batch.files) == {"c"}
    spool.finish(batch, [], ["pacs"])
    clock.now += KEPT_S / 2.0
    spool.received.purge()
    assert files(tmp_path / "spool") == []


def test_the_last_attempt_at_a_series_is_made_without_kept_ones(opened, clock):
    spool = opened()
    receive(spool, "1.1", "a")
    processed(spool, clock, "a")
    receive(spool, "1.2", "b")
    clock.now += IDLE_S
    kept = []
    for _ in range(ATTEMPTS):
        batch = spool.received.take(IDLE_S)
        kept.append(len(batch.kept))
        spool.received.fail(batch, "ValueError", 0.0)
    assert kept == [1] * (ATTEMPTS - 1) + [0]


def test_room_is_made_of_series_without_maps_and_then_of_the_oldest(opened, clock, tmp_path, caplog):
    spool = opened(most=3 * len(b"object a"))
    for series, uid in (("1.1", "a"), ("1.2", "b"), ("1.3", "c")):
        receive(spool, series, uid)
        processed(spool, clock, *uid.strip("b"))
    left = []
    for uid in "def":
        receive(spool, f"2.{uid}", uid)
        left.append({each.read_text()[-1] for each in (tmp_path / "spool").glob("*.dcm")})
    assert left == [set("acd"), set("cde"), set("def")]
    assert "later series have no ECV with them" in caplog.text
    with pytest.raises(SpoolFullError):
        receive(spool, "2.g", "g")


def test_no_room_is_made_of_the_series_that_an_object_belongs_to(opened, clock, tmp_path):
    """Of the whole series the late object would be left alone, without a flag."""
    spool = opened(most=2 * len(b"object a"))
    receive(spool, "1.1", "ab")
    processed(spool, clock, "a")
    with pytest.raises(SpoolFullError):
        receive(spool, "1.1", "c")
    assert len(files(tmp_path / "spool")) == 2


def test_an_object_replaces_none_of_another_series(opened, clock, tmp_path):
    spool = opened()
    receive(spool, "1.1", "ab")
    with pytest.raises(OtherImageError):
        receive(spool, "1.2", "a", study="2")
    clock.now += IDLE_S
    batch = spool.received.take(IDLE_S)
    assert (batch.series, set(batch.files)) == (("1.1",), {"a", "b"})
    assert len(files(tmp_path / "spool")) == 2


def test_series_of_an_association_that_was_broken_off_are_marked_until_they_are_sent_again(opened, clock):
    spool = opened()
    receive(spool, "1.1", "a")
    receive(spool, "1.2", "b", stated=1)
    receive(spool, "1.3", "c", stated=2)
    spool.received.broken_off(["1.1", "1.2", "1.3"], "1.3")
    batch = processed(spool, clock)
    assert batch.broken == {"1.1", "1.3"}
    # An association that was open before does not repair it, one that begins later does.
    assert spool.received.receive(Received("d", "1.1", "1"), b"more") is True
    spool.received.released(["1.1"])
    assert "1.1" in processed(spool, clock).broken
    spool.received.released(["1.1"], ["1.1"])
    again = spool.received.take(IDLE_S)
    assert (again.series, "1.1" in again.broken) == (("1.1",), False)


def test_a_series_that_is_broken_off_while_it_is_processed_is_processed_again(opened, clock):
    spool = opened()
    receive(spool)
    clock.now += IDLE_S
    batch = spool.received.take(IDLE_S)
    spool.received.broken_off(["1.1"], "1.1")
    spool.finish(batch, [], ["pacs"])
    assert spool.received.take(IDLE_S).broken == {"1.1"}


def test_what_was_sent_and_processed_before_the_break_is_complete(opened, clock):
    spool = opened()
    receive(spool, "1.1", "a")
    processed(spool, clock)
    receive(spool, "1.2", "b")
    processed(spool, clock)
    spool.received.broken_off(["1.1", "1.2"], "1.2")
    batch = spool.received.take(IDLE_S)
    assert (batch.series, batch.broken) == (("1.2",), {"1.2"})


@pytest.mark.parametrize("released", [True, False])
def test_an_association_that_ended_with_the_process_was_broken_off(opened, clock, released):
    spool = opened()
    receive(spool)
    if released:
        spool.received.released(["1.1"])
    spool = opened()
    clock.now += IDLE_S
    assert spool.received.take(IDLE_S).broken == (set() if released else {"1.1"})


def test_a_spool_of_the_first_version_goes_on(clock, tmp_path):
    with closing(Spool(tmp_path / "spool", 1 << 20, 0, KEPT_S, clock=clock)) as spool:
        receive(spool)
    with closing(sqlite3.connect(tmp_path / "spool" / "spool.sqlite")) as database:
        for name in ("mapped", "released", "broken"):
            database.execute(f"ALTER TABLE series DROP COLUMN {name}")
        database.execute("ALTER TABLE delivery DROP COLUMN asked")
        for table, name in (("object", "study"), ("result", "study"), ("result", "made")):
            database.execute(f"ALTER TABLE {table} DROP COLUMN {name}")
        database.execute("PRAGMA user_version = 1")
        database.commit()
    with closing(Spool(tmp_path / "spool", 1 << 20, 0, KEPT_S, clock=clock)) as spool:
        clock.now += IDLE_S
        batch = spool.received.take(IDLE_S)
    assert (set(batch.files), batch.broken) == ({"a", "b"}, set())


def test_a_spool_of_a_later_version_is_refused(opened, tmp_path):
    opened()
    with closing(sqlite3.connect(tmp_path / "spool" / "spool.sqlite")) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(SpoolError, match="later version"):
        inspect(tmp_path / "spool")


@pytest.mark.parametrize("copied", [[], ["spool.sqlite"]], ids=["files alone", "without spool.sqlite-wal"])
def test_files_that_came_without_their_records_are_not_removed(opened, tmp_path, copied):
    """A copy of a spool that lacks a part, or a folder of other DICOM files."""
    receive(opened())
    (tmp_path / "copy").mkdir()
    for name in [*files(tmp_path / "spool"), *copied]:
        (tmp_path / "copy" / name).write_bytes((tmp_path / "spool" / name).read_bytes())
    held = files(tmp_path / "copy")
    with pytest.raises(SpoolError, match=r"has 2 files .*\.dcm.* and no records of them"):
        Spool(tmp_path / "copy", 1 << 20, 0, KEPT_S)
    if copied:
        with pytest.raises(SpoolError, match="no records of them"):
            inspect(tmp_path / "copy")
    assert files(tmp_path / "copy") == held


def test_a_disk_that_is_full_leaves_no_half_of_an_object(opened, clock, tmp_path, monkeypatch):
    spool, folder = opened(), tmp_path / "spool"
    receive(spool)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
        for _ in range(3):
            with pytest.raises(OSError, match="No space left"):
                receive(spool, uids="c")
    assert len(files(folder)) == 2
    assert inspect(folder).bytes == 2 * len("object a")
    receive(spool, uids="c")
    clock.now += IDLE_S
    assert set(spool.received.take(IDLE_S).files) == {"a", "b", "c"}


def test_a_series_that_ends_the_node_each_time_is_given_up_and_holds_up_no_other(opened, clock, tmp_path):
    spool = opened()
    receive(spool, "1.1", "a")
    spool.received.released(["1.1"])
    clock.now += IDLE_S
    for _ in range(ATTEMPTS):
        assert spool.received.take(IDLE_S).series == ("1.1",)
        spool = opened()  # the process has ended while it worked
    assert spool.received.take(IDLE_S) is None
    assert inspect(tmp_path / "spool").failed == ("the node ended each time while it was processed",)
    receive(spool, "2.1", "b", study="2")
    clock.now += IDLE_S
    assert spool.received.take(IDLE_S).series == ("2.1",)
    inspect(tmp_path / "spool", retry=True)
    assert spool.received.take(IDLE_S).series == ("1.1",)


def test_after_the_end_of_the_node_the_same_series_are_processed_together_once_more(opened, clock):
    spool = opened()
    receive(spool, "1.0", "o")
    processed(spool, clock, "o")
    for number in range(3):
        receive(spool, f"1.{number + 1}", "abc"[number])
    clock.now += IDLE_S
    before = spool.received.take(IDLE_S)
    spool = opened()  # the process has ended while it worked
    receive(spool, "1.4", "d", stated=1)
    after = spool.received.take(IDLE_S)
    assert set(after.series) == {*before.series, "1.4"}
    assert {file.read_text()[-1] for file in after.kept} == {"o"}


def test_series_that_the_node_ended_with_twice_keep_those_that_were_processed_before(opened, clock):
    spool = opened()
    receive(spool, "1.0", "o")
    processed(spool, clock, "o")
    receive(spool, "1.1", "a")
    receive(spool, "1.2", "b")
    clock.now += IDLE_S
    for ended in ({"1.1", "1.2"}, {"1.1", "1.2"}, {"1.1"}):
        assert set(spool.received.take(IDLE_S).series) == ended
        spool = opened()
    left = [spool.received.take(IDLE_S) for _ in range(2)]
    assert [(each.series, len(each.kept)) for each in left] == [(("1.2",), 1), (("1.1",), 0)]


def test_a_series_that_ends_the_node_each_time_takes_no_other_of_its_study_with_it(opened, clock, tmp_path):
    spool, done = opened(), list[str]()
    for number in range(4):
        receive(spool, f"1.{number}", "abcd"[number])
    spool.received.released([f"1.{number}" for number in range(4)])
    clock.now += IDLE_S
    ends = 0
    while (batch := spool.received.take(IDLE_S)) is not None:
        if "1.1" in batch.series:
            ends += 1
            spool = opened()
        else:
            spool.finish(batch, [], ["pacs"])
            done += batch.series
    assert (ends, sorted(done)) == (ATTEMPTS, ["1.0", "1.2", "1.3"])
    assert inspect(tmp_path / "spool").failed == ("the node ended each time while it was processed",)


def test_series_that_failed_are_tried_again_one_by_one(opened, clock):
    spool = opened()
    receive(spool, "1.1", "a")
    receive(spool, "1.2", "b")
    clock.now += IDLE_S
    spool.received.fail(spool.received.take(IDLE_S), "ValueError", 0.0)
    assert [complete_now(spool) for _ in range(3)] == [("1.1",), ("1.2",), ()]


def test_a_series_that_was_broken_off_is_whole_with_as_many_objects_as_it_states(opened, clock):
    spool = opened()
    receive(spool, uids="a", stated=2)
    spool.received.broken_off(["1.1"], "1.1")
    assert spool.received.receive(Received("b", "1.1", "1", 2), b"object b") is True
    batch = spool.received.take(IDLE_S)  # before its association is released
    assert (len(batch.files), batch.broken) == (2, set())
    spool.finish(batch, [], ["pacs"])
    spool.received.released(["1.1"], ["1.1"])
    assert spool.received.take(IDLE_S) is None


@pytest.fixture
def queue(tmp_path):
    """``dicom-queue`` with the settings of a node that has the destination archive alone."""
    (tmp_path / "node.toml").write_text(
        f'[dicom]\nspool = "{tmp_path / "spool"}"\n[[dicom.destinations]]\nname = "archive"\n'
        'ae_title = "ARCHIVE"\nhost = "127.0.0.1"\n'
    )

    def run(*arguments, settings=("--settings", str(tmp_path / "node.toml"))):
        made = CliRunner().invoke(app, ["dicom-queue", *arguments, *settings], env={"COLUMNS": "200"})
        return made.exit_code, made.output

    return run


def left_over(spool, clock):
    """Results for pacs alone, for pacs and archive, and for archive alone."""
    for place, names in enumerate((["pacs"], ["pacs", "archive"], ["archive"])):
        receive(spool, f"1.{place}", (f"o{place}",), study=f"{place}")
        clock.now += IDLE_S
        spool.finish(spool.received.take(IDLE_S), [(f"r{place}", b"content")], names)
    clock.now += 601.0
    spool.received.purge()


def test_a_retry_is_stated_and_makes_postponed_results_due(opened, clock, queue):
    spool = opened()
    left_over(spool, clock)
    (waiting, other) = spool.results.due("archive", 2)
    spool.results.postpone(waiting, "archive", "refused", 30.0)
    assert [each.uid for each in spool.results.due("archive", 2)] == [other.uid]
    assert "is due now" not in queue()[1]
    code, shown = queue("--retry")
    assert code == 0, shown
    assert shown.startswith("everything in the queue is due now; a node that runs tries it again at once\n")
    assert {each.uid for each in spool.results.due("archive", 2)} == {waiting.uid, other.uid}


def test_results_of_a_destination_that_is_no_more_are_moved_to_another(opened, clock, tmp_path, queue):
    spool = opened()
    left_over(spool, clock)
    spool.results.postpone(spool.results.due("pacs", 1)[0], "pacs", "refused", 30.0)
    spool.results.ask(spool.results.due("pacs", 1), "pacs", "1.2", 30.0)
    assert "pacs is none of dicom.destinations: --move pacs OTHER, or --drop pacs" in queue()[1]
    # The node may run meanwhile.
    code, shown = queue("--move", "pacs", "archive")
    assert code == 0, shown
    assert "2 objects moved from pacs to archive" in shown
    assert "archive: 3 objects to deliver\n" in shown
    assert "none of dicom.destinations" not in shown
    assert spool.results.due("pacs", 10) == []
    due = spool.results.due("archive", 10)
    assert {(each.uid, each.attempts, each.asked) for each in due} == {
        (f"r{place}", 0, "") for place in range(3)
    }
    for each in due:
        spool.results.delivered(each, "archive")
    assert files(tmp_path / "spool") == []


def test_results_of_a_destination_that_is_no_more_are_dropped_on_demand_alone(clock, tmp_path, queue):
    spool = Spool(tmp_path / "spool", 1 << 20, 0, KEPT_S, clock=clock)
    left_over(spool, clock)
    code, shown = queue("--drop", "pacs")
    assert code == 1
    assert "stop it before results are dropped" in shown
    assert len(spool.results.due("pacs", 10)) == 2
    spool.close()
    code, shown = queue("--drop", "pacs")
    assert code == 0, shown
    assert "2 objects for pacs dropped" in shown
    assert inspect(tmp_path / "spool").deliveries == {"archive": 2}
    assert len(files(tmp_path / "spool")) == 2
    assert inspect(tmp_path / "spool").bytes == 2 * len(b"content")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--move", "pacs", "archiv"], "archiv is no destination; dicom.destinations has archive"),
        (["--move", "archive", "archive"], "name another destination"),
        (["--move", "old", "archive"], "waits for old; results wait for: archive, pacs"),
        (["--drop", "old"], "waits for old; results wait for: archive, pacs"),
    ],
)
def test_names_that_cannot_be_meant_change_nothing(opened, clock, tmp_path, queue, arguments, message):
    left_over(opened(), clock)
    code, shown = queue(*arguments)
    assert code == 1
    assert message in shown
    assert inspect(tmp_path / "spool").deliveries == {"archive": 2, "pacs": 2}


@pytest.mark.parametrize("by_variable", [False, True])
def test_a_node_does_not_leave_an_earlier_spool_of_the_current_folder(tmp_path, monkeypatch, by_variable):
    """Earlier versions took a relative path of a settings file from the current folder."""
    run, file = tmp_path / "run", tmp_path / "node.toml"
    run.mkdir()
    monkeypatch.chdir(run)
    Spool(run / "queue", 1 << 30, 0, 0.0).close()
    chosen = [] if by_variable else ["--settings", "../node.toml"]

    def started(spool):
        # Without a destination, a node that may start ends there.
        file.write_text(f'[dicom]\nspool = "{spool}"\n')
        env = {"COLUMNS": "400"} | ({"MYOSTREAM_SETTINGS": str(file)} if by_variable else {})
        return CliRunner().invoke(app, ["dicom-node", *chosen], env=env).output

    refused = started("queue")
    assert str(run / "queue") in refused
    assert "state its full path" in refused
    assert "set dicom.destinations" in started("other")
    assert "set dicom.destinations" in started(run / "queue")
    (tmp_path / "queue").symlink_to(run / "queue")
    assert "set dicom.destinations" in started("queue")
