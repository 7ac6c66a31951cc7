"""Order of acquisitions by MRD time stamps: 2.5 ms, from midnight."""

import pytest

from inline.data.time_stamps import apart, past_midnight, unwrapped

MIDNIGHT = 24 * 3600 * 400


def clock(hours, minutes):
    return (hours * 3600 + minutes * 60) * 400


@pytest.mark.parametrize(
    ("stamps", "order"),
    [
        ([clock(9, 0), clock(10, 0), clock(9, 30)], [0, 2, 1]),
        ([clock(23, 59), clock(0, 5), clock(0, 20)], [0, 1, 2]),
        ([clock(0, 5), clock(23, 59), clock(0, 20)], [1, 0, 2]),
        # DICOM examinations go on past midnight: 23:30, 0:10.
        ([clock(23, 30), MIDNIGHT + clock(0, 10), 0], [0, 1, 2]),
        # 0 states no time: it follows those that arrived before.
        ([clock(9, 0), 0, clock(8, 0)], [2, 0, 1]),
        ([0, clock(9, 0), clock(8, 0)], [0, 2, 1]),
        ([clock(23, 59), clock(0, 5), 0], [0, 1, 2]),
        ([0, 0, 0], [0, 1, 2]),
        ([], []),
    ],
)
def test_acquisitions_are_in_their_order_past_midnight_and_without_stamps(stamps, order):
    found = unwrapped(stamps)
    assert sorted(range(len(stamps)), key=lambda number: (found[number], number)) == order


def test_stamps_of_one_day_and_clocks_that_do_not_count_from_midnight_stay():
    for stamps in ([1, 1000, 500], [clock(1, 0), clock(12, 0)], [1000, 10**9]):
        assert unwrapped(stamps) == stamps


def test_stamps_after_midnight_of_a_file_are_a_day_later_and_zeros_stay():
    before, after = clock(23, 59), clock(0, 1)
    assert past_midnight([before, after, 0]) == [before, MIDNIGHT + after, 0]
    assert past_midnight([after, clock(11, 0)]) == [after, clock(11, 0)]


def test_stamps_on_both_sides_of_midnight_are_minutes_apart():
    assert apart(clock(23, 59), clock(0, 1)) == apart(clock(0, 1), clock(23, 59)) == 2 * 60 * 400
    assert apart(clock(1, 0), clock(12, 0)) == 11 * 3600 * 400
