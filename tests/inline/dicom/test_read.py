"""DICOM images of four vendors become the same series as the MRD images that they were made of."""

import io
import json
import shutil
import subprocess
from dataclasses import replace
from datetime import datetime, timedelta

import nibabel
import numpy as np
import PIL.Image
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    JPEG2000,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from inline.assembly.assembled import Failed, Ready
from inline.data.errors import DicomError
from inline.data.flags import Flag
from inline.data.series import MappingSeries, MapSeries, Quantity
from inline.dicom.find import find, read_header
from inline.dicom.missing import SliceAcquisition, shorter
from inline.dicom.read import open_dicom
from inline.mrd.header import identity, shared_studies
from inline.mrd.messages import Image
from inline.pipeline import Pipeline
from inline.settings import AssemblySettings

from . import scanner, writer


@pytest.fixture(scope="module")
def rings(streamed, ring_engine):
    """Values of the ring of each series of the stream."""
    pipeline = Pipeline(ring_engine)
    return {key: pipeline.process(each).regions[0] for key, each in streamed.items() if not key[1]}


BOTH = pytest.mark.parametrize("write", [writer.classic, writer.enhanced], ids=["classic", "enhanced"])
FOUR = pytest.mark.parametrize("vendor", writer.VENDORS)


def of_slice(images, quantity="T1", slice_=0):
    return [each for each in images if each.header.slice == slice_ and writer.time_of(each)[0] == quantity]


def only(paths, **settings):
    """The one examination of some paths, which can be read without problems."""
    found = open_dicom([paths], AssemblySettings(**settings))
    (examination,) = found.examinations()
    assert found.problems == examination.problems == ()
    return examination


@BOTH
@FOUR
def test_the_same_series_and_values_as_by_mrd(write, vendor, tmp_path, images, streamed, rings, ring_engine):
    write(tmp_path, images, vendor)
    examination = only(tmp_path)
    assert (examination.images, examination.unused) == (len(images), {})
    assert len(examination.series) == len(streamed)
    pipeline = Pipeline(ring_engine)
    for ours in examination.series:
        slice_ = ours.identity.slice_index
        theirs = streamed[ours.quantity, slice_]
        assert isinstance(ours, Ready)
        assert (ours.flags, ours.geometry.oriented) == ((), True)
        assert ours.geometry.table is None  # DICOM has no such field
        # Only Siemens states preparation times as such.
        by_echo = ours.quantity == "T2" and vendor != "siemens"
        assert ours.notes == theirs.notes or (by_echo and "EchoTime" in ours.notes[0])
        assert bool(ours.notes) is by_echo
        np.testing.assert_allclose(ours.series.times_ms, theirs.series.times_ms, rtol=1e-6)
        np.testing.assert_allclose(ours.series.images, theirs.series.images, rtol=1e-5)
        corners = np.array([[0.0, 0.0], [95.0, 0.0], [0.0, 95.0]])
        ours_mm, theirs_mm = (each.geometry.to_patient(corners) for each in (ours, theirs))
        np.testing.assert_allclose(ours_mm, theirs_mm, atol=1e-3)
        assert examination.files[ours.identity]
        if slice_:
            continue  # one slice shows that equal series have equal values
        ring, expected = pipeline.process(ours).regions[0], rings[ours.quantity, slice_]
        assert ring.median == pytest.approx(expected.median, abs=0.1)
        assert ring.mean == pytest.approx(expected.mean, abs=0.1)


def test_slices_of_a_siemens_study_keep_their_series(tmp_path, images):
    files = writer.classic(tmp_path, images, "siemens")
    examination = only(tmp_path)
    assert [each.identity.series_index for each in examination.series] == [100, 101, 200, 201]
    # Each slice is a series of its own; a slice has one number in all of them.
    assert [each.identity.slice_index for each in examination.series] == [0, 1, 0, 1]
    first = examination.series[0]
    # In the order of acquisition, whatever the files are called.
    assert examination.files[first.identity] == tuple(files[:8])
    assert examination.name == str(tmp_path)


