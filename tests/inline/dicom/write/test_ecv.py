"""ECV of a heart of known T1 as Parametric Map and structured report."""

import shutil
import subprocess
import time
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import product

import numpy as np
import pytest

from inline.data.examination import EcvRegion, Haematocrit, HaematocritSource
from inline.data.flags import Flag
from inline.data.results import SliceLevel
from inline.dicom.write.ecv import EcvSource, ecv_capture, ecv_map, ecv_report
from inline.dicom.write.objects import write_ecv, write_objects
from inline.dicom.write.output import common
from inline.emit.record import ecv_record
from inline.examination.examine import examine
from inline.reference import ReferenceRanges
from inline.settings import EcvSettings, RegionSettings
from tests.inline import contrast_phantom as phantom

from .. import scanner
from .conftest import read_sources, save
from .objects import ALL, again, in_columns_of_the_first_group, values_by_region

KNOWN = EcvSettings(haematocrit=phantom.HAEMATOCRIT)


@pytest.fixture(scope="module")
def scanned():
    return scanner.classic(phantom.native_and_post(2, 1))


@pytest.fixture(scope="module", params=["classic", "enhanced"])
def slices(request, scanned, tmp_path_factory, ring_engine, provenance):
    """Sources of two native slices and of one post-contrast slice."""
    objects = scanned
    if request.param == "enhanced":
        objects = [scanner.enhanced(scanner.series_of(scanned, number)) for number in (1, 3)]
    return read_sources(save(objects, tmp_path_factory.mktemp("ecv")), ring_engine, provenance)


def examined(slices, settings=KNOWN):
    return examine([each.result for each in slices], settings, RegionSettings(), ReferenceRanges()).ecv


def test_a_map_holds_ecv_in_percent_in_the_place_of_the_native_slice(slices):
    written = write_ecv(examined(slices), slices, ("map",))
    assert written.problems == []
    (made,) = map(again, written.objects)
    stored = np.frombuffer(made.FloatPixelData, np.float32).reshape(made.Rows, made.Columns)
    y, x = np.mgrid[:96, :96] - 47.5
    wall = np.abs(np.hypot(x, y) - 24.0) < 3.0
    np.testing.assert_allclose(stored[wall], phantom.ECV, atol=0.02)
    mapping = made.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "%"
    assert mapping.QuantityDefinitionSequence[0].ConceptCodeSequence[0].CodeMeaning == (
        "Extracellular volume fraction"
    )
    position = made.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient
    assert [float(each) for each in position] == [float(each) for each in slices[0].images.plane().position]
    (shown,) = map(again, write_ecv(examined(slices), slices, ("capture",)).objects)
    expected = {
        str(image.SOPInstanceUID)
        for each in slices
        if each.slice_index == 0
        for image in each.images.datasets
    }
    for each in (made, shown):
        assert {item.ReferencedSOPInstanceUID for item in each.SourceImageSequence} == expected
    assert made.StudyInstanceUID == scanner.STUDY
    assert (made.SeriesNumber, made.SeriesDescription) == (5015, "ECV map, slice 0 (myostream)")


def test_the_numbers_of_a_report_are_those_of_the_record(slices):
    results = examined(slices)
    (made,) = map(again, write_ecv(results, slices, ("report",)).objects)
    found = values_by_region(made)
    names = {
        "median": "Median",
        "mean": "Mean",
        "sd": "Standard Deviation",
        "standard_error": "Standard error of the mean",
    }
    whole, alone = map(ecv_record, results)
    for region in whole["regions"]:
        numbers, _ = found[f"series 1 and 3 slice 0 ECV {region['name']}"]
        for key, modifier in names.items():
            assert numbers["Extracellular volume fraction", modifier] == region[key]
        partition = numbers["Partition coefficient of contrast agent", "Median"]
        assert partition == region["partition_coefficient"] == pytest.approx(phantom.PARTITION, abs=1e-4)
    numbers, texts = found["series 1 and 3 slice 0 ECV global"]
    assert numbers["Extracellular volume fraction", "Median"] == pytest.approx(phantom.ECV, abs=0.01)
    assert numbers["Hematocrit", ""] == phantom.HAEMATOCRIT
    assert ("Source of the haematocrit", "given") in texts
    numbers, texts = found["series 1 slice 1 ECV slice"]
    assert numbers == {}
    assert ("Quality flag", "slices-do-not-match") in texts
    assert ("Reason why the slice was not processed", alone["error"]) in texts
    assert len(found) == len(whole["regions"]) + 1


