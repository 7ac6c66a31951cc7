import re
import shutil
import subprocess
import warnings
import xml.etree.ElementTree as ElementTree
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.valuerep import PersonName
from scipy.ndimage import map_coordinates

import inline
from inline.data.client_text import for_log
from inline.data.flags import Flag
from inline.data.results import SliceLevel
from inline.data.series import Enhancement, Quantity
from inline.dicom.read import open_dicom
from inline.dicom.write.capture import capture
from inline.dicom.write.objects import encoded, write_examination, write_objects
from inline.dicom.write.output import common
from inline.dicom.write.provenance import Provenance, derived_uid
from inline.dicom.write.report import report
from inline.dicom.write.segmentation import segmentation
from inline.dicom.write.source import DicomWriteError, SourcePlane
from inline.emit.record import slice_record
from inline.examination.examine import examine
from inline.pipeline import Pipeline, SliceContext
from inline.reference import ReferenceRanges
from inline.settings import EcvSettings, RegionSettings, Settings
from tests.inline import contrast_phantom as phantom

from .. import scanner
from .conftest import read_sources, save
from .objects import ALL, KNOWN, again, in_columns_of_the_first_group, values_by_region

UID = 0x0040A124
"""Value of an item of a report that is a UID."""


def frame_plane(dataset, number):
    return SourcePlane.of(dataset, number)


def of_kind(written, kind):
    return [again(each) for each in written if kind in each.SOPClassUID.name]


def test_a_map_holds_the_values_in_ms(sources, written):
    for each, made in zip(sources, of_kind(written, "Parametric Map"), strict=False):
        stored = np.frombuffer(made.FloatPixelData, np.float32).reshape(made.Rows, made.Columns)
        np.testing.assert_array_equal(stored, each.result.map.values_ms)
        mapping = made.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
        assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "ms"
        assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1.0, 0.0)
        quantity = mapping.QuantityDefinitionSequence[0].ConceptCodeSequence[0]
        assert quantity.CodeMeaning == each.result.quantity
        assert mapping.DoubleFloatRealWorldValueFirstValueMapped <= stored.min()
        assert mapping.DoubleFloatRealWorldValueLastValueMapped >= stored.max()


def test_a_segmentation_lies_on_the_pixels_of_its_source(sources, written):
    """Resampled at the centres of the source's pixels, in patient coordinates, it gives the labels again."""
    for each, made in zip(sources, of_kind(written, "Segmentation"), strict=False):
        rows, columns = each.result.labels.shape
        y, x = np.mgrid[:rows, :columns]
        pixels = np.stack([x.ravel(), y.ravel()], axis=1).astype(float)
        source = each.images.plane()
        patient = source.to_patient(pixels)
        for number, frame in enumerate(made.pixel_array, 1):
            plane = frame_plane(made, number)
            row, column = np.reshape(plane.orientation, (2, 3))
            offset = patient - plane.position
            assert np.abs(offset @ np.cross(row, column)).max() < 1e-6
            indices = [offset @ column / plane.spacing[0], offset @ row / plane.spacing[1]]
            resampled = map_coordinates(frame, indices, order=0).reshape(rows, columns)
            groups = made.PerFrameFunctionalGroupsSequence[number - 1]
            segment = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
            np.testing.assert_array_equal(resampled, each.result.labels == segment)
        assert [each.SegmentLabel for each in made.SegmentSequence] == ["LV cavity", "LV myocardium"]


def test_a_single_plane_has_the_thickness_of_its_source_and_no_distance_to_others(sources, written):
    """Readers compute volumes with SpacingBetweenSlices; where it is absent, with SliceThickness."""
    for made in [*of_kind(written, "Segmentation"), *of_kind(written, "Parametric Map")]:
        (measures,) = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
        assert measures.SliceThickness == sources[0].images.plane().thickness == 8.0
        assert "SpacingBetweenSlices" not in measures


def from_cielab(stored):
    """sRGB of a recommended display colour (PS3.3 C.10.7.1.1), with D65 as in dcmjs (OHIF) and dcmqi."""
    light, a, b = np.array(stored) / 65535 * (100, 255, 255) - (0, 128, 128)
    y = (light + 16) / 116
    lab = np.array([y + a / 500, y, y - b / 200])
    white = (0.9505, 1.0, 1.089)
    xyz = np.where(lab > 6 / 29, lab**3, 3 * (6 / 29) ** 2 * (lab - 4 / 29)) * white
    to_rgb = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
    linear = np.clip(to_rgb @ xyz, 0, 1)
    return 255 * np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)


def test_segments_have_the_colours_of_the_overlay(written):
    for made in of_kind(written, "Segmentation"):
        shown = [from_cielab(each.RecommendedDisplayCIELabValue) for each in made.SegmentSequence]
        np.testing.assert_allclose(shown, [(255, 64, 64), (64, 224, 96)], atol=2)


