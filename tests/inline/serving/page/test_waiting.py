"""Queue to the process of the live page: its order, its limits, and waiting across threads."""

import threading
import time

import pytest

from inline.serving.page.waiting import Waiting


def drained(queue):
    found = []
    while True:
        try:
            found.append(queue.get(0.0))
        except TimeoutError:
            return found


def test_entries_leave_in_their_order():
    queue = Waiting(8, 100)
    assert [queue.put(number, 10) for number in range(5)] == [0] * 5
    assert drained(queue) == [0, 1, 2, 3, 4]


def test_an_empty_queue_raises_after_the_timeout():
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        Waiting[int](8, 100).get(0.05)
    assert time.monotonic() - began >= 0.05


def test_beyond_the_number_the_oldest_entries_are_dropped():
    queue = Waiting(3, 100)
    assert [queue.put(number) for number in range(5)] == [0, 0, 0, 1, 1]
    assert drained(queue) == [2, 3, 4]


def test_beyond_the_bytes_as_many_of_the_oldest_are_dropped_as_make_room():
    queue = Waiting(8, 100)
    assert [queue.put(name, size) for name, size in (("a", 40), ("b", 40), ("c", 20))] == [0, 0, 0]
    assert queue.put("d", 70) == 2
    assert drained(queue) == ["c", "d"]


def test_an_entry_larger_than_the_limit_leaves_nothing_behind():
    queue = Waiting(8, 100)
    queue.put("small", 10)
    assert queue.put("large", 101) == 2
    assert drained(queue) == []
    assert queue.put("next", 100) == 0
    assert drained(queue) == ["next"]


def test_what_was_taken_makes_room_in_number_and_bytes():
    queue = Waiting(1, 100)
    for number in range(1000):
        assert queue.put(number, 100) == 0
        assert queue.get(0.0) == number


def test_none_is_an_entry():
    queue = Waiting[int | None](8, 100)
    queue.put(None)
    assert drained(queue) == [None]


def test_a_thread_that_waits_gets_an_entry_as_soon_as_it_comes():
    queue = Waiting(8, 100)
    found = []
    reader = threading.Thread(target=lambda: found.append(queue.get(30.0)))
    reader.start()
    time.sleep(0.05)
    queue.put("entry", 1)
    reader.join(10.0)
    assert found == ["entry"]


def test_of_many_threads_each_entry_goes_to_one():
    queue = Waiting(10_000, 10_000)
    found = [[] for _ in range(4)]

    def write(first):
        for number in range(first, first + 500):
            queue.put(number, 1)

    def read(own):
        while (entry := queue.get(10.0)) is not None:
            own.append(entry)

    readers = [threading.Thread(target=read, args=(own,)) for own in found]
    writers = [threading.Thread(target=write, args=(500 * k,)) for k in range(4)]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join(10.0)
    for _ in readers:
        queue.put(None)
    for thread in readers:
        thread.join(10.0)
    assert sorted(entry for own in found for entry in own) == list(range(2000))
