import copy
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import DataElement, Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from inline.data.geometry import SliceGeometry
from inline.dicom.write.objects import write_objects
from inline.dicom.write.source import DicomWriteError, SourceImages, SourcePlane

from .. import scanner
from .objects import again

ALL = ("map", "segmentation", "report", "capture")
STATED = {"PatientBirthDate": "19700101", "StudyDate": "20240102", "StudyTime": "101112"}
"""Dates and times of the simulated images."""


@pytest.fixture
def image():
    return scanner.classic(scanner.examination(1, size=96)[1][:1])[0]


def test_images_of_a_stream_cannot_be_referred_to():
    with pytest.raises(DicomWriteError, match="did not come as DICOM"):
        SourceImages(())


@pytest.mark.parametrize(
    "name", ["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID", "SOPClassUID"]
)
def test_an_image_without_a_uid_is_refused(image, name):
    delattr(image, name)
    with pytest.raises(DicomWriteError, match=name if name != "SOPClassUID" else "none of MR image"):
        SourceImages((image,))


@pytest.mark.parametrize("value", ["ANON", "1.2.\u00b2", "1" * 65])
def test_an_image_whose_uid_is_none_is_refused(image, value):
    image.StudyInstanceUID = value
    with pytest.raises(DicomWriteError, match="no UID as StudyInstanceUID"):
        SourceImages((image,))


def test_images_of_two_studies_are_refused(image):
    other = scanner.classic(scanner.examination(1, size=96)[1][:1], study="1.2.3")[0]
    with pytest.raises(DicomWriteError, match="several studies"):
        SourceImages((image, other))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ImagePositionPatient", None),
        ("ImagePositionPatient", [0.0, 0.0]),
        ("ImageOrientationPatient", None),
        ("PixelSpacing", None),
    ],
)
def test_an_image_without_a_place_is_refused(image, name, value):
    setattr(image, name, value)
    with pytest.raises(DicomWriteError, match="position, orientation or pixel spacing"):
        SourceImages((image,)).plane()


def test_a_result_beside_its_source_is_refused(source):
    geometry = source.result.geometry
    moved = replace(geometry, position=tuple(np.add(geometry.position, (0.0, 0.0, 0.5)).tolist()))
    with pytest.raises(DicomWriteError, match=r"0\.50 mm beside"):
        source.images.check_place(moved)
    with pytest.raises(DicomWriteError, match="rows and columns"):
        source.images.check_place(replace(geometry, shape=(95, 96)))
    turned = replace(
        geometry, row_direction=geometry.column_direction, column_direction=geometry.row_direction
    )
    with pytest.raises(DicomWriteError, match="beside its source images"):
        source.images.check_place(turned)


def test_an_image_in_the_plane_of_the_slice_comes_first(classic_sources):
    """Images of a slice may lie some tenths of a millimetre apart; the slice lies where one of them does."""
    first = classic_sources[0]
    datasets = [copy.deepcopy(each) for each in first.images.datasets]
    datasets[0].ImagePositionPatient = [float(each) + 0.5 for each in datasets[0].ImagePositionPatient]
    images = SourceImages.of(datasets, first.result.geometry)
    images.check_place(first.result.geometry)
    assert images.datasets == (*datasets[1:], datasets[0])


def test_frames_of_an_enhanced_object_are_those_in_the_plane(enhanced_sources, scanned):
    images = len(scanner.series_of(scanned, 1)) // 2
    for each in enhanced_sources[:2]:
        (dataset,) = each.images.datasets
        frames = each.images.frames_of(dataset)
        first = 1 + each.result.identity.slice_index * images
        assert frames == list(range(first, first + images))


def test_a_slice_in_none_of_the_planes_is_refused(enhanced_sources):
    first = enhanced_sources[0]
    geometry = replace(first.result.geometry, position=(500.0, 0.0, 0.0))
    with pytest.raises(DicomWriteError, match="no frame"):
        SourceImages.of(first.images.datasets, geometry)


def test_the_reference_has_what_the_standard_requires_and_nothing_invented(image):
    for name in ("PatientBirthDate", "AccessionNumber", "StudyID", "StudyTime", "ReferringPhysicianName"):
        delattr(image, name)
    image.PatientSex = "W"
    image.StudyDate = "2024-1-2"
    made = SourceImages((image,)).reference()
    assert made.PatientName == scanner.PATIENT
    for name in ("PatientBirthDate", "AccessionNumber", "StudyID", "PatientSex", "StudyDate", "StudyTime"):
        assert made[name].value in ("", None)
    assert "PixelData" not in made
    assert "PixelData" in image