@pytest.mark.skipif(shutil.which("dcm2niix") is None, reason="dcm2niix is not installed (Debian: dcm2niix)")
@FOUR
def test_dcm2niix_reads_the_same_times_and_geometry(vendor, tmp_path, images):
    members = of_slice(images)
    source, target = tmp_path / "dicom", tmp_path / "nifti"
    source.mkdir()
    target.mkdir()
    changes = None
    if vendor == "philips":
        # dcm2niix reads Philips' prepulse delay, not the inversion delay of each image.
        def changes(data, image):
            del data[0x2005, 0x0010], data[0x2005, 0x1072], data.InversionTime
            time = float(writer.time_of(image)[1])
            writer.private(data, 0x2001, "Philips Imaging DD 001", 0x1B, "FL", time)

    files = writer.classic(source, members, vendor, changes=changes)
    (series,) = only(source).series
    found = {}
    for number, file in enumerate(files):
        command = ["dcm2niix", "-s", "y", "-f", f"image{number}", "-o", str(target), str(file)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        (sidecar,) = target.glob(f"image{number}*.json")
        found[number] = json.loads(sidecar.read_text())["InversionTime"] * 1000.0
        geometry = nibabel.load(next(target.glob(f"image{number}*.nii*")))
    np.testing.assert_allclose(sorted(found.values()), series.series.times_ms, rtol=1e-5)
    # NIfTI counts rows from below, in RAS.
    columns, rows = geometry.shape[:2]
    pixels = np.array([[0.0, 0.0], [columns - 1.0, 0.0], [0.0, rows - 1.0]])
    voxels = np.stack([pixels[:, 0], rows - 1 - pixels[:, 1], np.zeros(3)], axis=1)
    theirs = nibabel.affines.apply_affine(geometry.affine, voxels) * (-1, -1, 1)
    np.testing.assert_allclose(theirs, series.geometry.to_patient(pixels), atol=1e-3)


@pytest.mark.skipif(shutil.which("dcm2niix") is None, reason="dcm2niix is not installed (Debian: dcm2niix)")
@pytest.mark.parametrize("vendor", ["philips", "ge", "canon"])
def test_dcm2niix_reads_the_geometry_of_enhanced_images(vendor, tmp_path, images):
    members = of_slice(images)
    (file,) = writer.enhanced(tmp_path, members, vendor)
    (series,) = only(file).series
    subprocess.run(
        ["dcm2niix", "-f", "all", "-o", str(tmp_path), str(tmp_path)], check=True, capture_output=True
    )
    (sidecar,) = tmp_path.glob("all*.json")
    assert json.loads(sidecar.read_text())["InversionTime"] * 1000.0 in series.series.times_ms
    converted = nibabel.load(next(tmp_path.glob("all*.nii*")))
    rows = converted.shape[1]
    theirs = nibabel.affines.apply_affine(converted.affine, [0, rows - 1, 0]) * (-1, -1, 1)
    np.testing.assert_allclose(theirs, series.geometry.to_patient(np.zeros((1, 2)))[0], atol=1e-3)


def test_an_image_states_its_own_time_beside_the_protocols(tmp_path, images):
    """All images state one time at the standard place, and their own at a private one."""

    def changes(data, image):
        data.InversionTime = "100"

    writer.classic(tmp_path, of_slice(images), "philips", changes=changes)
    (series,) = only(tmp_path).series
    assert list(series.series.times_ms) == sorted(float(writer.time_of(each)[1]) for each in of_slice(images))


@pytest.mark.parametrize("kept", ["implicit", "explicit"])
@BOTH
@FOUR
def test_private_elements_that_lost_their_types_in_implicit_vr(write, vendor, kept, tmp_path, images):
    """A node may send implicit VR, and an archive that does not know the elements store them as UN."""
    members = of_slice(images)
    write(tmp_path, members, vendor)
    for file in tmp_path.iterdir():
        data = pydicom.dcmread(file)
        data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        data.save_as(file, implicit_vr=True, little_endian=True)
        if kept == "explicit":
            data = pydicom.dcmread(file)
            data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            data.save_as(file, implicit_vr=False, little_endian=True)
    (series,) = only(tmp_path).series
    np.testing.assert_allclose(
        series.series.times_ms, sorted(float(writer.time_of(each)[1]) for each in members)
    )


def test_a_private_element_of_another_creator_is_no_time(tmp_path, images):
    def changes(data, image):
        data[0x2005, 0x0010].value = "Philips MR Imaging DD 001"

    writer.classic(tmp_path, of_slice(images), "philips", changes=changes)
    (series,) = only(tmp_path).series
    assert isinstance(series, Failed)
    assert "no inversion times for the 8 images" in series.error


def test_the_comment_of_siemens(tmp_path, images):
    def changes(data, image):
        data.ImageComments = f"TIeff {data.InversionTime} ms"
        del data.InversionTime

    writer.classic(tmp_path, of_slice(images), "siemens", changes=changes)
    (series,) = only(tmp_path).series
    assert len(series.series.times_ms) == 8


def test_echo_times_are_preparation_times_of_named_series_alone(tmp_path, images):
    def changes(data, image):
        data.SeriesDescription = data.ProtocolName = "multi-echo"

    writer.classic(tmp_path, of_slice(images, "T2"), "ge", changes=changes)
    examination = only(tmp_path)
    assert examination.series == ()
    assert sum(examination.unused.values()) == 3


@pytest.mark.parametrize(
    ("description", "step"), [("sax_gre_8echo", 2.2), ("heart_T2star_8echo", 2.2), ("T2_MAP_FLASH_SAX9", 4.0)]
)
def test_echo_times_of_t2_star_are_no_preparation_times(description, step, tmp_path, images):
    """Eight gradient echoes, to 17.6 or 32 ms, of a session whose protocols all have one name."""

    def changes(data, image):
        data.SeriesDescription, data.ProtocolName = description, "CMR T2map"
        data.EchoTime = f"{step * (image.header.set + 1):.1f}"
        del data.InversionTime

    writer.classic(tmp_path, of_slice(images), "ge", changes=changes)
    examination = only(tmp_path)
    assert not any(isinstance(each, Ready) for each in examination.series)
    assert len(examination.series) + sum(examination.unused.values()) > 0


@pytest.mark.parametrize("description", ["cine_sax", "LGE_sax"])
def test_cine_and_late_enhancement_of_a_session_named_molli_are_no_mapping_series(
    description, tmp_path, images
):
    def changes(data, image):
        data.SeriesDescription, data.ProtocolName = description, "CMR MOLLI"
        data.InversionTime = "300" if description == "LGE_sax" else None

    writer.classic(tmp_path, of_slice(images), "siemens", changes=changes)
    examination = only(tmp_path)
    assert examination.series == ()
    assert sum(examination.unused.values()) == 8


@pytest.mark.parametrize("missing", ["number", "pixels"])
def test_a_series_that_lacks_an_image_is_flagged(missing, tmp_path, images):
    files = writer.classic(tmp_path, of_slice(images), "siemens")
    if missing == "number":
        files[3].unlink()
    else:
        data = pydicom.dcmread(files[3])
        data.PixelData = data.PixelData[:100]
        data.save_as(files[3])
    (examination,) = open_dicom([tmp_path]).examinations()
    (series,) = examination.series
    assert Flag.MISSING_IMAGES in series.flags
    assert len(series.series.times_ms) == 7
    assert ("go from 1 to 8 without 4" if missing == "number" else "could not be read") in series.notes[-1]
    assert len(examination.problems) == (missing == "pixels")


def as_map(data, image):
    data.ImageType = ["DERIVED", "PRIMARY", "M", "T1", "T1 MAP"]
    del data.InversionTime
    data.SeriesDescription = "MOLLI_MOCO_T1"


def test_a_map_and_the_units_of_its_real_world_values(tmp_path, images):
    image = of_slice(images)[-1]

    def changes(data, image):
        as_map(data, image)
        data.RescaleSlope, data.RescaleIntercept = "7", "100"
        item, units = Dataset(), Dataset()
        units.CodeValue, units.CodingSchemeDesignator, units.CodeMeaning = "s", "UCUM", "second"
        item.MeasurementUnitsCodeSequence = Sequence([units])
        item.RealWorldValueSlope, item.RealWorldValueIntercept = 0.00125, 0.01
        data.RealWorldValueMappingSequence = Sequence([item])

    writer.classic(tmp_path, [image], "siemens", changes=changes)
    (found,) = only(tmp_path).series
    assert isinstance(found.series, MapSeries)
    np.testing.assert_allclose(found.series.values_ms, image.pixels[0, 0] * 1.25 + 10.0, rtol=1e-5)


def weighting(*types, name):
    """Enhanced images of this image type and frame type, of this name."""

    def changes(data, members):
        data.ImageType, data.SeriesDescription, data.ProtocolName = [*types], name, name
        for group in data.PerFrameFunctionalGroupsSequence:
            group.MRImageFrameTypeSequence[0].FrameType = [*types]

    return changes


@pytest.mark.parametrize("contrast", ["NONE", "FILTERED"])
def test_the_weighting_of_an_enhanced_image_is_no_map(contrast, tmp_path, images):
    named = weighting("DERIVED", "PRIMARY", "T2", contrast, name="tse_dark_blood_sax")
    writer.enhanced(tmp_path, of_slice(images, "T2")[-1:], "ge", changes=named)
    examination = only(tmp_path)
    assert examination.series == ()
    assert examination.unused == {"neither named as T1 or T2 mapping nor with a time": 1}


@FOUR
@pytest.mark.parametrize("contrast", ["NONE", "FILTERED"])
def test_corrected_enhanced_images_are_fitted_though_their_weighting_is_t2(
    contrast, vendor, tmp_path, images
):
    named = weighting("DERIVED", "PRIMARY", "T2", contrast, name="T2map_SAX_MOCO")
    writer.enhanced(tmp_path, of_slice(images, "T2"), vendor, changes=named)
    (series,) = only(tmp_path).series
    assert isinstance(series.series, MappingSeries)
    expected = {float(writer.time_of(each)[1]): each.pixels[0, 0] for each in of_slice(images, "T2")}
    np.testing.assert_allclose(series.series.times_ms, sorted(expected))
    # Up to one factor for all.
    stored = np.array([expected[time] for time in sorted(expected)])
    np.testing.assert_allclose(
        series.series.images / series.series.images.max(), stored / stored.max(), atol=1e-4
    )


@pytest.mark.parametrize("types", [("DERIVED", "PRIMARY", "M"), ("DERIVED", "PRIMARY", "M", "T2", "NORM")])
def test_a_map_beside_its_images_has_no_echo_time(types, tmp_path, images):
    """A classic series of T2 mapping with its map, which states an echo time as well."""
    members = of_slice(images, "T2")

    def changes(data, image):
        data.SeriesDescription = data.ProtocolName = "T2map_SAX_MOCO"
        data.SeriesInstanceUID, data.InstanceNumber = "2.25.3", len(list(tmp_path.iterdir())) + 1

    def derived(data, image):
        changes(data, image)
        data.ImageType, data.EchoTime = [*types], "1.12"

    for each, change in ((members, changes), (members[:1], derived)):
        for file in writer.classic(tmp_path, each, "ge", study="2.25.1", changes=change):
            data = pydicom.dcmread(file)
            file.unlink()
            writer.save(
                data, tmp_path / f"{data.InstanceNumber}-{change.__name__}", f"2.25.1.{data.InstanceNumber}"
            )
    fitted = [each for each in only(tmp_path).series if isinstance(each.series, MappingSeries)]
    assert [len(each.series.times_ms) for each in fitted] == [3]


@pytest.mark.parametrize("echo", ["1.12", "0", "25"])
def test_a_map_among_images_named_alike_is_not_fitted_with_them(echo, tmp_path, images):
    """Classic images have no image type by which the map differs from weighted ones."""

    def changes(data, image):
        data.SeriesDescription = data.ProtocolName = "T2map_SAX_MOCO"
        data.ImageType, data.SeriesInstanceUID = ["DERIVED", "PRIMARY", "M"], "2.25.3"

    files = writer.classic(tmp_path, of_slice(images, "T2"), "ge", study="2.25.1", changes=changes)
    data = pydicom.dcmread(files[0])
    data.EchoTime, data.InstanceNumber = echo, 4
    writer.save(data, tmp_path / "map", "2.25.1.77")
    assert [type(each) for each in only(tmp_path).series] == [Failed]


def test_a_frame_of_another_type_may_be_the_map_of_those_named_alike(tmp_path, images):
    def changes(data, members):
        weighting("DERIVED", "PRIMARY", "T2", "NONE", name="T2map_SAX_MOCO")(data, members)
        group = data.PerFrameFunctionalGroupsSequence[0]
        group.MRImageFrameTypeSequence[0].FrameType = ["DERIVED", "PRIMARY", "T2", "QUANTITY"]

    writer.enhanced(tmp_path, of_slice(images, "T2"), "ge", changes=changes)
    assert [type(each) for each in only(tmp_path).series] == [Failed]


def test_rescale_of_each_frame(tmp_path, images):
    def changes(data, members):
        for number, group in enumerate(data.PerFrameFunctionalGroupsSequence):
            group.PixelValueTransformationSequence[0].RescaleSlope = str(1 + number)
            group.PixelValueTransformationSequence[0].RescaleIntercept = str(10 * number)

    members = of_slice(images)
    writer.enhanced(tmp_path, members, "canon", changes=changes)
    (series,) = only(tmp_path).series
    expected = [each.pixels[0, 0] * (1.0 + each.header.set) + 10.0 * each.header.set for each in members]
    by_time = np.argsort([float(writer.time_of(each)[1]) for each in members])
    np.testing.assert_allclose(series.series.images, np.array(expected)[by_time], rtol=1e-6)


def test_images_that_their_rescale_inverts_are_said_to_be(tmp_path, images):
    """Stored as the signal, with the rescale of inverted ones: air is then the brightest of every image."""

    def changes(data, image):
        data.RescaleSlope, data.RescaleIntercept = "-1", "4095"

    writer.classic(tmp_path, of_slice(images), "siemens", changes=changes)
    (series,) = only(tmp_path).series
    (note,) = series.notes
    assert Flag.SCALED_IMAGES in series.flags
    assert "-1 x stored + 4095" in note
    assert "RescaleSlope" in note
    assert "Gadgetron" not in note


@pytest.mark.parametrize(("scale", "flagged"), [("2", True), ("1", False)])
def test_an_image_without_the_scale_that_the_others_state_is_flagged(scale, flagged, tmp_path, images):
    def changes(data, image):
        if data.InstanceNumber != 2:
            data.RescaleSlope, data.RescaleIntercept = scale, "0"

    writer.classic(tmp_path, of_slice(images, "T2"), "siemens", changes=changes)
    (series,) = only(tmp_path).series
    assert (Flag.SCALED_IMAGES in series.flags) == flagged
    assert any("state the scale" in note for note in series.notes) == flagged


@BOTH
def test_a_damaged_file_is_replaced_by_its_copy(write, tmp_path, images):
    """First one copy is cut in its pixels, then both."""
    members = sorted(of_slice(images), key=lambda image: float(writer.time_of(image)[1]))
    files = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        files.append(write(tmp_path / name, members, "siemens", study="2.25.1")[-1])
    whole = files[0].read_bytes()
    files[0].write_bytes(whole[:-200])
    examination = only(tmp_path)
    (series,) = examination.series
    assert (examination.images, series.flags) == (8, ())
    np.testing.assert_allclose(series.series.images, [each.pixels[0, 0] for each in members])
    (note,) = series.notes
    assert "was read from a copy" in note
    files[1].write_bytes(whole[:-200])
    (examination,) = open_dicom([tmp_path]).examinations()
    (problem,) = examination.problems
    assert str(files[0]) in problem


@pytest.fixture
def damaged(tmp_path, images):
    """A T1 slice in the order of its times, its files, the first of them cut, and the header of that one."""
    members = sorted(of_slice(images), key=lambda image: float(writer.time_of(image)[1]))
    files = writer.classic(tmp_path, members, "siemens")
    header = pydicom.dcmread(files[0])
    files[0].write_bytes(files[0].read_bytes()[:-200])
    return members, files, header


def test_a_copy_of_another_scale_keeps_its_values(tmp_path, damaged):
    members, _, copy = damaged
    copy.RescaleSlope, copy.RescaleIntercept = "0.5", "0"
    copy.PixelData = (copy.pixel_array * 2).astype("<u2").tobytes()
    copy.save_as(tmp_path / "z")
    (series,) = only(tmp_path).series
    np.testing.assert_allclose(series.series.images, [each.pixels[0, 0] for each in members])


@pytest.mark.parametrize("other", ["time", "moment", "number", "place", "names"])
def test_another_image_under_the_uid_of_a_damaged_one_is_no_copy(other, tmp_path, damaged):
    members, files, copy = damaged
    last = pydicom.dcmread(files[-1])
    if other == "time":
        copy.InversionTime, copy.PixelData = last.InversionTime, last.PixelData
    elif other == "moment":
        copy.AcquisitionTime = last.AcquisitionTime
    elif other == "number":
        copy.InstanceNumber = last.InstanceNumber
    elif other == "place":
        copy.ImagePositionPatient = ["0", "0", "0"]
    else:
        copy.ImageType = ["DERIVED", "PRIMARY", "M", "T1 MAP"]
    copy.save_as(tmp_path / "z")
    (examination,) = open_dicom([tmp_path]).examinations()
    (problem,) = examination.problems
    assert str(files[0]) in problem
    (series,) = examination.series
    assert Flag.MISSING_IMAGES in series.flags
    np.testing.assert_allclose(series.series.images, [each.pixels[0, 0] for each in members[1:]])


def twice(folder, members, changes=None, of_first=None):
    """The images of one series, and again under other instance UIDs."""
    for name, change in (("a", of_first), ("b", changes)):
        (folder / name).mkdir()
        for file in writer.classic(folder / name, members, "siemens", study="2.25.1", changes=change):
            data = pydicom.dcmread(file)
            writer.save(data, file, f"{data.SOPInstanceUID}.{len(name)}{ord(name)}")


def test_copies_under_other_uids_are_left_out(tmp_path, images):
    twice(tmp_path, of_slice(images))
    examination = only(tmp_path)
    (series,) = examination.series
    assert len(series.series.times_ms) == 8
    assert Flag.DUPLICATE_IMAGES in series.flags
    assert examination.unused == {"sent twice": 8}


def test_a_copy_of_a_map_under_another_uid_is_left_out(tmp_path, images):
    twice(tmp_path, of_slice(images)[-1:], as_map, as_map)
    examination = only(tmp_path)
    (series,) = examination.series
    assert isinstance(series.series, MapSeries)
    assert examination.unused == {"sent twice": 1}


@pytest.mark.parametrize("name", ["TI_scout", "PSIR_4CH", "Look-Locker"])
def test_a_ti_scout_makes_no_map(name, tmp_path, images):
    def changes(data, image):
        data.SeriesDescription = data.ProtocolName = name
        data.InversionTime = str(90 + 25 * data.InstanceNumber)

    writer.classic(tmp_path, of_slice(images), "siemens", changes=changes)
    examination = only(tmp_path)
    assert examination.series == ()
    ((reason, number),) = examination.unused.items()
    assert (number, "scout" in reason) == (8, True)


def test_two_acquisitions_in_one_series_are_not_fitted_together(tmp_path, images):
    """As native and post-contrast images under one name."""

    def later(data, image):
        data.AcquisitionTime = data.ContentTime = f"09{data.AcquisitionTime[2:]}"
        data.InstanceNumber += 8
        data.PixelData = (image.pixels[0, 0] // 2).astype("<u2").tobytes()

    twice(tmp_path, of_slice(images), later)
    first, second = only(tmp_path).series
    assert first.series.images.shape == second.series.images.shape
    assert np.array_equal(first.series.images // 2, second.series.images)
    assert first.identity.time_stamp < second.identity.time_stamp


def halved_later(folder, members, start_ms=0.0, beat=1.0, strip=(), **second):
    """A series of acquisitions at one moment, the second with half the signal and times of its own.

    Files of both alternate. Elements of ``strip`` are removed, those of ``second`` are changed in the second.
    """
    for letter in "ab":
        (folder / letter).mkdir()

        def changes(data, image, letter=letter):
            data.AcquisitionTime = data.ContentTime = "080000"
            if letter == "b":
                time = float(data.InversionTime)
                data.InversionTime = str(round(time * (beat if time > 300.0 else 1.0) + start_ms, 3))
                data.PixelData = (image.pixels[0, 0] // 2).astype("<u2").tobytes()
                for name, value in second.items():
                    setattr(data, name, value)
            for name in strip:
                delattr(data, name)

        for file in writer.classic(folder / letter, members, "siemens", study="2.25.1", changes=changes):
            data = pydicom.dcmread(file)
            writer.save(data, folder / f"{file.name}{letter}", f"{data.SOPInstanceUID}.{ord(letter)}")
        shutil.rmtree(folder / letter)


@pytest.mark.parametrize("strip", [(), ("InstanceNumber",)], ids=["numbered", "without numbers"])
def test_acquisitions_whose_series_uid_was_removed_are_separated_by_the_series_number(
    strip, tmp_path, images
):
    halved_later(tmp_path, of_slice(images), strip=("SeriesInstanceUID", *strip), SeriesNumber=999)
    first, second = only(tmp_path).series
    assert len(first.series.times_ms) == len(second.series.times_ms) == 8
    assert np.array_equal(first.series.images // 2, second.series.images)
    assert first.flags == second.flags == ()


@pytest.mark.parametrize(
    ("start_ms", "beat"), [(0.0, 1.0), (7.0, 1.0), (0.0, 1.1), (3.0, 0.9)], ids=lambda value: f"{value:g}"
)
@pytest.mark.parametrize("strip", [(), ("InstanceNumber",)], ids=["numbered", "without numbers"])
def test_two_acquisitions_of_one_series_uid_without_an_order_are_flagged(
    strip, start_ms, beat, tmp_path, images
):
    """At one heart rate or two. File names are no order, and nothing separates the acquisitions."""
    halved_later(tmp_path, of_slice(images), start_ms, beat, strip=strip)
    (series,) = only(tmp_path).series
    assert len(series.series.times_ms) == 16
    assert Flag.DUPLICATE_IMAGES in series.flags


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("start_ms", [0.0, 7.0])
def test_file_names_in_any_order_separate_no_acquisitions(start_ms, seed, tmp_path, images):
    halved_later(tmp_path, of_slice(images), start_ms, strip=("InstanceNumber",))
    files = sorted(tmp_path.iterdir())
    for file, place in zip(files, np.random.default_rng(seed).permutation(len(files)), strict=True):
        file.rename(tmp_path / f"new-{place:02d}")
    (series,) = only(tmp_path).series
    assert len(series.series.times_ms) == 16
    assert Flag.DUPLICATE_IMAGES in series.flags


@pytest.mark.parametrize("longer_ms", [2.5, 30.0])
def test_a_second_acquisition_makes_no_other_slice_seem_short(longer_ms, tmp_path, images):
    def later(data, image):
        data.AcquisitionTime = data.ContentTime = f"09{data.AcquisitionTime[2:]}"
        data.InversionTime = str(float(data.InversionTime) + longer_ms)
        data.InstanceNumber += 8
        data.PixelData = (image.pixels[0, 0] // 2).astype("<u2").tobytes()

    twice(tmp_path, of_slice(images), later)
    (tmp_path / "other").mkdir()
    writer.classic(tmp_path / "other", of_slice(images, slice_=1), "siemens", study="2.25.1")
    found = only(tmp_path).series
    assert [len(each.series.times_ms) for each in found] == [8, 8, 8]
    assert [each.flags for each in found] == [(), (), ()]


def test_a_second_inversion_30_ms_later_begins_no_acquisition(tmp_path, images):
    """Without a break of ten seconds: the last image then lacks, which the number of the others shows."""
    members = sorted(of_slice(images), key=lambda each: each.header.acquisition_time_stamp)

    def scheme(data, image):
        at = next(k for k, each in enumerate(members) if each is image)
        data.InversionTime = str((100, 1000, 1900, 2800, 3700, 130, 1030, 1930)[at])

    writer.classic(tmp_path, members[:7], "siemens", study="2.25.1", changes=scheme)
    (tmp_path / "other").mkdir()
    writer.classic(tmp_path / "other", of_slice(images, slice_=1), "siemens", study="2.25.1")
    short, whole = only(tmp_path).series
    assert [len(each.series.times_ms) for each in (short, whole)] == [7, 8]
    assert (short.flags, whole.flags) == ((Flag.MISSING_IMAGES,), ())


def broken_off(folder, members, came, *, pause_s):
    """The first images of a series, and later the whole one with half the signal."""
    shown = {id(each): float(writer.time_of(each)[1]) for each in members}
    members = sorted(members, key=lambda each: each.header.acquisition_time_stamp)

    def later(data, image):
        clock = datetime.strptime(str(data.AcquisitionTime), "%H%M%S.%f") + timedelta(seconds=pause_s)
        data.AcquisitionTime = data.ContentTime = f"{clock:%H%M%S.%f}"
        if "InversionTime" in data:
            # The first time after an inversion is that of the protocol; others follow the heart rate.
            data.InversionTime = f"{shown[id(image)] - (60 if shown[id(image)] > 600 else 0):g}"
        data.InstanceNumber += came
        data.PixelData = (image.pixels[0, 0] // 2).astype("<u2").tobytes()

    for name, group, change in (("a", members[:came], None), ("b", members, later)):
        (folder / name).mkdir()
        for file in writer.classic(folder / name, group, "siemens", study="2.25.1", changes=change):
            data = pydicom.dcmread(file)
            writer.save(data, file, f"{data.SOPInstanceUID}.{ord(name)}")


@pytest.mark.parametrize("pause_s", [25, 600])
@pytest.mark.parametrize(("quantity", "came"), [("T1", 1), ("T1", 2), ("T1", 3), ("T2", 1), ("T2", 2)])
def test_images_of_a_series_that_was_broken_off_are_not_fitted_with_its_repetition(
    quantity, came, pause_s, tmp_path, images
):
    members = of_slice(images, quantity)
    broken_off(tmp_path, members, came, pause_s=pause_s)
    examination = only(tmp_path)
    series = examination.series[-1]
    whole = np.stack([each.pixels[0, 0] for each in members])
    assert series.series.images.shape == whole.shape
    assert sorted(series.series.images.sum((1, 2))) == sorted((whole // 2).sum((1, 2), dtype=float))
    assert series.flags == ()
    assert examination.images == len(members) + came
    for first in examination.series[:-1]:
        assert first.images == came
        assert Flag.MISSING_IMAGES in first.flags
    assert sum(each.images for each in examination.series) + sum(examination.unused.values()) == (
        len(members) + came
    )


def in_one_series(folder, members, *parts, change=None):
    """Parts of one series: number of images, and when each begins, s. Pixels are divided by 1, 2, 3 ..."""
    members = sorted(members, key=lambda each: each.header.acquisition_time_stamp)
    for place, (came, begins_s) in enumerate(parts):

        def of_part(data, image, place=place, begins_s=begins_s):
            clock = datetime.strptime(str(data.AcquisitionTime), "%H%M%S.%f") + timedelta(seconds=begins_s)
            data.AcquisitionTime = data.ContentTime = f"{clock:%H%M%S.%f}"
            data.InstanceNumber += sum(count for count, _ in parts[:place])
            data.PixelData = (image.pixels[0, 0] // (place + 1)).astype("<u2").tobytes()
            if change is not None:
                at = next(k for k, each in enumerate(members) if each is image)
                change(data, place, at)

        (folder / str(place)).mkdir()
        for file in writer.classic(
            folder / str(place), members[:came], "siemens", study="2.25.1", changes=of_part
        ):
            data = pydicom.dcmread(file)
            writer.save(data, file, f"{data.SOPInstanceUID}.{place + 1}")
    whole = [each.pixels[0, 0] for each in members]
    return [sorted(int((each // (place + 1)).sum()) for each in whole[:came])
            for place, (came, _) in enumerate(parts)]  # fmt: skip


def fitted(examination):
    return sorted(
        (sorted(each.series.images.astype(int).sum((1, 2)).tolist()) for each in examination.series
         if isinstance(each, Ready)),
        key=len,
    )  # fmt: skip


@pytest.mark.parametrize(
    "parts",
    [
        [(2, 0), (3, 5), (8, 12)],
        [(3, 0), (2, 25), (8, 60)],
        [(1, 0), (1, 30), (8, 60)],
        [(1, 0), (3, 30), (1, 60), (8, 90)],
        [(8, 0), (2, 60), (8, 120)],
        [(8, 0), (1, 60), (1, 120), (8, 180), (3, 240), (8, 300)],
    ],
    ids=lambda parts: "-".join(str(came) for came, _ in parts),
)
def test_attempts_that_were_broken_off_are_fitted_with_no_whole_acquisition(parts, tmp_path, images):
    sums = in_one_series(tmp_path, of_slice(images), *parts)
    examination = only(tmp_path)
    assert fitted(examination) == [own for own in sums if len(own) == 8]
    failed = [each for each in examination.series if not isinstance(each, Ready)]
    assert [each.images for each in failed] == [came for came, _ in parts if came < 8]
    assert all(Flag.MISSING_IMAGES in each.flags for each in failed)


@pytest.mark.parametrize("parts", [[(2, 0), (5, 40), (8, 80)], [(3, 0), (6, 40), (8, 80)]])
def test_longer_attempts_are_maps_of_their_own(parts, tmp_path, images):
    sums = in_one_series(tmp_path, of_slice(images), *parts)
    examination = only(tmp_path)
    assert fitted(examination) == sums[1:]
    assert [Flag.MISSING_IMAGES in each.flags for each in examination.series] == [True, True, False]


def test_t2_that_was_broken_off_twice_is_fitted_with_no_whole_acquisition(tmp_path, images):
    sums = in_one_series(tmp_path, of_slice(images, "T2"), (2, 0), (2, 60), (3, 120))
    examination = only(tmp_path)
    assert fitted(examination) == sums
    assert [Flag.MISSING_IMAGES in each.flags for each in examination.series] == [True, True, False]


def test_a_repetition_begins_although_the_first_image_was_acquired_anew(tmp_path, images):
    """Three seconds after the first one: both belong to the first acquisition."""
    first, second, third = in_one_series(tmp_path, of_slice(images), (1, 0), (8, 3), (8, 60))
    assert fitted(only(tmp_path)) == [third, sorted(first + second)]


@pytest.mark.parametrize("name", ["AcquisitionNumber", "TemporalPositionIdentifier"])
def test_t2_parts_with_other_times_are_one_acquisition(name, tmp_path, images):
    def change(data, place, at):
        setattr(data, name, place + 1)
        data.ImageComments = f"T2 prep. duration = {((0, 25, 55), (0, 35, 45))[place][at]} ms"

    first, second = in_one_series(tmp_path, of_slice(images, "T2"), (3, 0), (3, 30), change=change)
    assert fitted(only(tmp_path)) == [sorted(first + second)]


@pytest.mark.parametrize("clock", ["080000.000000", None])
@pytest.mark.parametrize("name", ["AcquisitionNumber", "TemporalPositionIdentifier"])
def test_t2_averages_that_are_acquired_in_turn_are_one_acquisition(name, clock, tmp_path, images):
    """By their times, or by their instance numbers where the times are equal."""

    def change(data, place, at):
        setattr(data, name, place + 1)
        data.AcquisitionTime = data.ContentTime = clock or f"0800{10 * at + 5 * place:02d}.000000"
        data.InstanceNumber = 2 * at + place + 1

    first, second = in_one_series(tmp_path, of_slice(images, "T2"), (3, 0), (3, 0), change=change)
    assert fitted(only(tmp_path)) == [sorted(first + second)]


@pytest.mark.parametrize("name", ["AcquisitionNumber", "TemporalPositionIdentifier"])
def test_whole_t2_acquisitions_of_which_one_lacks_an_image_are_separated(name, tmp_path, images):
    def change(data, place, at):
        setattr(data, name, place + 1)
        data.ImageComments = f"T2 prep. duration = {(0, 25, 45, 55)[at]} ms"

    members = of_slice(images, "T2")
    last = max(each.header.acquisition_time_stamp for each in members)
    members.append(replace(members[0], header=replace(members[0].header, acquisition_time_stamp=last + 400)))
    sums = in_one_series(tmp_path, members, (4, 0), (4, 60), change=change)
    next(file for file in (tmp_path / "1").iterdir() if "= 45 ms" in read_header(file).ImageComments).unlink()
    found = fitted(only(tmp_path))
    assert [len(each) for each in found] == [3, 4]
    assert found[1] == sums[0]


@pytest.mark.parametrize("came", [2, 3])
def test_a_first_t1_image_acquired_anew_after_a_few_ends_no_series(came, tmp_path, images):
    """The next image goes on where the one before it ended."""
    members = sorted(of_slice(images), key=lambda each: each.header.acquisition_time_stamp)

    def number(data, image):
        place = next(k for k, each in enumerate(members) if each is image)
        data.AcquisitionTime = data.ContentTime = "080000"
        data.InstanceNumber = place + 1 + (place >= came)

    def anew(data, image):
        number(data, image)
        data.InstanceNumber = came + 1
        data.PixelData = (image.pixels[0, 0] // 2).astype("<u2").tobytes()

    writer.classic(tmp_path, members, "siemens", study="2.25.1", changes=number)
    (tmp_path / "again").mkdir()
    (file,) = writer.classic(tmp_path / "again", members[:1], "siemens", study="2.25.1", changes=anew)
    data = pydicom.dcmread(file)
    writer.save(data, file, f"{data.SOPInstanceUID}.9")
    (series,) = only(tmp_path).series
    assert len(series.series.times_ms) == 9


@pytest.mark.parametrize(
    ("number", "parts"),
    [
        (lambda again, at: 1 + again, 2),
        (lambda again, at: 1 + at + 3 * again, 1),
        (lambda again, at: 1 + at, 1),
        (lambda again, at: 1, 1),
    ],
    ids=["by acquisition", "by image", "by preparation", "by series"],
)
@pytest.mark.parametrize("name", ["AcquisitionNumber", "TemporalPositionIdentifier"])
def test_whole_t2_acquisitions_of_one_series_are_separated_by_their_number(
    name, number, parts, tmp_path, images
):
    members = of_slice(images, "T2")

    def change(again):
        def stated(data, image):
            at = next(k for k, each in enumerate(members) if each is image)
            setattr(data, name, number(again, at))
            if again:
                minutes = int(data.AcquisitionTime[2:4]) + 1
                data.AcquisitionTime = f"{data.AcquisitionTime[:2]}{minutes:02d}{data.AcquisitionTime[4:]}"
                data.InstanceNumber += 3
                data.PixelData = (image.pixels[0, 0] // 2).astype("<u2").tobytes()

        return stated

    twice(tmp_path, members, change(again=True), change(again=False))
    found = only(tmp_path).series
    assert [len(each.series.times_ms) for each in found] == [6 // parts] * parts
    assert found[0].flags == ()
    if parts == 2:
        assert np.array_equal(found[0].series.images // 2, found[1].series.images)


def test_a_first_image_acquired_anew_makes_no_other_slice_seem_short(tmp_path, images):
    """After the fifth image, with an inversion time 2.5 ms longer."""
    members = of_slice(images)
    order = np.argsort([float(writer.time_of(each)[1]) for each in members]).tolist()

    def number(data, image):
        place = order.index(next(k for k, each in enumerate(members) if each is image))
        data.AcquisitionTime = data.ContentTime = "080000"
        data.InstanceNumber = place + 1 + (place >= 5)

    writer.classic(tmp_path, members, "siemens", study="2.25.1", changes=number)

    def anew(data, image):
        number(data, image)
        data.InstanceNumber = 6
        data.InversionTime = str(float(data.InversionTime) + 2.5)
        data.PixelData = (image.pixels[0, 0] // 2).astype("<u2").tobytes()

    (tmp_path / "again").mkdir()
    again = [members[order[0]]]
    (file,) = writer.classic(tmp_path / "again", again, "siemens", study="2.25.1", changes=anew)
    data = pydicom.dcmread(file)
    writer.save(data, file, f"{data.SOPInstanceUID}.9")
    (tmp_path / "other").mkdir()
    writer.classic(tmp_path / "other", of_slice(images, slice_=1), "siemens", study="2.25.1")
    found = only(tmp_path).series
    assert [(len(each.series.times_ms), each.flags) for each in found] == [(9, ()), (8, ())]


def as_text(name, tag, text, numbers=range(100)):
    """State an attribute as a text that is no number, in some images of a series."""

    def change(data, image):
        if data.InstanceNumber in numbers:
            data[name] = pydicom.DataElement(tag, "DS", "1")
            data[name]._value = text

    return change


def test_an_inversion_time_that_is_no_number_is_shown_and_not_guessed(tmp_path, images):
    change = as_text("InversionTime", 0x00180082, "100,0", [3])
    writer.classic(tmp_path, of_slice(images), "siemens", changes=change)
    (series,) = only(tmp_path).series
    assert len(series.series.times_ms) == len(of_slice(images)) - 1
    assert any("in image 3 ('100,0" in note for note in series.notes)


def test_inversion_times_that_are_no_numbers_are_shown(tmp_path, images):
    change = as_text("InversionTime", 0x00180082, "100,0")
    writer.classic(tmp_path, of_slice(images), "siemens", changes=change)
    (series,) = only(tmp_path).series
    assert "they say '100,0" in series.error


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data, image: data.pop("PixelSpacing"), "PixelSpacing (DICOM)"),
        (as_text("PixelSpacing", 0x00280030, "1,5\\1,5"), "PixelSpacing '1,5 x 1,5'"),
        (as_text("PixelSpacing", 0x00280030, "0\\0"), "PixelSpacing '0.0 x 0.0'"),
    ],
)
def test_a_pixel_size_that_cannot_be_used_is_named_by_its_attribute(change, message, tmp_path, images):
    writer.classic(tmp_path, of_slice(images), "siemens", changes=change)
    (series,) = only(tmp_path).series
    assert message in series.error


def interleaved(folder, members, first, second):
    """Two acquisitions of one moment whose instance numbers alternate; the second has half the signal."""
    order = np.argsort([float(writer.time_of(each)[1]) for each in members]).tolist()

    def changes(repetition, state):
        def change(data, image):
            at = next(k for k, each in enumerate(members) if each is image)
            data.AcquisitionTime = data.ContentTime = "080000"
            data.InstanceNumber = 2 * order.index(at) + 1 + repetition
            state(data, at)
            if repetition:
                data.PixelData = (image.pixels[0, 0] // 2).astype("<u2").tobytes()

        return change

    twice(folder, members, changes(1, second), changes(0, first))


def stating(name, number):
    return lambda data, at: setattr(data, name, number(at))


@pytest.mark.parametrize(
    ("name", "text"),
    [("Slope", "abc"), ("Slope", "0,5"), ("Slope", "0"), ("Intercept", "-200,0"), ("Intercept", "none")],
)
def test_an_image_whose_rescale_cannot_be_used_is_not_read(name, text, tmp_path, images):
    """A map would be wrong by what it means."""
    paths = writer.classic(tmp_path, of_slice(images)[:2], "siemens", study="2.25.1")
    data = pydicom.dcmread(paths[0])
    data.RescaleSlope, data.RescaleIntercept = "1", "0"
    data[f"Rescale{name}"]._value = text
    data.save_as(paths[0])
    found = find([tmp_path])
    assert len(found.frames) == 1
    (problem,) = found.problems
    assert str(paths[0]) in problem
    assert f"Rescale{name} '{text}" in problem


def test_signed_dicom_images_are_not_taken_for_wrapped_magnitudes(tmp_path, images):
    """PixelRepresentation states the sign, whatever the range."""

    def changes(data, image):
        data.PixelRepresentation, signed = 1, data.pixel_array.astype(np.int32) * 30 - 20_000
        data.PixelData = np.clip(signed, -30_000, 30_000).astype("<i2").tobytes()

    writer.classic(tmp_path, of_slice(images), "siemens", changes=changes)
    (found,) = only(tmp_path).series
    assert found.series.images.min() >= 0.0
    assert found.series.images.max() > 16_384.0
    assert Flag.CLIPPED_IMAGES not in found.flags


def real_world(*scales, unit="ms"):
    """Items of a real-world value mapping, by slope and intercept."""
    made = []
    for slope, intercept in scales:
        item, units = Dataset(), Dataset()
        units.CodeValue, units.CodingSchemeDesignator, units.CodeMeaning = unit, "UCUM", unit
        item.MeasurementUnitsCodeSequence = [units]
        item.RealWorldValueSlope, item.RealWorldValueIntercept = slope, intercept
        made.append(item)
    return made


def lut(data, _):
    item = Dataset()
    item.LUTDescriptor, item.ModalityLUTType = [4096, 0, 16], "US"
    item.add_new("LUTData", "OW", np.arange(4096, dtype="<u2").tobytes())
    data.ModalityLUTSequence = [item]


def two_ranges(data, _):
    data.RealWorldValueMappingSequence = real_world((1.0, 0.0), (2.0, -500.0))


def values_of_a_table(data, _):
    data.RealWorldValueMappingSequence = real_world((1.0, 0.0))
    (item,) = data.RealWorldValueMappingSequence
    del item.RealWorldValueSlope, item.RealWorldValueIntercept
    item.RealWorldValueLUTData = [each / 2 for each in range(4096)]


def left_aligned(data, _):
    data.BitsStored, data.PixelData = 12, (data.pixel_array << 4).tobytes()


def rates(unit):
    """Real-world values of a map of R1, and a rescale beside them."""

    def changes(data, _):
        data.RescaleSlope, data.RescaleIntercept = "1", "0"
        data.RealWorldValueMappingSequence = [*real_world((7.0, 0.0), unit="1")]
        data.RealWorldValueMappingSequence += real_world((0.001, 0.0), unit=unit)

    return changes


def rescaled_rates(data, _):
    data.RescaleSlope, data.RescaleIntercept, data.RescaleType = "0.001", "0", "1/s"


@pytest.mark.parametrize(
    ("unlike", "why"),
    [
        (rates("/s"), "rates (/s)"),
        (rates("Hz"), "rates (Hz)"),
        (rates("s-1"), "rates (s-1)"),
        (rates("/ms"), "rates (/ms)"),
        (rescaled_rates, "rates (1/s)"),
        (lut, "ModalityLUTSequence"),
        (two_ranges, "several slopes"),
        (values_of_a_table, "RealWorldValueLUTData"),
        (left_aligned, "12 bits up to bit 15"),
    ],
)
def test_a_map_whose_values_are_no_slope_and_intercept_is_not_read(unlike, why, tmp_path, images):
    def changes(data, image):
        as_map(data, image)
        unlike(data, image)

    (path,) = writer.classic(tmp_path, of_slice(images)[:1], "siemens", changes=changes)
    found = find([tmp_path])
    assert not found.frames
    (problem,) = found.problems
    assert str(path) in problem
    assert why in problem


def check_real_world(folder, image, changes):
    """Check the values of a map written with ``changes`` by which a value is 1.25 stored + 10 ms."""
    writer.classic(folder, [image], "siemens", changes=changes)
    (found,) = only(folder).series
    np.testing.assert_allclose(found.series.values_ms, image.pixels[0, 0] * 1.25 + 10.0, rtol=1e-5)


def test_a_map_of_real_world_values_needs_no_table(tmp_path, images):
    def changes(data, image):
        as_map(data, image)
        lut(data, image)
        data.RealWorldValueMappingSequence = real_world((1.25, 10.0))

    check_real_world(tmp_path, of_slice(images)[-1], changes)


@pytest.mark.parametrize("unlike", [lut, left_aligned])
def test_pixels_of_other_images_may_have_tables_and_other_bits(unlike, tmp_path, images):
    """A cine beside MOLLI is counted, and no problem."""

    def cine(data, image):
        del data.InversionTime
        data.SeriesDescription = data.ProtocolName = "cine_sax"
        data.SeriesInstanceUID, data.SeriesNumber = "2.25.99", 99
        data.SOPInstanceUID = "2.25.98"
        unlike(data, image)

    members = of_slice(images)
    for folder in ("molli", "cine"):
        (tmp_path / folder).mkdir()
    writer.classic(tmp_path / "molli", members, "siemens", study="2.25.7")
    (path,) = writer.classic(tmp_path / "cine", members[:1], "siemens", study="2.25.7", changes=cine)
    data = pydicom.dcmread(path)
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = "2.25.97"
    data.save_as(path)
    examination = only(tmp_path)
    assert [len(each.series.times_ms) for each in examination.series] == [len(members)]
    assert sum(examination.unused.values()) == 1


@pytest.mark.parametrize(
    "items",
    [
        real_world((1.25, 10.0), (1.25, 10.0)),
        [
            *real_world((7.0, 1.0), unit="1"),
            *real_world((7.0, 1.0), unit="/s"),
            *real_world((0.00125, 0.01), unit="s"),
            *real_world((1.25, 10.0)),
        ],
    ],
)
def test_equal_real_world_values_of_a_map(items, tmp_path, images):
    def changes(data, image):
        as_map(data, image)
        data.RealWorldValueMappingSequence = items

    check_real_world(tmp_path, of_slice(images)[-1], changes)


@pytest.mark.parametrize("stated", [False, True])
def test_a_map_of_colours_is_flagged_where_no_real_world_values_are_stated(stated, tmp_path, images):
    def changes(data, image):
        as_map(data, image)
        data.PhotometricInterpretation = "PALETTE COLOR"
        for colour in ("Red", "Green", "Blue"):
            setattr(data, f"{colour}PaletteColorLookupTableDescriptor", [4096, 0, 16])
            setattr(data, f"{colour}PaletteColorLookupTableData", np.arange(4096, dtype="<u2").tobytes())
        if stated:
            data.RealWorldValueMappingSequence = real_world((1.0, 0.0))

    image = of_slice(images)[-1]
    writer.classic(tmp_path, [image], "siemens", changes=changes)
    (found,) = only(tmp_path).series
    np.testing.assert_allclose(found.series.values_ms, image.pixels[0, 0], rtol=1e-5)
    assert (Flag.SCALED_IMAGES in found.flags) is not stated
    assert any("PALETTE COLOR" in note for note in found.notes) is not stated


@pytest.mark.parametrize("numbers", [("A17", "another"), ("ANON001", "ANON002"), ("unknown-1", "unknown-2")])
def test_an_image_of_another_patient_with_the_same_instance_uid_is_named(numbers, tmp_path, images):
    members = of_slice(images)[:2]
    paths = writer.classic(tmp_path, members, "siemens", study="2.25.1")
    first, second = map(pydicom.dcmread, paths)
    first.PatientID, second.PatientID = first.PatientName, second.PatientName = numbers
    first.save_as(paths[0])
    second.SOPInstanceUID = first.SOPInstanceUID
    second.file_meta.MediaStorageSOPInstanceUID = first.SOPInstanceUID
    second.save_as(paths[1])
    found = find([tmp_path])
    assert len(found.frames) == 1
    assert [each.split(" is not read: ")[1] for each in found.problems] == [
        "an image of another patient has its SOP instance UID"
    ]
    assert not found.skipped


@pytest.mark.parametrize("name", ["InStackPositionNumber", "SliceLocation"])
@pytest.mark.parametrize("quantity", ["T1", "T2"])
def test_slices_whose_positions_an_anonymiser_made_zeros_stay_apart(quantity, name, tmp_path, images):
    members = [*of_slice(images, quantity), *of_slice(images, quantity, 1)]
    first = len(of_slice(images, quantity))

    def changes(data, image):
        data.ImagePositionPatient = [0.0, 0.0, 0.0]
        if "SliceLocation" in data:
            del data.SliceLocation
        setattr(data, name, 1 + next(k for k, each in enumerate(members) if each is image) // first)

    writer.classic(tmp_path, members, "ge", study="2.25.1", changes=changes)
    found = only(tmp_path).series
    assert [len(each.series.images) for each in found] == [first, first]


@pytest.mark.parametrize("name", ["AcquisitionNumber", "TemporalPositionIdentifier"])
def test_interleaved_acquisitions_of_one_series_are_separated_by_their_number(name, tmp_path, images):
    members = of_slice(images)
    interleaved(tmp_path, members, stating(name, lambda _: 1), stating(name, lambda _: 2))
    first, second = only(tmp_path).series
    assert first.series.images.shape == second.series.images.shape == (8, *members[0].pixels.shape[2:])
    assert np.array_equal(first.series.images // 2, second.series.images)
    assert first.flags == second.flags == ()


def test_interleaved_frames_are_separated_by_their_temporal_position(tmp_path, images):
    members = of_slice(images)
    halved = [Image.from_pixels(each.pixels // 2, each.header, each.meta()) for each in members]
    woven = [each for pair in zip(members, halved, strict=True) for each in pair]

    def changes(data, frames):
        for number, group in enumerate(data.PerFrameFunctionalGroupsSequence):
            content = group.FrameContentSequence[0]
            content.FrameAcquisitionDateTime = "20260102080000"
            content.TemporalPositionIndex = number % 2 + 1

    writer.enhanced(tmp_path, woven, "ge", changes=changes)
    first, second = only(tmp_path).series
    assert np.array_equal(first.series.images // 2, second.series.images)


@pytest.mark.parametrize("name", ["AcquisitionNumber", "TemporalPositionIdentifier"])
@pytest.mark.parametrize(
    "number",
    [lambda at: at + 1, lambda at: 1 + at // 5, lambda at: 1 + at // 4, lambda at: 1 + at % 2, lambda _: 1],
    ids=["by image", "by inversion", "by four", "alternating", "by series"],
)
def test_numbers_that_separate_no_acquisitions_change_nothing(name, number, tmp_path, images):
    members = of_slice(images)

    def changes(data, image):
        setattr(data, name, number(next(k for k, each in enumerate(members) if each is image)))

    for folder, change in (("plain", None), ("numbered", changes)):
        (tmp_path / folder).mkdir()
        writer.classic(tmp_path / folder, members, "siemens", study="2.25.1", changes=change)
    (plain,), (series,) = (only(tmp_path / folder).series for folder in ("plain", "numbered"))
    assert np.array_equal(plain.series.images, series.series.images)
    assert plain.flags == series.flags == ()


def at(start, change=None):
    """Changes that give every image the date and time of its stamp after a start; ``change`` goes last."""

    def stated(image):
        return start + timedelta(seconds=image.header.acquisition_time_stamp / 400)

    def changes(data, images):
        if "PerFrameFunctionalGroupsSequence" in data:
            for group, image in zip(data.PerFrameFunctionalGroupsSequence, images, strict=True):
                group.FrameContentSequence[0].FrameAcquisitionDateTime = f"{stated(image):%Y%m%d%H%M%S.%f}"
        else:
            data.AcquisitionDate = data.ContentDate = f"{stated(images):%Y%m%d}"
            data.AcquisitionTime = data.ContentTime = f"{stated(images):%H%M%S.%f}"
        if change:
            change(data)

    return changes


def described(examination):
    """The series of an examination as far as the order of acquisition determines them."""
    started = min(each.identity.time_stamp for each in examination.series)
    return [
        (
            *(each.identity.series_index, each.identity.slice_index, each.identity.time_stamp - started),
            *(each.series.times_ms.tolist(), each.flags, each.notes),
        )
        for each in examination.series
    ]


@BOTH
@pytest.mark.parametrize("before", [0.15, 0.5, 0.85])
def test_an_examination_goes_on_after_midnight(write, before, tmp_path, images):
    stamps = [each.header.acquisition_time_stamp for each in images]
    assert max(stamps) - min(stamps) < 400 * 3600
    midnight = datetime(2027, 1, 1) - timedelta(seconds=float(np.quantile(stamps, before)) / 400)
    for name, start in (("day", datetime(2026, 12, 31, 9)), ("night", midnight)):
        (tmp_path / name).mkdir()
        write(tmp_path / name, images, "ge", changes=at(start))
    by_day, by_night = only(tmp_path / "day"), only(tmp_path / "night")
    assert described(by_night) == described(by_day)
    latest = max(each.identity.time_stamp for each in by_night.series)
    assert 400 * 86_400 < latest < 400 * (86_400 + 3600)


def test_midnight_is_that_of_the_study_and_of_images_without_a_date(tmp_path, images):
    """The second slice comes after midnight, in another frame of reference; some images have no date."""

    def change(data):
        if data.AcquisitionDate == "20270101":
            data.FrameOfReferenceUID += ".1"
        if data.InstanceNumber % 4 == 0:
            del data.AcquisitionDate

    began = min(each.header.acquisition_time_stamp for each in images if each.header.slice == 1)
    midnight = datetime(2027, 1, 1) - timedelta(seconds=began / 400 - 1)
    writer.classic(tmp_path, images, "ge", changes=at(midnight, change))
    before, after = (
        [each.identity.time_stamp / 400 for each in examination.series]
        for examination in open_dicom([tmp_path]).examinations()
    )
    assert len(before) == len(after) == 2
    assert 86_400 - 60 < min(before) <= max(before) < 86_400 < min(after) <= max(after) < 86_400 + 60


def lacking_dates(data):
    del data.AcquisitionDate, data.ContentDate


def shifted_by_series(data):
    """As anonymisation that draws an offset for each series."""
    moved = datetime.strptime(data.AcquisitionDate, "%Y%m%d") + timedelta(days=data.SeriesNumber % 2)
    data.AcquisitionDate = f"{moved:%Y%m%d}"


@pytest.mark.parametrize("change", [lacking_dates, shifted_by_series])
def test_dates_that_do_not_fit_the_times_are_not_used(change, tmp_path, images):
    for name, made in (("own", None), ("anonymised", change)):
        (tmp_path / name).mkdir()
        writer.classic(tmp_path / name, images, "ge", changes=at(datetime(2026, 12, 31, 9), made))
    own, anonymised = only(tmp_path / "own"), only(tmp_path / "anonymised")
    assert [each.identity for each in anonymised.series] == [each.identity for each in own.series]
    assert described(anonymised) == described(own)


def test_only_the_slice_of_an_unreadable_image_is_flagged(tmp_path, images):
    members = [each for each in images if writer.time_of(each)[0] == "T1"]
    files = writer.classic(tmp_path, members, "ge")
    data = pydicom.dcmread(files[2])
    data.PixelData = data.PixelData[:100]
    data.save_as(files[2])
    (examination,) = open_dicom([tmp_path]).examinations()
    first, second = examination.series
    assert Flag.MISSING_IMAGES in first.flags
    assert second.flags == ()


def test_only_the_slice_that_lacks_an_image_is_flagged(tmp_path, images):
    members = [each for each in images if writer.time_of(each)[0] == "T1"]
    writer.classic(tmp_path, members, "ge")[2].unlink()
    first, second = only(tmp_path).series
    assert "Images are missing: the instance numbers of the series go from 1 to 16 without 3." in first.notes
    assert (Flag.MISSING_IMAGES in first.flags, second.flags, second.notes) == (True, (), ())


@pytest.mark.parametrize(("unit", "size"), [("", 1.0), ("US", 1.0), ("ms", 1.0), ("s", 1000.0)])
def test_rescale_of_a_map(unit, size, tmp_path, images):
    """US is no microsecond: it means that the unit is not specified."""
    image = of_slice(images)[-1]

    def changes(data, image):
        as_map(data, image)
        data.RescaleSlope, data.RescaleIntercept = str(1.5 / size), str(-3.0 / size)
        if unit:
            data.RescaleType = unit

    writer.classic(tmp_path, [image], "siemens", changes=changes)
    (found,) = only(tmp_path).series
    assert found.flags == ()
    np.testing.assert_allclose(found.series.values_ms, image.pixels[0, 0] * 1.5 - 3.0, rtol=1e-5)


def test_motion_corrected_images_in_a_series_of_their_own_win(tmp_path, images):
    study = "2.25.1"
    one, two = tmp_path / "a", tmp_path / "b"
    one.mkdir()
    two.mkdir()

    def corrected(data, image):
        data.SeriesInstanceUID += ".9"
        data.SeriesNumber = 900
        data.SeriesDescription += "_MOCO"
        data.ImageType = ["DERIVED", "PRIMARY", "M", "ND", "MOCO"]

    writer.classic(one, of_slice(images), "siemens", study=study)
    for file in writer.classic(two, of_slice(images), "siemens", study=study, changes=corrected):
        data = pydicom.dcmread(file)
        writer.save(data, file, data.SOPInstanceUID + ".9")
    examination = only(tmp_path)
    (series,) = examination.series
    assert series.motion_corrected
    assert series.identity.series_index == 900
    assert examination.unused == {
        "not motion-corrected; the motion-corrected images of the slice were used": 8
    }
    assert len(only(tmp_path, motion="both").series) == 2


def test_corrected_slices_in_series_of_their_own_are_twins_of_one_series(tmp_path, images):
    """As acquired: one series of all slices. Corrected: a series for each slice."""
    members = [each for each in images if writer.time_of(each)[0] == "T1"]

    def corrected(data, image):
        data.SeriesNumber = 900 + image.header.slice
        data.SeriesInstanceUID = f"2.25.1.9{data.SeriesNumber}"
        data.SeriesDescription += "_MOCO"

    for name, changes in (("raw", None), ("moco", corrected)):
        (tmp_path / name).mkdir()
        for file in writer.classic(tmp_path / name, members, "ge", study="2.25.1", changes=changes):
            data = pydicom.dcmread(file)
            writer.save(data, file, f"{data.SOPInstanceUID}.{len(name)}")
    examination = only(tmp_path)
    assert [each.motion_corrected for each in examination.series] == [True, True]
    assert [each.identity.slice_index for each in examination.series] == [0, 1]
    assert sum(examination.unused.values()) == 16


def test_slices_at_another_angle_are_counted_behind_the_stack(tmp_path, images):
    members = [each for each in images if writer.time_of(each)[0] == "T1"]

    def changes(data, image):
        if image.header.slice == 0 and data.InstanceNumber:
            data.ImageOrientationPatient = [
                *data.ImageOrientationPatient[:3],
                *np.cross(
                    [float(x) for x in data.ImageOrientationPatient[:3]],
                    [float(x) for x in data.ImageOrientationPatient[3:]],
                )
                .round(8)
                .tolist(),
            ]
            data.AcquisitionTime = data.ContentTime = "235900"

    writer.classic(tmp_path, members, "siemens", changes=changes)
    by_slice = {each.identity.slice_index: each for each in only(tmp_path).series}
    assert set(by_slice) == {0, 1}
    assert by_slice[1].identity.series_index == 100


@pytest.mark.parametrize("length", [0.99, 0.6, 0.0])
def test_directions_that_are_not_of_unit_length_are_read(tmp_path, images, length):
    """Cosines rounded to one or two digits, such as 0.7 / 0.7 / 0."""

    def changes(data, _):
        data.ImageOrientationPatient = [round(length * float(x), 6) for x in data.ImageOrientationPatient]

    members = [each for each in images if writer.time_of(each)[0] == "T1"]
    writer.classic(tmp_path, members, "siemens", changes=changes)
    series = only(tmp_path).series
    assert [each.geometry.oriented for each in series] == [length > 0.98] * 2
    assert {each.identity.slice_index for each in series} == {0, 1}


def test_phase_images_and_other_objects_are_counted(tmp_path, images):
    members = of_slice(images)
    files = writer.classic(tmp_path, members, "ge")
    phase = pydicom.dcmread(files[0])
    phase[0x0043, 0x102F].value = 1
    phase.InstanceNumber = 9
    writer.save(phase, tmp_path / "phase", "2.25.7")
    other = pydicom.dcmread(files[0])
    other.SOPClassUID = SecondaryCaptureImageStorage
    writer.save(other, tmp_path / "capture", "2.25.8")
    shutil.copy(files[0], tmp_path / "copy")
    (tmp_path / "notes.txt").write_text("a note")
    found = open_dicom([tmp_path])
    assert found.skipped == {
        "Secondary Capture Image": 1,
        "copies of an image that was read": 1,
        "not DICOM": 1,
    }
    (examination,) = found.examinations()
    assert examination.unused == {"phase or imaginary image": 1}
    assert len(examination.series[0].series.times_ms) == 8


@pytest.mark.parametrize("folder_first", [True, False])
def test_a_named_file_that_is_no_dicom_is_a_problem_beside_its_folder_too(folder_first, tmp_path):
    note = tmp_path / "notes.txt"
    note.write_text("a note")
    found = find([tmp_path, note] if folder_first else [note, tmp_path])
    assert found.problems == [f"{note} is no DICOM file (DICM is missing at byte 128)"]
    assert found.unread == {note}
    assert not found.skipped


def test_studies_are_examinations_of_their_own(tmp_path, images):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        writer.classic(tmp_path / name, of_slice(images), "canon")
    examinations = list(open_dicom([tmp_path]).examinations())
    assert len(examinations) == 2
    assert {each.name for each in examinations} == {str(tmp_path / "one"), str(tmp_path / "two")}
    assert all(len(each.series) == 1 for each in examinations)


@pytest.mark.parametrize(
    "reference",
    [lambda k: f"2.25.{k + 7}", lambda k: "2.25.7" if k % 2 else None, lambda k: f"2.25.{7 + (k == 5)}"],
    ids=["image by image", "some without", "one other"],
)
def test_a_series_has_one_frame_of_reference(reference, tmp_path, images):
    members = of_slice(images)
    numbers = {id(each): k for k, each in enumerate(members)}

    def changes(data, image):
        data.FrameOfReferenceUID = reference(numbers[id(image)])
        if data.FrameOfReferenceUID is None:
            del data.FrameOfReferenceUID

    writer.classic(tmp_path, members, "siemens", changes=changes)
    (series,) = only(tmp_path).series
    assert (len(series.series.times_ms), series.flags) == (8, ())
    assert any("several frames of reference" in note for note in series.notes)


def test_whole_acquisitions_in_two_frames_of_reference_stay_apart(tmp_path, images):
    """An archive may have joined them; their positions are not comparable."""

    def second(data, image):
        data.FrameOfReferenceUID = "2.25.7"
        data.PixelData = (image.pixels[0, 0] // 2).astype("<u2").tobytes()

    twice(tmp_path, of_slice(images), second)
    examinations = list(open_dicom([tmp_path]).examinations())
    assert [len(each.series) for each in examinations] == [1, 1]
    assert [each.series[0].notes for each in examinations] == [(), ()]


def test_an_image_in_the_frame_of_reference_of_another_acquisition_stays_in_it(tmp_path, images):
    """An archive may have joined it from there: positions in two frames are not comparable."""
    members = [*of_slice(images), *of_slice(images, "T2")]

    def changes(data, image):
        data.FrameOfReferenceUID = "2.25.7" if image in (members[0], *members[8:]) else "2.25.8"

    writer.classic(tmp_path, members, "siemens", changes=changes)
    found = [
        sorted(len(each.series.times_ms) if isinstance(each, Ready) else 0 for each in examination.series)
        for examination in open_dicom([tmp_path]).examinations()
    ]
    assert sorted(found) == [[0, 3], [7]]


def test_images_without_a_frame_of_reference_beside_two_whole_ones_join_neither(tmp_path, images):
    """Post-contrast images would be fitted with the native ones."""

    def second(data, image):
        data.FrameOfReferenceUID = "2.25.7" if image.header.image_index % 8 else ""
        data.PixelData = (image.pixels[0, 0] // 2).astype("<u2").tobytes()

    twice(tmp_path, of_slice(images), second)
    for examination in open_dicom([tmp_path]).examinations():
        assert all(
            not each.notes or "frames of reference" not in each.notes[0] for each in examination.series
        )


def test_images_whose_uids_all_differ_are_said_to_be_alone(tmp_path, images):
    def changes(data, image):
        data.StudyInstanceUID = f"2.25.{image.header.acquisition_time_stamp + 1}"

    writer.classic(tmp_path, of_slice(images), "siemens", changes=changes)
    examinations = list(open_dicom([tmp_path]).examinations())
    assert len(examinations) == 8
    assert all("one Study Instance UID" in each.series[0].error for each in examinations)


def test_two_patients_of_one_study_uid_are_examinations_of_their_own(tmp_path, images):
    files = writer.classic(tmp_path, [*of_slice(images), *of_slice(images, "T2")], "siemens")
    for file in files[8:]:
        data = pydicom.dcmread(file)
        data.PatientID = "another"
        data.save_as(file)
    examinations = list(open_dicom([tmp_path]).examinations())
    assert [[each.quantity for each in one.series] for one in examinations] == [[Quantity.T2], [Quantity.T1]]
    assert all(each.shared_study for each in examinations)
    assert len({each.identities["patient_id"] for each in examinations}) == 2
    assert len(shared_studies(open_dicom([tmp_path]).studies())) == 1
    assert shared_studies(open_dicom(files[:8]).studies()) == set()
    (one,) = open_dicom(files[:8]).examinations()
    assert not one.shared_study


def test_a_study_is_identified_by_all_of_its_images_and_by_no_name(tmp_path, images):
    files = writer.classic(tmp_path, of_slice(images), "siemens")
    for number, file in enumerate(files):
        data = pydicom.dcmread(file)
        data.PatientID, data.PatientName, data.StudyDate = "", "4711", "20260131"
        data.AccessionNumber = ("", "A1", "A2")[number % 3]
        data.save_as(file)
    (one,) = open_dicom(files).examinations()
    assert one.identities == {
        "study_uid": frozenset({identity("study_uid", str(data.StudyInstanceUID))}),
        "study_date": frozenset({identity("study_date", "2026-01-31")}),
        "accession_number": frozenset(identity("accession_number", each) for each in ("A1", "A2")),
    }
    assert "patient_id" not in one.header.identities


@pytest.mark.parametrize("study", [True, False], ids=["one study UID", "no UIDs"])
@pytest.mark.parametrize(
    ("number", "names", "count"),
    [
        ("", ("Mustermann^Erika", "Mustermann^Max"), 2),
        ("0000", ("Mustermann^Erika", "Mustermann^Max"), 2),
        ("A17", ("Mustermann^Erika", "Beispiel^Erika"), 1),
        ("", ("Mustermann^Erika", "MUSTERMANN^ERIKA^"), 1),
        ("", ("", "Anonymous"), 1),
        ("", ("anonymous", "anonymous"), 1),
        ("", ("M\u00fcller^J\u00fcrgen", "Mu\u0308ller^Ju\u0308rgen"), 1),
        ("", ("Mustermann^Erika", "Mustermann, Erika"), 1),
        ("", ("Yamada^Tarou", "Yamada^Tarou=\u5c71\u7530^\u592a\u90ce"), 1),
        ("", ("=\u5c71\u7530^\u592a\u90ce", "=\u5c71\u7530^\u6b21\u90ce"), 2),
    ],
)
def test_without_patient_ids_names_part_the_examinations(number, names, count, study, tmp_path, images):
    files = writer.classic(tmp_path, [*of_slice(images), *of_slice(images, "T2")], "siemens")
    for place, file in enumerate(files):
        data = pydicom.dcmread(file)
        data.SpecificCharacterSet = "ISO_IR 192"
        data.PatientID, data.PatientName = number, names[place >= 8]
        if not study:
            del data.StudyInstanceUID, data.FrameOfReferenceUID
        data.save_as(file)
    examinations = list(open_dicom([tmp_path]).examinations())
    assert [len(each.series) for each in examinations] == ([1, 1] if count == 2 else [2])


@pytest.mark.parametrize("third", ["", "Beispiel^Max"])
@pytest.mark.parametrize("study", [True, False], ids=["one study UID", "no UIDs"])
def test_images_that_state_no_patient_are_of_the_only_one_of_their_study_uid(study, third, tmp_path, images):
    files = writer.classic(tmp_path, [*of_slice(images), *of_slice(images, "T2")], "siemens")
    for place, file in enumerate(files):
        data = pydicom.dcmread(file)
        data.PatientID, data.PatientName = "", "Mustermann^Erika" if place < 8 else ""
        if third and place == len(files) - 1:
            data.PatientName = third
        if not study:
            del data.StudyInstanceUID, data.FrameOfReferenceUID
        data.save_as(file)
    examinations = list(open_dicom([tmp_path]).examinations())
    assert len(examinations) == (3 if third else 1 if study else 2)


@pytest.mark.parametrize("name", ["Mustermann^Erika", "Beispiel^Max"])
def test_images_with_a_name_alone_are_not_joined_to_those_with_an_id(name, tmp_path, images):
    files = writer.classic(tmp_path, [*of_slice(images), *of_slice(images, "T2")], "siemens")
    for place, file in enumerate(files):
        data = pydicom.dcmread(file)
        data.PatientID, data.PatientName = ("P1", "Mustermann^Erika") if place < 8 else ("", name)
        data.save_as(file)
    assert [len(each.series) for each in open_dicom([tmp_path]).examinations()] == [1, 1]


def test_a_dicomdir_gives_the_files_that_it_lists(tmp_path, images):
    from pydicom.fileset import FileSet

    source, media = tmp_path / "source", tmp_path / "media"
    source.mkdir()
    set_ = FileSet()
    for file in writer.classic(source, of_slice(images), "siemens"):
        set_.add(file)
    set_.write(media)
    (series,) = only(media / "DICOMDIR").series
    assert isinstance(series.series, MappingSeries)
    assert len(series.series.times_ms) == 8
    next(path for path in media.rglob("*") if path.is_file() and path.name != "DICOMDIR").unlink()
    found = open_dicom([media / "DICOMDIR"])
    assert len(found.problems) == 1
    assert "is no file below its folder" in found.problems[0]


def test_compressed_pixels(tmp_path, images):
    members = of_slice(images)
    files = writer.classic(tmp_path, members, "siemens")
    for file in files[:4]:
        data = pydicom.dcmread(file)
        data.compress(RLELossless, generate_instance_uid=False)
        data.save_as(file)
    (series,) = only(tmp_path).series
    assert len(series.series.times_ms) == 8
    # Without a decoder the message says what to do.
    data = pydicom.dcmread(files[0])
    data.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    data.save_as(files[0])
    (examination,) = open_dicom([tmp_path]).examinations()
    assert "no decoder of its pixels (JPEG Lossless" in examination.problems[0]
    assert Flag.MISSING_IMAGES in examination.series[0].flags


LOSSY = "Images were compressed with loss: their values are not exact."


def jpeg(data, kind, **options):
    """Compress the pixels of an image to 8 bits by Pillow."""
    stored = data.pixel_array
    eight = (stored / stored.max() * 255).astype(np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(eight).save(file, kind, **options)
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit = 7
    data.PixelData = encapsulate([file.getvalue()])
    data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True


@pytest.mark.parametrize("map_", [False, True])
@pytest.mark.parametrize(
    ("stated", "syntax", "noted"),
    [
        (None, None, False),
        ("00", None, False),
        ("01", None, True),  # decompressed again
        (None, JPEGBaseline8Bit, True),
        (None, JPEG2000, False),  # may be without loss
        ("00", JPEG2000, False),
    ],
)
def test_images_that_were_compressed_with_loss_have_a_note(stated, syntax, noted, map_, tmp_path, images):
    def changes(data, image):
        if map_:
            as_map(data, image)
        if syntax == JPEGBaseline8Bit:
            jpeg(data, "JPEG")
        elif syntax is not None:
            jpeg(data, "JPEG2000", no_jp2=True)
        data.file_meta.TransferSyntaxUID = syntax or ExplicitVRLittleEndian
        if stated is not None:
            data.LossyImageCompression = stated

    members = of_slice(images)
    writer.classic(tmp_path, members[-1:] if map_ else members, "siemens", changes=changes)
    (series,) = only(tmp_path).series
    assert isinstance(series.series, MapSeries if map_ else MappingSeries)
    assert (LOSSY in series.notes) is noted


def test_enhanced_images_that_were_compressed_with_loss_have_a_note(tmp_path, images):
    def changes(data, _):
        data.LossyImageCompression = "01"

    writer.enhanced(tmp_path, images, "ge", changes=changes)
    assert all(LOSSY in each.notes for each in only(tmp_path).series)


@pytest.mark.parametrize("plugins", [("pillow",), ("gdcm", "pillow")])
def test_jpeg_extended_of_12_bits_needs_a_decoder_of_its_own(plugins, tmp_path, images, monkeypatch):
    """Pillow and GDCM decode 8 bits of it."""
    monkeypatch.setattr("pydicom.pixels.decoders.base.Decoder.available_plugins", plugins)
    (file,) = writer.classic(tmp_path, of_slice(images)[:1], "siemens")
    data = pydicom.dcmread(file)
    data.BitsStored, data.HighBit = 12, 11
    data.file_meta.TransferSyntaxUID = JPEGExtended12Bit
    data.PixelData = encapsulate([b"\xff\xd8\xff\xd9"])
    data["PixelData"].is_undefined_length = True
    data.save_as(file)
    (examination,) = open_dicom([tmp_path]).examinations()
    (problem,) = examination.problems
    assert "no decoder of its pixels (JPEG Extended (Process 2 and 4)) is installed; install pylib" in problem


def test_paths_that_cannot_be_read(tmp_path):
    with pytest.raises(DicomError, match="there is no file or folder"):
        open_dicom([tmp_path / "nowhere"])
    (tmp_path / "note").write_text("text")
    assert "is no DICOM file" in open_dicom([tmp_path / "note"]).problems[0]
    assert open_dicom([tmp_path]).skipped == {"not DICOM": 1}


def test_no_name_of_the_patient_goes_on(tmp_path, images):
    writer.classic(tmp_path, of_slice(images), "siemens")
    assert writer.PATIENT not in repr(only(tmp_path))


def test_field_strength_sex_and_contrast_agent_of_the_images(tmp_path):
    """They decide reference ranges, the synthetic haematocrit, and which series is native."""
    from inline.data.series import Enhancement

    objects = scanner.classic(scanner.examination(1, size=96)[1])
    for number, each in enumerate(objects):
        each.MagneticFieldStrength = 3.0
        if each.SeriesNumber == 1:
            each.ContrastBolusAgent = "Gadobutrol"
        each.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    (examination,) = open_dicom([tmp_path]).examinations()
    first = examination.series[0]
    assert (first.field_strength, first.sex) == (3.0, "F")
    assert first.enhancement is Enhancement.POST_CONTRAST
    assert (examination.header.system, examination.header.study_date) == ("Simulated", "2024-01-02")
    objects[0].MagneticFieldStrength = 30000.0
    objects[0].PatientSex = "O"
    objects[0].save_as(tmp_path / "0.dcm", enforce_file_format=True)
    (examination,) = open_dicom([tmp_path]).examinations()
    assert (examination.series[0].field_strength, examination.series[0].sex) == (None, "")


@pytest.mark.parametrize(("meaning", "expected"), [("Gadolinium", "post-contrast"), ("None", None)])
def test_a_contrast_agent_that_is_stated_as_a_code(meaning, expected, tmp_path):
    """Enhanced MR has no other place for it (DICOM PS3.3, C.7.6.4b)."""
    objects = scanner.series_of(scanner.classic(scanner.examination(1, size=96)[1]), 2)
    data, agent = scanner.enhanced(objects), Dataset()
    agent.CodeValue, agent.CodingSchemeDesignator, agent.CodeMeaning = "105857000", "SCT", meaning
    data.ContrastBolusAgentSequence = [agent]
    data.save_as(tmp_path / "0.dcm", enforce_file_format=True)
    ((series,),) = (each.series for each in open_dicom([tmp_path]).examinations())
    assert series.enhancement == expected


def shortened(folder, images, slice_, left):
    """Write the images without the last ones of the T1 of a slice; instance numbers have no gap."""
    kept = of_slice(images, "T1", slice_)[:left]
    writer.classic(
        folder, [each for each in images if each not in of_slice(images, "T1", slice_)[left:]], "siemens"
    )
    return len(kept)


def test_a_slice_whose_tail_is_missing_is_flagged_by_its_siblings(tmp_path, images):
    whole = len(of_slice(images))
    left = shortened(tmp_path, images, 1, whole - 2)
    flagged = {
        each.identity.slice_index for each in only(tmp_path).series if Flag.MISSING_IMAGES in each.flags
    }
    (lacking,) = (each for each in only(tmp_path).series if Flag.MISSING_IMAGES in each.flags)
    assert (flagged, lacking.quantity, lacking.images) == ({1}, "T1", left)
    assert (
        f"Images are missing: another slice of this name has {whole} of them, this one {left}."
        in lacking.notes
    )


@pytest.mark.parametrize(
    ("own", "other", "expected"),
    [
        ((100, 1100, 2100, 180, 1180), (100, 1100, 2100, 180, 1180, 2180, 260), True),
        # 4(1)3(1)2 beside 5(3)3: another protocol, whatever its length.
        (
            (100, 1100, 2100, 3100, 4100, 180, 1180, 2180),
            (100, 1100, 2100, 3100, 180, 1180, 2180, 260, 1260),
            False,
        ),
        ((120, 900, 1700, 200), (100, 1100, 2100, 180, 1180), True),
        ((100, 1100, 2100, 180), (110, 1110, 2110, 190), False),
    ],
)
def test_a_shorter_acquisition_of_the_same_protocol(own, other, expected):
    here, there = (SliceAcquisition(1, slice_, Quantity.T1, False, "MOLLI") for slice_ in (0, 1))
    found = shorter({here: own, there: other})
    assert set(found) == ({here} if expected else set())
    assert shorter({here: own, there._replace(name="MOLLI post"): other}) == {}


def test_a_series_with_fewer_objects_than_it_states_is_flagged(tmp_path, images):
    def state(data, _):
        data.NumberOfSeriesRelatedInstances = 50

    writer.classic(tmp_path, images, "ge", changes=state)
    for each in only(tmp_path).series:
        assert Flag.MISSING_IMAGES in each.flags
        assert any("the series states 50 objects" in note for note in each.notes)


@pytest.mark.parametrize(
    ("total", "left", "lacking"),
    [
        (3, (0, 1, 2), ""),
        (3, (0, 1), "3 objects, and 2"),
        (3, (0, 2), "3 objects, and 2"),
        (None, (0, 2), "3 objects, and 2"),
        (None, (0, 1, 2), ""),
    ],
)
def test_a_concatenation_that_lacks_an_object_is_flagged(total, left, lacking, tmp_path, images):
    """An enhanced image may be sent in several objects (PS3.3, C.7.6.16.1)."""
    (file,) = writer.enhanced(tmp_path, of_slice(images), "ge")
    whole = pydicom.dcmread(file)
    groups, size = list(whole.PerFrameFunctionalGroupsSequence), 2 * whole.Rows * whole.Columns
    for part, (first, end) in enumerate([(0, 4), (4, 7), (7, 8)]):
        data = pydicom.dcmread(file)
        data.PerFrameFunctionalGroupsSequence = groups[first:end]
        data.NumberOfFrames, data.PixelData = end - first, whole.PixelData[first * size : end * size]
        data.ConcatenationUID, data.InConcatenationNumber = "2.25.77", part + 1
        data.ConcatenationFrameOffsetNumber = first
        if total is not None:
            data.InConcatenationTotalNumber = total
        if part in left:
            writer.save(data, tmp_path / f"part-{part}", f"2.25.78.{part}")
    file.unlink()
    (series,) = only(tmp_path).series
    assert (Flag.MISSING_IMAGES in series.flags) is bool(lacking)
    assert any(f"a concatenation states {lacking}" in note for note in series.notes) is bool(lacking)
