import io
import json
import sys
from collections import Counter

import cv2
import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from inline.contouring.contours import rasterise
from inline.data.results import Contours
from model.evaluation.cases import CaseError, read_kinds, read_slices
from model.evaluation.errors import NothingFoundError
from model.evaluation.metrics import agreement
from tests.shapes import circle

IMAGE = np.arange(30 * 20, dtype=np.float32).reshape(30, 20)


def mask():
    labels = np.zeros((30, 20), np.uint8)
    labels[8:20, 4:16] = 2
    labels[11:17, 7:13] = 1
    return labels


BORDERS = {
    "endo": [[6.5, 10.5], [12.5, 10.5], [12.5, 16.5], [6.5, 16.5]],
    "epi": [[3.5, 7.5], [15.5, 7.5], [15.5, 19.5], [3.5, 19.5]],
}
"""The borders of the mask: pixel centres have whole numbers."""


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


def ring(*, gap=0.0, rows=slice(None), columns=slice(None)):
    """Labels of a circular cavity, radius 9, and its wall, radius 14, without a sector of ``gap`` degrees."""
    y, x = np.mgrid[-20:21, -20:21]
    distance, angle = np.hypot(x, y), np.degrees(np.abs(np.arctan2(y, x)))
    wall = (distance < 14) & (angle >= gap / 2)
    return np.select([distance < 9, wall], [1, 2], 0).astype(np.uint8)[rows, columns]


MASKS = {
    "ring": ring(),
    "gap": ring(gap=15),
    "half of a ring": ring(gap=180),
    "a tenth of a ring": ring(gap=324),
    "cut off at one side": ring(rows=slice(9, None)),
    "cut off around": ring(rows=slice(8, -8), columns=slice(8, -8)),
    "cut through the cavity": ring(gap=60, columns=slice(20, None)),
    "cavity alone": np.where(ring() == 1, 1, 0),
    "wall alone": np.where(ring() == 2, 2, 0),
}


@pytest.mark.parametrize("labels", MASKS.values(), ids=MASKS)
def test_a_mask_of_any_part_of_the_heart_is_read(tmp_path, labels):
    side_by_side(tmp_path, label=labels, t2_ms=np.full(labels.shape, 45.0))
    assert np.array_equal(read_slices(tmp_path, "t2")[0].labels, labels)


@pytest.mark.parametrize("name", ["ring", "gap", "cut off at one side"])
def test_a_mask_with_1_for_myocardium_and_2_for_the_cavity_is_an_error(tmp_path, name):
    labels = np.array([0, 2, 1], np.uint8)[MASKS[name]]
    side_by_side(tmp_path, label=labels, t2_ms=np.full(labels.shape, 45.0))
    with pytest.raises(CaseError, match=r"patient-A-slice-1\.npz has 1 and 2 exchanged"):
        read_slices(tmp_path, "t2")


@pytest.mark.parametrize(
    ("name", "case", "level"),
    [
        ("patient-A-slice-12", "patient-A", ""),
        ("p1-slice-1-basal", "p1", "basal"),
        ("p1-basal-slice-1", "p1", "basal"),
        ("p1_basal", "p1", "basal"),
        ("p1 midventricular", "p1", "mid"),
        ("p1-mid-ventricular", "p1", "mid"),
        ("p1-SLICE-4", "p1", ""),
        ("p1slice4", "p1", ""),
        ("p2 slice 3", "p2", ""),
        ("p1-slice-3-rep2", "p1-rep2", ""),
        ("mid-p4-slice-2", "p4", "mid"),
        ("p1_basal_2", "p1_2", "basal"),
        ("T1_mid_P01", "T1_P01", "mid"),
        ("MOLLI_slice1_patient07", "MOLLI_patient07", ""),
        ("cohort-base-01", "cohort-01", "basal"),
        ("site1_apical_0012", "site1_0012", "apical"),
        ("p1_slice_2_followup", "p1_followup", ""),
        ("p1_followup_slice_2", "p1_followup", ""),
        ("p1_slice_2_baseline", "p1_baseline", ""),
        ("p1slice2_mid_followup", "p1-followup", "mid"),
        ("P01mid", "P01", "mid"),
        ("p1_mid-cavity", "p1", "mid"),
        ("p1_mid2", "p1_mid2", "mid"),
        ("Anna (2)-slice-1", "Anna (2)", ""),
        ("slice-2-p3-apex", "p3", "apical"),
        ("apex01-slice-3", "apex01", ""),
        ("multislice7 a_b--c-slice-3", "multislice7 a_b--c", ""),
        ("baseline-slice-3", "baseline", ""),
        ("MID00123-slice-3", "MID00123", ""),
        ("slice-1", "anna", ""),
        ("slice-2_mid", "anna", "mid"),
        ("basal", "anna", "basal"),
        ("p7", "p7", ""),
        ("database", "database", ""),
    ],
)
def test_the_case_of_an_npz_is_its_name_without_slice_and_level(tmp_path, name, case, level):
    folder = tmp_path / "anna"
    folder.mkdir()
    side_by_side(folder, name)
    (read,) = read_slices(folder, "t2")
    assert (read.name, read.case, read.level) == (name, case, level)


