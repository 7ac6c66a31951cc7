import pytest

from inline.data.pauses import Pauses


@pytest.mark.parametrize("step", [30.0, -3600.0])
def test_a_pause_is_a_long_time_between_two_ticks(step):
    now = 100.0
    pauses = Pauses(lambda: now)
    for _ in range(8):
        now += 0.25
        assert pauses.tick() == 0.0
    assert pauses.since_s == float("inf")
    now += step
    assert pauses.tick() == abs(step)
    assert pauses.since_s == 0.0
    now += 0.25
    assert pauses.tick() == 0.0
    assert pauses.since_s == 0.25