def test_a_map_states_the_anatomy_of_its_frame(written):
    """PS3.3 C.7.6.16.2.8, with the code of BodyPartExamined HEART (PS3.16 annex L)."""
    for made in of_kind(written, "Parametric Map"):
        (anatomy,) = made.SharedFunctionalGroupsSequence[0].FrameAnatomySequence
        (region,) = anatomy.AnatomicRegionSequence
        assert (made.BodyPartExamined, anatomy.FrameLaterality) == ("HEART", "U")
        assert (region.CodeValue, region.CodingSchemeDesignator) == ("80891009", "SCT")


def test_outputs_refer_to_every_source_image(sources, written):
    maps, segmentations = of_kind(written, "Parametric Map"), of_kind(written, "Segmentation")
    for each, *objects in zip(sources, maps, segmentations, strict=False):
        uids = {str(image.SOPInstanceUID) for image in each.images.datasets}
        for made in objects:
            assert {item.ReferencedSOPInstanceUID for item in made.SourceImageSequence} == uids
            series = made.ReferencedSeriesSequence[0]
            assert series.SeriesInstanceUID == each.images.first.SeriesInstanceUID
            for frame in made.PerFrameFunctionalGroupsSequence:
                references = frame.DerivationImageSequence[0].SourceImageSequence
                assert {item.ReferencedSOPInstanceUID for item in references} <= uids
                frames = [item.get("ReferencedFrameNumber") for item in references]
                own = each.images.frames_of(each.images.first)
                assert own is None or set(frames) == set(own)


def test_a_capture_refers_to_every_source_image(sources, written):
    for each, made in zip(sources, of_kind(written, "Secondary Capture"), strict=False):
        found = {str(item.ReferencedSOPInstanceUID): item for item in made.SourceImageSequence}
        assert set(found) == {str(image.SOPInstanceUID) for image in each.images.datasets}
        for image in each.images.datasets:
            item = found[image.SOPInstanceUID]
            assert item.ReferencedSOPClassUID == image.SOPClassUID
            assert item.get("ReferencedFrameNumber") == each.images.frames_of(image)


def test_the_numbers_of_a_report_are_those_of_the_json(sources, written):
    found = values_by_region(again(written[-1]))
    names = {
        "median": "Median",
        "mean": "Mean",
        "sd": "Standard Deviation",
        "q1": "First quartile",
        "q3": "Third quartile",
    }
    count = 0
    for each in sources:
        for region in slice_record(each.result)["regions"]:
            numbers, _ = found[f"{each.name} {region['name']}"]
            for key, modifier in names.items():
                assert numbers["T1", modifier] == region[key]
            assert numbers["Number of pixels in region", ""] == region["pixels"]
            count += 1
    assert count == len(found)
    assert any("AHA" in name for name in found)


def test_a_z_score_of_the_record_is_in_the_report(source, monkeypatch):
    def with_score(result):
        content = slice_record(result)
        content["regions"][0]["z_score"] = -1.25
        return content

    monkeypatch.setattr("inline.dicom.write.report.slice_record", with_score)
    first, *others = values_by_region(report([source])).values()
    assert first[0]["Z-Score of measurement", ""] == -1.25
    assert not any("Z-Score of measurement" in name for numbers, _ in others for name, _ in numbers)


def test_a_report_states_contrast_state_ranges_and_origin(source):
    result = replace(
        source.result,
        enhancement=Enhancement.POST_CONTRAST,
        enhancement_source="blood T1 of 400 ms",
        reference="site A (n = 40)",
        scanner_made=True,
        motion_corrected=True,
        t1_scale=1.0365,
    )
    made = report([replace(source, result=result)])
    assert made.SeriesDescription == "T1 post-contrast values (myostream)"
    _, found = next(iter(values_by_region(again(made)).values()))
    assert {
        ("Native or post-contrast, and the source of that", "post-contrast (blood T1 of 400 ms)"),
        ("Source of the reference ranges of the z-scores", "site A (n = 40)"),
        ("Origin of the map", "made by the scanner"),
        ("Origin of the map", "images corrected for motion by the scanner"),
        ("Origin of the map", "T1 multiplied by 1.0365"),
    } <= set(found)


@pytest.mark.parametrize(
    ("state", "named"), [("native", "T1 native"), ("post-contrast", "T1 post-contrast"), (None, "T1")]
)
def test_series_descriptions_state_native_or_post_contrast(source, state, named):
    result = replace(source.result, enhancement=state and Enhancement(state))
    written = write_objects([replace(source, result=result)], ALL).objects
    kinds = ("map, slice 0", "LV contours, slice 0", "contours", "values")
    assert {each.SeriesDescription for each in written} == {f"{named} {kind} (myostream)" for kind in kinds}
    assert len({each.SeriesInstanceUID for each in written}) == len(ALL)


