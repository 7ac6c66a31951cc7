"""Bytes that connections may hold: limits of one and of all, and a share that nobody else can take."""

from hypothesis import given
from hypothesis import strategies as st

from inline.data.memory import MemoryBudget


def test_one_connection_is_limited():
    share = MemoryBudget(1000, 300, connections=2).connection()
    assert share.reserve(200)
    assert not share.reserve(101)
    assert share.reserve(100)
    share.release(150)
    assert share.reserve(150)
    assert share.held == 300


def test_all_connections_are_limited_and_each_keeps_its_share():
    budget = MemoryBudget(1600, 1600, connections=8)  # each is sure of 100
    first, second, third = (budget.connection() for _ in range(3))
    assert first.reserve(900)
    assert not first.reserve(1)
    assert not second.reserve(101)
    assert second.reserve(100)
    assert third.reserve(100)
    first.release(50)
    assert second.reserve(50)
    assert not third.reserve(1)


def test_what_cannot_be_lost_is_counted_beyond_the_limit():
    share = MemoryBudget(100, 100, connections=1).connection()
    share.take(150)
    assert not share.reserve(1)
    share.release(150)
    assert share.reserve(100)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 400)), max_size=60))
def test_the_limits_hold_in_any_order_and_everything_comes_back(steps):
    budget = MemoryBudget(1000, 500, connections=3)
    free = budget.free
    shares = [budget.connection() for _ in range(3)]
    held = [[], [], []]
    for number, size in steps:
        if size % 3 == 0 and held[number]:
            shares[number].release(held[number].pop())
        elif shares[number].reserve(size):
            held[number].append(size)
        assert [share.held for share in shares] == [sum(each) for each in held]
        assert max(share.held for share in shares) <= 500
        assert sum(share.held for share in shares) <= 1000
    for share, sizes in zip(shares, held, strict=True):
        for size in sizes:
            share.release(size)
    assert budget.free == free


def test_what_an_ended_connection_holds_leaves_the_next_one_its_own_part():
    budget = MemoryBudget(1600, 1600, connections=8)  # each is sure of 100
    ended = budget.connection()
    assert ended.reserve(60)
    ended.end()
    assert budget.free == 740
    assert not ended.reserve(741)
    assert all(budget.connection().reserve(100) for _ in range(8))
    assert budget.free == 740
    ended.release(60)
    assert budget.free == 800
    last = budget.connection()
    last.take(950)
    assert last.beyond_all == 50


def test_the_default_for_one_is_a_quarter():
    assert MemoryBudget(4000).each == 1000


def test_room_may_be_left_for_others():
    share = MemoryBudget(1000, 500, connections=1).connection()
    assert share.spare == 250
    assert not share.reserve(251, share.spare)
    assert share.reserve(250, share.spare)
    assert share.reserve(250)


def test_a_message_in_receipt_is_limited_by_all_connections_alone():
    budget = MemoryBudget(1000, 300, connections=10)
    share = budget.connection()
    assert share.reserve_shared(500)
    assert not share.reserve(1)
    assert not share.reserve_shared(100)
    assert not budget.connection().reserve(150)
    share.release(500)
    assert budget.connection().reserve(150)
