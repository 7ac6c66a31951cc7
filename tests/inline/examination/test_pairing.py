from dataclasses import replace

import numpy as np
import pytest

from inline.data.flags import Flag
from inline.data.results import BloodT1
from inline.data.series import Enhancement, Quantity, SeriesIdentity
from inline.examination import pairing
from inline.examination.pairing import distance_mm, find_pair, mismatch, tell_apart
from tests.inline.examination.phantom import AXES, CENTRE, ENDO, EPI, SHAPE, ecv_of, examined, t1_slice

NATIVE, POST = t1_slice(), t1_slice(post=True)


def moved(result, along=0.0, across=0.0):
    geometry = result.geometry
    place = geometry.position + along * geometry.normal + across * (geometry.normal[[1, 2, 0]])
    return replace(result, geometry=replace(geometry, position=tuple(place.tolist())))


def undirected(result):
    """A slice whose header states no directions: the axes of the image stand in for them."""
    return replace(result, geometry=replace(result.geometry, oriented=False))


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


def test_directions_rounded_to_one_digit_are_parallel():
    rounded = [
        replace(
            each, geometry=replace(each.geometry, row_direction=(0.7, 0.7, 0.0), column_direction=(0, 0, -1))
        )
        for each in (NATIVE, POST)
    ]
    assert distance_mm(*rounded) == pytest.approx(distance_mm(NATIVE, POST))


def test_another_orientation_is_no_match():
    turned = replace(POST.geometry, row_direction=(0.0, 0.0, -1.0), column_direction=(0.6, 0.8, 0.0))
    other = replace(POST, geometry=turned)
    assert find_pair(other, [NATIVE]) is None
    assert "orientations differ" in mismatch(NATIVE, other)


@pytest.mark.parametrize("degrees", [15.0, 30.0, 90.0])
def test_a_slice_turned_in_its_plane_is_a_partner(degrees):
    native = t1_slice(partition_at=tissue)
    post = planned_turned(degrees)
    assert find_pair(post, [native]) is not None
    found = ecv_of(native, post)
    movement = found.registration
    assert (movement.x_mm, movement.y_mm) == pytest.approx((0.0, 0.0), abs=0.2)
    assert movement.rotation_degrees == pytest.approx(0.0, abs=0.2)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] - np.array(CENTRE)[::-1, None, None]
    wall = np.abs(np.hypot(x, y) - (ENDO + EPI) / 2.0) < 2.0
    np.testing.assert_allclose(found.partition[wall], tissue(x, y)[wall], atol=0.02)


def tissue(x, y):
    """Partition coefficient that rises to the right and down in the native image, from the centre."""
    return 0.46 + 0.002 * x + 0.004 * y