def test_segments_have_the_codes_of_the_standard(classic_sources):
    made = report(classic_sources[:1])
    text = str(made)
    regions = [each.name for each in classic_sources[0].result.regions]
    assert "AHA 1 basal anterior" in regions
    for code in (
        "264850008",
        "396482007",
        "396646008",
        "264846001",
        "396652009",
        "396654005",
        "589001",
        "49848007",
    ):
        assert f"'{code}'" in text


def test_a_slice_without_contours_has_a_report_that_says_why(changed):
    bare = changed(contours=None, regions=(), flags=(Flag.NO_CAVITY,), notes=("A note.",), confidence=0.0)
    bare = replace(bare, result=replace(bare.result, labels=np.zeros_like(bare.result.labels)))
    written = write_objects([bare], ALL)
    assert [each.Modality for each in written.objects] == ["OT", "OT", "SR"]
    ((numbers, texts),) = values_by_region(again(written.objects[-1])).values()
    assert numbers == {("Expected Dice coefficient of the contours", ""): 0.0}
    assert ("Quality flag", "no-cavity") in texts
    assert ("Comment", "A note.") in texts
    with pytest.raises(DicomWriteError, match="no-cavity"):
        segmentation(bare)


def test_a_slice_that_was_not_processed_has_its_error_in_the_report(changed, source):
    # Without pixel spacing the place of the slice is not known, and nothing is to lie there.
    geometry = replace(source.result.geometry, spacing=(0.0, 0.0))
    failed = changed(geometry=geometry, map=None, contours=None, regions=(), error="3 images are too few")
    written = write_objects([failed], ALL)
    assert [each.Modality for each in written.objects] == ["SR"]
    ((_, texts),) = values_by_region(again(written.objects[0])).values()
    assert ("Reason why the slice was not processed", "3 images are too few") in texts


def test_values_that_are_missing_are_left_out(changed):
    source = changed()
    nothing = {"median": None, "q1": None, "q3": None, "mean": None, "sd": None, "pixels": 0}
    first, second = source.result.regions[:2]
    found = values_by_region(report([changed(regions=(first, replace(second, **nothing)))]))
    assert list(found) == [f"{source.name} {first.name}"]
    # The first group also states what concerns the slice.
    found = values_by_region(report([changed(regions=(replace(first, **nothing),), confidence=None)]))
    assert found[f"{source.name} {first.name}"][0] == {("Number of pixels in region", ""): 0.0}


def test_measurements_that_are_missing_shift_no_others(changed, source):
    regions = [replace(each, z_score=0.5) for each in source.result.regions]
    regions[1] = replace(regions[1], z_score=None)
    regions[2] = replace(regions[2], median=None, q1=None, q3=None, mean=None, sd=None, pixels=0)
    found = values_by_region(report([changed(regions=tuple(regions))]))
    assert len(found) == len(regions) - 1
    assert in_columns_of_the_first_group(found)


def test_a_slice_beside_its_source_is_reported_and_the_others_are_written(classic_sources):
    first, second = classic_sources
    geometry = replace(second.result.geometry, position=(0.0, 0.0, 0.0))
    moved = replace(second, result=replace(second.result, geometry=geometry))
    written = write_objects([first, moved], ALL)
    assert len(written.problems) == 1
    assert second.name in written.problems[0]
    assert {each.InstanceNumber for each in written.objects} == {first.result.identity.slice_index + 1}


def without_directions(source):
    """The source with a last image that states no orientation, which highdicom refuses."""
    images = [*source.images.datasets[:-1], deepcopy(source.images.datasets[-1])]
    images[-1].PatientName = "Planted^Name"
    del images[-1].ImageOrientationPatient
    return replace(source, images=replace(source.images, datasets=tuple(images)))


def test_a_slice_that_highdicom_refuses_is_reported_and_the_others_are_written(classic_sources):
    first, second = classic_sources[0], without_directions(classic_sources[1])
    kinds = ("map", "segmentation", "report")
    written = write_objects([first, second], kinds)
    (problem,) = written.problems
    assert problem.startswith(f"{second.name} is not written: no DICOM object can be made")
    assert "ImageOrientationPatient" in problem
    alone = write_objects([first], kinds).objects
    assert [each.SOPInstanceUID for each in written.objects] == [each.SOPInstanceUID for each in alone]


@pytest.mark.parametrize(("kind", "left"), [("parametric_map", 3), ("segmentation", 3), ("capture", 3)])
def test_an_object_that_is_refused_takes_no_other_of_its_slice(kind, left, source, monkeypatch, caplog):
    name = "Planted^Name"

    def refusing(*_, **__):
        raise KeyError(name)

    monkeypatch.setattr(f"inline.dicom.write.objects.{kind}", refusing)
    caplog.set_level("DEBUG", "inline.dicom.write.objects")
    written = write_objects([source], ALL)
    (problem,) = written.problems
    assert problem.startswith(f"the {kind.removeprefix('parametric_')} of {source.name} is not written")
    assert len(written.objects) == left
    assert (written.given, written.failed) == ({source.result.identity}, frozenset())
    # Where it was raised is logged, without its message.
    assert "in refusing" in caplog.text
    assert "Planted" not in caplog.text


