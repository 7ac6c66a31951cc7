"""Rows and words of a report."""

from dataclasses import fields, replace
from itertools import permutations

import pytest

from inline.contouring.regions import without_values
from inline.data.examination import Examination
from inline.data.flags import Flag
from inline.data.results import RegionValues, SliceLevel
from inline.data.series import SeriesIdentity
from inline.mrd.header import parse_header
from inline.report.content import NOTHING, ExaminationInfo, page, pooled, positions
from inline.report.maps import Kind, report_maps
from inline.report.wording import SENTENCES

from .examinations import make_ecv, make_examination, make_slice


def content(*slices, ecv=(), info=None):
    return page(report_maps(Examination(tuple(slices), tuple(ecv))), info)


def region(name, median, pixels, z=None):
    return RegionValues(name, median, median - 1, median + 1, median, 3.0, pixels, z)


def names(made):
    return [each.name for each in made.columns]


def test_an_examination_has_a_row_of_maps_for_each_kind_and_a_column_for_each_level(examination):
    made = page(report_maps(examination))
    assert made.title == "T1, T2 and ECV mapping of the left ventricle"
    assert made.kinds == (Kind.T1_NATIVE, Kind.T1_POST, Kind.ECV, Kind.T2)
    assert names(made) == ["Basal", "Mid", "Apical"]
    assert all(set(each.maps) == set(made.kinds) for each in made.columns)
    assert [each.kind for each in made.bulls_eyes] == [Kind.T1_NATIVE, Kind.ECV, Kind.T2]
    assert all(set(each.segments) == set(range(1, 17)) for each in made.bulls_eyes)
    assert made.findings == ()
    assert made.legend == ""


def test_the_table_states_median_sd_and_z_score():
    shown = make_slice(regions=(region("global", 1031.4, 90, -2.04), region("mid-septum", 1040.0, 9, 0.5)))
    two = make_slice(quantity="T2", enhancement=None, regions=(region("global", 48.25, 90),))
    rows = content(shown, two).slices
    assert [(row.place, row.region) for row in rows] == [("Mid", "global"), ("", "mid-septum")]
    assert [cell.text for cell in rows[0].cells] == ["1031 ± 3 (-2.0)", "48.3 ± 3.0"]
    assert [cell.marked for cell in rows[0].cells] == [True, False]
    assert [cell.text for cell in rows[1].cells] == ["1040 ± 3 (+0.5)", NOTHING]


def test_segments_of_a_slice_whose_contours_want_review_are_marked():
    anterior, lateral = "AHA 7 mid anterior", "AHA 12 mid anterolateral"
    nothing = RegionValues(lateral, None, None, None, None, None, 0)
    doubtful = make_slice(0, regions=(region(anterior, 1000.0, 30), nothing), flags=(Flag.REVIEW,))
    other = make_slice(1, regions=(region(anterior, 1100.0, 10), region(lateral, 1100.0, 10)))
    (eye,) = content(doubtful, other).bulls_eyes
    assert eye.doubtful == {7}, "it gives no value to segment 12"
    assert content(doubtful, other).caption.endswith("?: from a slice whose contours need review.")
    assert "?" not in content(other).caption


def test_without_a_mid_septum_the_septum_is_stated():
    rows = content(make_slice()).slices
    assert [row.region for row in rows] == ["global", "septum"]


def test_a_region_without_values_is_no_number():
    nothing = RegionValues("global", None, None, None, None, None, 0)
    (row,) = content(make_slice(regions=(nothing,))).slices
    assert [cell.text for cell in row.cells] == [NOTHING]


def test_segments_have_a_line_of_values_and_one_of_z_scores():
    regions = (region("AHA 7 mid anterior", 1000.0, 10, 2.5), region("AHA 12 mid anterolateral", 900.0, 10))
    values, scores = content(make_slice(regions=regions)).segments
    assert (values.place, values.cells[6].text, values.cells[11].text) == ("T1 native", "1000", "900")
    assert (scores.region, scores.cells[6].text, scores.cells[11].text) == ("z", "+2.5", NOTHING)
    assert scores.cells[6].marked


