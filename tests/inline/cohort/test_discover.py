import os
from pathlib import Path

import pytest

from inline.cohort.discover import discover, study_files
from inline.data.errors import CohortError

pydicom = pytest.importorskip("pydicom")


def write_dicom(file, study, instance):
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = instance
    image = FileDataset(str(file), {}, file_meta=meta, preamble=bytes(128))
    image.SOPClassUID, image.SOPInstanceUID = MRImageStorage, instance
    image.PatientName = "Planted^Name"
    if study:
        image.StudyInstanceUID = study
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save_as(file)


def names(found):
    return [(each.name, each.study) for each in found.examinations]


def test_files_are_found_in_the_order_of_their_names_by_suffix(tmp_path):
    for name in ("b.h5", "a/c.HDF5", "a/b.mrd", "notes.txt", ".hidden.h5", ".cache/x.h5"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"anything")
    found = discover(tmp_path)
    assert names(found) == [("a/b.mrd", ""), ("a/c.HDF5", ""), ("b.h5", "")]
    assert found.others == 1
    assert found.problems == ()
    assert len({each.key for each in found.examinations}) == 3


def test_the_folder_of_the_results_is_passed_over(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.h5").touch()
    (tmp_path / "b.h5").touch()
    assert names(discover(tmp_path, without=tmp_path / "out")) == [("b.h5", "")]


def test_dicom_files_are_grouped_by_study_wherever_they_lie(tmp_path):
    write_dicom(tmp_path / "p1" / "s1" / "IM1", "1.2.3", "1.2.3.1")
    write_dicom(tmp_path / "p1" / "s2" / "IM1", "1.2.3", "1.2.3.2")
    write_dicom(tmp_path / "p1" / "s2" / "IM2", "1.2.4", "1.2.4.1")
    (tmp_path / "p1" / "s2" / "notes.txt").write_text("x" * 200)
    found = discover(tmp_path)
    assert names(found) == [("p1", "1.2.3"), ("p1/s2", "1.2.4")]
    first, second = (study_files(each) for each in found.examinations)
    assert [str(file.relative_to(tmp_path)) for file in first] == ["p1/s1/IM1", "p1/s2/IM1"]
    assert [file.name for file in second] == ["IM2"]
    assert found.others == 1


def test_studies_whose_files_lie_in_all_folders_have_their_uid_for_a_name(tmp_path):
    """As in the storage folder of Orthanc."""
    for folder in ("0a", "7f"):
        for study in ("1.2.3", "1.2.4"):
            write_dicom(tmp_path / folder / study, study, f"{study}.{int(folder, 16)}")
    found = discover(tmp_path)
    assert names(found) == [("1.2.3", "1.2.3"), ("1.2.4", "1.2.4")]
    assert [len(study_files(each)) for each in found.examinations] == [2, 2]


def test_files_without_a_study_uid_belong_to_their_folder(tmp_path):
    write_dicom(tmp_path / "a" / "IM1", "", "1.1")
    write_dicom(tmp_path / "b" / "IM1", "", "1.2")
    (tmp_path / "b" / "IM2").write_bytes(bytes(128) + b"DICM" + b"\xff" * 40)
    found = discover(tmp_path)
    assert names(found) == [("a", ""), ("b", "")]
    assert [file.name for file in study_files(found.examinations[1])] == ["IM1", "IM2"]


def test_a_dicomdir_is_no_examination_beside_those_that_it_lists(tmp_path):
    write_dicom(tmp_path / "DICOM" / "IM1", "1.2.3", "1.2.3.1")
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    found = discover(tmp_path)
    assert names(found) == [("DICOM", "1.2.3")]
    assert found.others == 1


def test_a_study_keeps_its_key_when_files_are_added_and_changes_its_source(tmp_path):
    write_dicom(tmp_path / "s1" / "IM1", "1.2.3", "1.2.3.1")
    before = discover(tmp_path).examinations[0]
    write_dicom(tmp_path / "s2" / "IM1", "1.2.3", "1.2.3.2")
    after = discover(tmp_path).examinations[0]
    assert before.key == after.key
    assert before.source != after.source


def test_a_file_that_changes_changes_its_source_alone(tmp_path):
    file = tmp_path / "a.h5"
    file.write_bytes(b"one")
    before = discover(tmp_path).examinations[0]
    assert discover(tmp_path).examinations[0] == before
    os.utime(file, ns=(1, 1))
    after = discover(tmp_path).examinations[0]
    assert after.source != before.source
    assert after.key == before.key


def test_links_pipes_and_names_in_no_encoding(tmp_path):
    os.mkfifo(tmp_path / "pipe.h5")
    (tmp_path / "broken.h5").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path)
    name = os.fsdecode(b"M\xfcller.h5")
    (tmp_path / name).write_bytes(b"x")
    found = discover(tmp_path)
    assert names(found) == [("M\\xfcller.h5", ""), ("broken.h5", "")]
    assert found.examinations[0].file == tmp_path / name
    assert found.others == 1


