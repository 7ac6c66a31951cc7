from itertools import pairwise

import pytest

from inline.data.pauses import Pauses


@pytest.mark.parametrize("step", [30.0, -3600.0])
def test_a_pause_is_a_long_time_between_two_ticks(step):
    now = 100.0
    pauses = Pauses(lambda: now)
    for _ in range(8):
        now += 0.25
        assert pauses.tick() == 0.0
        assert not pauses.unread
    now += step
    assert pauses.tick() == abs(step)
    assert pauses.unread
    for number in range(1, 10):
        now += 0.25
        assert pauses.tick() == 0.0
        assert pauses.unread == (number < 8)


@pytest.mark.parametrize("pause_s", [1.5, 3.0])
@pytest.mark.parametrize("run_s", [0.5, 1.75, 2.0, 2.5, 3.0])
def test_repeated_pauses_do_not_hold_up_for_ever_what_waits_for_silence(pause_s, run_s):
    now, free = 0.0, [0.0]
    pauses = Pauses(lambda: now)
    for _ in range(200):
        now += pause_s
        for step in (0.0, *[0.25] * round(run_s / 0.25)):
            now += step
            pauses.tick()
            if not pauses.unread:
                free.append(now)
    assert free[1] >= 2.0
    assert max(later - earlier for earlier, later in pairwise([*free, now])) < 75.0