def test_npz_files_whose_names_state_no_slice_are_cases_of_their_own_and_are_named(tmp_path, caplog):
    for name in ("p1-slice-1", "p1-slice-2", "p1_basal", "p1-a", "p1-b"):
        side_by_side(tmp_path, name)
    assert [each.case for each in read_slices(tmp_path, "t2")] == ["p1-a", "p1-b", "p1", "p1", "p1"]
    (line,) = caplog.messages
    assert "2 of 5 files state neither slice nor level" in line
    assert "p1-a, p1-b" in line


def test_names_with_the_patient_behind_the_level_are_of_as_many_cases_as_patients(tmp_path, caplog):
    for level in ("base", "mid", "apex"):
        for patient in ("P01", "P02", "P03"):
            side_by_side(tmp_path, f"T2_{level}_{patient}")
    counts = Counter(each.case for each in read_slices(tmp_path, "t2"))
    assert counts == {"T2_P01": 3, "T2_P02": 3, "T2_P03": 3}
    assert not caplog.messages


def test_files_of_one_case_with_the_same_slice_and_level_are_named(tmp_path, caplog):
    for name in (
        "p1-slice-1",
        "p1_slice_01",
        "p1-slice-2",
        "p1-slice-1-mid",
        "p2_basal",
        "p2-base",
        "p3-mid",
    ):
        side_by_side(tmp_path, name)
    read_slices(tmp_path, "t2")
    (line,) = caplog.messages
    assert "p1-slice-1, p1_slice_01, p2-base, p2_basal" in line
    assert "p1-slice-1-mid" not in line


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": None}, "no label"),
        ({"pixel_spacing_mm": None}, "no pixel_spacing_mm"),
        ({"label": np.zeros((4, 4))}, r"mask of .* is \(4, 4\)"),
        ({"label": np.full((30, 20), 7)}, "other values"),
        ({"pixel_spacing_mm": [1.0, 1.0, 8.0]}, "cannot be read"),
        ({"pixel_spacing_mm": 0.0}, r"slice-1\.npz: no image has .* pixels of \(0.0, 0.0\) mm"),
        ({"pixel_spacing_mm": -1.2}, r"slice-1\.npz: no image"),
        ({"pixel_spacing_mm": [1.2, np.nan]}, r"slice-1\.npz: no image"),
        ({"pixel_spacing_mm": 1e4}, r"slice-1\.npz: no image"),
        ({"t2_ms": IMAGE[None], "label": mask()[None]}, r"t2_ms of .*slice-1\.npz has 3 dimensions"),
        ({"t2_ms": IMAGE + 1j}, r"slice-1\.npz holds no real numbers \(complex64\)"),
        ({"t2_ms": IMAGE.astype(str)}, r"slice-1\.npz holds no real numbers"),
        ({"t2_ms": IMAGE[:0], "label": mask()[:0]}, r"slice-1\.npz: no image has \(0, 20\) pixels"),
    ],
)
def test_what_is_wrong_with_an_npz_is_said(tmp_path, changes, message):
    side_by_side(tmp_path, **changes)
    with pytest.raises(CaseError, match=message):
        read_slices(tmp_path, "t2")