def test_two_post_contrast_times_of_a_slice_have_numbers_and_descriptions_of_their_own(slices):
    first = examined(slices)[0]
    source = source_of(first, slices)
    post = stating(source.post, SeriesNumber=65535)
    other = EcvSource(replace(first, post=replace(first.post, series_index=65535)), source.native, post)
    made = [ecv_map(each) for each in (source, other)]
    assert [each.ContentDescription for each in made] == [
        "ECV in %, native 1, post-contrast 3",
        "ECV in %, native 1, post-contrast 65535",
    ]
    assert len({each.InstanceNumber for each in made}) == 2
    _, found = next(iter(values_by_region(ecv_report([source])).values()))
    state = dict(found)["Native or post-contrast, and the source of that"]
    assert state == f"native 1, post-contrast 3 ({first.pairing})"


def stating(source, **attributes):
    images = [deepcopy(each) for each in source.images.datasets]
    for each, (name, value) in product(images, attributes.items()):
        setattr(each, name, value)
    return replace(source, images=replace(source.images, datasets=tuple(images)))


def later(source, ordinal):
    """The source as a repeated acquisition, or as the scanner's map beside images."""
    identity = replace(source.result.identity, time_stamp=source.result.identity.time_stamp + 400 * ordinal)
    return replace(source, result=replace(source.result, identity=identity), ordinal=ordinal)


@pytest.mark.parametrize(
    ("ordinals", "results"),
    [([(1, 1)], [0]), ([(0, 0), (1, 1)], [0, 1]), ([(1, 0), (0, 0)], [1, 0]), ([(0, 2), (0, 1)], [1, 0])],
)
def test_ecv_of_one_slice_and_two_series_are_numbered_among_each_other(slices, ordinals, results):
    result = examined(slices)[0]
    source = source_of(result, slices)
    pairs = [(later(source.native, native), later(source.post, post)) for native, post in ordinals]
    paired = [
        replace(result, native=native.result.identity, post=post.result.identity) for native, post in pairs
    ]
    written = write_ecv(paired, [each for pair in pairs for each in pair], ("map", "report"))
    assert written.problems == []
    *maps, made = written.objects
    assert [each.InstanceNumber for each in maps] == [30_001 + 1000 * number for number in results]
    parts = ["slice 0", "slice 0 result 2"]
    assert [each.SeriesDescription for each in maps] == [
        f"ECV map, {parts[number]} (myostream)" for number in results
    ]
    found = [name for name in values_by_region(made) if name.endswith("global")]
    assert found == [f"series 1 and 3 {parts[number]} ECV global" for number in results]


def test_a_z_score_is_in_the_report(slices):
    result = examined(slices)[0]
    scored = replace(result, regions=(replace(result.regions[0], z_score=1.25), *result.regions[1:]))
    made = ecv_report([source_of(scored, slices)])
    first, *others = values_by_region(made).values()
    assert first[0]["Z-Score of measurement", ""] == 1.25
    assert not any("Z-Score of measurement" in name for numbers, _ in others for name, _ in numbers)


@pytest.mark.parametrize("settings", [KNOWN, EcvSettings()])
def test_measurements_that_are_missing_shift_no_others(slices, settings):
    result = examined(slices, settings)[0]
    first, second, third, *rest = [replace(each, z_score=0.5) for each in result.regions]
    second = replace(second, z_score=None)
    third = EcvRegion(third.name, None, None, None, None, None, 0)
    found = values_by_region(
        ecv_report([source_of(replace(result, regions=(first, second, third, *rest)), slices)])
    )
    assert len(found) == len(result.regions) - 1
    assert in_columns_of_the_first_group(found)


def source_of(result, slices):
    native, post = (
        next(each for each in slices if each.result.identity == one) for one in (result.native, result.post)
    )
    return EcvSource(result, native, post)


def test_a_series_of_captures_or_reports_has_one_description(slices):
    found = [
        made
        for haematocrit in (None, phantom.HAEMATOCRIT)
        for source in [source_of(examined(slices, EcvSettings(haematocrit=haematocrit))[0], slices)]
        for made in (ecv_capture(source, 1), ecv_report([source]))
    ]
    assert [each.SeriesDescription for each in found] == [
        "Partition coefficient contours (myostream)",
        "Partition coefficient values (myostream)",
        "ECV contours (myostream)",
        "ECV values (myostream)",
    ]
    assert len({each.SeriesInstanceUID for each in found}) == 4


