"""Contours of other programs: what is written in their way is read, and what is damaged is reported."""

import json
import os
import shutil

import nibabel
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from model.evaluation.cases import first_readers, read_slices
from model.evaluation.contours_in.cvi42 import ENDO, EPI, read_cvi42
from model.evaluation.contours_in.dicom_objects import SEGMENTATION, STRUCTURES
from model.evaluation.contours_in.medis import read_medis
from model.evaluation.errors import CaseError
from model.polygons import ring_labels

ROWS, COLUMNS = 30, 24
CENTRE = np.array([11.3, 14.6])
ANGLES = np.linspace(0.0, 2.0 * np.pi, 40, endpoint=False)
CIRCLE = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
OUTLINES = {"endo": CENTRE + 4.2 * CIRCLE, "epi": CENTRE + 7.4 * CIRCLE}
LABELS = ring_labels(OUTLINES["endo"], OUTLINES["epi"], (ROWS, COLUMNS))
FIRST = np.array([-100.0, 40.0, 20.0])
ROW, COLUMN = np.array([0.8, 0.6, 0.0]), np.array([0.0, 0.0, -1.0])
SPACING = (1.5, 1.25)
"""Pixel size (x, y)."""
MAP, WEIGHTED = "2.25.10", "2.25.11"


def to_mm(points):
    return FIRST + (points * SPACING) @ np.array([ROW, COLUMN])


def dataset(kind, uid):
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, uid
    data = Dataset()
    data.file_meta = meta
    data.SOPClassUID, data.SOPInstanceUID = kind, uid
    data.PatientName = data.PatientID = "x"
    return data


def write_image(file, uid):
    data = dataset(MRImageStorage, uid)
    data.Rows, data.Columns = ROWS, COLUMNS
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 0
    data.PixelSpacing = [str(SPACING[1]), str(SPACING[0])]
    data.ImagePositionPatient = list(map(str, FIRST))
    data.ImageOrientationPatient = list(map(str, (*ROW, *COLUMN)))
    data.PixelData = np.full((ROWS, COLUMNS), 1000, "<u2").tobytes()
    data.save_as(file, enforce_file_format=True)


@pytest.fixture
def case(tmp_path):
    """Folder of one slice of one case, with its map and a weighted image, without contours."""
    folder = tmp_path / "case-1" / "2-mid"
    (folder / "t1_images").mkdir(parents=True)
    write_image(folder / "t1.dcm", MAP)
    write_image(folder / "t1_images" / "1.dcm", WEIGHTED)
    return folder


def read(case):
    (found,) = read_slices(case.parent.parent, "t1")
    return found


def medis(outlines, *, places=((3, 0),), resolution=f"{COLUMNS}x{ROWS}"):
    text = f"[FILE]\nVersion=2.0\n[IMAGES]\nField_of_view=36x37.5 mm\nImage_resolution={resolution}\n"
    for slice_, frame in places:
        for mode, points in ((0, outlines["endo"]), (1, outlines["epi"]), (5, outlines["endo"] + 1)):
            text += f"[XYCONTOUR]\n{slice_} {frame} {mode}  1.0\n{len(points)}\n"
            text += "".join(f"{x:.4f} {y:.4f}\n" for x, y in points)
    return text + "[POINT]\n1 2\n"


def cvi42(outlines, uid=MAP, resolution=4, before=""):
    def contour(name, points):
        listed = "".join(
            f"<List:item><Point:x>{x * resolution:.4f}</Point:x><Point:y>{y * resolution:.4f}</Point:y>"
            "</List:item>"
            for x, y in points
        )
        return (
            f'<Hash:item Hash:key="{name}"><Hash:item Hash:key="Points">{listed}</Hash:item>'
            f'<Hash:item Hash:key="SubpixelResolution">{resolution}</Hash:item></Hash:item>'
        )

    drawn = contour(ENDO, outlines["endo"]) + contour(EPI, outlines["epi"])
    drawn += contour("sarvendocardialContour", outlines["endo"])
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{before}<Workspace><Hash:item Hash:key="Studies">'
        f'<Hash:item Hash:key="ImageStates"><Hash:item Hash:key="{uid}">'
        f'<Hash:item Hash:key="Contours">{drawn}</Hash:item>'
        f'<Hash:item Hash:key="Window"><Size:x>7</Size:x></Hash:item></Hash:item></Hash:item>'
        "</Hash:item></Workspace>"
    )


