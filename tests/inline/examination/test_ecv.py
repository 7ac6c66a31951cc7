import re
from dataclasses import replace

import numpy as np
import pytest

from inline.contouring.septum import MID_SEPTUM
from inline.data.examination import HaematocritSource
from inline.data.flags import Flag
from inline.data.geometry import SliceGeometry
from inline.data.results import Insertions, SliceLevel
from inline.data.series import Quantity
from inline.examination.ecv import at_level
from inline.reference import ReferenceRange, ReferenceRanges
from inline.settings import EcvSettings
from model.polygons import ring_labels
from model.relaxometry.parametric_map import ParametricMap
from tests.inline.examination.phantom import SHAPE, ecv_of, t1_slice

NATIVE, POST = t1_slice(field_strength=1.5), t1_slice(post=True, field_strength=1.5)


def by_name(result):
    return {each.name: each for each in result.regions}


def test_ecv_of_the_phantom_is_exact():
    found = ecv_of(NATIVE, POST)
    assert (found.error, found.flags, found.masked) == ("", (), 0)
    assert found.haematocrit.source is HaematocritSource.GIVEN
    regions = by_name(found)
    assert list(regions)[:3] == ["global", "septum", MID_SEPTUM]
    assert len(regions) == 3 + 6
    for region in regions.values():
        assert region.partition_coefficient == pytest.approx(0.46, abs=1e-5)
        assert region.median == pytest.approx(100.0 * 0.58 * 0.46, abs=1e-3)
    blood = np.hypot(*(np.mgrid[: SHAPE[0], : SHAPE[1]] - np.array([62.0, 60.0])[:, None, None])) < 3.0
    assert found.ecv[blood] == pytest.approx(58.0, abs=1e-3)  # plasma
    assert found.ecv[0, 0] == pytest.approx(100.0 * 0.58 * 0.3, abs=1e-3)


@pytest.mark.parametrize(("percent", "masked"), [(98.0, False), (103.0, True), (140.0, True)])
def test_an_ecv_above_100_percent_is_left_out(percent, masked):
    def sector(u, v):
        return np.where(np.abs(np.degrees(np.arctan2(v, -u))) <= 20.0, percent / 58.0, 0.46)

    found = ecv_of(NATIVE, t1_slice(post=True, partition_at=sector))
    assert (found.masked > 0) is masked
    assert (Flag.MASKED_VALUES in found.flags) is masked
    assert found.ecv.max() <= 100.0


@pytest.mark.parametrize("post", [False, True])
def test_pixels_of_a_scanners_map_that_no_tissue_has_are_left_out(post):
    """A moved map mixes pixels: half of 4095 and half of 450 ms still makes a partition coefficient."""
    pair = [
        replace(t1_slice(post=each, shift=(0.5 * each, 0.0)), scanner_made=True) for each in (False, True)
    ]
    values = pair[post].map.values_ms.copy()
    outlines = pair[post].contours.endo, pair[post].contours.epi
    rows, columns = np.nonzero(ring_labels(*outlines, values.shape) == 2)
    values[rows[::8], columns[::8]] = 4095.0
    pair[post] = replace(pair[post], map=ParametricMap.of_values(values))
    found = ecv_of(*pair)
    assert found.regions[0].mean == pytest.approx(26.68, abs=0.3)
    assert found.regions[0].sd < 2.0
    (note,) = (note for note in found.notes if "above 3000 ms" in note)
    name = "post-contrast" if post else "native"
    assert note.startswith(f"In the {name} map {len(rows[::8])} of {len(rows)} pixels of the myocardium")
    assert Flag.MASKED_VALUES not in found.flags


def test_regions_follow_a_scar_when_the_heart_has_moved():
    """A sector of the septum has twice the partition coefficient of the rest."""

    def scar(u, v):
        return np.where(np.abs(np.degrees(np.arctan2(v, -u))) <= 31.0, 0.92, 0.46)

    moved = t1_slice(post=True, partition_at=scar, shift=(3.4, -2.2), turn=14.0)
    regions = by_name(ecv_of(t1_slice(), moved))
    assert regions[MID_SEPTUM].median == pytest.approx(2 * 26.68, abs=0.3)
    assert regions["AHA 12 mid anterolateral"].median == pytest.approx(26.68, abs=0.05)
    # Without the rotation, a fifth of mid-septum would be healthy muscle, and the mean 47.6 %.
    assert regions[MID_SEPTUM].mean > 52.5


