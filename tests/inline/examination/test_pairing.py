from dataclasses import replace

import pytest

from inline.data.flags import Flag
from inline.data.results import BloodT1
from inline.data.series import Enhancement, Quantity, SeriesIdentity
from inline.examination.pairing import distance_mm, find_pair, mismatch, tell_apart
from tests.inline.examination.phantom import t1_slice

NATIVE, POST = t1_slice(), t1_slice(post=True)


def moved(result, along=0.0, across=0.0):
    geometry = result.geometry
    place = geometry.position + along * geometry.normal + across * (geometry.normal[[1, 2, 0]])
    return replace(result, geometry=replace(geometry, position=tuple(place.tolist())))


def unknown(result, blood=None, stamp=None):
    identity = result.identity if stamp is None else replace(result.identity, time_stamp=stamp)
    known = result.blood if blood is None else BloodT1(blood, 20.0, 1.0, 200)
    return replace(result, enhancement=None, enhancement_source="", blood=known, identity=identity)


def test_native_and_post_contrast_of_one_position_are_a_pair_in_either_order():
    for one, other in ((NATIVE, POST), (POST, NATIVE)):
        pair = find_pair(other, [one])
        assert (pair.native, pair.post) == (NATIVE, POST)
    assert "blood T1 of 1600 ms; blood T1 of 320 ms" in pair.how


@pytest.mark.parametrize(
    ("mm", "found"), [(0.0, True), (2.9, True), (-2.9, True), (3.1, False), (8.0, False)]
)
def test_the_position_decides(mm, found):
    other = moved(POST, mm)
    assert (find_pair(other, [NATIVE]) is not None) == found
    assert bool(mismatch(NATIVE, other)) != found
    assert distance_mm(NATIVE, other) == pytest.approx(abs(mm))


def test_a_shift_within_the_plane_is_the_same_position():
    row = POST.geometry.row_direction
    place = tuple(a + 12.0 * b for a, b in zip(POST.geometry.position, row, strict=True))
    assert mismatch(NATIVE, replace(POST, geometry=replace(POST.geometry, position=place))) == ""


def test_another_orientation_is_no_match():
    turned = replace(POST.geometry, row_direction=(0.0, 0.0, -1.0), column_direction=(0.6, 0.8, 0.0))
    other = replace(POST, geometry=turned)
    assert find_pair(other, [NATIVE]) is None
    assert "orientations differ" in mismatch(NATIVE, other)


def test_without_any_orientation_index_and_pixels_decide():
    native, post = (replace(each, flags=(Flag.NO_ORIENTATION,)) for each in (NATIVE, POST))
    assert find_pair(post, [native]) is not None
    assert find_pair(replace(post, identity=SeriesIdentity(2, 1)), [native]) is None
    assert find_pair(post, [NATIVE]) is None  # one of them has an orientation


def test_the_nearest_slice_and_of_several_the_last_is_the_partner():
    near, again, far = moved(NATIVE, 0.2), moved(NATIVE, 0.1), moved(NATIVE, 2.8)
    assert find_pair(POST, [near, again, far]).native is again


def test_motion_corrected_slices_are_paired_with_each_other():
    plain, corrected = NATIVE, replace(NATIVE, motion_corrected=True)
    for earlier in ([plain, corrected], [corrected, plain]):
        assert find_pair(POST, earlier).native is plain
        assert find_pair(replace(POST, motion_corrected=True), earlier).native is corrected
    assert find_pair(POST, [corrected]).native is corrected


def test_two_of_a_kind_other_quantities_and_slices_without_contours_are_no_pair():
    assert find_pair(NATIVE, [t1_slice(seed=1)]) is None
    assert find_pair(POST, [replace(NATIVE, quantity=Quantity.T2)]) is None
    assert find_pair(POST, [replace(NATIVE, contours=None)]) is None
    assert find_pair(replace(POST, map=None), [NATIVE]) is None


@pytest.mark.parametrize("native_first", [True, False])
def test_where_nothing_is_stated_the_shorter_blood_t1_is_post_contrast(native_first):
    native = unknown(NATIVE, 1100.0, 100 if native_first else 300)
    post = unknown(POST, 700.0, 200)
    pair = find_pair(native, [post])
    assert (pair.native, pair.post) == (native, post)
    assert ("acquired first" if native_first else "acquired second") in pair.how


def test_blood_that_contradicts_a_statement_makes_no_pair():
    stated = replace(unknown(NATIVE, 1000.0), enhancement=Enhancement.POST_CONTRAST)
    assert tell_apart(stated, unknown(POST, 700.0)) is None
    assert tell_apart(unknown(NATIVE, 1000.0), unknown(POST, 900.0)) is None
    assert tell_apart(replace(unknown(NATIVE), blood=None), unknown(POST)) is None