def test_the_pixel_size_of_an_npz_is_one_number_or_x_and_y(tmp_path):
    side_by_side(tmp_path, pixel_spacing_mm=[1.25, 1.75])
    (read,) = read_slices(tmp_path, "t2")
    assert read.spacing == (1.25, 1.75)


@pytest.mark.parametrize(
    ("image", "spacing", "message"),
    [
        (IMAGE, 0.0, r"t2\.npz: no image has"),
        (IMAGE, [1.2, np.nan], r"t2\.npz: no image has"),
        (IMAGE[:, :0], 1.2, r"t2\.npz: no image has"),
        (IMAGE + 1j, 1.2, r"t2\.npz holds no real numbers"),
        (IMAGE[0], 1.2, r"t2\.npz has 1 dimensions"),
    ],
)
def test_a_map_that_is_no_image_is_named(tmp_path, image, spacing, message):
    place = tmp_path / "case-1" / "mid"
    place.mkdir(parents=True)
    np.savez(place / "t2.npz", image=image, pixel_spacing_mm=spacing)
    with pytest.raises(CaseError, match=message):
        read_slices(tmp_path, "t2")


def test_a_complex_nifti_map_is_an_error(tmp_path):
    place = tmp_path / "case-1" / "mid"
    place.mkdir(parents=True)
    write_nifti(place / "t2.nii", IMAGE + 1j * IMAGE)
    with pytest.raises(CaseError, match=r"t2\.nii holds no real numbers"):
        read_slices(tmp_path, "t2")


def damaged(content):
    """An npz file with other bytes in the middle of an array, one cut short, and others that are none."""
    middle = len(content) // 3
    yield content[:middle] + b"\xff" * 8 + content[middle + 8 :]
    yield from (content[:-30], content[:40], b"", b"no")
    array = io.BytesIO()
    np.save(array, IMAGE)
    yield array.getvalue()


@pytest.mark.parametrize("place", ["", "case-1/mid", "case-1/mid/t2_images"])
def test_a_damaged_npz_is_named(tmp_path, place):
    if place:
        (tmp_path / "case-1" / "mid" / "t2_images").mkdir(parents=True)
        np.savez(tmp_path / "case-1" / "mid" / "t2.npz", image=IMAGE, pixel_spacing_mm=1.5)
        cv2.imwrite(str(tmp_path / "case-1" / "mid" / "t2.anna.png"), mask())
    file = tmp_path / place / "t2.npz"
    np.savez(file, **{"image" if place else "t2_ms": IMAGE}, label=mask(), pixel_spacing_mm=1.5)
    for content in damaged(file.read_bytes()):
        file.write_bytes(content)
        with pytest.raises(CaseError, match=r"t2\.npz"):
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
    (basal / "t1.anna.json").write_text(json.dumps(BORDERS))
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


def test_a_kind_of_which_no_map_has_contours_is_missing_and_is_named(site, caplog):
    for folder in (site / "case-1" / "1-basal", site / "case-2" / "apical"):
        np.savez(folder / "t2.npz", image=IMAGE, pixel_spacing_mm=1.5)
    with pytest.raises(NothingFoundError, match="no labelled t2 maps, but 2 without contours"):
        read_slices(site, "t2")
    assert [each.kind for each in read_kinds(site, ("t1", "t2"))] == ["t1"] * 3
    (line,) = caplog.messages
    assert "no labelled t2 maps, but 2 without contours" in line


def test_the_name_of_a_reader_may_have_any_characters(tmp_path, caplog):
    place = tmp_path / "case-1" / "mid"
    place.mkdir(parents=True)
    np.savez(place / "t1.npz", image=IMAGE, pixel_spacing_mm=1.5)
    for name in ("Dr. Anna", "j.doe", "anna (2)", "Zoë"):
        (place / f"t1.{name}.json").write_text(json.dumps(BORDERS))
    cv2.imwrite(str(place / "t1.R+D [b].png"), mask())
    (place / "t1.report.pdf").write_text("a report")
    (read,) = read_slices(tmp_path, "t1")
    assert list(read.readers) == ["Dr. Anna", "R+D [b]", "Zoë", "anna (2)", "j.doe"]
    (line,) = caplog.messages
    assert "t1.report.pdf is left out" in line