def test_a_slice_that_prevents_the_report_takes_it_from_no_other(classic_sources, monkeypatch):
    first, second = classic_sources

    def refusing(sources, segmentations):
        if second in sources:
            raise ValueError("Planted^Name is no name")
        return report(sources, segmentations)

    monkeypatch.setattr("inline.dicom.write.objects.report", refusing)
    written = write_objects([first, second], ("map", "report"))
    assert [each.Modality for each in written.objects] == ["OT", "OT", "SR"]
    (problem,) = written.problems
    assert problem.startswith(f"the report of {second.name} is not written")
    # Messages of a library may quote a patient's data: the log does not.
    assert "Planted" in problem
    assert "Planted" not in for_log(problem)
    found = values_by_region(written.objects[-1])
    assert found
    assert all(name.startswith(first.name) for name in found)


def test_a_rerun_has_the_same_uids_and_other_settings_have_others(source):
    def uids(each):
        made = [common(kind, each) for kind in ALL]
        return [each[name] for each in made for name in ("sop_instance_uid", "series_instance_uid")]

    first = uids(source)
    assert len(set(first)) == 2 * len(ALL)
    assert uids(source) == first
    shuffled = replace(source.images, datasets=(source.images.datasets[0], *source.images.datasets[:0:-1]))
    assert uids(replace(source, images=shuffled)) == first
    identity = source.result.identity
    after_midnight = replace(identity, time_stamp=identity.time_stamp + 24 * 3600 * 400)
    assert uids(replace(source, result=replace(source.result, identity=after_midnight))) == first
    others = [
        Provenance.of(Settings(mapping={"t1_scale": 1.1}), "ring"),
        Provenance.of(Settings(), "torch"),
        replace(source.provenance, weights="0" * 16),
        replace(source.provenance, version="9"),
    ]
    for other in others:
        assert set(uids(replace(source, provenance=other))).isdisjoint(first)
    t2 = replace(source, result=replace(source.result, quantity=Quantity.T2))
    assert set(uids(t2)).isdisjoint(first)
    fewer = replace(source.images, datasets=source.images.datasets[:-1])
    assert set(uids(replace(source, images=fewer))[::2]).isdisjoint(first)


def test_a_slice_whose_level_follows_from_later_slices_has_a_report_of_its_own(
    tmp_path, ring_engine, provenance
):
    molli = scanner.series_of(scanner.classic(scanner.examination(3, size=96)[1]), 1)
    heights = sorted({float(each.ImagePositionPatient[2]) for each in molli})
    for each in molli:  # each slice is a series, as at a Siemens scanner
        each.SeriesNumber = 100 + heights.index(float(each.ImagePositionPatient[2]))
        each.SeriesInstanceUID = f"1.2.3.{each.SeriesNumber}"
    files = save(molli, tmp_path)

    def objects(paths):
        (examination,) = open_dicom(paths).examinations()
        places = [each.slice_place() for each in examination.series]
        results = [
            Pipeline(ring_engine).process(each, SliceContext(study=(*places, place)))
            for each, place in zip(examination.series, places, strict=True)
        ]
        return write_examination(examination, results, provenance, ALL).objects

    count = len(molli) // 3
    alone, again_alone, stack = objects(files[:count]), objects(files[:count]), objects(files)
    assert [each.SOPInstanceUID for each in again_alone] == [each.SOPInstanceUID for each in alone]
    known = {each.SOPInstanceUID for each in stack}
    # Pixels follow from the images of the slice; level and segments in the report from all slices.
    assert {each.Modality for each in alone if each.SOPInstanceUID in known} == {"OT", "SEG"}
    (report_alone,) = (each for each in alone if each.Modality == "SR")
    assert ("Level of the short-axis slice", "unknown") in next(
        iter(values_by_region(report_alone).values())
    )[1]
    assert report_alone.SOPInstanceUID not in known


def test_a_slice_that_has_another_number_with_later_slices_has_objects_of_its_own(
    classic_sources, scanned, tmp_path, ring_engine, provenance
):
    same = classic_sources[1]
    uids = {each.SOPInstanceUID for each in same.images.datasets}
    files = save([each for each in scanned if each.SOPInstanceUID in uids], tmp_path)
    (alone,) = read_sources(files, ring_engine, provenance)
    assert (alone.images.key, alone.slice_index, same.slice_index) == (same.images.key, 0, 1)
    before, after = (write_objects([each], ALL).objects for each in (alone, same))
    assert {each.SOPInstanceUID for each in before}.isdisjoint(each.SOPInstanceUID for each in after)
    # A series has one description (PS3.3 C.7.3.1).
    texts = {each.SeriesInstanceUID: each.SeriesDescription for each in before}
    assert all(
        texts.get(each.SeriesInstanceUID, each.SeriesDescription) == each.SeriesDescription for each in after
    )