def test_two_names_where_one_is_allowed_are_left_empty(source):
    images = [copy.deepcopy(each) for each in source.images.datasets]
    for each in images:
        each.PatientName = "A$\\B^C"  # a backslash parts values
        each.ReferringPhysicianName = "D\\E"
    written = write_objects([replace(source, images=replace(source.images, datasets=tuple(images)))], ALL)
    assert (len(written.objects), written.problems) == (4, [])
    for made in written.objects:
        assert not made.PatientName
        assert not made.ReferringPhysicianName
        assert made.PatientID == source.images.first.PatientID


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PatientBirthDate", "00000000"),
        ("PatientBirthDate", "19500230"),
        ("StudyDate", "20241399"),
        ("StudyTime", "256199"),
    ],
)
def test_a_date_or_time_that_does_not_exist_is_left_empty(source, name, value):
    images = [copy.deepcopy(each) for each in source.images.datasets]
    for each in images:
        each[name] = DataElement(name, each[name].VR, value, validation_mode=0)
    named = replace(source, images=replace(source.images, datasets=tuple(images)))
    written = write_objects([named], ALL)
    assert (len(written.objects), written.problems) == (4, [])
    for made in written.objects:
        assert not made[name].value
        for other, kept in STATED.items():
            assert other == name or made[other].value == kept


@pytest.mark.parametrize(("age", "kept"), [("045Y", "045Y"), ("45", ""), ("45Y ", ""), ("", "")])
def test_an_age_in_another_form_is_left_empty(source, age, kept):
    images = [copy.deepcopy(each) for each in source.images.datasets]
    for each in images:
        each["PatientAge"] = DataElement("PatientAge", "AS", age, validation_mode=0)
        each["PatientID"] = DataElement("PatientID", "LO", "9" * 65, validation_mode=0)
    written = write_objects([replace(source, images=replace(source.images, datasets=tuple(images)))], ALL)
    assert (len(written.objects), written.problems) == (4, [])
    for made in written.objects:
        assert (made.PatientAge or "") == kept
        assert made.PatientID == "9" * 65
    plain = write_objects([source], ("map",)).objects[0]
    assert not plain.get("PatientAge")


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("PatientSize", b"1,75", None),
        ("PatientSize", b"1.75", 1.75),
        ("PatientSize", b"1.75\\1.8", None),
        ("PatientWeight", b"70kg", None),
        ("PatientWeight", b"7.0E1", 70.0),
        ("PatientWeight", b"70.123456789012345", None),
        ("PatientBodyMassIndex", b"-", None),
    ],
)
def test_a_size_or_weight_that_is_no_number_is_left_empty(source, name, value, kept):
    """A DS has 16 characters at most and no comma (PS3.5 6.2)."""
    images = [copy.deepcopy(each) for each in source.images.datasets]
    for each in images:
        each[name] = RawDataElement(Tag(name), "DS", len(value), value, 0, False, True)  # as of a file
    written = write_objects([replace(source, images=replace(source.images, datasets=tuple(images)))], ALL)
    assert (len(written.objects), written.problems) == (4, [])
    for made in map(again, written.objects):
        assert made[name].value == kept


@settings(max_examples=30)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=7))
def test_a_plane_of_any_numbers_is_read_or_refused(numbers):
    dataset = Dataset()
    dataset.Rows = dataset.Columns = 4
    dataset.ImagePositionPatient = [0.0, 0.0, 0.0]
    dataset.PixelSpacing = [1.0, 1.0]
    dataset.add_new("ImageOrientationPatient", "FD", numbers)
    try:
        plane = SourcePlane.of(dataset, None)
    except (TypeError, ValueError):
        return
    assert len(plane.orientation) == 6
    assert np.isfinite(plane.orientation).all()


def test_a_slice_without_position_lies_on_source_images_of_zeros_by_its_directions():
    def geometry(position, row=(1.0, 0.0, 0.0), column=(0.0, 1.0, 0.0)):
        return SliceGeometry(position, row, column, (1.5, 1.5), (64, 48))

    def plane(position):
        return SourcePlane(position, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (1.5, 1.5), 8.0, (64, 48))

    nowhere, zeros = geometry((0.0, 0.0, 0.0)), plane((0.0, 0.0, 0.0))
    assert zeros.apart_mm(nowhere) == pytest.approx(0.0, abs=1e-9)
    assert zeros.apart_mm(geometry((0.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))) > 50.0
    assert zeros.apart_mm(geometry((10.0, 0.0, 0.0))) > 10.0
    assert plane((5.0, 0.0, 0.0)).apart_mm(nowhere) > 5.0
