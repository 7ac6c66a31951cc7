"""Haematocrits by study from a file: what a line is used for, and what keeps one from being used."""

import csv
import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inline.data.errors import ConfigurationError
from inline.data.examination import Haematocrit, HaematocritSource
from inline.data.flags import Flag
from inline.examination.ecv import ecv_of_pair
from inline.examination.haematocrits import HaematocritFile, OfStudy, checked_haematocrits, read_haematocrits
from inline.examination.pairing import Pair
from inline.mrd.header import MeasurementHeader, identity, merged, parse_header
from inline.settings import EcvSettings
from tests.inline.examination.phantom import NO_RANGES, REGIONS, t1_slice

HEADER = """<ismrmrdHeader><subjectInformation><patientID>P-17</patientID></subjectInformation>
<studyInformation><studyDate>2026-01-31</studyDate><accessionNumber>4711</accessionNumber>
<studyInstanceUID>1.2.3</studyInstanceUID></studyInformation></ismrmrdHeader>"""
STUDY = parse_header(HEADER).identities
UIDS = st.integers(1, 20).map("1.2.{}".format)
VALUES = st.integers(200, 650).map(lambda thousandths: thousandths / 1000)


def study(uid):
    return MeasurementHeader(study_uid=uid).identities


def of(text, identities=STUDY, **more):
    return read_haematocrits(text.encode()).of(identities, **more)


@given(
    st.lists(st.tuples(UIDS, VALUES)),
    st.sampled_from([",", ";"]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_each_study_has_the_value_of_its_lines_alone(lines, delimiter, end, swapped):
    names = ["study_uid", "haematocrit"]
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end)
    writer.writerows(row[::-1] if swapped else row for row in [names, *lines])
    table = read_haematocrits(text.getvalue().encode("utf-8-sig"))
    for uid in map("1.2.{}".format, range(1, 21)):
        stated = {value for each, value in lines if each == uid}
        found = table.of(study(uid))
        assert found.value == (stated.pop() if len(stated) == 1 else None)
        assert found.refused == bool(stated)
        assert bool(found.note) == (found.value is None)


@given(st.lists(st.tuples(UIDS, VALUES), min_size=1), st.data())
def test_a_file_that_is_written_at_this_moment_gives_no_wrong_value(lines, data):
    whole = "haematocrit,study_uid\n" + "".join(f"{value},{uid}\n" for uid, value in lines)
    if data.draw(st.booleans()):
        whole = "study_uid,haematocrit\n" + "".join(f"{uid},{value}\n" for uid, value in lines)
    part = whole.encode()[: data.draw(st.integers(0, len(whole)))]
    try:
        table = read_haematocrits(part)
    except ConfigurationError:
        return
    for uid in map("1.2.{}".format, range(1, 21)):
        assert table.of(study(uid)).value in {None, *(value for each, value in lines if each == uid)}


@given(st.binary(max_size=200))
def test_no_content_raises_another_error(content):
    for heading in (b"", b"study_uid,haematocrit\n"):
        try:
            table = read_haematocrits(heading + content)
        except ConfigurationError:
            continue
        table.of(STUDY)


@pytest.mark.parametrize(
    ("names", "line"),
    [
        ("study_uid", "1.2.3"),
        ("Study_UID", " 1.2.3 "),
        ("accession_number", "4711"),
        ("patient_id,study_date", "P-17,20260131"),
        ("study_date,patient_id", "2026-01-31,P-17"),
        ("study_uid,patient_id", "1.2.3,P-17"),
    ],
)
def test_a_study_has_its_line_by_what_its_header_states(names, line):
    assert of(f"{names},haematocrit\n{line},0.42\n") == OfStudy(0.42)


@pytest.mark.parametrize(
    ("names", "line"),
    [
        ("study_uid", "1.2.30"),
        ("accession_number", "04711"),
        ("patient_id,study_date", "P-17,20260130"),  # of another day
        ("patient_id,study_date", "P-18,20260131"),
        ("study_uid,patient_id", "1.2.3,P-18"),
    ],
)
def test_another_line_is_not_of_the_study(names, line):
    found = of(f"{names},haematocrit\n{line},0.42\n")
    assert found == OfStudy(note="The file of ecv.haematocrits has no line for this study.")


def test_images_that_state_no_identity_have_no_line():
    text = "patient_id,study_date,haematocrit\nP-17,20260131,0.42\n"
    assert of(text, study("1.2.3")).note.endswith("the images state no patient_id and study_date.")
    assert of("study_uid,haematocrit\n1.2.3,0.42\n", {}).note.endswith("the images state no study_uid.")


@pytest.mark.parametrize(
    ("lines", "note"),
    [
        (
            "1.2.3,42\n",
            "2: its haematocrit is no number from 0.2 to 0.65; give a fraction with a decimal point",
        ),
        ("9.9,0.4\n\n1.2.3,0.7\n", "4: its haematocrit is no number"),
        ("1.2.3,nan\n", "2: its haematocrit is no number"),
        ('1.2.3,"0,42"\n', "2: its haematocrit is no number"),
        ("1.2.3,42 %\n", "2: its haematocrit is no number"),
        ("1.2.3,0.42\n1.2.3,0.40\n", "3: line 2 states another haematocrit of its study"),
        ("1.2.3,42\n1.2.3,0.42\n", "2: its haematocrit is no number"),
        ("1.2.3,0.42\n1.2.3,0.4", "3: it has no line end"),
    ],
)
def test_a_line_that_cannot_be_used_is_named_and_takes_the_value_of_its_study_alone(lines, note):
    found = of(f"study_uid,haematocrit\n{lines}")
    assert (found.value, found.refused) == (None, True)
    number, _, why = note.partition(": ")
    assert found.note.startswith(f"Line {number} of the file of ecv.haematocrits is not used: {why}")
    assert of(f"study_uid,haematocrit\n9.8,0.5\n{lines}", study("9.8")).value == 0.5


@pytest.mark.parametrize("cell", ["17", "4711"])
def test_a_number_of_a_patient_in_the_wrong_column_is_not_quoted(cell):
    (problem,) = read_haematocrits(f"study_uid,haematocrit\n1.2.3,{cell}\n".encode()).problems
    assert cell not in problem


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (
            "1.2.3,0,42\n",
            "Line 2 of the file of ecv.haematocrits is not used: it must have 2 cells; it may be of",
        ),
        ("9.8,0.5\n1.2.3,0.42,\n", "Line 3"),
        ("1.2.3;0.42\n", "Line 2"),
        (
            "1.2. 3,0.42\n",
            "Line 2 of the file of ecv.haematocrits is not used: it states no study_uid; it may be",
        ),
        ("9.8,0.5\n1.2", "Line 3"),
    ],
)
def test_a_line_that_may_be_of_any_study_leaves_none_to_the_haematocrit_of_all_patients(lines, why):
    found = of(f"study_uid,haematocrit\n{lines}")
    assert (found.value, found.refused) == (None, True)
    assert found.note.startswith(why)
    assert of(f"study_uid,haematocrit\n9.7,0.4\n{lines}", study("9.7")).value == 0.4