def test_reports_have_one_uid_where_they_state_the_same(changed, source):
    def uids(each):
        return [common(kind, each)["sop_instance_uid"] for kind in ALL]

    first = uids(source)
    assert uids(changed(times_ms={"fit": 1.0})) == first
    regions = source.result.regions
    for other in (
        changed(level=SliceLevel.MID),
        changed(angular_reference="the setting regions.septum_degrees"),
        changed(flags=(*source.result.flags, Flag.MISSING_IMAGES)),
        changed(notes=(*source.result.notes, "Images are missing: 1 of 8.")),
        changed(regions=regions[:-1]),
        changed(error="3 images are too few"),
    ):
        assert [one == before for one, before in zip(uids(other), first, strict=True)] == [
            kind != "report" for kind in ALL
        ]


def test_a_map_in_the_series_of_its_images_has_objects_of_its_own(tmp_path, ring_engine, provenance):
    simulated, images = scanner.examination(1, size=96)
    molli, (own,) = scanner.series_of(scanner.classic(images), 1), scanner.map_series(simulated, number=1)
    own.SOPInstanceUID = own.file_meta.MediaStorageSOPInstanceUID = derived_uid("map of the scanner")
    sources = read_sources(save([*molli, own], tmp_path), ring_engine, provenance)
    assert {each.result.scanner_made for each in sources} == {True, False}
    objects = write_objects(sources, ALL).objects
    assert len(objects) == 7
    assert len({each.SOPInstanceUID for each in objects}) == 7


def test_maps_and_segmentations_of_several_slices_are_series_of_their_own(written):
    """OHIF 3.13 makes one display set of the Parametric Maps or Segmentations of a series, and shows one."""
    series = {}
    for each in written:
        series.setdefault(str(each.SeriesInstanceUID), []).append(each)
    shown = [members for members in series.values() if "Capture" not in members[0].SOPClassUID.name]
    assert [len(members) for members in shown] == [1] * 5
    assert len({members[0].SeriesDescription for members in shown}) == 5
    assert len(series) == 6


@pytest.mark.parametrize("beside", ["map", "repetition"])
def test_two_results_of_a_slice_in_one_series_are_told_apart(beside, tmp_path, ring_engine, provenance):
    simulated, images = scanner.examination(1, size=96)
    molli = scanner.series_of(scanner.classic(images), 1)
    (own,) = scanner.map_series(simulated, number=1)
    more = [own] if beside == "map" else deepcopy(molli)
    for number, each in enumerate(more, start=len(molli) + 1):
        each.InstanceNumber = number
        each.SOPInstanceUID = each.file_meta.MediaStorageSOPInstanceUID = derived_uid(f"image {number}")
        each.AcquisitionTime = f"1016{number % 60:02d}"
        each.PixelData = (each.pixel_array + np.uint16(1)).tobytes()  # no copy

    def made(datasets, folder):
        (examination,) = open_dicom(save(datasets, folder)).examinations()
        results = [Pipeline(ring_engine).process(each) for each in examination.series]
        return write_examination(examination, results, provenance, ALL).objects

    (tmp_path / "alone").mkdir()
    alone, both = made(molli, tmp_path / "alone"), made([*molli, *more], tmp_path)
    (report_both,) = [each for each in both if each.Modality == "SR"]
    segmentations = [each for each in both if each.Modality == "SEG"]
    assert len(segmentations) == 2
    tracked = [[item.TrackingUID for item in each.SegmentSequence] for each in segmentations]
    assert len({uid for uids in tracked for uid in uids}) == 4
    found = values_by_region(report_both)
    assert len([name for name in found if name.endswith("global")]) == 2
    assert set(found) > set(values_by_region(alone[-1]))
    uids = [str(each.value) for each in report_both.ContentSequence[-1].iterall() if each.tag == UID]
    assert len(uids) == len(set(uids)) == len(found)
    assert report_both.InstanceNumber == 1
    captures = [each for each in both if "Capture" in each.SOPClassUID.name]
    assert {each.InstanceNumber for each in captures} == {1, 1001}
    descriptions = sorted(each.SeriesDescription for each in both if "Parametric" in each.SOPClassUID.name)
    assert [("scanner's map" in each) for each in descriptions] == [False, beside == "map"]
    assert len(set(descriptions)) == 2
    # Each is tracked as it was before the other one came: the scanner's map may come before the images.
    named = {
        each.SegmentSequence[0].TrackingID: uids for each, uids in zip(segmentations, tracked, strict=True)
    }
    before = {"series 1 slice 0 T1 LV cavity": alone}
    if beside == "map":
        (tmp_path / "map").mkdir()
        before["series 1 slice 0 result 2 T1 LV cavity"] = made(more, tmp_path / "map")
    for name, objects in before.items():
        (one,) = [each for each in objects if each.Modality == "SEG"]
        assert [item.TrackingUID for item in one.SegmentSequence] == named[name]


