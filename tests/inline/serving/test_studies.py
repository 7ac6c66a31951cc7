"""Study of a connection, by the UIDs of its header, and how long it is kept."""

import threading
from types import SimpleNamespace

import pytest

from inline.data.series import Quantity, SeriesIdentity, SlicePlace
from inline.mrd.header import MeasurementHeader, parse_header
from inline.serving import studies as module
from inline.serving.studies import Studies, Study, same_patient

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
def test_the_same_uids_are_the_same_study(header):
    studies = Studies()
    studies.of(header).add(place())
    assert studies.of(header).slices == (place(),)


def test_positions_of_two_frames_of_reference_are_kept_apart():
    studies = Studies()
    first, second = (
        studies.of(MeasurementHeader(study_uid=STUDY, frame_of_reference_uid=frame))
        for frame in (FRAME, FRAME + ".1")
    )
    assert first is not second


def header(frame="", patient="", study=STUDY):
    return parse_header(
        f"<h><subjectInformation><patientID>{patient}</patientID></subjectInformation><studyInformation>"
        f"<studyInstanceUID>{study}</studyInstanceUID></studyInformation><measurementInformation>"
        f"<frameOfReferenceUID>{frame}</frameOfReferenceUID></measurementInformation></h>"
    )


@pytest.mark.parametrize("study", [STUDY, ""])
def test_two_patients_with_one_uid_are_two_studies(study):
    studies = Studies()
    one, other = header(FRAME, "A17", study), header(FRAME, "B22", study)
    first, second = studies.of(one), studies.of(other)
    assert first is not second
    assert not same_patient(one, other)
    assert (first.notice, "another patientID" in second.notice) == ("", True)
    assert [studies.of(each) for each in (one, other)] == [first, second]
    unnamed = studies.of(header(FRAME, "anonymous", study))
    assert unnamed not in (first, second)
    assert "state patientID" in unnamed.notice


@pytest.mark.parametrize("patient", ["", "XXXX", "0000", "anonymous", "A17"])
def test_a_placeholder_in_place_of_a_patient_id_keeps_nothing_apart(patient):
    studies = Studies()
    first = studies.of(header(FRAME, patient))
    assert studies.of(header(FRAME, "A17")) is first
    assert studies.of(header(FRAME, "XXXX")) is first
    assert studies.of(header(FRAME, "B22")) is not first


def named(name, number=""):
    return parse_header(
        f"<h><subjectInformation><patientName>{name}</patientName><patientID>{number}</patientID>"
        f"</subjectInformation><studyInformation><studyInstanceUID>{STUDY}</studyInstanceUID>"
        "</studyInformation></h>"
    )


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (("Mustermann^Erika", ""), ("Mustermann^Max", ""), False),
        (("Mustermann^Erika", "A17"), ("Mustermann^Max", ""), False),
        (("Mustermann^Erika", "XXXX"), ("Mustermann^Max", "XXXX"), False),
        (("Mustermann^Erika", "A17"), ("Beispiel^Erika", "A17"), True),
        (("Mustermann^Erika", ""), ("MUSTERMANN^ERIKA^^", ""), True),
        (("Mustermann^Erika", ""), ("Mustermann, Erika=\u5c71\u7530", ""), True),
        (("M\u00fcller^J", ""), ("Mu\u0308ller^J", ""), True),
        (("Mustermann^Erika", ""), ("", ""), True),
        (("Mustermann^Erika", ""), ("Anonymous", ""), True),
        (("Anonymous^One", ""), ("XXXX^", ""), True),
        (("", ""), ("", ""), True),
    ],
)
def test_without_patient_ids_names_keep_two_patients_of_one_uid_apart(one, other, same):
    studies = Studies()
    first, second = studies.of(named(*one)), studies.of(named(*other))
    assert (first is second) is same
    assert same_patient(named(*one), named(*other)) is same
    assert ("another patientID" in second.notice) is not same
    assert "Mustermann" not in repr(vars(studies)) + repr(named(*one))


def test_a_header_that_names_nobody_is_of_none_of_two_named_patients():
    studies = Studies()
    known = [studies.of(named(name)) for name in ("Mustermann^Erika", "Mustermann^Max")]
    unnamed = studies.of(named(""))
    assert unnamed not in known
    assert "patientName" in unnamed.notice


@pytest.mark.parametrize("frames", [(FRAME, ""), ("", FRAME)])
def test_a_frame_of_reference_that_one_measurement_states_joins_the_other(frames):
    studies = Studies()
    first = studies.of(header(frames[0]))
    assert studies.of(header(frames[1])) is first
    assert studies.of(header(FRAME)) is first
    assert studies.of(header(FRAME + ".1")) is not first


def test_of_several_frames_of_reference_none_is_chosen_and_the_notice_states_it():
    studies = Studies()
    first, second = studies.of(header(FRAME)), studies.of(header(FRAME + ".1"))
    assert (first.notice, second.notice) == ("", "")
    bare = studies.of(header())
    assert bare not in (first, second)
    assert "state frameOfReferenceUID" in bare.notice
    assert studies.of(header()) is bare
    assert studies.of(header(FRAME + ".2")) not in (first, second, bare)


@pytest.mark.parametrize(
    "uid", ["", "XXXX", "0", "0.0.0", "7", "anonymous", "1.2.x", "1." + "2" * 200, "٣.١"]
)
def test_what_is_no_uid_joins_nothing(uid):
    studies = Studies()
    header = MeasurementHeader(study_uid=uid, frame_of_reference_uid=uid)
    assert studies.of(header) is not studies.of(header)


def test_no_uid_is_kept():
    studies = Studies()
    studies.of(MeasurementHeader(study_uid=STUDY, frame_of_reference_uid=FRAME))
    kept = repr(vars(studies))
    assert STUDY not in kept
    assert FRAME not in kept


def test_the_oldest_study_goes_and_one_in_use_stays(monkeypatch):
    monkeypatch.setattr(module, "_MOST", 2)
    studies = Studies()
    headers = [MeasurementHeader(study_uid=f"{STUDY}.{number}") for number in range(3)]
    first, second = (studies.of(header) for header in headers[:2])
    assert studies.of(headers[0]) is first
    studies.of(headers[2])
    assert studies.of(headers[0]) is first
    assert studies.of(headers[1]) is not second


def test_a_study_ends_after_hours(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    studies = Studies()
    header = MeasurementHeader(study_uid=STUDY)
    first = studies.of(header)
    now[0] = 11 * 3600.0
    assert studies.of(header) is first
    now[0] = 22 * 3600.0
    assert studies.of(header) is first
    now[0] = 35 * 3600.0
    assert studies.of(header) is not first


def test_slices_are_bounded_and_the_newest_is_last():
    study = Study()
    for index in range(3000):
        study.add(place(index))
        assert study.slices[-1] == place(index)
    assert len(study.slices) == 1024


def test_threads_add_at_once():
    study = Study()

    def add():
        for index in range(200):
            study.add(place(index))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(study.slices) == 800


def test_the_header_states_both_uids():
    header = parse_header(
        "<ismrmrdHeader xmlns='http://www.ismrm.org/ISMRMRD'>"
        f"<studyInformation><studyInstanceUID> {STUDY} </studyInstanceUID></studyInformation>"
        f"<measurementInformation><frameOfReferenceUID>{FRAME}</frameOfReferenceUID></measurementInformation>"
        "</ismrmrdHeader>"
    )
    assert (header.study_uid, header.frame_of_reference_uid) == (STUDY, FRAME)