def study_json(outlines):
    return json.dumps(
        {
            f"{border}cardial_contours_{axis}": points[:, place].tolist()
            for border, points in outlines.items()
            for place, axis in enumerate("xy")
        }
    )


def structures(outlines, *, refer=True, shift=0.0, names=("LV Endo", "LV Epi", "RV endo")):
    data = dataset(STRUCTURES, "2.25.20")
    rois, contours = [], []
    for number, (name, points) in enumerate(
        zip(names, (outlines[border] for border in ("endo", "epi", "endo")), strict=False), 1
    ):
        roi, contour, drawn, image = Dataset(), Dataset(), Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name
        drawn.ContourGeometricType = "CLOSED_PLANAR"
        moved = to_mm(points) + shift * np.cross(ROW, COLUMN)
        drawn.ContourData = [f"{value:.6f}" for value in moved.ravel()]
        drawn.NumberOfContourPoints = len(points)
        if refer:
            image.ReferencedSOPInstanceUID, image.ReferencedSOPClassUID = WEIGHTED, MRImageStorage
            drawn.ContourImageSequence = Sequence([image])
        contour.ReferencedROINumber, contour.ContourSequence = number, Sequence([drawn])
        rois.append(roi)
        contours.append(contour)
    data.StructureSetROISequence, data.ROIContourSequence = Sequence(rois), Sequence(contours)
    return data


def segmentation(
    labels,
    *,
    fractional=False,
    move=0.0,
    names=("LV cavity", "Myocardium"),
    other="right ventricle blood pool",
):
    data = dataset(SEGMENTATION, "2.25.30")
    data.SegmentationType = "FRACTIONAL" if fractional else "BINARY"
    frames = np.stack([labels == 1, labels == 2, labels == 0]).astype(np.uint8)
    data.Rows, data.Columns, data.NumberOfFrames = *labels.shape, len(frames)
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    if fractional:
        data.BitsAllocated = data.BitsStored = 8
        data.HighBit, data.MaximumFractionalValue = 7, 200
        data.PixelData = np.where(frames > 0, 150, 40).astype(np.uint8).tobytes()
    else:
        data.BitsAllocated = data.BitsStored = 1
        data.HighBit = 0
        data.PixelData = np.packbits(frames.ravel(), bitorder="little").tobytes()
    segments, groups = [], []
    for number, name in enumerate((*names, other), 1):
        segment, kind, group, used, derived, source = (Dataset() for _ in range(6))
        position, orientation, measures = (Dataset() for _ in range(3))
        segment.SegmentNumber, segment.SegmentLabel = number, name
        kind.CodeMeaning = "Tissue"
        segment.SegmentedPropertyTypeCodeSequence = Sequence([kind])
        used.ReferencedSegmentNumber = number
        source.ReferencedSOPInstanceUID = MAP
        derived.SourceImageSequence = Sequence([source])
        position.ImagePositionPatient = [f"{value:.6f}" for value in FIRST + move * ROW]
        orientation.ImageOrientationPatient = list(map(str, (*ROW, *COLUMN)))
        measures.PixelSpacing = [str(SPACING[1]), str(SPACING[0])]
        group.SegmentIdentificationSequence = Sequence([used])
        group.DerivationImageSequence = Sequence([derived])
        group.PlanePositionSequence = Sequence([position])
        group.PlaneOrientationSequence = Sequence([orientation])
        group.PixelMeasuresSequence = Sequence([measures])
        segments.append(segment)
        groups.append(group)
    data.SegmentSequence = Sequence(segments)
    data.PerFrameFunctionalGroupsSequence = Sequence(groups)
    return data


def save(data, file):
    data.save_as(file, enforce_file_format=True)


@pytest.mark.parametrize("form", ["con", "cvi42wsx", "json", "rtstruct", "seg", "fractional"])
def test_what_a_program_writes_is_read(form, case):
    if form == "con":
        (case / "t1.anna.con").write_text(medis(OUTLINES))
    elif form == "cvi42wsx":
        (case / "t1.anna.cvi42wsx").write_text(cvi42(OUTLINES))
    elif form == "json":
        (case / "t1.anna.json").write_text(study_json(OUTLINES))
    elif form == "rtstruct":
        save(structures(OUTLINES), case / "t1.anna.dcm")
    else:
        save(segmentation(LABELS, fractional=form == "fractional"), case / "t1.anna.dcm")
    found = read(case)
    assert list(found.readers) == ["anna"]
    np.testing.assert_array_equal(found.labels, LABELS)