def planned_turned(degrees):
    """The post-contrast slice in an image whose axes are turned by an angle; the heart stays in its place."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    row, column = np.array(AXES)
    from_middle = np.array(CENTRE) - np.array(SHAPE[::-1]) / 2.0
    seen = np.array([[cos, sin], [-sin, cos]]) @ from_middle
    made = t1_slice(post=True, shift=seen - from_middle, turn=-degrees, partition_at=tissue)
    axes = {
        "row_direction": tuple(cos * row + sin * column),
        "column_direction": tuple(cos * column - sin * row),
    }
    return replace(made, geometry=replace(made.geometry, **axes))


def test_without_any_orientation_index_and_pixels_decide():
    native, other, post = (
        nth(undirected(each), series=series, index=index)
        for each, series, index in ((NATIVE, 1, 0), (NATIVE, 1, 1), (POST, 2, 0))
    )
    assert find_pair(post, [native, other]).native is native
    assert find_pair(replace(post, identity=SeriesIdentity(2, 2)), [native, other]) is None
    smaller = replace(native, geometry=replace(native.geometry, spacing=(1.0, 1.0)))
    assert find_pair(post, [smaller, other]) is None
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


def nth(result, *, series, index=0, stamp=0, **more):
    return replace(result, identity=SeriesIdentity(series, index, "", stamp), **more)


def nowhere(result, *, oriented=True, **more):
    """A slice whose sender states no position, and directions alone."""
    place = replace(result.geometry, position=(0.0, 0.0, 0.0), oriented=oriented)
    return nth(replace(result, geometry=place), **more)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_fitted_map_goes_with_a_fitted_one_and_a_scanners_with_a_scanners(reverse):
    natives = [nth(NATIVE, series=1), nth(NATIVE, series=2, scanner_made=True, motion_corrected=True)]
    for post, series in (
        (nth(POST, series=3), 1),
        (nth(POST, series=4, scanner_made=True), 2),
        (nth(POST, series=5, motion_corrected=True), 1),
    ):
        pair = find_pair(post, natives[::-1] if reverse else natives)
        assert pair.native.identity.series_index == series


@pytest.mark.parametrize("reverse", [False, True])
def test_of_several_at_one_position_the_last_acquired_counts_whichever_was_ready_first(reverse):
    natives = [nth(NATIVE, series=1, stamp=100), nth(NATIVE, series=2, stamp=200)]
    pair = find_pair(nth(POST, series=3, stamp=300), natives[::-1] if reverse else natives)
    assert pair.native.identity.series_index == 2


@pytest.mark.parametrize("reverse", [False, True])
def test_the_last_acquired_counts_past_midnight_too(reverse):
    """Time stamps begin at 0 at midnight: 23:59:58, 0:00:05 and 0:12:30."""
    natives = [nth(NATIVE, series=1, stamp=34_559_000), nth(NATIVE, series=2, stamp=2_000)]
    pair = find_pair(nth(POST, series=3, stamp=300_000), natives[::-1] if reverse else natives)
    assert pair.native.identity.series_index == 2


def test_of_slices_without_time_stamps_the_last_result_counts():
    natives = [nth(NATIVE, series=1, stamp=1000), nth(NATIVE, series=2)]
    assert find_pair(nth(POST, series=3, stamp=3000), natives).native.identity.series_index == 2
    assert find_pair(nth(POST, series=3, stamp=3000), natives[::-1]).native.identity.series_index == 1


def test_blood_tells_the_order_past_midnight():
    before, after = unknown(NATIVE, 1100.0, 34_559_000), unknown(POST, 700.0, 2_000)
    for one, other in ((before, after), (after, before)):
        assert "the native slice was acquired first" in find_pair(other, [one]).how


def test_without_positions_the_slice_index_decides():
    natives = [nowhere(NATIVE, series=1, index=index) for index in range(3)]
    for index in range(3):
        assert find_pair(nowhere(POST, series=2, index=index), natives).native is natives[index]
    assert find_pair(nowhere(POST, series=2, index=3), natives) is None
    errors = [each.error for each in examined([*natives, nowhere(POST, series=2, index=3)]).ecv]
    assert "no position is stated, nor its slice index" in errors[-1]


def test_a_slice_in_the_middle_of_the_magnet_is_none_without_position():
    repeated = [nowhere(NATIVE, series=1, stamp=1), nowhere(NATIVE, series=2, stamp=2)]
    pair = find_pair(nowhere(POST, series=4), [nth(moved(NATIVE, 20.0), series=3), *repeated])
    assert pair.native.identity.series_index == 2


def at(result, along, **more):
    """A slice so far along its normal from the middle of the magnet."""
    return moved(nowhere(result, **more), along)


def test_zeros_beside_positions_are_none_where_several_slices_have_them():
    """Native slices state positions; three post-contrast series, or a stack of three slices, state zeros."""
    for places, post in (
        ((-19.0, 1.0, 21.0), [nowhere(POST, series=2 + number) for number in range(3)]),
        ((-20.0, 0.0, 20.0), [nowhere(POST, series=2, index=number) for number in range(3)]),
    ):
        natives = [at(NATIVE, mm, series=1, index=number) for number, mm in enumerate(places)]
        found = examined([*natives, *post]).ecv
        assert [each.flags for each in found] == [(Flag.SLICES_DO_NOT_MATCH,)] * 6
        errors = [each.error for each in found]
        assert all("the post-contrast slices state the position 0, 0, 0" in each for each in errors[:3])
        assert all("this one states the position 0, 0, 0" in each for each in errors[3:])


def test_one_slice_at_zero_beside_positions_is_a_pair_in_doubt():
    """The first of the three post-contrast series, when no other one has come."""
    natives = [at(NATIVE, mm, series=1, index=number) for number, mm in enumerate((-19.0, 1.0, 21.0))]
    pair = find_pair(nowhere(POST, series=2), natives)
    assert pair.native is natives[1]
    assert pair.doubt.startswith("The post-contrast slice states the position 0, 0, 0")
    (found,) = (each for each in examined([*natives, nowhere(POST, series=2)]).ecv if not each.error)
    assert Flag.SLICES_DO_NOT_MATCH in found.flags


def test_repeated_slices_at_zero_are_pairs_in_doubt_where_a_partner_certainly_lies_there():
    """The middle slice after contrast agent is repeated after some minutes."""
    natives = [at(NATIVE, mm, series=1 + number) for number, mm in enumerate((-8.0, 0.0, 8.0))]
    posts = [nowhere(POST, series=9, stamp=900), nowhere(POST, series=10, stamp=1000)]
    pairs = [find_pair(posts[0], natives), find_pair(posts[1], [*natives, posts[0]])]
    assert [pair.native for pair in pairs] == [natives[1]] * 2
    assert all("post-contrast slice states the position 0, 0, 0" in pair.doubt for pair in pairs)
    found = [each for each in examined([*natives, *posts]).ecv if not each.error]
    assert [each.post.series_index for each in found] == [9, 10]
    assert all(Flag.SLICES_DO_NOT_MATCH in each.flags for each in found)


def on_table(result, mm):
    """A slice whose images were acquired with the patient table at a place along the body's axis."""
    return replace(result, geometry=replace(result.geometry, table=None if mm is None else (0.0, 0.0, mm)))


