"""Choice of the series to process next; the whole rule over a spool is in test_spool."""

from hypothesis import given
from hypothesis import strategies as st

from inline.dicom.node.store import DENIED
from inline.dicom.node.waiting import ATTEMPTS, Waiting, together

NOW, IDLE_S = 1e6, 5.0
SERIES = st.builds(
    Waiting,
    uid=st.uuids().map(str),
    study=st.sampled_from("AB"),
    attempts=st.integers(0, ATTEMPTS - 1),
    last=st.floats(NOW - 200.0, NOW + 20.0),
    whole=st.booleans(),
    error=st.sampled_from(["", "it failed", DENIED]),
)


@given(st.lists(SERIES, max_size=6, unique_by=lambda each: each.uid))
def test_series_of_one_study_that_are_complete_and_one_that_failed_alone(waiting):
    found = together(waiting, NOW, IDLE_S)
    assert all(each.whole or abs(NOW - each.last) >= IDLE_S for each in found)
    assert len({each.study for each in found}) <= 1
    assert len(found) == 1 or not any(each.alone for each in found)


@given(st.lists(SERIES, min_size=1, max_size=6, unique_by=lambda each: each.uid))
def test_a_minute_after_the_last_object_of_a_study_something_is_processed(waiting):
    assert together(waiting, NOW + 300.0, IDLE_S)


def test_silence_of_which_nothing_is_known_completes_no_series():
    silent, whole = (Waiting(uid, "A", 0, NOW - 100.0, uid == "2", "") for uid in "12")
    assert together([silent, whole], NOW, IDLE_S, {"1", "2"}) == [whole]
    assert together([silent, whole], NOW, IDLE_S) == [silent, whole]