def test_a_workspace_of_a_case_gives_its_slices(case):
    (case.parent / "ben.cvi42wsx").write_text(cvi42(OUTLINES, uid=WEIGHTED))
    (case / "t1.anna.con").write_text(medis(OUTLINES))
    found = read(case)
    assert list(found.readers) == ["anna", "ben"]
    np.testing.assert_array_equal(found.readers["ben"], LABELS)
    # One of other images gives nothing.
    (case.parent / "ben.cvi42wsx").write_text(cvi42(OUTLINES, uid="2.25.99"))
    assert list(read(case).readers) == ["anna"]


def test_readers_are_in_the_order_of_their_names_wherever_their_contours_lie(case):
    """Anna's workspace has contours on two slices, on one of which ben has a file of his own."""
    other = case.parent / "3-apical"
    other.mkdir()
    write_image(other / "t1.dcm", "2.25.12")
    smaller = {name: CENTRE + 0.9 * (points - CENTRE) for name, points in OUTLINES.items()}
    for uid, name in ((MAP, "anna"), ("2.25.12", "anna-b")):
        (case.parent / f"{name}.cvi42wsx").write_text(cvi42(OUTLINES, uid=uid))
    (case / "t1.ben.json").write_text(study_json(smaller))
    (other / "t1.anna.json").write_text(study_json(OUTLINES))
    mid, apical = read_slices(case.parent.parent, "t1")
    assert list(mid.readers) == ["anna", "ben"]
    assert list(apical.readers) == ["anna", "anna-b"]
    np.testing.assert_array_equal(mid.labels, LABELS)
    assert first_readers([mid, apical]) == {"anna": 2}


def test_the_folders_of_the_published_study(tmp_path, caplog):
    patient = tmp_path / "2023_07_09" / "Patient (7)"
    own, maps = patient / "T1_map_mid_", patient / "T1_Mapping_"
    own.mkdir(parents=True)
    maps.mkdir()
    write_image(maps / "Mid.dcm", MAP)
    write_image(own / "1.dcm", WEIGHTED)
    write_image(own / "2.dcm", "2.25.12")
    (own / "Contours.json").write_text(study_json(OUTLINES))
    (found,) = read_slices(tmp_path, "t1")
    assert (found.case, found.level, found.weighted.shape) == ("Patient (7)", "mid", (2, ROWS, COLUMNS))
    np.testing.assert_array_equal(found.labels, LABELS)
    with pytest.raises(CaseError, match="no labelled t2 maps"):
        read_slices(tmp_path, "t2")
    # Another day may have a patient of that number too.
    shutil.copytree(patient, tmp_path / "2023_07_10" / "Patient (7)")
    names = [each.name for each in read_slices(tmp_path, "t1")]
    assert names == ["2023_07_09/Patient (7)/Mid", "2023_07_10/Patient (7)/Mid"]
    assert [each.name for each in read_slices(patient.parent, "t1")] == ["Patient (7)/Mid"]
    assert not caplog.messages
    (tmp_path / "case-1" / "mid").mkdir(parents=True)
    assert len(read_slices(tmp_path, "t1")) == 2
    (line,) = caplog.messages
    assert line.endswith("of the study's layout are left out (1): case-1")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (medis(OUTLINES, places=((3, 0), (4, 0))), "slice 3 frame 0, slice 4 frame 0"),
        (medis(OUTLINES, resolution="99x30"), "the map has 24 columns"),
        (medis(OUTLINES)[:400], "is damaged, or ends too soon"),
        (medis(OUTLINES).replace("3 0 0", "3 0 2"), "no slice with an endocardial"),
        (medis({"endo": np.full((4, 2), np.nan), "epi": OUTLINES["epi"]}), "no position in an image"),
        ("", "no slice with an endocardial"),
    ],
)
def test_medis_files_that_cannot_be_used(case, content, message):
    (case / "t1.anna.con").write_text(content)
    with pytest.raises(CaseError, match=message):
        read(case)


