import sqlite3

import pytest

from inline.dicom.node.spool import ATTEMPTS, Received, Spool, SpoolError, SpoolFullError, inspect

IDLE_S = 5.0


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

    def again(most=1 << 20, free=0):
        for each in held:
            each.close()
        held[:] = [Spool(tmp_path / "spool", most, free, clock=clock)]
        return held[0]

    yield again
    for each in held:
        each.close()


def receive(spool, series="1.1", uids=("a", "b"), study="1", stated=None):
    for uid in uids:
        spool.receive(Received(uid, series, study, stated), f"object {uid}".encode())


def files(spool_folder):
    return sorted(each.name for each in spool_folder.glob("*.dcm*"))


def test_a_series_is_complete_after_its_idle_time(opened, clock):
    spool = opened()
    receive(spool)
    assert spool.take(IDLE_S) is None
    clock.now += IDLE_S
    batch = spool.take(IDLE_S)
    assert (batch.series, batch.attempts) == (("1.1",), 1)
    assert {uid: file.read_text() for uid, file in batch.files.items()} == {"a": "object a", "b": "object b"}


def test_a_series_is_complete_with_the_number_of_objects_that_it_states(opened):
    spool = opened()
    receive(spool, uids="a", stated=2)
    assert spool.take(IDLE_S) is None
    receive(spool, uids="b", stated=2)
    assert len(spool.take(IDLE_S).files) == 2


def test_a_series_that_states_more_than_came_is_complete_after_its_idle_time(opened, clock):
    spool = opened()
    receive(spool, stated=9)
    clock.now += IDLE_S
    assert len(spool.take(IDLE_S).files) == 2


def test_a_clock_that_was_put_back_does_not_hold_up_a_series(opened, clock):
    spool = opened()
    receive(spool)
    clock.now -= 3600.0
    assert spool.take(IDLE_S) is not None


def test_a_clock_that_was_put_back_holds_up_no_further_attempt(opened, clock):
    spool = opened()
    receive(spool, "1.1", "a")
    receive(spool, "1.2", "b", study="2")
    clock.now += IDLE_S
    spool.finish(spool.take(IDLE_S), [("r", b"one")], ["pacs"])
    spool.fail(spool.take(IDLE_S), "ValueError", 30.0)
    spool.postpone(spool.due("pacs", 1)[0], "pacs", "refused", 30.0)
    clock.now -= 3600.0
    assert [each.uid for each in spool.due("pacs", 1)] == ["r"]
    assert spool.take(IDLE_S).series == ("1.2",)


def test_a_clock_that_was_put_back_keeps_no_processed_object(opened, clock, tmp_path):
    spool = opened(most=20)
    receive(spool)
    clock.now += IDLE_S
    spool.finish(spool.take(IDLE_S), [], ["pacs"])
    clock.now -= 3600.0
    receive(spool, "1.2", "c")
    spool.purge(600.0)
    assert len(files(tmp_path / "spool")) == 1


def test_a_result_that_was_replaced_while_it_was_sent_is_due_at_once(opened, clock):
    spool, under_way = opened(), []
    for content in (b"first", b"second"):
        receive(spool)
        clock.now += IDLE_S
        spool.finish(spool.take(IDLE_S), [("r", content)], ["pacs"])
        under_way += spool.due("pacs", 1)
    spool.postpone(under_way[0], "pacs", "refused", 30.0)
    assert [each.file.read_bytes() for each in spool.due("pacs", 1)] == [b"second"]


def test_complete_series_of_one_study_are_taken_together(opened, clock):
    spool = opened()
    receive(spool, "1.1", "a")
    receive(spool, "2.1", "x", study="2")
    receive(spool, "1.2", "b")
    clock.now += IDLE_S
    batch = spool.take(IDLE_S)
    assert set(batch.series) == {"1.1", "1.2"}
    spool.finish(batch, [], ["pacs"])
    assert spool.take(IDLE_S).series == ("2.1",)


def test_results_are_due_for_every_destination_until_each_has_them(opened, clock, tmp_path):
    spool = opened()
    receive(spool)
    clock.now += IDLE_S
    spool.finish(spool.take(IDLE_S), [("r1", b"one"), ("r2", b"two")], ["pacs", "store"])
    assert spool.take(IDLE_S) is None
    spool.purge(0.0)
    assert len(files(tmp_path / "spool")) == 2
    for destination in ("pacs", "store"):
        due = spool.due(destination, 10)
        assert [each.uid for each in due] == ["r1", "r2"]
        assert due[0].file.read_bytes() == b"one"
        for each in due:
            spool.delivered(each, destination)
        assert spool.due(destination, 10) == []
    assert files(tmp_path / "spool") == []
    assert inspect(tmp_path / "spool").bytes == 0


def test_a_failed_delivery_waits_and_keeps_its_error(opened, clock, tmp_path):
    spool = opened()
    receive(spool)
    clock.now += IDLE_S
    spool.finish(spool.take(IDLE_S), [("r", b"one")], ["pacs"])
    spool.postpone(spool.due("pacs", 1)[0], "pacs", "refused", 30.0)
    assert spool.due("pacs", 1) == []
    assert inspect(tmp_path / "spool").errors == {"pacs": "refused"}
    clock.now += 30.0
    assert spool.due("pacs", 1)[0].attempts == 1