def test_texts_name_a_series_by_the_number_that_it_states(tmp_path, ring_engine, provenance):
    objects = scanner.series_of(scanner.classic(scanner.examination(1, size=96)[1]), 1)
    for each in objects:
        each.SeriesNumber = 2005001  # more than the 16 bits of an index
    sources = read_sources(save(objects, tmp_path), ring_engine, provenance)
    assert sources[0].result.identity.series_index == 1
    assert all(name.startswith("series 2005001 slice 0 T1 ") for name in values_by_region(report(sources)))


def test_the_log_names_a_series_by_its_index(source, monkeypatch):
    """As it does for slices without source images, and in all other messages."""
    (image, *others) = deepcopy(source.images.datasets)
    image.SeriesNumber = 2005001
    images = replace(source.images, datasets=(image, *others))
    moved = replace(source.result.geometry, position=(0.0, 0.0, 99.0))
    beside = replace(source, images=images, result=replace(source.result, geometry=moved))
    (problem,) = write_objects([beside], ALL).problems
    assert problem.startswith("series 1 slice 0 T1 is not written")
    for kind in ("capture", "report"):
        monkeypatch.setattr(f"inline.dicom.write.objects.{kind}", refusing)
    problems = write_objects([replace(source, images=images, ordinal=1)], ALL).problems
    assert [each.partition(" is not written")[0] for each in problems] == [
        "the capture of series 1 slice 0 result 2 T1",
        "the report of series 1 slice 0 result 2 T1",
    ]


def refusing(*_, **__):
    raise KeyError("SliceThickness")


@pytest.mark.parametrize("number", [7, None])
def test_texts_name_series_without_a_number_of_their_own_by_index(number, tmp_path, ring_engine, provenance):
    objects = scanner.classic(phantom.native_and_post(1))
    for each in objects:
        each.SeriesNumber = number
    (examination,) = open_dicom(save(objects, tmp_path)).examinations()
    results = [Pipeline(ring_engine).process(each) for each in examination.series]
    native, post = [each.identity.series_index for each in results]
    assert native != post
    ecv = examine(results, EcvSettings(), RegionSettings(), ReferenceRanges()).ecv
    written = write_examination(examination, results, provenance, ALL, ecv).objects
    (mapped,) = [each for each in written if each.SeriesDescription.startswith("Partition coefficient map")]
    assert mapped.ContentDescription == (
        f"Partition coefficient, native index {native}, post-contrast index {post}"
    )
    of_native, of_post, of_ecv = (set(values_by_region(each)) for each in written if each.Modality == "SR")
    assert f"series index {native} slice 0 T1 global" in of_native
    assert f"series index {post} slice 0 T1 global" in of_post
    assert f"series index {native} and index {post} slice 0 ECV global" in of_ecv


def test_a_result_that_would_replace_another_one_is_reported(tmp_path, ring_engine, provenance):
    _, images = scanner.examination(1, size=96)
    files = save(scanner.series_of(scanner.classic(images), 1), tmp_path)
    (examination,) = open_dicom(files).examinations()
    (series,) = examination.series
    twice = replace(examination, series=(series, series))
    result = Pipeline(ring_engine).process(series)
    written = write_examination(twice, [result, result], provenance, ALL)
    assert len(written.objects) == 4
    assert "would be replaced" in written.problems[0]


@pytest.mark.parametrize("enhanced", [False, True])
def test_two_maps_of_a_slice_with_one_time_are_both_written(enhanced, tmp_path, ring_engine, provenance):
    """As Philips' map and confidence map: images 20 and 21 after those of the series, or two frames."""
    simulated, images = scanner.examination(1, size=96)
    molli, (first,) = scanner.series_of(scanner.classic(images), 1), scanner.map_series(simulated, number=1)
    first.AcquisitionTime = molli[-1].AcquisitionTime
    second = deepcopy(first)
    values = second.pixel_array // 2
    second.PixelData = values.tobytes()
    for number, each in enumerate((first, second), start=20):
        each.InstanceNumber = number
        each.SOPInstanceUID = each.file_meta.MediaStorageSOPInstanceUID = derived_uid(f"map {number}")
    if enhanced:
        made = scanner.enhanced([first, second])
        made.ImageType = first.ImageType
        made.AcquisitionDateTime = f"20240102{first.AcquisitionTime}"
    (examination,) = open_dicom(
        save([made] if enhanced else [*molli, second, first], tmp_path)
    ).examinations()
    maps = [each for each in examination.series if each.images == 1]
    results = [Pipeline(ring_engine).process(each) for each in examination.series]
    written = write_examination(examination, results, provenance, ("map",))
    assert written.problems == []
    assert len({each.identity for each in maps}) == len(maps) == 2
    stated = {1: first, 2: second} if enhanced else {20: first, 21: second}
    for number, source in stated.items():
        (found,) = [each for each in maps if f"this is image {number}" in "".join(each.notes)]
        assert np.array_equal(found.series.values_ms, source.pixel_array)
    held = [each.pixel_array for each in written.objects]
    assert len(held) == len(examination.series)
    assert sum(any(np.array_equal(each, made.pixel_array) for made in (first, second)) for each in held) == 2