EMPTY = np.zeros((0, 2))
SMALLER = {name: CENTRE + 0.5 * (points - CENTRE) for name, points in OUTLINES.items()}


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (medis(SMALLER), "two different contours of mode 0 on slice 3 frame 0"),
        (medis(OUTLINES).replace("3 0 0", "3 0 9"), ""),
        (
            medis(OUTLINES, places=((4, 0),)).replace("4 0 0", "4 0 9"),
            "slice 3 frame 0, slice 4 frame 0; which",
        ),
        (medis(OUTLINES, places=((4, 0),)).replace("4 0 0", "4 0 9").replace("4 0 1", "4 0 8"), ""),
        (medis({"endo": EMPTY, "epi": EMPTY}, places=((3, 0), (4, 0))), ""),
    ],
)
def test_medis_files_with_more_than_the_contours_of_one_slice(case, second, message):
    """A contour that is stored twice, one without points, and other structures elsewhere do no harm."""
    for content in (medis(OUTLINES) + second, second + medis(OUTLINES)):
        (case / "t1.anna.con").write_text(content)
        if message:
            with pytest.raises(CaseError, match=message):
                read(case)
        else:
            np.testing.assert_array_equal(read(case).labels, LABELS)


def test_an_image_may_stand_twice_in_a_workspace_with_the_same_contours(case):
    image = f'<Hash:item Hash:key="{MAP}">'

    def with_second(outlines, before=OUTLINES):
        second = cvi42(outlines).partition(image)[2].partition('<Hash:item Hash:key="Window">')[0]
        return cvi42(before).replace(image, f"{image}{second}</Hash:item>{image}")

    file = case / "t1.anna.cvi42wsx"
    file.write_text(with_second(OUTLINES))
    np.testing.assert_array_equal(read_cvi42(file)[MAP].endo, np.round(OUTLINES["endo"] * 4, 4) / 4)
    np.testing.assert_array_equal(read(case).labels, LABELS)
    empty = {"endo": EMPTY, "epi": EMPTY}
    for both in ((OUTLINES, empty), (empty, OUTLINES)):
        file.write_text(with_second(*both))
        np.testing.assert_array_equal(read(case).labels, LABELS)
    file.write_text(with_second(SMALLER))
    with pytest.raises(CaseError, match=f"two different contours {ENDO} of image {MAP}: keep one"):
        read(case)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (cvi42(OUTLINES, before='<!DOCTYPE x [<!ENTITY a "b">]>'), "declares a document type"),
        (cvi42(OUTLINES, before='<!DOCTYPE x SYSTEM "file:///etc/hostname">'), "declares a document type"),
        (cvi42(OUTLINES)[:300], "is no cvi42 workspace in XML"),
        ("\x00\x01binary", "is no cvi42 workspace in XML"),
        (cvi42(OUTLINES).replace(">4<", ">0<"), "a SubpixelResolution is 0"),
        (cvi42(OUTLINES).replace("<Point:x>", "<Point:x>oops "), "is no coordinate"),
        (f"{'<a>' * 300}{'</a>' * 300}", "nested deeper"),
    ],
)
def test_workspaces_that_cannot_be_used(case, content, message):
    (case / "t1.anna.cvi42wsx").write_text(content)
    with pytest.raises(CaseError, match=message):
        read(case)


def test_a_workspace_needs_dicom_images(tmp_path):
    folder = tmp_path / "case" / "mid"
    folder.mkdir(parents=True)
    np.savez(folder / "t1.npz", image=np.ones((ROWS, COLUMNS)), pixel_spacing_mm=1.5)
    (folder / "t1.anna.cvi42wsx").write_text(cvi42(OUTLINES))
    with pytest.raises(CaseError, match="no DICOM file"):
        read_slices(tmp_path, "t1")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (json.dumps(json.loads(study_json(OUTLINES)) | {"epicardial_contours_y": [1.0]}), "equal length"),
        (json.dumps(json.loads(study_json(OUTLINES)) | {"epicardial_contours_y": "text"}), "equal length"),
        (study_json({"endo": np.zeros((0, 2)), "epi": OUTLINES["epi"]}), "three or more points"),
        (study_json({name: points + 500.0 for name, points in OUTLINES.items()}), "no pixel of the map"),
    ],
)
def test_contours_of_the_study_that_cannot_be_used(case, content, message):
    (case / "t1.anna.json").write_text(content)
    with pytest.raises(CaseError, match=message):
        read(case)


