"""Results go on in the order of their numbers, whichever is ready first."""

import threading
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inline.serving.send_queue import InOrder


@given(st.permutations(range(12)))
def test_whatever_is_ready_first_the_order_is_that_of_the_numbers(order):
    passed_on = []
    queue = InOrder()
    for number, place in enumerate(order):
        queue.add(place, partial(passed_on.append, place))
        ready = set(order[: number + 1])
        expected = next((k for k in range(12) if k not in ready), 12)
        assert passed_on == list(range(expected))


def test_threads_that_add_at_once_lose_nothing():
    passed_on = []
    queue = InOrder()
    numbers = list(range(400))

    def add(mine):
        for number in mine:
            queue.add(number, partial(passed_on.append, number))

    threads = [threading.Thread(target=add, args=(numbers[k::8][::-1],)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert passed_on == numbers


def test_one_that_cannot_be_passed_on_holds_up_nothing():
    passed_on = []

    def pass_on(item):
        if item == "bad":
            raise ValueError(item)
        passed_on.append(item)

    queue = InOrder()
    with pytest.raises(ValueError, match="bad"):
        queue.add(0, partial(pass_on, "bad"))
    queue.add(1, partial(pass_on, "good"))
    assert passed_on == ["good"]
