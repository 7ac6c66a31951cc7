"""Shares of connections: who has had least comes next, and nobody saves up time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inline.serving.workers import Turns


def serve(turns, queues, times, pieces):
    """Owners in the order in which they are served; each has a queue that is never empty."""
    order = []
    for _ in range(pieces):
        waiting = [(owner, number) for owner, number in queues.items()]
        owner, _ = turns.begin(waiting, lambda piece: piece[0], lambda piece: (False, piece[1]))
        order.append(owner)
        turns.end(owner, times[owner])
    return order


def opened(owners):
    turns = Turns()
    for owner in owners:
        turns.opened(owner)
    return turns


@given(st.lists(st.floats(0.001, 1.0), min_size=2, max_size=8))
def test_time_and_not_pieces_is_shared(each):
    owners = list(range(len(each)))
    order = serve(opened(owners), dict.fromkeys(owners, 0), each, 400)
    had = [order.count(owner) * each[owner] for owner in owners]
    assert max(had) - min(had) <= 2 * max(each) + 1e-6


def test_who_comes_late_is_served_next_and_then_in_turn():
    turns = opened("ab")
    serve(turns, {"a": 0, "b": 0}, {"a": 1.0, "b": 1.0}, 10)
    turns.opened("c")
    order = serve(turns, {"a": 0, "b": 0, "c": 9}, {"a": 1.0, "b": 1.0, "c": 1.0}, 9)
    assert "c" in order[:3]  # the others have had as little
    assert sorted(order) == sorted("abc" * 3)


def test_nobody_saves_up_time_by_having_nothing_to_do():
    turns = opened("ab")
    turns.closed("b")
    serve(turns, {"a": 0}, {"a": 1.0}, 100)
    turns.opened("b")
    order = serve(turns, {"a": 0, "b": 0}, {"a": 1.0, "b": 1.0}, 10)
    assert order.count("a") == pytest.approx(5, abs=1)


def test_rank_goes_before_shares_and_decides_within_a_connection():
    turns = opened("ab")
    turns.end("a", 100.0)
    pieces = [("b", True, 0), ("a", False, 2), ("a", False, 1)]
    assert turns.begin(pieces, lambda piece: piece[0], lambda piece: piece[1:]) == ("a", False, 1)