def test_a_map_and_its_copy_under_another_uid_are_written_once(tmp_path, ring_engine, provenance):
    simulated, _ = scanner.examination(1, size=96)
    (made,) = scanner.map_series(simulated)
    copy = deepcopy(made)
    copy.SOPInstanceUID = copy.file_meta.MediaStorageSOPInstanceUID = "2.25.7"
    (examination,) = open_dicom(save([made, copy], tmp_path)).examinations()
    results = [Pipeline(ring_engine).process(each) for each in examination.series]
    written = write_examination(examination, results, provenance, ("capture",))
    assert (len(written.objects), written.problems) == (1, [])


@pytest.mark.filterwarnings("ignore:The value length")
def test_values_that_break_a_rule_are_written_without_warnings(tmp_path, ring_engine, provenance):
    """Those of pydicom quote them, and they are the patient's."""
    objects = scanner.series_of(scanner.classic(scanner.examination(1, size=96)[1]), 1)
    for each in objects:
        each.PatientID, each.AccessionNumber = "planted" * 20, "planted" * 5
    (examination,) = open_dicom(save(objects, tmp_path)).examinations()
    results = [Pipeline(ring_engine).process(each) for each in examination.series]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        written = write_examination(examination, results, provenance, ALL)
        assert len([encoded(each) for each in written.objects]) == 4
    assert caught == []


def test_no_uid_of_an_output_is_random(classic_sources):
    def uids():
        objects = write_objects(classic_sources[:1], ALL).objects
        return [{str(each.value) for each in made.iterall() if each.VR == "UI"} for made in objects]

    assert uids() == uids()


def test_settings_without_an_effect_on_values_change_no_uid():
    other = Settings(workers=4, server={"port": 1}, monitor={"port": 2})
    assert Provenance.of(other, "x") == Provenance.of(Settings(), "x")


def test_reference_ranges_count_by_content_not_by_their_path(tmp_path):
    def of(folder, text):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "ranges.toml").write_text(text)
        return Provenance.of(Settings(reference={"file": tmp_path / folder / "ranges.toml"}), "x")

    assert of("a", "one") == of("b", "one") != of("c", "other")


def test_derived_uids_are_uuids_under_2_25():
    uid = derived_uid("map", "1.2.3")
    assert uid.startswith("2.25.")
    number = int(uid.removeprefix("2.25."))
    assert number >> 76 & 0xF == 5  # version
    assert number >> 62 & 0b11 == 0b10  # variant
    assert len(uid) <= 44


def test_patient_and_study_are_copied_and_nothing_else_of_the_patient(sources, written):
    first = sources[0].images.first
    for made in written:
        copied = again(made)
        for name in (
            "PatientName",
            "PatientID",
            "PatientBirthDate",
            "PatientSex",
            "StudyInstanceUID",
            "StudyDate",
        ):
            assert copied[name].value == first[name].value
        assert copied.PatientName == scanner.PATIENT
        for name in ("OperatorsName", "ImageComments", "ProtocolName"):
            assert name not in copied
        planted = {
            each.keyword for each in copied.iterall() if "Planted" in str(each.value) and each.VR != "SQ"
        }
        assert planted == {
            "AccessionNumber", "PatientComments", "PatientID", "PatientName", "ReferringPhysicianName",
        }  # fmt: skip


@pytest.mark.parametrize("name", ["山田^太郎", "Müller^Jörg", "Ωμέγα", "a" * 64])
def test_names_of_any_script_are_kept(source, tmp_path, name):
    dataset = deepcopy(source.images.datasets[0])
    dataset.SpecificCharacterSet = {"Müller^Jörg": "ISO_IR 100", "Ωμέγα": "ISO_IR 126"}.get(
        name, "ISO_IR 192"
    )
    dataset.PatientName = PersonName(name, [dataset.SpecificCharacterSet])
    dataset.save_as(tmp_path / "image.dcm")
    image = dcmread(tmp_path / "image.dcm")
    named = replace(source, images=replace(source.images, datasets=(image,)))
    (made,) = write_objects([named], ("report",)).objects
    assert again(made).PatientName == name