def test_noise_gives_the_error_that_is_stated():
    values = []
    for seed in range(12):
        found = ecv_of(
            *(t1_slice(post=post, noise=0.04, shift=(0.4 * post, 0), seed=seed) for post in (False, True))
        )
        values.append([found.regions[0].mean, by_name(found)[MID_SEPTUM].mean])
    stated = [found.regions[0].standard_error, by_name(found)[MID_SEPTUM].standard_error]
    spread = np.std(values, axis=0, ddof=1)
    # 11 degrees of freedom: the sample SD is within 45 % in 95 of 100 cases.
    assert spread == pytest.approx(stated, rel=0.55)
    assert np.mean(values, axis=0) == pytest.approx(26.68, abs=0.35)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    wall = np.abs(np.hypot(x - 60.0, y - 62.0) - 18.5) < 1.5
    assert found.ecv_sd[wall].mean() > np.std(found.ecv[wall])  # mixed pixels: an upper limit
    still = ecv_of(t1_slice(noise=0.04), t1_slice(post=True, noise=0.04))
    assert still.ecv_sd[wall].mean() == pytest.approx(np.std(still.ecv[wall]), rel=0.1)


def test_without_haematocrit_there_is_the_partition_coefficient_alone():
    found = ecv_of(NATIVE, POST, EcvSettings())
    assert found.flags == (Flag.NO_HAEMATOCRIT,)
    assert "ecv.haematocrit" in found.notes[0]
    assert (found.haematocrit, found.ecv, found.ecv_sd) == (None, None, None)
    ring = found.regions[0]
    assert ring.partition_coefficient == pytest.approx(0.46, abs=1e-5)
    assert (ring.median, ring.mean, ring.sd, ring.standard_error) == (None, None, None, None)


def test_a_synthetic_haematocrit_is_used_on_request_and_marked():
    found = ecv_of(NATIVE, POST, EcvSettings(synthetic=True))
    assert found.flags == (Flag.SYNTHETIC_HAEMATOCRIT,)
    assert found.haematocrit.source is HaematocritSource.SYNTHETIC
    assert found.haematocrit.value == pytest.approx(866.0 / 1600.0 - 0.1232, abs=1e-4)
    assert "not measured" in found.notes[0]
    assert ecv_of(NATIVE, POST, EcvSettings(synthetic=True, haematocrit=0.4)).flags == ()


def test_no_formula_no_synthetic_haematocrit():
    pair = (replace(each, field_strength=0.55) for each in (NATIVE, POST))
    found = ecv_of(*pair, EcvSettings(synthetic=True))
    assert found.flags == (Flag.NO_HAEMATOCRIT,)
    assert "0.55 T" in found.notes[0]
    assert found.regions[0].median is None


@pytest.mark.parametrize(
    ("native", "post", "flag", "words"),
    [
        (NATIVE, replace(POST, contours=None, flags=(Flag.NO_CAVITY,)), Flag.NO_VALUES, "no-cavity"),
        (replace(NATIVE, map=None, error="not fitted"), POST, Flag.NO_VALUES, "native slice.*not fitted"),
        (replace(NATIVE, quantity=Quantity.T2), POST, Flag.NO_VALUES, "no T1 map"),
        (NATIVE, replace(POST, blood=None), Flag.NO_BLOOD, "post-contrast slice holds too few"),
        (NATIVE, replace(POST, t1_scale=1.0365), Flag.SLICES_DO_NOT_MATCH, "one factor for both"),
        (NATIVE, replace(POST, field_strength=3.0), Flag.SLICES_DO_NOT_MATCH, r"1\.5 and 3 T"),
        (replace(NATIVE, sex="F"), replace(POST, sex="M"), Flag.SLICES_DO_NOT_MATCH, "different sexes"),
        (NATIVE, NATIVE, Flag.IMPLAUSIBLE_BLOOD, "1600 ms.*which slice is which"),
        (POST, NATIVE, Flag.IMPLAUSIBLE_BLOOD, "320 ms in the native"),
        (
            NATIVE,
            replace(POST, geometry=replace(POST.geometry, position=(10.0, -20.0 + 8.0, 30.0))),
            Flag.SLICES_DO_NOT_MATCH,
            r"4\.8 mm apart",
        ),
    ],
)
def test_what_prevents_ecv_is_an_error_and_nothing_is_invented(native, post, flag, words):
    found = ecv_of(native, post)
    assert found.flags == (flag,)
    assert re.search(words, found.error)
    assert (found.partition, found.ecv, found.regions, found.registration) == (None, None, (), None)