@pytest.mark.parametrize("known", [True, False])
def test_a_slice_without_values_has_no_part_in_the_name_of_a_report(slices, known):
    result = examined(slices, KNOWN if known else EcvSettings())[0]
    failed = [
        replace(result, partition=None, regions=(), error="No blood.", haematocrit=haematocrit)
        for haematocrit in (None, Haematocrit(0.42, HaematocritSource.FILE))
    ]
    for one in failed:
        for order in ([one, result], [result, one]):
            made = ecv_report([source_of(each, slices) for each in order])
            name = "ECV" if known else "Partition coefficient"
            assert made.SeriesDescription == f"{name} values (myostream)"
    (alone,) = {ecv_report([source_of(each, slices)]).SeriesDescription for each in failed}
    assert alone == "ECV values (myostream)"


def test_without_haematocrit_map_and_report_state_the_partition_coefficient(slices):
    result = examined(slices, EcvSettings())[0]
    source = source_of(result, slices)
    made = again(ecv_map(source))
    stored = np.frombuffer(made.FloatPixelData, np.float32).reshape(made.Rows, made.Columns)
    assert stored[48, 48 + 23] == pytest.approx(phantom.PARTITION, abs=1e-3)
    mapping = made.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "1"
    assert made.SeriesDescription == "Partition coefficient map, slice 0 (myostream)"
    numbers, texts = values_by_region(ecv_report([source]))["series 1 and 3 slice 0 ECV global"]
    assert not any(name in ("Extracellular volume fraction", "Hematocrit") for name, _ in numbers)
    assert ("Quality flag", "no-haematocrit") in texts


def test_a_computed_haematocrit_has_no_code_of_a_laboratory(slices):
    result = replace(examined(slices)[0], haematocrit=Haematocrit(0.4, HaematocritSource.SYNTHETIC))
    numbers, texts = values_by_region(ecv_report([source_of(result, slices)]))[
        "series 1 and 3 slice 0 ECV global"
    ]
    assert numbers["Haematocrit computed from native blood T1", ""] == 0.4
    assert ("Hematocrit", "") not in numbers
    assert ("Source of the haematocrit", "synthetic") in texts


def test_uids_are_the_same_in_a_rerun_and_follow_the_source_images(slices):
    def uids(members):
        written = write_ecv(examined(slices), members, ALL).objects
        return [str(each.value) for made in written for each in made.iterall() if each.VR == "UI"]

    assert uids(slices) == uids(slices)
    other = [replace(each, provenance=replace(each.provenance, settings="0" * 16)) for each in slices]
    first, second = (write_ecv(examined(slices), each, ALL).objects for each in (slices, other))
    assert {each.SOPInstanceUID for each in first}.isdisjoint(each.SOPInstanceUID for each in second)


def test_uids_follow_from_the_maps_that_were_paired_and_a_report_from_what_it_states(slices):
    result = examined(slices)[0]
    source = source_of(result, slices)

    def uids(each):
        return [common(kind, each)["sop_instance_uid"] for kind in ("ECV map", "ECV report")]

    first, report_first = uids(source)
    scanner_made = replace(source.native, result=replace(source.native.result, scanner_made=True))
    assert first not in uids(replace(source, native=scanner_made))
    for other in (
        replace(result, level=SliceLevel.UNKNOWN),
        replace(result, flags=(*result.flags, Flag.MISSING_IMAGES)),
        replace(result, notes=(*result.notes, "A note.")),
    ):
        same, report_other = uids(replace(source, result=other))
        assert same == first
        assert report_other != report_first
    # Its pixels change too, as where the site's file gets the line of the study later.
    other = replace(result, haematocrit=Haematocrit(0.4, HaematocritSource.FILE))
    assert not {first, report_first} & set(uids(replace(source, result=other)))


def test_what_cannot_be_placed_is_a_problem(slices):
    results = examined(slices)
    natives = [each for each in slices if each.result.identity != results[0].post]
    written = write_ecv(results[:1], natives, ALL)
    assert written.objects == []
    assert "source images are not known" in written.problems[0]
    moved = replace(results[0], geometry=replace(results[0].geometry, position=(0.0, 0.0, 9.0)))
    assert "beside its source images" in write_ecv([moved], slices, ALL).problems[0]