def test_structures_belong_to_a_map_by_reference_or_by_place(case):
    file = case / "t1.anna.dcm"
    save(structures(OUTLINES, refer=False, shift=1.0), file)
    np.testing.assert_array_equal(read(case).labels, LABELS)
    save(structures(OUTLINES, refer=False, shift=8.0), file)
    with pytest.raises(CaseError, match=r"0 endocardial and 0 epicardial contours lie on t1.dcm.*LV Endo"):
        read(case)


@pytest.mark.parametrize("kind", ["POINT", "OPEN_PLANAR", "OPEN_NONPLANAR"])
def test_landmarks_and_lines_among_structures_are_no_contours(case, kind):
    data = structures(OUTLINES, names=("LV Endo", "LV Epi", "LV endo apex"))
    (landmark,) = data.ROIContourSequence[2].ContourSequence
    landmark.ContourGeometricType, landmark.NumberOfContourPoints = kind, 1
    landmark.ContourData = ["1", "2", "3"]
    save(data, case / "t1.anna.dcm")
    np.testing.assert_array_equal(read(case).labels, LABELS)


@pytest.mark.parametrize("name", ["t1.dcm", "t1.anna.dcm"])
def test_dicom_images_without_a_pixel_size_are_named_with_what_is_read(case, name):
    write_image(case / name, "2.25.40")
    data = pydicom.dcmread(case / name)
    del data.PixelSpacing
    data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.66.7"  # Label Map Segmentation Storage
    save(data, case / name)
    with pytest.raises(
        CaseError, match=rf"{name} has no PixelSpacing; classic MR images.* BINARY or FRACTIONAL"
    ):
        read(case)


def test_structures_are_read_on_a_nifti_map_that_states_its_place(case):
    (case / "t1.dcm").unlink()
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 3] = ROW * SPACING[0], COLUMN * SPACING[1], FIRST
    affine[:3, 2] = np.cross(ROW, COLUMN)
    affine[:2] *= -1.0
    nibabel.save(nibabel.Nifti1Image(np.ones((COLUMNS, ROWS, 1)), affine), case / "t1.nii")
    shutil.rmtree(case / "t1_images")
    save(structures(OUTLINES), case / "t1.anna.dcm")
    np.testing.assert_array_equal(read(case).labels, LABELS)


def test_segmentations_that_cannot_be_used(case):
    file = case / "t1.anna.dcm"
    save(segmentation(LABELS, move=3.0), file)
    with pytest.raises(CaseError, match=r"on another grid of pixels.*3.0 mm apart"):
        read(case)
    save(segmentation(LABELS, names=("liver", "spleen")), file)
    with pytest.raises(CaseError, match=r"no segments of LV cavity and myocardium.*liver, spleen"):
        read(case)
    save(segmentation(LABELS[:20]), file)
    with pytest.raises(CaseError, match="20 x 24 pixels"):
        read(case)
    data = segmentation(LABELS)
    data.PixelData = data.PixelData[:20]
    save(data, file)
    with pytest.raises(CaseError, match="cannot be read"):
        read(case)


def test_a_wall_that_is_drawn_with_its_cavity_is_a_ring(case):
    data = segmentation(LABELS)
    frames = np.stack([LABELS == 1, LABELS > 0, LABELS == 0]).astype(np.uint8)
    data.PixelData = np.packbits(frames.ravel(), bitorder="little").tobytes()
    save(data, case / "t1.anna.dcm")
    np.testing.assert_array_equal(read(case).labels, LABELS)


RIGHT = (
    "RV cavity",
    "RV_cavity",
    "RV_blood",
    "rv-cavity",
    "RVbloodpool",
    "Right_Ventricle_Blood",
    "bloodRV",
    "LA_cavity",
    "RA blood pool",
    "Left atrial blood",
    "leftatrium_blood",
    "LeftAtriumBlood",
    "Aortic lumen",
    "LA_endo",
)
LEFT = (
    ("LV_cavity", "myocardium"),
    ("Bright_blood", "LV_wall"),
    ("LVbloodpool", "LV_Myocardium"),
    ("Endo", "wall"),
    ("lumen", "Myocard"),
    ("LV endo Patrick", "LV wall Patrick"),
    ("Endo_Patricia", "wall_Patricia"),
    ("LV endo (matrix 256)", "myocardium (matrix 256)"),
    ("endo_RA", "LV_wall_RA"),
    ("LA LV blood pool", "LV_myocardium_LA"),
)