def test_composed_and_decomposed_letters_of_a_name_are_of_one_reader(site):
    place = site / "case-1" / "1-basal"
    (place / "t1.anna.json").rename(place / "t1.Zoe\u0308.json")
    basal, *_ = read_slices(site, "t1")
    assert list(basal.readers) == ["Zo\u00eb", "ben"]
    cv2.imwrite(str(place / "t1.Zo\u00eb.png"), mask())
    with pytest.raises(CaseError, match="are both of reader Zo\u00eb"):
        read_slices(site, "t1")


def test_capitals_of_the_map_make_no_difference(site):
    place = site / "case-1" / "2-mid"
    for old, new in (
        ("t1.nii.gz", "T1.nii.gz"),
        ("t1.anna.nii.gz", "T1.anna.nii.gz"),
        ("t1_images", "T1_images"),
    ):
        (place / old).rename(place / new)
    cv2.imwrite(str(place / "T1.bert.png"), mask())
    (read,) = (each for each in read_slices(site, "t1") if each.level == "mid")
    assert list(read.readers) == ["anna", "bert"]
    assert read.weighted.shape == (8, 30, 20)
    cv2.imwrite(str(place / "t1.bert.png"), mask())
    with pytest.raises(CaseError, match=r"T1\.bert\.png and .*t1\.bert\.png are both of reader bert"):
        read_slices(site, "t1")


def test_capitals_of_suffixes_make_no_difference(site, caplog):
    for file in [path for path in site.glob("*/*/*") if path.is_file()]:
        reader = file.name.split(".", 1)
        file.rename(file.with_name(f"{reader[0]}.{reader[1].upper()}"))
    basal, mid, apical = read_slices(site, "t1")
    assert [list(each.readers) for each in (basal, mid, apical)] == [["ANNA", "BEN"], ["ANNA"], ["ANNA"]]
    assert np.array_equal(basal.image, IMAGE * 0.5 + 2)
    assert np.array_equal(mid.labels, mask())
    assert not caplog.messages


def test_case_folders_without_a_map_are_named(site, caplog):
    flat, deep, other = site / "flat", site / "batch" / "case-7" / "mid", site / "other" / "mid"
    for folder in (flat, deep, other):
        folder.mkdir(parents=True)
    np.savez(flat / "t1.npz", image=IMAGE, pixel_spacing_mm=1.5)
    np.savez(deep / "t1.npz", image=IMAGE, pixel_spacing_mm=1.5)
    write_dicom(other / "t1_map.dcm")
    (site / ".git" / "objects").mkdir(parents=True)
    assert len(read_slices(site, "t1")) == 3
    (line,) = caplog.messages
    assert "3 of 5 folders have no slice folder with a t1 map and are left out: batch, flat, other;" in line


def test_slice_folders_without_a_map_are_named_once(site, caplog):
    for name in ("notes", "3-apical"):
        (site / "case-1" / name).mkdir()
    write_dicom(site / "case-1" / "3-apical" / "t1_map.dcm")
    other = site / "case-2" / "basal"
    other.mkdir()
    np.savez(other / "t2.npz", image=IMAGE / 20, pixel_spacing_mm=1.5)
    cv2.imwrite(str(other / "t2.anna.png"), mask())
    assert len(read_kinds(site, ("t1", "t2"))) == 4
    (line,) = (each for each in caplog.messages if "slice folders" in each)
    assert "slice folders without a map are left out (2): case-1/3-apical, case-1/notes;" in line


def test_case_folders_beside_npz_files_are_named(site, caplog):
    side_by_side(site, "p1-slice-1", t1_ms=IMAGE)
    assert [each.case for each in read_slices(site, "t1")] == ["p1"]
    (line,) = caplog.messages
    assert "not the folders beside them (2): case-1, case-2" in line