def test_a_segment_of_several_slices_is_the_mean_by_area_without_a_spread():
    one = make_slice(0, regions=(region("AHA 7 mid anterior", 1000.0, 30, 1.0),))
    other = make_slice(1, regions=(region("AHA 7 mid anterior", 1100.0, 10, 3.0),))
    found, _ = positions(report_maps(Examination((one, other))))
    pool = pooled(found, Kind.T1_NATIVE)[7]
    assert (pool.value, pool.spread, pool.pixels, pool.z_score) == (1025.0, None, 40, 1.5)
    assert "mean of their medians" in content(one, other).caption
    unknown = replace(other, regions=(region("AHA 7 mid anterior", 1100.0, 10),))
    found, _ = positions(report_maps(Examination((one, unknown))))
    assert pooled(found, Kind.T1_NATIVE)[7].z_score is None


@pytest.mark.parametrize("oriented", [True, False])
def test_areas_of_slices_with_other_pixels_count_in_mm2(oriented):
    """Two slices of one level with 90 mm2 of a segment each, pixels of 1.5 and 1 mm."""
    slices = []
    for number, (median, pixels, size) in enumerate(((900.0, 40, 1.5), (1100.0, 90, 1.0))):
        made = make_slice(number, regions=(region("AHA 7 mid anterior", median, pixels),))
        slices.append(replace(made, geometry=replace(made.geometry, spacing=(size, size), oriented=oriented)))
    found, _ = positions(report_maps(Examination(tuple(slices))))
    assert pooled(found, Kind.T1_NATIVE)[7].value == pytest.approx(1000.0)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_positions_run_from_the_base_in_any_order_of_arrival_and_direction(order):
    slices = [make_slice(n, level=level) for n, level in enumerate(("basal", "mid", "apical"))]
    assert names(content(*(slices[n] for n in order))) == ["Basal", "Mid", "Apical"]
    turned = [make_slice(2 - n, level=each.level.value) for n, each in enumerate(slices)]
    assert names(content(*(turned[n] for n in order))) == ["Basal", "Mid", "Apical"]


def test_maps_within_three_millimetres_are_of_one_position():
    near = make_slice(5, "T2", None, at_mm=2.0)
    assert len(content(make_slice(0, at_mm=0.0), near).columns) == 1
    far = make_slice(0, "T2", None, at_mm=4.0)
    assert len(content(make_slice(0, at_mm=0.0), far).columns) == 2


def test_slices_without_directions_are_told_apart_by_their_index():
    flags = (Flag.NO_ORIENTATION,)
    slices = [
        make_slice(n, *kind, "unknown", at_mm=0.0, flags=flags)
        for n in (4, 2)
        for kind in (("T1", None), ("T2", None))
    ]
    made = content(*slices)
    assert names(made) == ["Slice 2", "Slice 4"]
    assert [set(each.maps) for each in made.columns] == [{Kind.T1, Kind.T2}] * 2


UNPLACED = (0.0, 0.0, 0.0)


def unplaced(number, *kind, **changes):
    """A slice of a sender that states directions and a slice counter, but zeros for every position."""
    return make_slice(number, *kind, at_mm=0.0, **changes)


def test_slices_without_positions_are_told_apart_by_their_index():
    levels = ("basal", "mid", "apical")
    kinds = (("T1", "native"), ("T2", None))
    slices = [unplaced(n, *kind, level=level) for n, level in enumerate(levels) for kind in kinds]
    assert all(each.geometry.position == UNPLACED for each in slices)
    made = content(*slices, ecv=[make_ecv(each) for each in slices[::2]])
    assert names(made) == ["Basal", "Mid", "Apical"]
    assert [set(each.maps) for each in made.columns] == [{Kind.T1_NATIVE, Kind.T2, Kind.ECV}] * 3
    assert [set(each.segments) for each in made.bulls_eyes] == [set(range(1, 17))] * 3
    assert made.findings == ()


def test_a_slice_at_zero_is_placed_where_another_one_states_its_position():
    """A stack that was planned about the magnet's centre has a slice there."""
    moved = replace(unplaced(0), identity=SeriesIdentity(4, 7, "T1map", 200))
    made = content(unplaced(0), make_slice(1, at_mm=10.0, level="basal"), moved)
    assert names(made) == ["Basal", "Mid"]
    assert made.findings == ("Mid T1 native: 2 results; the page states series 4, the latest with values.",)


def test_zeros_that_stand_for_no_position_are_no_place_of_another_slice():
    """Three post-contrast series without positions beside a native stack, whose middle lies near zero."""
    native = [
        make_slice(number, level=level, at_mm=mm, identity=SeriesIdentity(1, number, "", number + 1))
        for number, (level, mm) in enumerate(zip(("basal", "mid", "apical"), (-19.0, 1.0, 21.0), strict=True))
    ]
    posts = [
        unplaced(0, "T1", "post-contrast", level="unknown", identity=SeriesIdentity(2 + n, 0, "", 10 + n))
        for n in range(3)
    ]
    found, _ = positions(report_maps(Examination((*native, *posts))))
    assert [set(each.maps) for each in found] == [{Kind.T1_NATIVE}] * 3 + [{Kind.T1_POST}]
    found, _ = positions(report_maps(Examination((*native, posts[0]))))
    assert [len(each.maps) for each in found] == [1, 2, 1]