def refusing(*_):
    raise AttributeError("no attribute 'SliceThickness'")


def test_a_map_that_highdicom_refuses_takes_no_other_object_of_its_position(slices, monkeypatch):
    monkeypatch.setattr("inline.dicom.write.objects.ecv_map", refusing)
    written = write_ecv(examined(slices), slices, ALL)
    (problem,) = written.problems
    assert problem.startswith("the map of series 1 and 3 slice 0 ECV is not written")
    assert [each.Modality for each in written.objects] == ["OT", "SR"]


def test_a_position_that_highdicom_refuses_is_reported_and_the_others_are_written(slices, monkeypatch):
    for made in ("ecv_map", "ecv_capture"):
        monkeypatch.setattr(f"inline.dicom.write.objects.{made}", refusing)
    results = examined(slices)
    written = write_ecv(results, slices, ALL)
    (problem,) = written.problems
    assert problem.startswith("series 1 and 3 slice 0 ECV is not written: no DICOM object can be made")
    (made,) = map(again, written.objects)
    assert list(values_by_region(made)) == ["series 1 slice 1 ECV slice"]


@pytest.fixture
def host_in_new_york(monkeypatch):
    with monkeypatch.context() as changed:
        changed.setenv("TZ", "EST5")
        time.tzset()
        yield
    time.tzset()


def moments(made, zone):
    """Each date with its time, and each date-time, of an object: its name and the moment in UTC."""
    for each in made.iterall():
        if each.VR == "DA" and each.keyword != "PatientBirthDate":
            clock = made[each.keyword.replace("Date", "Time")].value
            clock, form = f"{each.value}{clock}", "%Y%m%d%H%M%S"
        elif each.VR == "DT":
            clock, form = str(each.value), "%Y%m%d%H%M%S"
        else:
            continue
        form += ".%f" * ("." in clock) + "%z" * (clock[-5] in "+-")
        moment = datetime.strptime(clock, form)
        yield each.keyword, (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)


@pytest.mark.usefixtures("host_in_new_york")
@pytest.mark.parametrize(
    ("stated", "zone_of_object", "hours"),
    [("-0330", "-0330", -3.5), ("+1400", "+1400", 14), ("+1430", None, -5), ("-1230", None, -5)],
)
def test_all_times_of_an_object_are_in_the_zone_that_its_source_states(slices, stated, zone_of_object, hours):
    zone, before = timezone(timedelta(hours=hours)), datetime.now(UTC)
    slices = [
        stating(each, TimezoneOffsetFromUTC=stated, AcquisitionDateTime="20240102101112") for each in slices
    ]
    written = write_objects(slices[:1], ALL), write_ecv(examined(slices), slices, ALL)
    objects = [again(each) for part in written for each in part.objects]
    assert len(objects) > len(ALL)
    for made in objects:
        assert made.get("TimezoneOffsetFromUTC") == zone_of_object
        found = list(moments(made, zone))
        copied = [moment for name, moment in found if name == "StudyDate"]
        assert copied == [datetime(2024, 1, 2, 10, 11, 12, tzinfo=zone)]
        own = [moment for name, moment in found if moment not in copied]  # the scanner's contribution is one
        assert len(own) >= 3
        assert all(before <= moment <= datetime.now(UTC) for moment in own)


@pytest.mark.skipif(
    shutil.which("dciodvfy") is None, reason="dciodvfy (Debian: dicom3tools) is not installed"
)
@pytest.mark.parametrize("settings", [KNOWN, EcvSettings()])
def test_outputs_conform_to_the_standard(slices, settings, tmp_path):
    # The longest text, and a time zone.
    stated = {"SeriesNumber": 100_000_000, "TimezoneOffsetFromUTC": "+0100"}
    slices = [stating(each, **stated) for each in slices]
    for number, each in enumerate(write_ecv(examined(slices, settings), slices, ALL).objects):
        file = tmp_path / f"{number}.dcm"
        each.save_as(file, enforce_file_format=True)
        run = subprocess.run(["dciodvfy", "-new", str(file)], capture_output=True, text=True, check=False)
        lines = run.stderr.splitlines()
        assert lines[0] in ("ParametricMap", "ComprehensiveSR", "SCImage")
        warnings = [line for line in lines[1:] if "99MYOSTREAM" not in line and "<QUANTITY>" not in line]
        assert warnings == []