def test_maps_in_another_unit_than_ms_are_named(tmp_path, caplog):
    # T2 of 50 ms in the wall: in ms, in seconds, in microseconds; a map of no finite value; grey levels.
    wall = np.where(mask() == 2, np.float32(50), np.float32(200))
    for number, factor in enumerate((1.0, 1e-3, 1e3, np.nan)):
        side_by_side(tmp_path, f"p{number}-slice-1", t2_ms=wall * np.float32(factor), t1_window=wall * 0)
    read = read_slices(tmp_path, "t2")
    assert [each.can_be_ms for each in read] == [True, False, False, True]
    (line,) = caplog.messages
    assert "2 of 4 t2 maps are not in ms by their values: p1-slice-1, p2-slice-1" in line
    assert np.array_equal(read[2].network_image, read[2].image)
    read_slices(tmp_path, "t1")
    assert len(caplog.messages) == 1


def test_hidden_files_are_passed_over(site):
    for place in (site, site / "case-1", site / "case-1" / "2-mid", site / "case-1" / "2-mid" / "t1_images"):
        for name in (".DS_Store", "._p1.npz", "._t1.anna.json", "._anna.cvi42wsx"):
            (place / name).write_text("x")
    assert len(read_slices(site, "t1")) == 3


@pytest.mark.parametrize("suffix", ["npz", "nii.gz", "png"])
def test_a_mask_of_several_layers_is_refused(tmp_path, suffix):
    place = tmp_path / "case-1" / "mid"
    place.mkdir(parents=True)
    np.savez(place / "t1.npz", image=IMAGE, pixel_spacing_mm=1.5)
    layers = np.stack([mask() == 1, mask() == 2, mask() == 0]).astype(np.uint8)
    file = place / f"t1.anna.{suffix}"
    if suffix == "npz":
        np.savez(file, image=layers, pixel_spacing_mm=1.5)
    elif suffix == "nii.gz":
        nibabel.save(nibabel.Nifti1Image(layers.transpose(2, 1, 0), np.eye(4)), file)
    else:
        cv2.imwrite(str(file), layers.transpose(1, 2, 0))
    with pytest.raises(CaseError, match=r"t1\.anna\..*(holds 3 images; a mask is one|\(30, 20, 3\))"):
        read_slices(tmp_path, "t1")


def nifti_slice(file, values, affine, *, coded=True):
    image = nibabel.Nifti1Image(values.T[..., None], affine)
    if not coded:
        image.set_sform(None)
    nibabel.save(image, file)


UPRIGHT = np.diag([-1.75, -1.25, 8.0, 1.0])
TURNED = np.diag([-1.75, 1.25, 8.0, 1.0])
TURNED[1, 3] = -1.25 * 29
"""The same place in space as UPRIGHT where the rows are stored in reverse."""


def test_a_nifti_mask_of_another_grid_than_its_map_is_an_error_that_names_both(tmp_path):
    place = tmp_path / "case-1" / "mid"
    place.mkdir(parents=True)
    labels = np.roll(mask(), 5, axis=0)
    nifti_slice(place / "t1.nii", IMAGE, UPRIGHT)
    nifti_slice(place / "t1.anna.nii", labels, UPRIGHT)
    (read,) = read_slices(tmp_path, "t1")
    assert np.array_equal(read.labels, labels)
    nifti_slice(place / "t1.anna.nii", labels[::-1], TURNED)
    with pytest.raises(
        CaseError, match=r"t1\.anna\.nii is on another grid of pixels than .*t1\.nii: up to 36"
    ):
        read_slices(tmp_path, "t1")
    nifti_slice(place / "t1.anna.nii", labels, TURNED, coded=False)
    (read,) = read_slices(tmp_path, "t1")
    assert np.array_equal(read.labels, labels)


