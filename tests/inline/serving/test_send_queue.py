"""What waits to be sent: order, bounds, and what they count."""

import threading
import time

import pytest

from inline.data.memory import MemoryBudget
from inline.serving.send_queue import SendQueue


@pytest.fixture
def share():
    return MemoryBudget(1000, 1000, connections=1).connection()


def waits(queue, data):
    """Whether queueing bytes waits, and the thread that does it."""
    thread = threading.Thread(target=queue.put, args=(data,), daemon=True)
    thread.start()
    thread.join(timeout=0.3)
    return thread.is_alive(), thread


def test_bytes_go_out_in_their_order_and_count_until_they_have_gone(share):
    queue = SendQueue(10_000, share)
    queue.put(b"a" * 100)
    queue.put_now(b"b" * 200)
    queue.put_text(b"c" * 50)
    assert share.held == 350
    assert queue.get() == b"a" * 100
    assert share.held == 350  # it is being sent
    assert queue.get() == b"b" * 200
    assert share.held == 250
    queue.close()
    assert queue.get() == b"c" * 50
    assert queue.get() is None
    assert share.held == 0


def test_nothing_follows_the_last_bytes(share):
    queue = SendQueue(10_000, share)
    queue.put_now(b"a")
    queue.close(b"b")
    assert not queue.put_now(b"c")
    assert not queue.put_text(b"d")
    queue.close(b"e")
    assert [queue.get(), queue.get(), queue.get()] == [b"a", b"b", None]
    assert share.held == 0


@pytest.mark.parametrize("limits", [(200, 1000), (1000, 300)], ids=["of the queue", "of the memory"])
def test_images_wait_for_room_and_results_do_not(limits):
    share = MemoryBudget(limits[1], limits[1], connections=1).connection()
    queue = SendQueue(limits[0], share)
    queue.put(b"a" * 200)
    held_back, thread = waits(queue, b"b" * 200)
    assert held_back
    assert queue.put_now(b"c")
    assert [queue.get(), queue.get()] == [b"a" * 200, b"c"]
    assert queue.get() == b"b" * 200
    thread.join(timeout=20)
    assert not thread.is_alive()


def test_images_that_wait_leave_half_of_the_memory_to_the_series(share):
    queue = SendQueue(10_000, share)
    queue.put(b"a" * 499)
    queue.put(b"b")
    held_back, thread = waits(queue, b"c")
    assert held_back
    assert share.reserve(500)
    assert [queue.get(), queue.get()] == [b"a" * 499, b"b"]
    share.release(500)
    queue.close()
    thread.join(timeout=20)
    assert not thread.is_alive()


def test_one_image_always_goes_whatever_others_hold():
    budget = MemoryBudget(1000, 1000, connections=1)
    budget.connection().take(5000)
    queue = SendQueue(100, budget.connection())
    assert queue.put(b"a" * 2000)
    assert queue.get() == b"a" * 2000


def test_texts_that_nobody_reads_are_bounded_and_counted():
    share = MemoryBudget(1 << 30, 1 << 30, connections=1).connection()
    queue = SendQueue(1 << 27, share)
    queued = [queue.put_text(b"x" * 1000) for _ in range(5000)]
    assert queued == [True] * sum(queued) + [False] * (5000 - sum(queued))
    assert share.held == sum(queued) * 1000 <= 1 << 20
    assert queue.texts_dropped == 5000 - sum(queued) > 3000
    queue.get()
    assert queue.put_text(b"x" * 1000)


def test_what_a_peer_that_has_gone_would_have_got_is_forgotten(share):
    queue = SendQueue(100, share)
    queue.put(b"a" * 200)
    queue.get()
    queue.put_now(b"b" * 300)
    held_back, thread = waits(queue, b"c")
    assert held_back
    queue.close(discard=True)
    thread.join(timeout=20)
    assert share.held == 0
    assert not queue.put(b"d")
    assert not queue.put_now(b"d")
    assert queue.get() is None
    assert share.held == 0


def test_it_wakes_who_waits_for_bytes():
    queue, came = SendQueue(100), []
    thread = threading.Thread(target=lambda: came.append(queue.get()), daemon=True)
    thread.start()
    time.sleep(0.05)
    queue.put(b"now")
    thread.join(timeout=20)
    assert came == [b"now"]