def test_values_outside_the_physical_range_are_counted_and_masked():
    values = POST.map.values_ms.copy()
    place = (62, 60 - 18)  # in the wall
    values[place] = 5.0  # more contrast agent than blood has
    values[62, 60 + 18] = 1500.0  # longer than native
    found = ecv_of(NATIVE, replace(POST, map=replace(POST.map, values_ms=values)))
    assert found.masked == 2
    assert Flag.MASKED_VALUES in found.flags
    assert "2 pixels" in found.notes[0]
    assert found.ecv[place] == 0.0
    assert not found.valid[place]
    assert found.regions[0].median == pytest.approx(26.68, abs=1e-3)
    assert found.ecv.max() <= 100.0
    assert found.ecv.min() >= 0.0


def test_walls_that_do_not_overlap_are_flagged():
    post = t1_slice(post=True)
    wide = replace(
        post.contours, endo=62 + (post.contours.endo - 62) * 1.4, epi=62 + (post.contours.epi - 62) * 1.2
    )
    found = ecv_of(NATIVE, replace(post, contours=wide))
    assert Flag.NOT_REGISTERED in found.flags


def test_a_scanners_map_has_no_error_of_its_values():
    found = ecv_of(replace(NATIVE, scanner_made=True), POST)
    assert found.partition_sd is None
    assert found.regions[0].standard_error is None
    assert any("no SD" in note for note in found.notes)


@pytest.mark.parametrize("scale", [1.0, 1.0365])
def test_a_fitted_and_a_scanners_map_are_flagged(scale):
    """T1 maps of one vendor are larger than the fit by 1.0365: ECV of one of each is wrong by 2 %."""
    found = ecv_of(replace(NATIVE, scanner_made=True), replace(POST, t1_scale=scale))
    assert found.flags == (Flag.SLICES_DO_NOT_MATCH,)
    assert "native map was made by the scanner, the post-contrast one fitted" in found.notes[0]


def test_a_note_states_that_only_one_was_corrected_for_motion():
    found = ecv_of(replace(NATIVE, motion_corrected=True), POST)
    assert found.notes == ("Only the native images were corrected for motion.",)


def test_flags_of_both_slices_are_those_of_their_ecv():
    native = replace(NATIVE, flags=(Flag.REVIEW, Flag.THIN_WALL))
    found = ecv_of(native, replace(POST, flags=(Flag.REVIEW,)), EcvSettings())
    assert found.flags == (Flag.REVIEW, Flag.THIN_WALL, Flag.NO_HAEMATOCRIT)
    assert found.notes[0] == "Flags of the native slice: review, thin-wall."
    assert found.notes[1] == "Flags of the post-contrast slice: review."


def test_a_heart_that_the_native_image_cuts_off_has_no_segments():
    found = ecv_of(replace(NATIVE, flags=(Flag.CUT_OFF,)), POST)
    assert list(by_name(found)) == ["global", "septum", MID_SEPTUM]
    assert Flag.CUT_OFF in found.flags
    assert at_level(found, SliceLevel.BASAL).notes == found.notes


def test_without_a_direction_of_the_septum_no_level_has_segments():
    unoriented = SliceGeometry.unoriented(NATIVE.geometry.spacing, NATIVE.geometry.shape)
    native, post = (replace(each, geometry=unoriented, insertions=Insertions()) for each in (NATIVE, POST))
    found = ecv_of(replace(native, level=SliceLevel.APICAL), post)
    assert list(by_name(found)) == ["global"]
    assert at_level(found, SliceLevel.BASAL).notes == found.notes


@pytest.mark.parametrize("cut", ["native", "post-contrast"])
def test_the_native_slice_decides_on_the_segments_of_another_level(cut):
    """Contours and angles of ECV are those of the native slice."""
    native, post = (
        replace(each, flags=(Flag.CUT_OFF,)) if name == cut else each
        for name, each in (("native", NATIVE), ("post-contrast", POST))
    )
    found = ecv_of(replace(native, level=SliceLevel.APICAL), post)
    assert Flag.CUT_OFF in found.flags
    assert any("AHA" in name for name in by_name(found)) == (cut != "native")
    mid = at_level(found, SliceLevel.MID)
    assert any(note.startswith("No segments of ECV") for note in mid.notes) == (cut != "native")