@pytest.mark.parametrize("coded", [True, False])
def test_a_nifti_mask_that_states_no_place_is_read_by_rows_and_columns(tmp_path, coded):
    """Programs write the unit matrix where they know none."""
    place = tmp_path / "case-1" / "mid"
    place.mkdir(parents=True)
    nifti_slice(place / "t1.nii", IMAGE, UPRIGHT)
    nifti_slice(place / "t1.anna.nii", mask(), np.eye(4), coded=coded)
    (read,) = read_slices(tmp_path, "t1")
    assert np.array_equal(read.labels, mask())


def test_a_nifti_mask_beside_dicom_lies_on_the_grid_of_the_map(tmp_path):
    place = tmp_path / "case-1" / "mid"
    place.mkdir(parents=True)
    write_dicom(place / "t1.dcm")
    data = pydicom.dcmread(place / "t1.dcm")
    data.ImagePositionPatient, data.ImageOrientationPatient = [-17, 5, 30], [1, 0, 0, 0, 0, -1]
    data.save_as(place / "t1.dcm")
    # Columns go to the left (-x of NIfTI), rows to the feet (-z).
    affine = np.array([[-1.75, 0, 0, 17], [0, 0, 8.0, -5], [0, -1.25, 0, 30], [0, 0, 0, 1.0]])
    nifti_slice(place / "t1.anna.nii", mask(), affine)
    (read,) = read_slices(tmp_path, "t1")
    assert np.array_equal(read.labels, mask())
    affine[2, 1:] = 1.25, 0, 30 - 1.25 * 29
    nifti_slice(place / "t1.anna.nii", mask()[::-1], affine)
    with pytest.raises(CaseError, match=r"t1\.anna\.nii is on another grid of pixels than .*t1\.dcm"):
        read_slices(tmp_path, "t1")


@pytest.mark.parametrize("name", ["t1.anna.npz", "t1.anna.nii", "t1.anna.dcm"])
def test_a_mask_with_another_pixel_size_than_its_map_is_an_error_that_names_both(tmp_path, name):
    place = tmp_path / "case-1" / "mid"
    place.mkdir(parents=True)
    np.savez(place / "t1.npz", image=IMAGE, pixel_spacing_mm=[1.75, 1.27])
    if name.endswith("npz"):
        np.savez(place / name, image=mask(), pixel_spacing_mm=[1.75, 1.25])
    elif name.endswith("nii"):
        write_nifti(place / name, mask())
    else:
        write_dicom(place / name)
        data = pydicom.dcmread(place / name)
        data.RescaleSlope, data.RescaleIntercept = 1, 0
        data.PixelData = mask().astype(np.uint16).tobytes()
        data.save_as(place / name)
    with pytest.raises(CaseError, match=rf"{name} has pixels of 1.75 x 1.25 mm, its map .*1.75 x 1.27 mm"):
        read_slices(tmp_path, "t1")
    np.savez(place / "t1.npz", image=IMAGE, pixel_spacing_mm=[1.75, 1.255])
    (read,) = read_slices(tmp_path, "t1")
    assert np.array_equal(read.labels, mask())


def test_two_files_of_one_reader_are_an_error_that_names_both(site):
    cv2.imwrite(str(site / "case-1" / "1-basal" / "t1.anna.png"), mask())
    with pytest.raises(CaseError, match=r"t1\.anna\.json and .*t1\.anna\.png are both of reader anna"):
        read_slices(site, "t1")


def test_a_kind_of_map_may_be_missing_but_not_be_at_fault(site, caplog):
    assert {each.kind for each in read_kinds(site, ("t1", "t2"))} == {"t1"}
    (line,) = caplog.messages
    assert "no labelled t2 maps;" in line
    for folder in (site / "case-1" / "1-basal", site / "case-2" / "apical"):
        np.savez(folder / "t2.npz", image=IMAGE, pixel_spacing_mm=1.5)
        cv2.imwrite(str(folder / "t2.anna.png"), mask())
    assert [each.kind for each in read_kinds(site, ("t1", "t2"))] == ["t1"] * 3 + ["t2"] * 2
    (site / "case-2" / "apical" / "t2.anna.png").unlink()
    with pytest.raises(CaseError, match="apical: t2 has no contours beside it"):
        read_kinds(site, ("t1", "t2"))
    with pytest.raises(CaseError, match="not a folder"):
        read_kinds(site / "nowhere", ("t1", "t2"))
    (site / "empty").mkdir()
    with pytest.raises(CaseError, match=r"no labelled t1 maps.*no labelled t2 maps"):
        read_kinds(site / "empty", ("t1", "t2"))