@pytest.mark.parametrize(
    ("native", "post", "doubted"),
    [
        (0.0, 25.0, True),
        (-25.0, 0.0, True),
        (-1300.0, -1300.4, False),
        (25.0, 25.0, False),
        (None, 25.0, False),  # DICOM states the position of one
        (None, None, False),
    ],
)
def test_slices_on_another_place_of_the_table_are_a_pair_in_doubt(native, post, doubted):
    """Positions relative to the middle of the magnet are then those of other parts of the heart."""
    pair = find_pair(on_table(POST, post), [on_table(NATIVE, native)])
    assert ("patient table" in pair.doubt) is doubted
    (found,) = examined([on_table(NATIVE, native), on_table(POST, post)]).ecv
    assert (Flag.SLICES_DO_NOT_MATCH in found.flags) is doubted
    assert any("patient_table_position" in note for note in found.notes) is doubted


def test_of_several_partners_at_one_position_that_of_the_same_place_of_the_table_goes_first():
    same, later = on_table(NATIVE, 25.0), on_table(NATIVE, 0.0)
    for earlier in ([same, later], [later, same]):
        pair = find_pair(on_table(POST, 25.0), earlier)
        assert pair.native is same
        assert pair.doubt == ""


@pytest.mark.parametrize("native", [1, 2])
def test_positions_of_t2_make_no_difference_to_pairs(native):
    """A server keeps T1 alone; files of an examination hold both."""
    t1 = [nowhere(NATIVE, series=1 + number, stamp=1 + number) for number in range(native)]
    t1.append(nowhere(POST, series=9, stamp=9))
    t2 = replace(at(NATIVE, 8.0, series=5), quantity=Quantity.T2, enhancement=None)
    alone = [(each.post, each.error) for each in examined(t1).ecv]
    assert [(each.post, each.error) for each in examined([t2, *t1]).ecv] == alone


@pytest.mark.parametrize("stacks", [True, False])
def test_a_slice_in_the_middle_of_the_magnet_is_a_pair_without_doubt(stacks):
    slices = [
        at(each, mm, series=first + (0 if stacks else number), index=number if stacks else 0)
        for each, first in ((NATIVE, 1), (POST, 11))
        for number, mm in enumerate((-20.0, 0.0, 20.0))
    ]
    found = examined(slices).ecv
    assert [(each.native.series_index, each.error, each.flags) for each in found] == [
        (each.identity.series_index, "", ()) for each in slices[:3]
    ]


