"""Board: bounded whatever comes, and a late result replaces the unfinished one."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from inline.serving.page.board import Board


def message(number, study=1, size=10, replaces=()):
    event = {"kind": "slice", "number": number, "study": study, "replaces": list(replaces)}
    return {"event": event, "images": {"map": bytes(size)}}


def numbers(board):
    return [event["number"] for event in map(json.loads, board.snapshot()) if event["kind"] == "slice"]


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 400)), min_size=8, max_size=20))
def test_the_newest_results_within_the_limits_are_kept(slices):
    board = Board(results=10, studies=3, size=1500)
    for number, (study, size) in enumerate(slices):
        oldest = json.loads(board.add(message(number, study, size)))["oldest"]
        kept = numbers(board)
        assert kept == list(range(oldest, number + 1))
        assert len(kept) <= 10
        assert len({slices[each][0] for each in kept}) <= 3
        stored = sum(len(board.image(each, "map")) for each in kept)
        assert stored <= 1500
        # Nothing was given up without need: one more would have been beyond a limit.
        if oldest:
            before = [slices[each] for each in range(oldest - 1, number + 1)]
            many = len(before) > 10 or len({each[0] for each in before}) > 3
            assert many or stored + before[0][1] + 80 * len(before) > 1500


def test_one_result_beyond_the_limit_of_bytes_is_shown():
    board = Board(size=5)
    board.add(message(1))
    board.add(message(2, size=100))
    assert numbers(board) == [2]
    assert board.image(2, "map") == bytes(100)
    assert board.image(1, "map") is None
    assert board.image(2, "uncertainty") is None


def test_a_late_result_takes_the_place_of_the_unfinished_one():
    board = Board()
    board.add(message(1))
    board.add(message(2))
    board.add(message(3, replaces=[1]))
    assert numbers(board) == [2, 3]
    board.add(message(4, replaces=[99]))  # that one is gone already
    assert numbers(board) == [2, 3, 4]
    board.add(message(5, replaces=[2, 4]))
    assert numbers(board) == [3, 5]


def test_a_changed_level_is_in_the_snapshot_too():
    board = Board()
    board.add(message(1))
    event = {"kind": "levels", "slices": [{"number": 1, "level": "mid"}, {"number": 9, "level": "basal"}]}
    assert json.loads(board.add({"event": event})) == event
    (kept,) = map(json.loads, board.snapshot())
    assert (kept["number"], kept["level"], kept["study"]) == (1, "mid", 1)
    assert board._bytes == board._kept[1].size


def test_a_snapshot_has_the_last_state_and_the_last_connections():
    board = Board()
    for number in range(40):
        board.add({"event": {"kind": "status", "ready": number == 39}})
        board.add({"event": {"kind": "closed", "connection": number}})
    status, *closed = map(json.loads, board.snapshot())
    assert status["ready"] is True
    assert [each["connection"] for each in closed] == list(range(24, 40))


def test_events_are_one_line_of_ascii():
    board = Board()
    event = board.add({"event": {"kind": "closed", "text": "a\nb\u2028ü"}})
    assert b"\n" not in event
    assert event.isascii()