def test_a_half_written_line_may_be_of_a_study_whose_identity_is_cut_off():
    assert of("haematocrit,study_uid\n0.42,1.2.3", study("1.2.34")).refused


@pytest.mark.parametrize(
    ("lines", "value", "refused"),
    [
        ("A1,0.3\nA2,0.5\n", None, True),
        ("A1,0.3\nA2,0.3\n", 0.3, False),
        ("A2,0.5\n", 0.5, False),
        ("A1,3\nA2,0.5\n", None, True),
        ("A3,0.5\n", None, False),
    ],
)
def test_a_study_of_several_accession_numbers_has_the_value_that_all_of_its_lines_state(
    lines, value, refused
):
    stated = merged(
        *({"accession_number": frozenset({identity("accession_number", each)})} for each in ("A1", "A2"))
    )
    found = of(f"accession_number,haematocrit\n{lines}", stated)
    assert (found.value, found.refused) == (value, refused)


def test_a_pipe_and_a_file_of_any_size_are_not_read(tmp_path):
    pipe, large = tmp_path / "pipe.csv", tmp_path / "large.csv"
    os.mkfifo(pipe)
    large.write_bytes(b"study_uid,haematocrit\n" + bytes(16 << 20))
    for file, why in (
        (pipe, "it is no file"),
        (tmp_path, "it is no file"),
        (Path("/dev/zero"), "it is no file"),
        (large, "it is larger than 16 MiB"),
    ):
        assert HaematocritFile(file).of(STUDY).note == f"The file of ecv.haematocrits cannot be used: {why}."


@pytest.mark.parametrize("line", ["1.2.3\n", "1.2.3,0.42,0.43\n", '"1.2.3,0.42\n', "P-17,0.42\n", ",0.42\n"])
def test_a_line_without_an_identity_is_a_problem_and_not_quoted(line):
    table = read_haematocrits(f"study_uid,haematocrit\n{line}9.8,0.5\n".encode())
    (problem,) = table.problems
    assert problem.startswith("line 2: it ")
    assert "P-17" not in problem
    assert table.of(STUDY).value is None
    assert table.of(study("9.8")).value == 0.5