def test_the_example_of_the_page_runs(source, ring_engine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = Path(inline.__file__).parent.parent / "docs" / "dicom-node.md"
    (block,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    names = {"datasets": source.images.datasets, "result": source.result, "settings": Settings()}
    figure = np.zeros((5, 7, 3), np.uint8)
    exec(block, {**names, "pipeline": Pipeline(ring_engine), "rgb": figure})
    found = [dcmread(file) for file in tmp_path.glob("*.dcm")]
    assert sorted(each.Modality for each in found) == ["OT", "OT", "SEG", "SR"]
    (shown,) = [each.pixel_array for each in found if "Capture" in each.SOPClassUID.name]
    np.testing.assert_array_equal(shown, figure)


def test_a_capture_refuses_what_is_no_figure(source):
    with pytest.raises(DicomWriteError, match="uint8"):
        capture(np.zeros((4, 4)), source, title="x")
    with pytest.raises(DicomWriteError, match="at least one slice"):
        capture(np.zeros((4, 4, 3), np.uint8), title="x")
    figure = np.random.default_rng(0).integers(0, 255, (5, 7, 3), np.uint8)
    np.testing.assert_array_equal(again(capture(figure, source, title="x")).pixel_array, figure)


def position_shared(image):
    frames, shared = image.PerFrameFunctionalGroupsSequence, image.SharedFunctionalGroupsSequence[0]
    shared.PlanePositionSequence = frames[0].PlanePositionSequence
    for each in frames:
        del each.PlanePositionSequence


def nothing_shared(image):
    for each in image.PerFrameFunctionalGroupsSequence:
        each.update(image.SharedFunctionalGroupsSequence[0])
    del image.SharedFunctionalGroupsSequence


def shared_empty(image):
    nothing_shared(image)
    image.SharedFunctionalGroupsSequence = []


@pytest.mark.parametrize("change", [position_shared, nothing_shared, shared_empty])
def test_an_enhanced_image_may_state_its_plane_for_all_frames_or_for_each(
    change, tmp_path, ring_engine, provenance
):
    image = scanner.enhanced(scanner.series_of(scanner.classic(scanner.examination(1, size=96)[1]), 1))
    before = SourcePlane.of(image, 1)
    change(image)
    (each,) = read_sources(save([image], tmp_path), ring_engine, provenance)
    written = write_objects([each], ALL)
    assert (len(written.objects), written.problems) == (4, [])
    for made in map(again, written.objects[:2]):
        if "FloatPixelData" in made:
            assert frame_plane(made, 1) == before
    (segments,) = of_kind(written.objects, "Segmentation")
    assert frame_plane(segments, 1) == before
    (derived,) = segments.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence
    frames = [item.ReferencedFrameNumber for item in derived.SourceImageSequence]
    assert frames == list(range(1, int(image.NumberOfFrames) + 1))
    if shutil.which("dciodvfy") is not None:
        check_conformance(written.objects, tmp_path)


def test_source_images_need_no_slice_thickness(source, tmp_path):
    images = [deepcopy(each) for each in source.images.datasets]
    for each in images:
        del each.SliceThickness
    bare = replace(source, images=replace(source.images, datasets=tuple(images)))
    written = write_objects([bare], ALL)
    assert (len(written.objects), written.problems) == (4, [])
    for made in of_kind(written.objects, "Segmentation"):
        np.testing.assert_array_equal(made.pixel_array[1], source.result.labels == 2)
    if shutil.which("dciodvfy") is not None:
        # What the images do not state is not invented.
        check_conformance(written.objects, tmp_path, allowed=["SliceThickness"])


@pytest.mark.skipif(
    shutil.which("dciodvfy") is None, reason="dciodvfy (Debian: dicom3tools) is not installed"
)
def test_outputs_conform_to_the_standard(written, tmp_path):
    check_conformance(written, tmp_path)


def check_conformance(written, tmp_path, allowed=()):
    """docs/dicom-node.md lists the warnings, and why they are none of ours; there are no errors."""
    for number, each in enumerate(written):
        file = tmp_path / f"{number}.dcm"
        each.save_as(file, enforce_file_format=True)
        run = subprocess.run(["dciodvfy", "-new", str(file)], capture_output=True, text=True, check=False)
        lines = run.stderr.splitlines()
        assert lines[0] in KNOWN
        known = ("99MYOSTREAM", "<QUANTITY>", *allowed)
        assert [line for line in lines[1:] if not any(word in line for word in known)] == []


@pytest.mark.skipif(shutil.which("dsr2xml") is None, reason="dsr2xml (Debian: dcmtk) is not installed")
def test_dcmtk_reads_the_report(written, tmp_path):
    written[-1].save_as(tmp_path / "sr.dcm", enforce_file_format=True)
    run = subprocess.run(["dsr2xml", str(tmp_path / "sr.dcm")], capture_output=True, check=True)
    root = ElementTree.fromstring(run.stdout)
    read = sorted(float(each.findtext("value")) for each in root.iter("num"))
    numbers = [values for values, _ in values_by_region(written[-1]).values()]
    assert read == sorted(value for each in numbers for value in each.values())
