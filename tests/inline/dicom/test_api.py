"""``read_dicom`` of the Python API."""

import pytest

import inline
from inline.data.errors import DicomError

from . import writer


def test_read_dicom_gives_examinations_for_process(tmp_path, images):
    writer.classic(tmp_path, images, "canon")
    (examination,) = inline.read_dicom(tmp_path)
    assert [str(each.quantity) for each in examination.series] == ["T1", "T1", "T2", "T2"]
    assert examination.problems == ()


def test_a_folder_without_images_is_an_error(tmp_path):
    (tmp_path / "note.txt").write_text("a note")
    with pytest.raises(DicomError, match="holds no DICOM image that is read: 1 not DICOM"):
        inline.read_dicom(tmp_path)


def test_a_file_whose_header_cannot_be_read_is_a_problem_of_the_first_examination(tmp_path, images):
    for patient in "ab":
        (tmp_path / patient).mkdir()
        writer.classic(tmp_path / patient, images, "canon", study=f"2.25.{ord(patient)}")
    damaged = sorted((tmp_path / "b").iterdir())[0]
    damaged.write_bytes(damaged.read_bytes()[:132])
    first, second = inline.read_dicom(tmp_path)
    assert len(first.problems) == 1
    assert str(damaged) in first.problems[0]
    assert second.problems == ()