def test_empty_lines_and_values_that_are_not_known_yet_are_no_problem():
    table = read_haematocrits(b"study_uid,haematocrit\n1.2.3,\n\n , \n1.2.4,0.5\n")
    assert (table.problems, table.of(STUDY).refused, table.of(study("1.2.4")).value) == ((), False, 0.5)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "its columns must be haematocrit, once, and study_uid"),
        (b"P-17,0.42\n", "column 1 is none of haematocrit, study_uid"),
        (b"study_uid,haematocrit,name\n", "column 3 is none of"),
        (b"study_uid\n", "its columns must be"),
        (b"patient_id,haematocrit\n", "patient_id with study_date"),
        (b"haematocrit\n", "its columns must be"),
        (b"study_uid,haematocrit,haematocrit\n", "once"),
        ("study_uid,haematocrit\nÄ".encode("latin-1"), "it is not UTF-8"),
        ("study_uid,haematocrit\n".encode("utf-16"), "it is not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_used_states_why_without_a_text_of_it(content, why):
    with pytest.raises(ConfigurationError, match=why) as raised:
        read_haematocrits(content)
    assert "P-17" not in str(raised.value)


def test_a_study_uid_of_several_patients_gives_none_of_them_a_value():
    text = "study_uid,haematocrit\n1.2.3,0.42\n"
    assert of(text, shared=True).refused
    assert "add a column patient_id" in of(text, shared=True).note
    assert of("study_uid,patient_id,haematocrit\n1.2.3,P-17,0.42\n", shared=True).value == 0.42


def test_a_file_is_read_anew_and_an_old_value_does_not_outlast_it(tmp_path, caplog):
    path = tmp_path / "haematocrits.csv"
    file = HaematocritFile(path)
    assert "cannot be used: No such file" in file.of(STUDY).note
    path.write_text("study_uid,haematocrit\n1.2.4,0.42\n")
    assert file.of(STUDY).note.endswith("has no line for this study.")
    with path.open("a") as opened:
        opened.write("1.2.3,0.42\n")
    assert file.of(STUDY).value == 0.42
    path.write_text("study_uid,haematocrit\n1.2.3,0.40\n")  # of the same size
    assert file.of(STUDY).value == 0.40
    caplog.clear()
    for _ in range(2):
        path.write_text("1.2.3,0.40\n")
        assert (file.of(STUDY).value, file.of(STUDY).refused) == (None, True)
    assert caplog.text.count("ecv.haematocrits cannot be used: its first line") == 1
    path.unlink()
    assert file.of(STUDY).value is None
    with pytest.raises(
        ConfigurationError, match=r"haematocrits.csv \(setting ecv.haematocrits\) cannot be used"
    ):
        checked_haematocrits(path)
    assert (HaematocritFile(None).of(STUDY), checked_haematocrits(None)) == (None, None)


def test_placeholders_identify_no_study():
    for name, text in (("patient_id", "anonymous"), ("accession_number", "0"), ("study_uid", "XXXX")):
        assert identity(name, text) == b""
    for text in ("31.01.2026", "2026-0131", "", "202601"):
        assert identity("study_date", text) == b""
    assert identity("study_date", "2026.01.31") == identity("study_date", "20260131") != b""


@pytest.mark.parametrize(
    ("of_study", "haematocrit", "source"),
    [
        (None, 0.5, HaematocritSource.GIVEN),
        (OfStudy(0.4), 0.4, HaematocritSource.FILE),
        (OfStudy(note="No line."), 0.5, HaematocritSource.GIVEN),
        (OfStudy(note="A broken line.", refused=True), None, None),
    ],
)
def test_the_file_goes_before_the_setting_and_a_broken_line_leaves_none(of_study, haematocrit, source):
    native, post = t1_slice(), t1_slice(post=True)
    settings = EcvSettings(haematocrit=0.5)
    found = ecv_of_pair(Pair(native, post, "blood T1"), settings, REGIONS, NO_RANGES, of_study)
    assert found.haematocrit == (haematocrit and Haematocrit(haematocrit, source))
    assert (Flag.NO_HAEMATOCRIT in found.flags) == (haematocrit is None)
    if of_study is not None and of_study.note:
        assert of_study.note in found.notes
    assert found.error == ""