def test_without_positions_one_index_is_as_many_slices_as_its_levels():
    """Slices that are series of their own all have index 0; their descriptions name the level."""
    slices = [
        unplaced(0, level=level, identity=SeriesIdentity(n, 0, f"T1 {level}", n))
        for n, level in enumerate(("apical", "mid", "basal"))
    ]
    assert names(content(*slices)) == ["Basal", "Mid", "Apical"]
    late = unplaced(0, "T2", None, level="unknown")
    assert names(content(slices[0], late)) == ["Apical"]
    places = [row.place for row in content(*slices, late).slices if row.region == "global"]
    assert places == ["Basal", "Mid", "Apical", "Slice 3"]


@pytest.mark.parametrize("basal_first", [True, False])
def test_a_slice_of_unknown_level_does_not_take_the_place_of_a_named_one(basal_first):
    """Three series of one slice each without positions, of which one description alone names a level."""
    stamps = (1, 2, 3) if basal_first else (3, 1, 2)
    basal, *others = (
        unplaced(0, level=level, identity=SeriesIdentity(stamp, 0, name, stamp))
        for stamp, (level, name) in zip(
            stamps, (("basal", "T1 basal"), ("unknown", "T1 a"), ("unknown", "T1 b")), strict=True
        )
    )
    made = content(
        *sorted((basal, *others), key=lambda each: each.identity.time_stamp), ecv=[make_ecv(basal)]
    )
    assert names(made)[0] == "Basal"
    assert set(made.columns[0].maps) == {Kind.T1_NATIVE, Kind.ECV}
    assert made.columns[0].maps[Kind.T1_NATIVE].identity == basal.identity
    segments = {number for eye in made.bulls_eyes for number in eye.segments}
    assert segments == set(range(1, 7))  # the basal ones of AHA
    # T2 of the basal slice, whose series does not name it.
    assert names(content(basal, unplaced(0, "T2", None, level="unknown"))) == ["Basal"]