@pytest.mark.parametrize("other", RIGHT)
def test_segments_of_the_right_ventricle_are_left_out_however_words_are_separated(case, other):
    save(segmentation(LABELS, other=other), case / "t1.anna.dcm")
    np.testing.assert_array_equal(read(case).labels, LABELS)


@pytest.mark.parametrize("names", LEFT)
def test_segments_of_the_left_ventricle_are_read_however_words_are_separated(case, names):
    save(segmentation(LABELS, names=names), case / "t1.anna.dcm")
    np.testing.assert_array_equal(read(case).labels, LABELS)


@pytest.mark.parametrize(
    "other",
    ["RV_endo", "RVendo", "endoRV", "RightVentricleEndo", "LA_endo", "RA epi", "LeftAtriumEndo"],
)
def test_structures_of_the_right_ventricle_are_left_out_however_words_are_separated(case, other):
    save(structures(OUTLINES, names=("LV_endo", "LVepi", other)), case / "t1.anna.dcm")
    np.testing.assert_array_equal(read(case).labels, LABELS)


@pytest.mark.parametrize(
    "names",
    [
        ("LV endo Patrick", "LV epi Patrick"),
        ("Endo_Patricia", "Epi_Patricia"),
        ("LV endo (matrix 256)", "LV epi (matrix 256)"),
        ("endo_RA", "epi_RA"),
        ("LV_endo_LA", "LV_epi_LA"),
        ("LA_LV_endo", "LA_LV_epi"),
        ("Left ventricle LA endo", "LA epiLV"),
    ],
)
def test_structures_of_the_left_ventricle_are_read_whoever_drew_them(case, names):
    save(structures(OUTLINES, names=names), case / "t1.anna.dcm")
    np.testing.assert_array_equal(read(case).labels, LABELS)


def test_a_cavity_of_several_segments_is_of_one_ventricle(case):
    """The third segment lies beside the heart, then touches the cavity from within the wall."""
    data = segmentation(LABELS, other="second blood")
    rows, columns = np.indices(LABELS.shape)
    beside, touching = columns < 2, (LABELS == 2) & (rows == 14)
    for third in (beside, touching):
        frames = np.stack([LABELS == 1, LABELS == 2, third]).astype(np.uint8)
        data.PixelData = np.packbits(frames.ravel(), bitorder="little").tobytes()
        save(data, case / "t1.anna.dcm")
        if third is beside:
            with pytest.raises(CaseError, match=r"LV cavity, second blood count as LV cavity and lie apart"):
                read(case)
    np.testing.assert_array_equal(read(case).labels, np.where(touching, 1, LABELS))


def error_of(read_it):
    """Message for the user where a file cannot be read; any other exception fails the test."""
    try:
        read_it()
    except CaseError as error:
        return str(error)
    return ""


def mutated(draw, content):
    """Bytes with some of them changed, cut or repeated."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data) - 1))
        how = draw(st.sampled_from(["set", "cut", "repeat"]))
        if how == "set":
            data[at] = draw(st.integers(0, 255))
        elif how == "cut":
            del data[at : at + draw(st.integers(1, 200))]
        else:
            data[at:at] = data[at : at + draw(st.integers(1, 200))]
        if not data:
            return b""
    return bytes(data)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), reader=st.sampled_from([(read_medis, medis), (read_cvi42, cvi42)]))
def test_damaged_files_are_read_or_reported(tmp_path, data, reader):
    read_file, write = reader
    file = tmp_path / f"damaged-{os.getpid()}"
    file.write_bytes(mutated(data.draw, write(OUTLINES).encode()))
    error = error_of(lambda: read_file(file))
    assert not error or str(file) in error


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), make=st.sampled_from([lambda: structures(OUTLINES), lambda: segmentation(LABELS)]))
def test_damaged_dicom_objects_are_read_or_reported(case, data, make):
    file = case / "t1.anna.dcm"
    save(make(), file)
    content = file.read_bytes()
    file.write_bytes(content[:400] + mutated(data.draw, content[400:]))
    with pydicom.config.disable_value_validation():
        error = error_of(lambda: read(case))
    assert not error or "t1." in error