def test_nothing_is_lost_by_a_restart_at_any_point(opened, clock, tmp_path):
    receive(opened())
    clock.now += IDLE_S
    assert opened().take(IDLE_S) is not None  # and the process ends while it works
    spool = opened()
    batch = spool.take(IDLE_S)
    assert len(batch.files) == 2
    spool.finish(batch, [("r", b"one")], ["pacs"])
    spool.postpone(spool.due("pacs", 1)[0], "pacs", "down", 1e6)
    (tmp_path / "spool" / "0123.dcm.part").write_bytes(b"never acknowledged")
    spool = opened()
    assert [each.file.read_bytes() for each in spool.due("pacs", 10)] == [b"one"]
    assert not (tmp_path / "spool" / "0123.dcm.part").exists()


def test_an_object_after_processing_makes_its_whole_series_be_processed_again(opened, clock):
    spool = opened()
    receive(spool)
    clock.now += IDLE_S
    batch = spool.take(IDLE_S)
    receive(spool, uids="c")  # while it is processed
    spool.finish(batch, [], ["pacs"])
    clock.now += IDLE_S
    assert set(spool.take(IDLE_S).files) == {"a", "b", "c"}


def test_an_object_that_comes_again_replaces_the_earlier_one(opened, clock, tmp_path):
    spool = opened()
    receive(spool, uids=("a", "a"))
    clock.now += IDLE_S
    assert list(spool.take(IDLE_S).files) == ["a"]
    assert len(files(tmp_path / "spool")) == 1
    assert inspect(tmp_path / "spool").bytes == len("object a")


def test_a_rerun_replaces_a_result_that_still_waits(opened, clock, tmp_path):
    spool = opened()
    for content in (b"first", b"second"):
        receive(spool)
        clock.now += IDLE_S
        spool.finish(spool.take(IDLE_S), [("r", content)], ["pacs"])
    earlier = spool.due("pacs", 10)
    assert [each.file.read_bytes() for each in earlier] == [b"second"]
    receive(spool)
    clock.now += IDLE_S
    spool.finish(spool.take(IDLE_S), [("r", b"third")], ["pacs"])
    spool.delivered(earlier[0], "pacs")  # which was under way when the third came
    assert [each.file.read_bytes() for each in spool.due("pacs", 10)] == [b"third"]


def test_a_series_that_fails_waits_and_is_given_up_but_kept(opened, clock, tmp_path):
    spool = opened()
    receive(spool, "1.1", "a")
    receive(spool, "1.2", "b")
    clock.now += IDLE_S
    spool.fail(spool.take(IDLE_S), "ValueError", 10.0)
    assert spool.take(IDLE_S) is None
    for _ in range(2 * (ATTEMPTS - 1)):
        clock.now += 10.0
        batch = spool.take(IDLE_S)
        assert len(batch.series) == 1
        spool.fail(batch, "ValueError", 10.0)
    clock.now += 1e6
    assert spool.take(IDLE_S) is None
    assert inspect(tmp_path / "spool").failed == ("ValueError", "ValueError")
    inspect(tmp_path / "spool", retry=True)
    assert len(spool.take(IDLE_S).files) == 2


def test_an_attempt_that_failed_for_want_of_room_does_not_count(opened, clock):
    spool = opened()
    receive(spool)
    clock.now += IDLE_S
    for _ in range(2 * ATTEMPTS):
        batch = spool.take(IDLE_S)
        assert batch.attempts == 1
        spool.fail(batch, "no space", 1.0, counted=False)
        clock.now += 1.0


def test_a_full_spool_refuses_objects_and_keeps_what_it_has(opened, clock, tmp_path):
    spool = opened(most=20)
    receive(spool)
    with pytest.raises(SpoolFullError, match=r"dicom\.spool_bytes"):
        receive(spool, uids="c")
    assert len(files(tmp_path / "spool")) == 2
    clock.now += IDLE_S
    spool.finish(spool.take(IDLE_S), [], ["pacs"])
    receive(spool, "1.2", "c")  # processed objects make room
    assert len(files(tmp_path / "spool")) == 1


def test_a_disk_without_room_refuses_objects(opened):
    with pytest.raises(SpoolFullError, match=r"dicom\.free_bytes"):
        receive(opened(free=1 << 60))


def test_an_object_that_cannot_be_recorded_leaves_no_file(opened, tmp_path):
    spool = opened()
    with pytest.raises(sqlite3.Error):
        spool.receive(Received("a", None, "1"), b"object")
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
        Spool(tmp_path / "spool", 1, 0)


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
        Spool(tmp_path / "file", 1, 0)
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "spool.sqlite").write_bytes(content or b"x" * 4096)
    with pytest.raises(SpoolError, match=r"set dicom\.spool"):
        Spool(tmp_path / "spool", 1, 0)


def test_a_folder_without_a_spool_cannot_be_inspected(tmp_path):
    with pytest.raises(SpoolError, match="there is no spool"):
        inspect(tmp_path)
