"""Things go on in the order of their tickets, whoever is ready first."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inline.serving.in_order import InOrder


@given(st.permutations(range(12)))
def test_whatever_is_ready_first_the_order_is_that_of_the_tickets(order):
    passed_on = []
    queue = InOrder(passed_on.append)
    tickets = [queue.ticket() for _ in order]
    for number, place in enumerate(order):
        queue.redeem(tickets[place], place)
        ready = set(order[: number + 1])
        expected = next((k for k in range(12) if k not in ready), 12)
        assert passed_on == list(range(expected))


def test_threads_that_redeem_at_once_lose_nothing():
    passed_on = []
    queue = InOrder(passed_on.append)
    tickets = [queue.ticket() for _ in range(400)]

    def redeem(mine):
        for ticket in mine:
            queue.redeem(ticket, ticket)

    threads = [threading.Thread(target=redeem, args=(tickets[k::8][::-1],)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert passed_on == tickets


def test_one_that_cannot_be_passed_on_holds_up_nothing():
    passed_on = []

    def pass_on(item):
        if item == "bad":
            raise ValueError(item)
        passed_on.append(item)

    queue = InOrder(pass_on)
    first, second = queue.ticket(), queue.ticket()
    with pytest.raises(ValueError, match="bad"):
        queue.redeem(first, "bad")
    queue.redeem(second, "good")
    assert passed_on == ["good"]
