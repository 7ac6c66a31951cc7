import json

import cv2
import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from model.evaluation.cases import CaseError, read_slices

IMAGE = np.arange(30 * 20, dtype=np.float32).reshape(30, 20)


def mask():
    labels = np.zeros((30, 20), np.uint8)
    labels[8:20, 4:16] = 2
    labels[11:17, 7:13] = 1
    return labels


def side_by_side(folder, name="patient-A-slice-1", **changes):
    content = {
        "t2_ms": IMAGE.astype(np.float16),
        "label": mask(),
        "pixel_spacing_mm": np.float32(1.41),
        **changes,
    }
    np.savez(folder / f"{name}.npz", **{key: value for key, value in content.items() if value is not None})


def test_npz_files_side_by_side(tmp_path):
    side_by_side(tmp_path)
    side_by_side(tmp_path, "patient-A-slice-2", t1_window=np.full((30, 20), 255, np.uint8))
    first, second = read_slices(tmp_path, "t2")
    assert (first.case, first.name) == ("patient-A", "patient-A-slice-1")
    assert first.spacing == pytest.approx((1.41, 1.41))
    assert np.array_equal(first.labels, mask())
    assert second.case == first.case
    (window,) = read_slices(tmp_path, "t1")
    assert not window.in_ms
    assert window.saturated_share() == 1.0
    assert first.saturated_share() == 0.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": None}, "no label"),
        ({"pixel_spacing_mm": None}, "no pixel_spacing_mm"),
        ({"label": np.zeros((4, 4))}, r"mask of .* is \(4, 4\)"),
        ({"label": np.full((30, 20), 7)}, "other values"),
    ],
)
def test_what_is_wrong_with_an_npz_is_said(tmp_path, changes, message):
    side_by_side(tmp_path, **changes)
    with pytest.raises(CaseError, match=message):
        read_slices(tmp_path, "t2")


def write_dicom(file):
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = FileDataset(str(file), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.Rows, data.Columns = IMAGE.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 0
    data.RescaleSlope, data.RescaleIntercept = "0.5", "2"
    data.PixelSpacing = ["1.25", "1.75"]
    data.PixelData = IMAGE.astype(np.uint16).tobytes()
    pydicom.dcmwrite(file, data, enforce_file_format=True)


def write_nifti(file, values):
    nibabel.save(nibabel.Nifti1Image(values.T[..., None], np.diag([1.75, 1.25, 8.0, 1.0])), file)


@pytest.fixture
def site(tmp_path):
    """Two cases, three ways to store an image, three ways to store what a reader drew."""
    basal, mid = tmp_path / "case-1" / "1-basal", tmp_path / "case-1" / "2-mid"
    apical = tmp_path / "case-2" / "apical"
    for folder in (basal, mid, apical):
        folder.mkdir(parents=True)
    write_dicom(basal / "t1.dcm")
    points = {"endo": [[7, 11], [12, 11], [12, 16], [7, 16]], "epi": [[4, 8], [15, 8], [15, 19], [4, 19]]}
    (basal / "t1.anna.json").write_text(json.dumps(points))
    cv2.imwrite(str(basal / "t1.ben.png"), mask())
    write_nifti(mid / "t1.nii.gz", IMAGE)
    write_nifti(mid / "t1.anna.nii.gz", mask())
    (mid / "t1_images").mkdir()
    np.savez(mid / "t1_images" / "all.npz", image=np.stack([IMAGE] * 8), pixel_spacing_mm=[1.75, 1.25])
    np.savez(apical / "t1.npz", image=IMAGE, pixel_spacing_mm=1.5)
    cv2.imwrite(str(apical / "t1.anna.png"), mask())
    return tmp_path


def test_a_folder_by_case_and_slice(site):
    basal, mid, apical = read_slices(site, "t1")
    assert [each.case for each in (basal, mid, apical)] == ["case-1", "case-1", "case-2"]
    assert [each.level for each in (basal, mid, apical)] == ["basal", "mid", "apical"]
    assert np.array_equal(basal.image, IMAGE * 0.5 + 2)
    assert basal.spacing == (1.75, 1.25)
    assert list(basal.readers) == ["anna", "ben"]
    assert np.array_equal(basal.readers["anna"], basal.readers["ben"])
    assert np.array_equal(mid.image, IMAGE)
    assert np.array_equal(mid.labels, mask())
    assert mid.spacing == pytest.approx((1.75, 1.25))
    assert mid.weighted.shape == (8, 30, 20)
    assert apical.weighted.shape == (0, 30, 20)


def test_what_is_wrong_with_a_folder_is_said(site):
    with pytest.raises(CaseError, match="no labelled t2 maps"):
        read_slices(site, "t2")
    with pytest.raises(CaseError, match="there is no map"):
        read_slices(site, "t3")
    with pytest.raises(CaseError, match="not a folder"):
        read_slices(site / "nowhere", "t1")
    (site / "case-2" / "apical" / "t1.anna.png").unlink()
    with pytest.raises(CaseError, match="no contours beside it"):
        read_slices(site, "t1")
    (site / "case-2" / "apical" / "t1.anna.json").write_text('{"endo": [[1, 2]], "epi": 3}')
    with pytest.raises(CaseError, match="three or more points"):
        read_slices(site, "t1")
