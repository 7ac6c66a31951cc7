"""Which connections belong to one examination, and for how long that is kept."""

import threading

import pytest

from inline.data.series import Quantity, SeriesIdentity, SlicePlace
from inline.mrd.header import MeasurementHeader, parse_header
from inline.serving.examinations import Examination, Examinations

STUDY, FRAME = "1.2.826.0.1.3680043.8.1", "1.2.826.0.1.3680043.8.2"


def place(index=0):
    return SlicePlace(SeriesIdentity(1, index), Quantity.T1, None, None)


@pytest.mark.parametrize(
    "header",
    [
        MeasurementHeader(study_uid=STUDY),
        MeasurementHeader(frame_of_reference_uid=FRAME),
        MeasurementHeader(study_uid=STUDY, frame_of_reference_uid=FRAME),
    ],
)
def test_the_same_uids_are_the_same_examination(header):
    examinations = Examinations()
    examinations.of(header).show(place())
    assert examinations.of(header).shown == (place(),)


def test_positions_of_two_frames_of_reference_are_kept_apart():
    examinations = Examinations()
    first, second = (
        examinations.of(MeasurementHeader(study_uid=STUDY, frame_of_reference_uid=frame))
        for frame in (FRAME, FRAME + ".1")
    )
    assert first is not second


@pytest.mark.parametrize(
    "uid", ["", "XXXX", "0", "0.0.0", "7", "anonymous", "1.2.x", "1." + "2" * 200, "٣.١"]
)
def test_what_is_no_uid_joins_nothing(uid):
    examinations = Examinations()
    header = MeasurementHeader(study_uid=uid, frame_of_reference_uid=uid)
    assert examinations.of(header) is not examinations.of(header)


def test_no_uid_is_kept():
    examinations = Examinations()
    examinations.of(MeasurementHeader(study_uid=STUDY, frame_of_reference_uid=FRAME))
    kept = repr(vars(examinations))
    assert STUDY not in kept
    assert FRAME not in kept


def test_the_oldest_examination_goes_and_one_in_use_stays():
    examinations = Examinations(most=2)
    headers = [MeasurementHeader(study_uid=f"{STUDY}.{number}") for number in range(3)]
    first, second = (examinations.of(header) for header in headers[:2])
    assert examinations.of(headers[0]) is first
    examinations.of(headers[2])
    assert examinations.of(headers[0]) is first
    assert examinations.of(headers[1]) is not second


def test_an_examination_ends_after_hours():
    now = [0.0]
    examinations = Examinations(clock=lambda: now[0])
    header = MeasurementHeader(study_uid=STUDY)
    first = examinations.of(header)
    now[0] = 11 * 3600.0
    assert examinations.of(header) is first
    now[0] = 22 * 3600.0
    assert examinations.of(header) is first
    now[0] = 35 * 3600.0
    assert examinations.of(header) is not first


def test_slices_are_bounded_and_the_newest_is_last():
    examination = Examination()
    for index in range(3000):
        shown = examination.show(place(index))
        assert shown[-1] == place(index)
    assert len(examination.shown) == len(shown) == 1024


def test_threads_show_at_once():
    examination = Examination()

    def show():
        for index in range(200):
            examination.show(place(index))

    threads = [threading.Thread(target=show) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(examination.shown) == 800


def test_the_header_states_both_uids():
    header = parse_header(
        "<ismrmrdHeader xmlns='http://www.ismrm.org/ISMRMRD'>"
        f"<studyInformation><studyInstanceUID> {STUDY} </studyInstanceUID></studyInformation>"
        f"<measurementInformation><frameOfReferenceUID>{FRAME}</frameOfReferenceUID></measurementInformation>"
        "</ismrmrdHeader>"
    )
    assert (header.study_uid, header.frame_of_reference_uid) == (STUDY, FRAME)