def test_linked_folders_are_followed_and_each_folder_is_read_once(tmp_path):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    write_dicom(elsewhere / "series" / "IM1", "1.2.3", "1.2.3.1")
    write_dicom(root / "z" / "IM2", "1.2.4", "1.2.4.1")
    (elsewhere / "b.h5").touch()
    (elsewhere / "back").symlink_to(root)
    (root / "linked").symlink_to(elsewhere)
    (root / "again").symlink_to(elsewhere / "series")
    # A folder in its own place, before a link to it whose name comes first.
    (root / "a").symlink_to(root / "z")
    (root / "out").mkdir()
    (root / "out" / "c.h5").touch()
    (root / "to-out").symlink_to(root / "out")
    found = discover(root, without=root / "out")
    assert names(found) == [("again", "1.2.3"), ("linked/b.h5", ""), ("z", "1.2.4")]
    assert found.problems == ()
    assert [file.name for file in study_files(found.examinations[0])] == ["IM1"]


def test_a_file_is_read_once_however_many_links_lead_to_it(tmp_path):
    root, data = tmp_path / "root", tmp_path / "data"
    for name in ("P1/a.h5", "P2/b.h5"):
        (data / name).parent.mkdir(parents=True)
        (data / name).touch()
    (root / "P1").mkdir(parents=True)
    (root / "P1" / "a.h5").symlink_to(data / "P1" / "a.h5")
    (root / "P1" / "b.h5").symlink_to(root / "P1" / "c.h5")
    (root / "P1" / "c.h5").touch()
    (root / "P1" / "gone.h5").symlink_to(root / "P1" / "nowhere.h5")
    (root / "src").symlink_to(data)
    assert names(discover(root)) == [
        (name, "") for name in ("P1/a.h5", "P1/c.h5", "P1/gone.h5", "src/P2/b.h5")
    ]


def test_links_into_the_results_hidden_folders_and_what_holds_root_are_passed_over(tmp_path):
    root = tmp_path / "root"
    for name in ("runs/2026/out.h5", ".git/annex/k.h5", "P1/a.h5", "../neighbour/n.h5", "../b/sub/b.h5"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    for name, target in (
        ("latest", "runs/2026"),
        ("last.h5", "runs/2026/out.h5"),
        ("git", ".git"),
        ("annex", ".git/annex"),
        ("P1/up", ".."),
        ("P1/study", "../.."),
        ("P1/kept.h5", "../.git/annex/k.h5"),  # as DataLad keeps files
        ("linked", "../b/sub"),
    ):
        (root / name).symlink_to(target)
    (tmp_path / "b" / "sub" / "up").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "above.h5").touch()
    found = discover(root, without=root / "runs")
    assert names(found) == [(name, "") for name in ("P1/a.h5", "P1/kept.h5", "linked/b.h5")]
    # The folder of one patient, whose link leads to the others.
    assert names(discover(root / "P1")) == [("a.h5", ""), ("kept.h5", "")]


def test_a_folder_that_cannot_be_read_is_reported(tmp_path, monkeypatch):
    (tmp_path / "a.h5").touch()
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = discover(tmp_path)
    assert names(found) == [("a.h5", "")]
    assert found.problems == (f"{tmp_path / 'closed'} cannot be read: Permission denied",)


def test_a_file_that_cannot_be_read_fails_its_own_study_alone(tmp_path, monkeypatch):
    for number in (1, 2):
        write_dicom(tmp_path / f"IM{number}", "1.2.3", f"1.2.3.{number}")
        write_dicom(tmp_path / f"XX{number}", "1.2.4", f"1.2.4.{number}")
    closed, open_file = {"XX2"}, Path.open

    def guarded(path, *args, **kwargs):
        if path.name in closed:
            raise PermissionError(13, "Permission denied", str(path))
        return open_file(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", guarded)
    found = discover(tmp_path)
    assert found.problems == (f"{tmp_path / 'XX2'} cannot be read: Permission denied",)
    assert [[file.name for file in study_files(each)] for each in found.examinations] == [
        ["IM1", "IM2"],
        ["XX1"],
    ]
    # Readable when it was found, and no longer: what is left must not count as the study.
    closed.add("IM2")
    with pytest.raises(PermissionError):
        study_files(found.examinations[0])


@pytest.mark.parametrize("name", ["missing", "file.h5"])
def test_a_root_that_is_no_folder(tmp_path, name):
    (tmp_path / "file.h5").touch()
    with pytest.raises(CohortError, match="is no folder"):
        discover(tmp_path / name)