def test_slices_of_several_directions_are_told_apart_by_their_planes():
    """Long-axis slices are series of their own: the index of each is 0."""
    axes = (((1.0, 0.0, 0.0), (0.0, 0.0, 1.0)), ((0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
    long_axis = [
        make_slice(
            level="unknown",
            geometry=replace(make_slice().geometry, row_direction=row, column_direction=column),
            identity=SeriesIdentity(20 + n, 0, "T1map", n),
        )
        for n, (row, column) in enumerate(axes)
    ]
    made = content(make_slice(1, level="unknown"), *long_axis)
    assert names(made) == ["Slice 0", "Slice 1", "Slice 2"]
    assert made.findings == ()


def test_of_results_without_time_stamps_the_last_one_is_the_latest():
    early, late = (
        make_slice(at_mm=mm, identity=SeriesIdentity(series, 0), regions=(region("global", value, 9),))
        for mm, series, value in ((2.0, 1, 900.0), (0.0, 2, 999.0))
    )
    assert content(early, late).slices[0].cells[0].text == "999 ± 3"
    assert content(late, early).slices[0].cells[0].text == "900 ± 3"
    ecv = [make_ecv(early, haematocrit) for haematocrit in (0.4, 0.5)]
    assert content(early, ecv=ecv).slices[0].cells[1].text == "22.5 ± 2.0"


def test_of_ecv_of_two_post_contrast_times_both_series_of_the_stated_one_are_named():
    native = make_slice(identity=SeriesIdentity(13, 0, "T1map", 10))
    ecv = [make_ecv(native, post=SeriesIdentity(series, 0, "", series)) for series in (23, 33)]
    (finding,) = (each for each in content(native, ecv=ecv).findings if "results" in each)
    assert finding == "Mid ECV: 2 results; the page states series 13 and 33, the latest with values."


def test_the_latest_result_is_the_last_acquired_past_midnight_and_without_stamps():
    """Time stamps begin at 0 at midnight; a motion-corrected series without one came after the raw one."""
    for stamps in ((34_559_000, 2_000), (1000, 0)):
        first, second = (
            make_slice(
                at_mm=10.0,
                identity=SeriesIdentity(series, 0, "", stamp),
                regions=(region("global", value, 9),),
            )
            for series, value, stamp in ((1, 900.0, stamps[0]), (2, 999.0, stamps[1]))
        )
        assert content(first, second).slices[0].cells[0].text == "999 ± 3"
    early = replace(first, level=SliceLevel.BASAL, identity=SeriesIdentity(1, 0, "", 34_559_000))
    late = replace(first, level=SliceLevel.MID, identity=SeriesIdentity(2, 0, "", 2_000))
    assert names(content(early, late)) == names(content(late, early)) == ["Mid"]


def test_slices_that_are_series_of_their_own_are_counted():
    slices = [
        make_slice(0, level="unknown", at_mm=12.0 * n, identity=SeriesIdentity(20 + n, 0, "T1map", n))
        for n in range(3)
    ]
    made = content(*slices)
    assert names(made) == ["Slice 0", "Slice 1", "Slice 2"]
    assert made.no_segments == "No AHA segments: the level of the slices is not known."


def test_hearts_that_their_images_cut_off_have_no_segments():
    whole = make_slice()
    ring = replace(whole, regions=whole.regions[:2], flags=(Flag.CUT_OFF,))
    assert content(ring).no_segments == "No AHA segments: the heart is cut off."
    assert content(whole, replace(ring, identity=SeriesIdentity(9, 1))).no_segments == ""


def test_a_level_that_one_map_of_a_position_knows_holds_for_the_position():
    made = content(make_slice(level="unknown"), make_slice(0, "T2", None, "basal"))
    assert names(made) == ["Basal"]


def test_of_many_slices_the_middle_one_of_each_level_is_shown():
    levels = ["basal"] * 5 + ["mid"] * 3 + ["apical"] * 4
    made = content(*(make_slice(n, level=level, at_mm=8.0 * n) for n, level in enumerate(levels)))
    assert names(made) == ["Basal 3", "Mid 2", "Apical 2"]
    assert made.legend == "Maps of 3 of 12 slice positions."
    assert len({row.place for row in made.slices if row.place}) == 12


@pytest.mark.parametrize("number", range(1, 14))
def test_at_most_three_positions_are_shown_and_every_one_has_a_row(number):
    made = content(*(make_slice(n, level="unknown", at_mm=8.0 * n) for n in range(number)))
    assert len(made.columns) == min(number, 3)
    assert sum(bool(row.place) for row in made.slices) == number


def test_of_two_results_of_a_kind_the_latest_with_values_is_stated():
    early = make_slice(identity=SeriesIdentity(1, 0, "T1map", 10))
    late = make_slice(identity=SeriesIdentity(4, 0, "T1map", 20), regions=(region("global", 999.0, 9),))
    empty = make_slice(identity=SeriesIdentity(5, 0, "T1map", 30), regions=(), contours=None)
    made = content(late, early, empty)
    assert made.slices[0].cells[0].text == "999 ± 3"
    assert made.findings == ("Mid T1 native: 3 results; the page states series 4, the latest with values.",)


def test_findings_are_errors_flags_by_importance_and_notes_each_once():
    slices = [
        make_slice(n, level=level, flags=(Flag.DUPLICATE_IMAGES, Flag.REVIEW), notes=("One note.",))
        for n, level in enumerate(("basal", "mid"))
    ]
    broken = make_slice(
        1, "T2", None, map=None, contours=None, regions=(), error="bad\nthing", flags=(Flag.REVIEW,)
    )
    assert content(*slices, broken).findings == (
        "T2 mid: error: bad thing",
        f"All maps: {SENTENCES['review']}",
        f"T1 native, all: {SENTENCES['duplicate-images']}",
        "T1 native, all: note: One note.",
    )


def test_regions_without_a_value_and_reasons_of_a_low_confidence_come_before_other_notes():
    ring, septum = region("global", 950.0, 99), RegionValues("septum", None, None, None, None, None, 0)
    ((_, missing),) = without_values((ring, septum))
    slices = [
        make_slice(
            n,
            level=level,
            flags=(Flag.REVIEW,),
            notes=("Septum.", f"Reason {n}.", missing),
            confidence_reason=f"Reason {n}.",
        )
        for n, level in enumerate(("basal", "mid"))
    ]
    assert content(*slices).findings == (
        f"All maps: {SENTENCES['review']}",
        f"All maps: note: {missing}",
        "T1 native basal: note: Reason 0.",
        "T1 native mid: note: Reason 1.",
        "All maps: note: Septum.",
    )


def test_flags_that_ecv_takes_over_are_stated_of_its_slices_alone():
    native = make_slice(flags=(Flag.MOVED,))
    taken = make_ecv(
        native, None, flags=(Flag.MOVED, Flag.NO_HAEMATOCRIT), notes=("Flags of the native slice: moved.",)
    )
    assert content(native, ecv=[taken]).findings == (
        f"Partition mid: {SENTENCES['no-haematocrit']}",
        f"T1 native mid: {SENTENCES['moved']}",
    )


def test_flags_of_ecv_are_stated_too():
    native = make_slice()
    made = content(native, ecv=[make_ecv(native, None, flags=(Flag.NO_HAEMATOCRIT,))])
    assert made.findings == (f"Partition mid: {SENTENCES['no-haematocrit']}",)
    assert ("Haematocrit", "not given") in made.provenance


def test_a_position_without_post_contrast_has_its_error_and_no_value():
    native = make_slice()
    missing = make_ecv(
        native, post=None, partition=None, valid=None, regions=(), error="no post-contrast map"
    )
    made = content(native, ecv=[missing])
    assert made.findings == ("ECV mid: error: no post-contrast map",)
    assert made.slices[0].cells[1].text == NOTHING


@pytest.mark.parametrize(
    ("source", "words"), [("given", "0.425 (as given)"), ("synthetic", "0.425 (synthetic, from blood T1)")]
)
def test_the_source_of_the_haematocrit_is_stated(source, words):
    native = make_slice()
    assert ("Haematocrit", words) in content(native, ecv=[make_ecv(native, 0.425, source)]).provenance


def test_provenance_states_what_was_done_to_the_maps():
    one = make_slice(0, t1_scale=1.0365, motion_corrected=True, reference="site.toml")
    two = make_slice(1, "T2", None, scanner_made=True)
    rows = dict(content(one, two).provenance)
    assert rows["Corrections"] == (
        "T1 x 1.0365; maps by the scanner: 1 of 2; motion corrected by the scanner: 1 of 2"
    )
    assert rows["Contours"] == "1.5 mm (endo), 1.5 mm (epi) inside the wall's borders"
    assert rows["Reference"] == "site.toml"
    assert rows["Network"] == "weights 0123456789ab"
    assert rows["Software"].startswith("myostream ")


def test_what_is_not_known_is_not_invented():
    made = content(make_slice(field_strength=None, identity=SeriesIdentity(1, 0), confidence_source="none"))
    assert made.facts == (
        ("Examination", "protocol not stated"),
        ("Date", "not stated"),
        ("Scanner", "not stated"),
        ("Sequences", "not stated"),
    )
    rows = dict(made.provenance)
    assert (rows["Network"], rows["Corrections"]) == ("not stated", "none")
    assert rows["Reference"] == "none: no z-scores"
    assert "z-score" not in made.caption


def test_an_examination_without_results_has_a_page():
    made = content()
    assert (made.kinds, made.columns, made.slices, made.bulls_eyes) == ((), (), (), ())
    assert made.no_segments == "No AHA segments: no map has contours with values."


def test_the_header_of_a_measurement_gives_the_facts_but_no_patient():
    header = parse_header(
        "<ismrmrdHeader><subjectInformation><patientName>Mustermann</patientName><patientID>4711</patientID>"
        "</subjectInformation><studyInformation><studyDate>2026-11-26</studyDate>"
        "<studyTime>10:42:07.5</studyTime></studyInformation><measurementInformation>"
        "<protocolName>MOLLI</protocolName></measurementInformation><acquisitionSystemInformation>"
        "<systemVendor>Maker</systemVendor><systemModel>Model</systemModel>"
        "<systemFieldStrength_T>2.89362</systemFieldStrength_T></acquisitionSystemInformation></ismrmrdHeader>"
    )
    made = content(make_slice(), info=ExaminationInfo.of_header(header))
    assert made.facts[:3] == (
        ("Examination", "MOLLI"),
        ("Date", "2026-11-26 10:42:07"),
        ("Scanner", "Maker Model, 2.89 T"),
    )
    assert "Mustermann" not in str(made)
    assert "4711" not in str(made)
    assert not any("patient" in each.name or "subject" in each.name for each in fields(ExaminationInfo))


def test_partition_coefficients_stand_in_for_ecv_without_haematocrit():
    made = page(report_maps(make_examination(haematocrit=None)))
    assert made.title == "T1 and T2 mapping of the left ventricle"
    assert made.slices[0].cells[2].text == "0.45"
