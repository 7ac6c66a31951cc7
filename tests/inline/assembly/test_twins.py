from inline.assembly.twins import Acquisition, Twins

TIMES = frozenset((100.0, 180.0, 1000.0, 1080.0, 1900.0))
OTHER = frozenset((100.0, 180.0, 950.0, 1030.0, 1800.0))


def raw(place=0, times=TIMES):
    return Acquisition(place, times, corrected=False)


def moco(place=0, times=TIMES):
    return Acquisition(place, times, corrected=True)


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
