"""Series numbers of results against the sets of numbers that senders use."""

import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from inline.emit.numbers import SeriesNumbers

SERIES = st.integers(0, 65535)


def test_usual_series_have_the_documented_numbers():
    numbers = SeriesNumbers(5000)
    assert [numbers.first(series) for series in (1, 2, 17, 1, 0)] == [5010, 5020, 5170, 5010, 5000]


def test_a_sender_that_counts_in_the_thousands_keeps_its_numbers():
    numbers = SeriesNumbers(5000)
    assert numbers.first(5000) == 55000
    assert numbers.first(5010) == 55100
    # 5000 to 6009 stay free for the sender.
    assert numbers.first(1) == 6010
    assert numbers.first(2) == 6020


def test_numbers_beyond_sixteen_bits_begin_again():
    assert SeriesNumbers(5000).first(6052) == 65520
    assert SeriesNumbers(5000).first(6053) == 5000
    assert SeriesNumbers(5000).first(12000) == 5000 + 10 * (12000 - 6053)
    # The number that belongs to 61130 lies just above it.
    assert SeriesNumbers(60000).first(61130) == 60000 + 10 * (61130 % 553)


def test_a_block_that_the_sender_takes_later_is_given_up():
    numbers = SeriesNumbers(5000)
    assert numbers.first(1) == 5010
    numbers.saw(5012)
    moved = numbers.first(1)
    assert moved >= 6012
    assert numbers.first(1) == moved


@settings(max_examples=200)
@given(
    offset=st.integers(0, 60000),
    steps=st.lists(st.tuples(st.booleans(), SERIES | st.integers(4990, 5100)), max_size=60),
)
def test_no_number_is_a_senders_or_anothers(offset, steps):
    numbers = SeriesNumbers(offset)
    used, firsts = set(), {}
    for asks, series in steps:
        used.add(series)
        if asks:
            firsts[series] = numbers.first(series)
        else:
            numbers.saw(series)
        for asked in firsts:
            first = firsts[asked] = numbers.first(asked)
            assert offset <= first
            assert first + 9 < 65536
            assert not used & set(range(first, first + 10))
    assert len(set(firsts.values())) == len(firsts)


def test_a_sender_that_uses_every_number_gets_some_number():
    numbers = SeriesNumbers(60000)
    for series in range(65536):
        numbers.saw(series)
    assert numbers.first(3) == 60030


def test_workers_that_ask_at_once_get_the_same_number():
    numbers, got = SeriesNumbers(5000), []
    threads = [threading.Thread(target=lambda: got.append(numbers.first(9))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(got) == {5090}