def test_failed_pixels_take_no_part():
    failed = POST.map.failed.copy()
    failed[50:60] = True
    post = replace(POST, map=replace(POST.map, failed=failed))
    found = ecv_of(NATIVE, post)
    assert not found.valid[50:60].any()
    assert found.regions[0].median == pytest.approx(26.68, abs=1e-3)


@pytest.mark.parametrize("which", ["native", "post-contrast", "ECV"])
def test_a_segment_of_noise_has_no_ecv_and_is_flagged(which):
    """Left of the centre, all around mid-septum: a poor fit in one map, or values that no ECV has."""

    def septum(u, v):
        return np.abs(np.degrees(np.arctan2(v, -u))) <= 60.0

    native, post = NATIVE, t1_slice(post=True, partition_at=lambda u, v: np.where(septum(u, v), -0.1, 0.46))
    if which != "ECV":
        y, x = np.indices(SHAPE)
        noise = septum(x - 60.0, y - 62.0)
        poor, post = (native if which == "native" else POST), POST
        fitted = replace(poor.map, r_squared=np.where(noise, np.float32(0.5), poor.map.r_squared))
        fitted = replace(fitted, sd_ms=np.where(noise, np.float32(400.0), poor.map.sd_ms))
        changed = replace(poor, map=fitted)
        native, post = (changed, post) if which == "native" else (native, changed)
    found = ecv_of(native, post)
    septal = ["septum", MID_SEPTUM, "AHA 8 mid anteroseptal", "AHA 9 mid inferoseptal"]
    assert [each.name for each in found.regions if each.partition_coefficient is None] == septal
    assert found.flags.count(Flag.POOR_FIT) == 1
    assert f"No value of {', '.join(septal)}:" in found.notes[-1]
    assert found.regions[-1].median == pytest.approx(26.68, abs=1e-2)
    (basal,) = (note for note in at_level(found, SliceLevel.BASAL).notes if note.startswith("No value of"))
    assert "AHA 2 basal anteroseptal" in basal
    assert "AHA 8" not in basal
    unknown = ecv_of(native, post, EcvSettings())
    assert unknown.flags.count(Flag.POOR_FIT) == 1
    assert by_name(unknown)["septum"].partition_coefficient is None


def test_z_scores_are_those_of_the_ranges_of_a_measured_haematocrit():
    common = {"quantity": "ECV", "field_strength": 1.5, "mean": 25.0, "sd": 2.0, "n": 30, "source": "site"}
    ranges = ReferenceRanges((ReferenceRange(region="global", **common),))
    regions = by_name(ecv_of(NATIVE, POST, ranges=ranges))
    assert regions["global"].z_score == pytest.approx((26.68 - 25.0) / 2.0, abs=1e-3)
    assert regions["septum"].z_score is None
    by_pair = replace(NATIVE, enhancement=None)
    assert by_name(ecv_of(by_pair, POST, ranges=ranges))["global"].z_score == regions["global"].z_score
    synthetic = ecv_of(NATIVE, POST, EcvSettings(synthetic=True), ranges=ranges)
    assert synthetic.regions[0].z_score is None


def test_another_level_renames_segments_or_leaves_them_out():
    common = {"quantity": "ECV", "field_strength": 1.5, "mean": 26.0, "sd": 2.0, "n": 30, "source": "site"}
    names = ("global", "AHA 7 mid anterior")
    ranges = ReferenceRanges(tuple(ReferenceRange(region=name, **common) for name in names))
    mid = ecv_of(NATIVE, POST, ranges=ranges)
    basal = at_level(mid, SliceLevel.BASAL)
    measured = ecv_of(replace(NATIVE, level=SliceLevel.BASAL), POST)
    assert [each.name for each in basal.regions] == [each.name for each in measured.regions]
    assert [each.median for each in basal.regions] == [each.median for each in measured.regions]
    # The range of a segment holds for that one alone.
    assert by_name(mid)["AHA 7 mid anterior"].z_score is not None
    assert by_name(basal)["AHA 1 basal anterior"].z_score is None
    assert by_name(basal)["global"].z_score == by_name(mid)["global"].z_score
    apical = at_level(mid, SliceLevel.APICAL)
    assert list(by_name(apical)) == ["global", "septum", MID_SEPTUM]
    assert apical.notes[-1].startswith("No segments of ECV")
    assert at_level(mid, SliceLevel.MID) is mid
    assert at_level(mid, SliceLevel.UNKNOWN).notes == mid.notes