def ring(x, y, inner, outer):
    return Contours(circle(inner, (x, y)), circle(outer, (x, y)))


def read_contours(folder, endo, epi, shape=(80, 90)):
    """Labels of contours that lie beside a map as JSON."""
    place = folder / "case-1" / "mid"
    place.mkdir(parents=True, exist_ok=True)
    np.savez(place / "t1.npz", image=np.zeros(shape, np.float32), pixel_spacing_mm=1.5)
    (place / "t1.anna.json").write_text(json.dumps({"endo": endo, "epi": epi}))
    (read,) = read_slices(folder, "t1")
    return read.labels


@pytest.mark.parametrize(
    ("x", "y", "inner", "outer"), [(40, 35, 12, 16), (41.3, 37.8, 14.2, 20.5), (30.5, 30.5, 9, 13)]
)
def test_contours_agree_with_themselves_by_way_of_a_file(tmp_path, x, y, inner, outer):
    """The product's labels of a contour are those of a reader who drew the same contour."""
    contours = ring(x, y, inner, outer)
    theirs = read_contours(tmp_path, contours.endo.tolist(), contours.epi.tolist())
    same = agreement(rasterise(contours, theirs.shape), theirs, (1.5, 1.5))
    assert (same.dice_cavity, same.dice_myocardium) == (1.0, 1.0)
    area = np.pi * (outer**2 - inner**2)
    assert abs((theirs == 2).sum() - area) < 0.03 * area


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"endo": [[1, 2], [3, NaN], [5, 6]], "epi": [[1, 2], [3, 4], [5, 1]]}', "no position"),
        ('{"endo": [[1, 2], [3, 1e308], [5, 6]], "epi": [[1, 2], [3, 4], [5, 1]]}', "no position"),
        ('{"endo": [[1, 2], [3, 4], [5, 6, 7]], "epi": [[1, 2], [3, 4], [5, 1]]}', "is not"),
        ("[1, 2]", "is not"),
        ('{"endo": [[1, 2], [3, 4], [5, 6]]}', r"is not .*: there is no 'epi'"),
        ("{", "cannot be read as JSON: .*line 1"),
        ("[" * 100000, "cannot be read as JSON"),
        # In mm from the isocentre, not pixels: outside the image.
        (
            '{"endo": [[-70, -70], [-50, -70], [-60, -50]], "epi": [[-90, -90], [-40, -90], [-60, -40]]}',
            "endo",
        ),
        # Exchanged: nothing lies between the two.
        (json.dumps({"endo": BORDERS["epi"], "epi": BORDERS["endo"]}), "between the two"),
    ],
)
def test_contours_that_cannot_be_used_are_an_error_that_names_the_file(site, content, message):
    (site / "case-1" / "1-basal" / "t1.anna.json").write_text(content)
    with pytest.raises(CaseError, match=rf"t1\.anna\.json.*{message}"):
        read_slices(site, "t1")


def test_two_maps_of_one_kind_in_a_slice_are_an_error_that_names_both(site):
    folder = site / "case-1" / "1-basal"
    np.savez(folder / "T1.npz", image=np.zeros((4, 4), np.float32), pixel_spacing_mm=1.0)
    with pytest.raises(CaseError, match=r"T1\.npz and .*t1\.dcm are both maps of t1"):
        read_slices(site, "t1")


def test_a_preview_beside_a_map_is_no_second_map(site):
    (site / "case-1" / "1-basal" / "t1.png").write_bytes(b"preview")
    assert read_slices(site, "t1")


def test_a_package_that_is_not_installed_is_no_fault_of_the_file(site, monkeypatch):
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(ImportError, match="nibabel"):
        read_slices(site, "t1")
