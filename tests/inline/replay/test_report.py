"""Report of results that came over the wire: the same as that of the results themselves."""

import json
from dataclasses import replace

import numpy as np
import pytest

from inline.data.flags import Flag
from inline.data.results import SliceLevel
from inline.data.series import SlicePlace
from inline.emit import mrd
from inline.emit.ecv import ecv_images
from inline.emit.record import slice_record
from inline.emit.schema import read_record
from inline.mrd.image_header import ImageHeader
from inline.replay.replies import ecv_records
from inline.replay.report import ecv_map, report_map, returned_maps
from inline.report.maps import Kind, ReportMap
from inline.serving.summary import FinalLevel, Summary

from ..report.examinations import SIZE, make_ecv, make_slice


def returned(result):
    """Record and map of a result, as a client reads them."""
    geometry = result.geometry
    template = ImageHeader(
        field_of_view=(SIZE * 1.5, SIZE * 1.5, 8.0),
        position=geometry.position,
        read_dir=geometry.row_direction,
        phase_dir=geometry.column_direction,
        slice_dir=(0.0, 0.0, 1.0),
    )
    image = mrd.images(result, template)[0] if result.map is not None else None
    return read_record(json.dumps(slice_record(result))), image


@pytest.mark.parametrize(
    "result",
    [
        make_slice(2, "T1", None, "basal", t1_scale=1.0365, motion_corrected=True, notes=("A note.",)),
        make_slice(
            1, "T2", None, "unknown", flags=(Flag.REVIEW,), scanner_made=True, confidence_reason="Low."
        ),
        make_slice(0, "T2", None, contours=None, regions=(), offsets=None, flags=(Flag.NO_ORIENTATION,)),
        make_slice(0, "T1", None, map=None, contours=None, regions=(), offsets=None, error="no times"),
    ],
)
def test_the_map_of_a_record_is_that_of_its_result(result):
    expected, found = ReportMap.of_slice(result), report_map(*returned(result))
    for name in ReportMap.__slots__:
        if name not in ("section", "geometry", "regions", "field_strength"):
            assert getattr(found, name) == getattr(expected, name), name
    for one, other in zip(found.regions, expected.regions, strict=True):
        assert one.name == other.name
        assert one.pixels == other.pixels
        assert (one.value, one.spread) == pytest.approx((other.value, other.spread), abs=1e-3)
    if expected.section is None:
        assert found.section is None
        return
    assert (found.geometry is None) == (expected.geometry is None)
    assert np.allclose(found.section.values, expected.section.values, atol=0.51, equal_nan=True)
    assert found.section.spacing == pytest.approx(expected.section.spacing)
    if expected.section.contours is not None:
        assert np.allclose(found.section.contours.epi, expected.section.contours.epi, atol=1e-3)
    assert np.allclose(found.section.points, expected.section.points, atol=1e-3)


def test_the_map_of_a_turned_image_has_the_directions_of_its_attributes():
    result = make_slice(1)
    geometry = result.geometry
    template = ImageHeader(
        field_of_view=(SIZE * 1.5, SIZE * 1.5, 8.0),
        read_dir=geometry.column_direction,
        phase_dir=geometry.row_direction,
    )
    found = report_map(
        read_record(json.dumps(slice_record(result))), mrd.images(result, template)[0]
    ).geometry
    assert found.row_direction == pytest.approx(geometry.row_direction)
    assert found.column_direction == pytest.approx(geometry.column_direction)


@pytest.mark.parametrize("haematocrit", [0.4, None])
def test_the_map_of_an_ecv_record_is_that_of_its_result(haematocrit):
    native = make_slice(1)
    result = make_ecv(native, haematocrit, "synthetic", notes=("A note.",), reference="site")
    ((content, image),) = ecv_records(ecv_images(result, ImageHeader()))
    expected, found = ReportMap.of_ecv(result), ecv_map(content, image)
    for name in ReportMap.__slots__:
        if name not in ("section", "geometry", "regions"):
            assert getattr(found, name) == getattr(expected, name), name
    assert found.regions == expected.regions
    assert np.allclose(found.geometry.position, expected.geometry.position, atol=1e-4)
    assert np.allclose(found.section.values, expected.section.values, atol=0.051, equal_nan=True)
    assert np.allclose(found.section.contours.endo, expected.section.contours.endo, atol=1e-3)