@pytest.mark.parametrize("oriented", [True, False])
def test_slices_that_are_series_of_their_own_without_positions_are_no_pairs(oriented):
    """Base, middle and apex all have index 0; the last native slice was the partner of each."""
    natives = [nowhere(NATIVE, series=series, oriented=oriented) for series in (1, 2, 3)]
    posts = [nowhere(POST, series=series, oriented=oriented) for series in (11, 12, 13)]
    assert all(find_pair(post, natives) is None for post in posts)
    found = examined([*natives, *posts]).ecv
    assert [each.flags for each in found] == [(Flag.SLICES_DO_NOT_MATCH,)] * 6
    assert "several native slices have its index and none states its position" in found[-1].error


@pytest.mark.parametrize("oriented", [True, False])
@pytest.mark.parametrize("index", [0, 1])
def test_two_single_slices_without_positions_are_no_pair(oriented, index):
    """Each series has one slice, so its index says nothing: one may be basal and the other apical."""
    native = nowhere(NATIVE, series=1, index=index, oriented=oriented)
    post = nowhere(POST, series=2, index=index, oriented=oriented)
    assert find_pair(post, [native]) is None
    for each in examined([native, post]).ecv:
        assert each.flags == (Flag.SLICES_DO_NOT_MATCH,)
        assert f"index {index} of a single slice may be any: send positions" in each.error


@pytest.mark.parametrize("single", ["native", "post-contrast"])
def test_a_stack_and_a_single_slice_without_positions_are_a_pair_in_doubt(single):
    kinds = {"native": (NATIVE, 1), "post-contrast": (POST, 2)}
    alone, number = kinds.pop(single)
    ((stack, other),) = kinds.values()
    slices = [nowhere(stack, series=other, index=index) for index in range(3)]
    found = next(each for each in examined([*slices, nowhere(alone, series=number)]).ecv if not each.error)
    assert Flag.SLICES_DO_NOT_MATCH in found.flags
    assert any(f"the {single} series has shown no other slice" in note for note in found.notes)


def test_two_stacks_without_positions_are_pairs_without_doubt():
    natives = [nowhere(NATIVE, series=1, index=index) for index in range(3)]
    posts = [nowhere(POST, series=2, index=index) for index in range(3)]
    pairs = [find_pair(post, [*natives, *posts[:number]]) for number, post in enumerate(posts)]
    assert [pair.native for pair in pairs] == natives
    assert [bool(pair.doubt) for pair in pairs] == [True, False, False]  # its series had one slice by then
    assert not any(Flag.SLICES_DO_NOT_MATCH in each.flags for each in examined([*natives, *posts]).ecv)


def test_slices_of_two_persons_are_no_pair():
    woman, man = (nth(NATIVE, series=1, sex="F"), nth(POST, series=2, sex="M"))
    assert find_pair(man, [woman]) is None
    errors = [each.error for each in examined([woman, man]).ecv]
    assert [error.rpartition(": ")[2] for error in errors] == ["their headers state different sexes"] * 2


def test_a_repeated_slice_of_a_position_with_ecv_is_no_error():
    """It said that the partner has no contours."""
    repeated = [nth(NATIVE, series=1, stamp=1), nth(NATIVE, series=2, stamp=2)]
    (found,) = examined([*repeated, nth(POST, series=3, stamp=3)]).ecv
    assert (found.error, found.native.series_index) == ("", 2)


def test_slices_of_one_kind_are_not_compared(monkeypatch):
    """Native slices of a large study are no partners of each other, wherever they lie."""
    compared = []
    monkeypatch.setattr(pairing, "distance_mm", lambda *each: compared.append(each) or 0.0)
    natives = [nth(NATIVE, series=number) for number in range(3)]
    assert find_pair(nth(NATIVE, series=3), natives) is None
    assert compared == []
    assert find_pair(nth(POST, series=3), natives) is not None
