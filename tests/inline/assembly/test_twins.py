import pytest

from inline.assembly.twins import SeriesAcquisition, Twins
from inline.data.series import Enhancement

TIMES = frozenset((100.0, 180.0, 1000.0, 1080.0, 1900.0))
OTHER = frozenset((100.0, 180.0, 950.0, 1030.0, 1800.0))


def raw(place=0, times=TIMES, **more):
    return SeriesAcquisition(place, times, corrected=False, **more)


def moco(place=0, times=TIMES, **more):
    return SeriesAcquisition(place, times, corrected=True, **more)


def twins():
    return Twins(wait_s=1.0, patience_s=30.0)


def test_the_corrected_twin_goes_on_alone():
    pairs = twins()
    assert pairs.offer("raw", raw(), 0.0) == ([], [], False)
    assert pairs.offer("moco", moco(), 0.5) == (["moco"], ["raw"], False)
    assert pairs.expire(100.0) == []


def test_the_order_does_not_matter():
    pairs = twins()
    assert pairs.offer("moco", moco(), 0.0) == (["moco"], [], False)
    assert pairs.offer("raw", raw(), 0.5) == ([], ["raw"], False)


def test_one_that_has_no_twin_goes_on_after_its_wait_and_the_next_ones_at_once():
    pairs = twins()
    pairs.offer("first", raw(0), 0.0)
    assert pairs.expire(0.9) == []
    assert pairs.expire(1.0) == ["first"]
    assert pairs.offer("second", raw(1), 5.0) == (["second"], [], False)


def test_a_corrected_twin_that_comes_too_late_says_that_it_replaces():
    pairs = twins()
    pairs.offer("raw", raw(), 0.0)
    pairs.expire(1.0)
    assert pairs.offer("moco", moco(), 3.0) == (["moco"], [], True)
    # From now on it is known that corrected ones come.
    assert pairs.offer("next", raw(1), 10.0) == ([], [], False)
    assert pairs.expire(39.0) == []
    assert pairs.expire(40.0) == ["next"]


def test_another_acquisition_of_the_slice_is_no_twin():
    pairs = twins()
    pairs.offer("native", raw(), 0.0)
    assert pairs.offer("contrast", moco(times=OTHER), 0.1) == (["contrast"], [], False)
    assert pairs.waiting == ["native"]


def test_each_has_one_twin():
    pairs = twins()
    pairs.offer("raw", raw(), 0.0)
    assert pairs.offer("moco", moco(), 0.1) == (["moco"], ["raw"], False)
    assert pairs.offer("again", raw(), 0.2) == ([], [], False)
    assert pairs.waiting == ["again"]
    assert pairs.offer("moco again", moco(), 0.3) == (["moco again"], ["again"], False)


def test_times_rounded_to_whole_milliseconds_are_the_same():
    pairs = twins()
    pairs.offer("raw", raw(times=frozenset(time + 0.4 for time in TIMES)), 0.0)
    assert pairs.offer("moco", moco(), 0.5) == (["moco"], ["raw"], False)


PREPARATIONS = frozenset((0.0, 25.0, 55.0))
MINUTE = 60 * 400
DAY = 86_400 * 400


def of_t2(corrected, first, last=None, **more):
    return SeriesAcquisition(0, PREPARATIONS, corrected, (first, first if last is None else last), **more)


