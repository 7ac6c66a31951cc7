"""What waits to be sent: order, bounds, and what they count."""

import threading
import time

import pytest

from inline.data.memory import MemoryBudget
from inline.serving.send_queue import Outbox


@pytest.fixture
def share():
    return MemoryBudget(1000, 1000, connections=1).connection()


def waits(outbox, data):
    """Whether queueing bytes waits, and the thread that does it."""
    thread = threading.Thread(target=outbox.put, args=(data,), daemon=True)
    thread.start()
    thread.join(timeout=0.3)
    return thread.is_alive(), thread


def test_bytes_go_out_in_their_order_and_count_until_they_have_gone(share):
    outbox = Outbox(10_000, share)
    outbox.put(b"a" * 100)
    outbox.put_now(b"b" * 200)
    outbox.put_text(b"c" * 50)
    assert share.held == 350
    assert outbox.get() == b"a" * 100
    assert share.held == 350  # it is being sent
    assert outbox.get() == b"b" * 200
    assert share.held == 250
    outbox.close()
    assert outbox.get() == b"c" * 50
    assert outbox.get() is None
    assert share.held == 0


@pytest.mark.parametrize("limits", [(200, 1000), (1000, 300)], ids=["of the queue", "of the memory"])
def test_images_wait_for_room_and_results_do_not(limits):
    share = MemoryBudget(limits[1], limits[1], connections=1).connection()
    outbox = Outbox(limits[0], share)
    outbox.put(b"a" * 200)
    held_back, thread = waits(outbox, b"b" * 200)
    assert held_back
    assert outbox.put_now(b"c")
    assert [outbox.get(), outbox.get()] == [b"a" * 200, b"c"]
    assert outbox.get() == b"b" * 200
    thread.join(timeout=20)
    assert not thread.is_alive()


def test_images_that_wait_leave_half_of_the_memory_to_the_series(share):
    outbox = Outbox(10_000, share)
    outbox.put(b"a" * 499)
    outbox.put(b"b")
    held_back, thread = waits(outbox, b"c")
    assert held_back
    assert share.reserve(500)
    assert [outbox.get(), outbox.get()] == [b"a" * 499, b"b"]
    share.release(500)
    outbox.close()
    thread.join(timeout=20)
    assert not thread.is_alive()


def test_one_image_always_goes_whatever_others_hold():
    budget = MemoryBudget(1000, 1000, connections=1)
    budget.connection().take(5000)
    outbox = Outbox(100, budget.connection())
    assert outbox.put(b"a" * 2000)
    assert outbox.get() == b"a" * 2000


def test_texts_that_nobody_reads_are_bounded_and_counted():
    share = MemoryBudget(1 << 30, 1 << 30, connections=1).connection()
    outbox = Outbox(1 << 27, share)
    queued = [outbox.put_text(b"x" * 1000) for _ in range(5000)]
    assert queued == [True] * sum(queued) + [False] * (5000 - sum(queued))
    assert share.held == sum(queued) * 1000 <= 1 << 20
    assert outbox.texts_dropped == 5000 - sum(queued) > 3000
    outbox.get()
    assert outbox.put_text(b"x" * 1000)


def test_what_a_peer_that_has_gone_would_have_got_is_forgotten(share):
    outbox = Outbox(100, share)
    outbox.put(b"a" * 200)
    outbox.get()
    outbox.put_now(b"b" * 300)
    held_back, thread = waits(outbox, b"c")
    assert held_back
    outbox.close(discard=True)
    thread.join(timeout=20)
    assert share.held == 0
    assert not outbox.put(b"d")
    assert not outbox.put_now(b"d")
    assert outbox.get() is None
    assert share.held == 0


def test_it_wakes_who_waits_for_bytes():
    outbox, came = Outbox(100), []
    thread = threading.Thread(target=lambda: came.append(outbox.get()), daemon=True)
    thread.start()
    time.sleep(0.05)
    outbox.put(b"now")
    thread.join(timeout=20)
    assert came == [b"now"]