def test_a_slice_without_ecv_has_its_reason_on_the_page():
    native = returned(make_slice(1))
    texts = [
        "WRN myostream: ECV of series 1 slice 1: there is no post-contrast T1 of this position",
        "WRN myostream: ECV of series 7 slice 1: of a slice that is not here",
    ]
    maps = returned_maps([native], [], [], texts)
    assert [(each.kind, each.error) for each in maps[1:]] == [
        (Kind.ECV, "there is no post-contrast T1 of this position")
    ]
    assert maps[1].geometry == maps[0].geometry


def test_the_final_levels_of_the_summary_name_the_segments():
    """Between basal and mid segments are renamed; others are left out, which a note states."""
    slices = [
        make_slice(n, level=level, z=1.0) for n, level in enumerate(("mid", "apical", "unknown", "mid"))
    ]
    levels = ("basal", "mid", "apical", "unknown")
    places = [SlicePlace(each.identity, each.quantity, None, each.geometry) for each in slices]
    reason = "unknown: the 2 slice positions shown so far lie within 12 mm, too near to be base and apex"
    final = tuple(
        FinalLevel(place, SliceLevel(level), reason) for place, level in zip(places, levels, strict=True)
    )
    summary = Summary(4, 4, 4, 4, 0, {"a b. Levels: mid: series 1 slice 0 (T1)": 1}, final)
    texts = [
        f"DBG myostream: {summary.text()}",
        "WRN myostream: ECV of series 1 slice 1: there is no post-contrast T1 of this position",
    ]
    ((ecv, image),) = ecv_records(ecv_images(make_ecv(slices[0]), ImageHeader()))
    maps = returned_maps(map(returned, slices), [(ecv, image)], [], texts)
    assert [each.level for each in maps] == [*levels, "basal", "mid"]
    segments = [[each for each in made.regions if "AHA" in each.name] for made in maps]
    assert [len(each) for each in segments] == [6, 0, 0, 0, 6, 0]
    for old, new in zip(slices[0].regions, maps[0].regions, strict=True):
        assert new.value == pytest.approx(old.median)
        assert new.z_score == (None if "AHA" in old.name else 1.0)
    assert segments[0][0].name == segments[4][0].name == "AHA 1 basal anterior"
    assert [sum("No segments" in note for note in made.notes) for made in maps] == [0, 1, 1, 0, 0, 0]


@pytest.mark.parametrize("cut", ["native", "post-contrast"])
def test_the_native_slice_decides_on_the_segments_of_its_ecv(cut):
    native = make_slice(0, level="apical")
    ecv = replace(make_ecv(native), flags=(Flag.CUT_OFF,))
    if cut == "native":
        native = replace(native, flags=(Flag.CUT_OFF,), regions=native.regions[:2])
        ecv = replace(ecv, regions=ecv.regions[:2])
    ((made, image),) = ecv_records(ecv_images(ecv, ImageHeader()))
    texts = ["DBG myostream: 16 images came. Levels: mid: series 1 slice 0 (T1)."]
    maps = returned_maps([returned(native)], [(made, image)], [], texts)
    assert [each.level for each in maps] == ["mid", "mid"]
    assert [any("No segments" in note for note in each.notes) for each in maps] == [cut != "native"] * 2


def test_numbers_that_two_slices_share_leave_their_levels():
    native = returned(make_slice(0, level="mid"))
    texts = [
        "DBG myostream: 16 images came. Levels: basal: series 1 slice 0 (T1); apical: series 1 slice 0 (T1)."
    ]
    assert returned_maps([native], [], [], texts)[0].level == "mid"


def test_a_record_of_a_peer_that_states_little_is_a_row_all_the_same():
    content = {"series_index": 1, "slice_index": 2, "quantity": "T2", "regions": [], "flags": ["of-later"]}
    found = report_map(read_record({**content, "level": "middle", "enhancement": "early"}), None)
    assert (found.section, found.geometry, found.level.value, found.flags) == (
        None,
        None,
        "unknown",
        ("of-later",),
    )


def test_an_image_that_states_no_scale_is_no_map():
    content, image = returned(make_slice())
    bare = type(image)(image.header, b"", image.data)
    assert report_map(content, bare).section is None