@pytest.mark.parametrize("apart", [MINUTE // 2, 30 * MINUTE])
def test_the_corrected_series_is_the_twin_of_the_nearest(apart):
    """The first of two T2 acquisitions has no corrected series."""
    pairs = twins()
    pairs.offer("first", of_t2(False, 1000), 0.0)
    pairs.offer("second", of_t2(False, 1000 + apart), 0.1)
    assert pairs.offer("moco", of_t2(True, 1000 + apart), 0.2) == (["moco"], ["second"], False)
    assert pairs.expire(100.0) == ["first"]


def test_the_nearest_may_have_gone_on():
    pairs = twins()
    pairs.offer("first", of_t2(False, 1000), 0.0)
    pairs.expire(10.0)
    pairs.offer("second", of_t2(False, 1000 + 30 * MINUTE), 20.0)
    assert pairs.offer("moco", of_t2(True, 1004), 20.1) == (["moco"], [], True)
    assert pairs.offer("moco 2", of_t2(True, 1000 + 30 * MINUTE), 20.2)[0] == ["moco 2"]
    assert pairs.expire(100.0) == []


def test_a_corrected_series_of_a_later_acquisition_takes_no_place():
    pairs = twins()
    pairs.offer("first", of_t2(False, 1000), 0.0)
    assert pairs.offer("moco of second", of_t2(True, 1000 + 30 * MINUTE), 0.1)[:2] == (["moco of second"], [])
    assert pairs.offer("second", of_t2(False, 1000 + 30 * MINUTE), 0.2) == ([], ["second"], False)
    assert pairs.waiting == ["first"]


@pytest.mark.parametrize("stamp", [0, 200_000])
def test_where_time_does_not_decide_corrected_series_come_in_the_order_of_their_twins(stamp):
    pairs = twins()
    pairs.offer("first", of_t2(False, stamp), 0.0)
    pairs.offer("second", of_t2(False, stamp), 0.1)
    assert pairs.offer("moco", of_t2(True, stamp), 0.2) == (["moco"], ["first"], False)
    assert pairs.waiting == ["second"]
    assert pairs.offer("moco 2", of_t2(True, stamp), 0.3) == (["moco 2"], ["second"], False)


@pytest.mark.parametrize("stamp", [0, 200_000])
def test_where_time_does_not_decide_a_series_that_waits_comes_before_one_that_went_on(stamp):
    pairs = twins()
    pairs.offer("moco of another slice", moco(1), 0.0)
    pairs.offer("first", of_t2(False, stamp), 0.1)
    assert pairs.expire(31.0) == ["first"]
    pairs.offer("second", of_t2(False, stamp), 40.0)
    assert pairs.offer("moco", of_t2(True, stamp), 40.1) == (["moco"], ["second"], False)
    assert pairs.offer("moco 2", of_t2(True, stamp), 40.2) == (["moco 2"], [], True)


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize("stamp", [0, 200_000])
def test_where_time_does_not_decide_a_series_that_was_broken_off_is_not_the_twin(stamp, gone):
    pairs = twins()
    short = SeriesAcquisition(0, PREPARATIONS - {55.0}, False, (stamp, stamp))
    pairs.offer("broken off", short, 0.0)
    if gone:
        assert pairs.expire(2.0) == ["broken off"]
        pairs.offer("moco of another slice", moco(1), 2.1)
    pairs.offer("whole", of_t2(False, stamp), 2.2)
    assert pairs.offer("moco", of_t2(True, stamp), 2.3) == (["moco"], ["whole"], False)


SECOND, MICROSECOND_CLOCK = 400, 1_000_000


@pytest.mark.parametrize(
    ("as_acquired", "corrected"),
    [
        ((500 * MICROSECOND_CLOCK, 507 * MICROSECOND_CLOCK), (500 * MICROSECOND_CLOCK,)),
        ((1000 * SECOND, 1080 * SECOND), (1000 * SECOND,)),
        ((1000 * SECOND, 1006 * SECOND), (1100 * SECOND,)),
        ((500 * MICROSECOND_CLOCK, 507 * MICROSECOND_CLOCK), (530 * MICROSECOND_CLOCK,)),
    ],
    ids=["µs, first image", "breath-holds in 80 s, first image", "reconstruction", "µs, reconstruction"],
)
@pytest.mark.parametrize("corrected_first", [False, True])
def test_a_corrected_series_may_bear_one_time_of_or_after_its_acquisition(
    as_acquired, corrected, corrected_first
):
    pairs = twins()
    sent = [("raw", of_t2(False, *as_acquired)), ("moco", of_t2(True, *corrected))]
    first, second = (pairs.offer(*each, 0.1) for each in sent[:: -1 if corrected_first else 1])
    assert first[0] == (["moco"] if corrected_first else [])
    assert second == (([], ["raw"], False) if corrected_first else (["moco"], ["raw"], False))


@pytest.mark.parametrize(("late_s", "twin"), [(160, True), (161, False)])
def test_a_corrected_series_bears_a_time_up_to_four_lengths_after_its_acquisition(late_s, twin):
    pairs = twins()
    pairs.offer("raw", of_t2(False, 1000 * SECOND, 1040 * SECOND), 0.0)
    assert pairs.offer("moco", of_t2(True, (1040 + late_s) * SECOND), 0.1)[1] == ["raw"] * twin


def test_twins_across_midnight():
    pairs = twins()
    pairs.offer("raw", of_t2(False, DAY - 400), 0.0)
    assert pairs.offer("moco", of_t2(True, 400), 0.1) == (["moco"], ["raw"], False)
    pairs.offer("raw", of_t2(False, DAY - 8000, DAY + 8000), 0.2)
    assert pairs.offer("moco", of_t2(True, DAY - 8000, DAY - 8000), 0.3)[1] == ["raw"]
    pairs.offer("raw", of_t2(False, DAY - 8000, DAY + 8000), 0.4)
    assert pairs.offer("moco", of_t2(True, 8000), 0.5)[1] == ["raw"]


@pytest.mark.parametrize("stated", [Enhancement.POST_CONTRAST, None])
def test_native_and_post_contrast_series_are_no_twins(stated):
    pairs = twins()
    pairs.offer("native", raw(enhancement=Enhancement.NATIVE), 0.0)
    held = pairs.offer("post", moco(enhancement=stated), 0.1)[1]
    assert held == ([] if stated else ["native"])


MEASURED = frozenset((100.0, 180.0, 1003.0, 1091.0, 1915.0, 2012.0, 2801.0, 3722.0))
"""Times of 5(3)3, each a heartbeat of its own length after the one before."""
NOMINAL = frozenset((100.0, 180.0, 1000.0, 1080.0, 1900.0, 1980.0, 2800.0, 3700.0))


@pytest.mark.parametrize("rounded_ms", [0.1, 2.5, 5.0, 10.0])
@pytest.mark.parametrize("scheme", [(5, 3), (4, 3, 2), (3, 5), (3, 3, 5), (7, 3)])
def test_the_times_of_a_regular_heartbeat_prove_no_twin(scheme, rounded_ms):
    """As in a phantom, or paced."""
    for beat in range(500, 1300, 7):
        times = [100 + 80 * number + beat * k for number, count in enumerate(scheme) for k in range(count)]
        rounded = frozenset(round(round(time / rounded_ms) * rounded_ms, 1) for time in times)
        native, late = raw(times=rounded, time_stamps=(1000, 5000)), (1000 + 30 * MINUTE,) * 2
        assert not native.is_twin(moco(times=rounded, time_stamps=late))


@pytest.mark.parametrize(
    ("times", "corrected_times", "twin"),
    [
        (MEASURED, MEASURED, True),
        (MEASURED, MEASURED - {3722.0} | {3751.0}, False),
        (NOMINAL, NOMINAL, False),
        (PREPARATIONS, PREPARATIONS, False),
    ],
    ids=["measured", "another heartbeat", "nominal", "preparations"],
)
def test_times_that_follow_the_heartbeat_prove_a_twin_whose_stamp_is_late(times, corrected_times, twin):
    """Reconstructed anew half an hour later."""
    pairs = twins()
    pairs.offer("raw", raw(times=times, time_stamps=(1000, 5000)), 0.0)
    late = moco(times=corrected_times, time_stamps=(1000 + 30 * MINUTE,) * 2)
    assert pairs.offer("moco", late, 0.1) == (["moco"], ["raw"] if twin else [], False)
