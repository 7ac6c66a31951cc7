from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inline.contouring import slice_level as module
from inline.contouring.slice_level import level_note, slice_level, slice_levels
from inline.data.geometry import SliceGeometry
from inline.data.results import SliceLevel
from inline.data.series import Enhancement, Quantity, SeriesIdentity, SlicePlace

BASAL, MID, APICAL, UNKNOWN = SliceLevel
APEX = np.array([0.62, -0.6, -0.5]) / np.linalg.norm([0.62, -0.6, -0.5])
ACROSS = np.cross(APEX, [0.0, 0.0, 1.0]) / np.linalg.norm(np.cross(APEX, [0.0, 0.0, 1.0]))
DOWN = np.cross(APEX, ACROSS)
LEVELS = {BASAL: APICAL, MID: MID, APICAL: BASAL, UNKNOWN: UNKNOWN}
"""Each level and its mirror image."""


def geometry(offset_mm=0.0, *, normal=APEX, across=ACROSS, slice_direction=None):
    """A slice so far towards the apex of a usual heart."""
    down = np.cross(normal, across)
    return SliceGeometry(
        tuple(offset_mm * APEX), tuple(across), tuple(down), (1.5, 1.5), (224, 224), slice_direction
    )


def place(offset_mm=0.0, index=0, count=None, description="", session="", series=1, **more):
    identity = SeriesIdentity(series, index, description)
    return SlicePlace(identity, Quantity.T1, count, geometry(offset_mm, **more), session)


def levels(offsets, **more):
    """Final levels of slices that are series of their own, by offset towards the apex."""
    places = [place(offset, series=number, **more) for number, offset in enumerate(offsets)]
    return [slice_level(each, places)[0] for each in places]


@pytest.mark.parametrize(
    ("description", "level"),
    [
        ("T1map_basal_MOCO", BASAL),
        ("MOLLI sax base", BASAL),
        ("t2map_mid", MID),
        ("T1 APEX", APICAL),
        ("apical slice", APICAL),
        ("T1_mid1", MID),
        ("mid2 post", MID),
        ("apex2", APICAL),
        ("T1_base_linear", BASAL),
        ("base linescan", BASAL),
    ],
)
def test_words_in_the_description(description, level):
    assert slice_level(place(0, 0, 3, description)) == (level, "series description")


@pytest.mark.parametrize(
    "description",
    [
        "database midas",
        "basal to apical",
        "meas_MID00123_FID04567_T1_MOLLI",
        "T1_MOLLI_mid-diastole",
        "T1 mid systolic",
        "MOLLI mid breath-hold",
        "MOLLI_T1 Base Hospital",
        "T1 base-line",
    ],
)
def test_words_inside_other_words_and_several_words_do_not_count(description):
    assert slice_level(place(description=description))[0] is UNKNOWN


def named(*slices):
    """Levels and sources of slices that are series of their own: offset towards the apex, description."""
    places = [place(mm, series=number, description=words) for number, (mm, words) in enumerate(slices)]
    return slice_levels(places, places)


def test_a_word_that_slices_of_several_levels_share_names_none():
    found = named((-26, "T1map_mid"), (0, "T1map_mid"), (26, "T1map_mid"))
    assert [level for level, _ in found] == [BASAL, MID, APICAL]
    assert all(source.startswith("position") and not level_note(source) for _, source in found)


@pytest.mark.parametrize("moved", [26, 30])
def test_words_hold_where_the_patient_moved_before_contrast(moved):
    words = {-25: "base", 0: "mid", 25: "apex"}
    places = [
        replace(place(mm + offset, series=series + i, description=f"T1_{words[mm]}"), enhancement=state)
        for series, offset, state in ((0, 0, Enhancement.NATIVE), (10, moved, Enhancement.POST_CONTRAST))
        for i, mm in enumerate(words)
    ]
    expected = [(level, "series description") for level in (BASAL, MID, APICAL)] * 2
    assert slice_levels(places, places) == expected


def test_words_of_a_long_heart_hold():
    found = named(*((9 * i, f"T1_{('base', 'mid', 'apex')[i // 4]}_{i % 4 + 1}") for i in range(12)))
    assert [level for level, _ in found] == [BASAL] * 4 + [MID] * 4 + [APICAL] * 4


def test_a_word_holds_for_repeated_slices_of_one_level():
    assert named((-5, "T1 mid"), (0, "T2 mid"), (17, "T1 mid post")) == [(MID, "series description")] * 3


def test_words_in_the_reverse_order_of_the_positions_are_not_used_and_noted():
    found = named((-26, "T1 apical"), (0, "T1 mid"), (26, "T1 basal"))
    assert [level for level, _ in found] == [BASAL, MID, APICAL]
    assert all(level_note(source) for _, source in found)
    assert named((-10, "T1 mid"), (10, "T1 basal"))[0][0] is UNKNOWN


def test_a_word_for_the_opposite_end_of_the_heart_is_not_used_and_noted():
    found = named((-26, "T1map"), (0, "T1map"), (26, "T1map basal"))
    assert [level for level, _ in found] == [BASAL, MID, APICAL]
    assert [bool(level_note(source)) for _, source in found] == [False, False, True]


def test_words_in_the_order_of_the_positions_hold_before_thirds():
    words = ("basal", "mid", "mid", "apical")
    found = named(*zip((-30, -10, 0, 30), words, strict=True))
    assert found == [(level, "series description") for level in (BASAL, MID, MID, APICAL)]
    without = [place(series=number, description=each) for number, each in enumerate(words)]
    assert slice_levels(without, without) == found


def test_the_position_of_a_map_of_the_scanner_shows_nothing_of_fitted_ones():
    two = [place(25, series=1), place(45, series=2)]
    made = replace(place(0, series=3), scanner_made=True)
    alone = slice_levels(two, two)
    assert [level for level, _ in alone] == [UNKNOWN, UNKNOWN]
    assert slice_levels(two, [*two, made]) == alone


@pytest.mark.parametrize("first", [0, 1])
def test_a_counter_counts_from_its_minimum(first):
    places = [replace(place(index=first + number, count=3), first_slice=first) for number in range(3)]
    assert [slice_level(each)[0] for each in places] == [BASAL, MID, APICAL]
    assert slice_level(places[1])[1] == "slice 2 of 3 and its direction"


def test_the_user_comes_first():
    assert slice_level(place(0, 2, 3, "basal"), stated={2: APICAL}) == (APICAL, "user")


@pytest.mark.parametrize(("sign", "order"), [(1.0, 1), (-1.0, -1)])
def test_the_counter_follows_the_slice_direction(sign, order):
    def counted(count):
        direction = tuple(sign * APEX)
        return [slice_level(place(0, i, count, slice_direction=direction))[0] for i in range(count)]

    assert counted(3) == [BASAL, MID, APICAL][::order]
    assert counted(6) == [BASAL, BASAL, MID, MID, APICAL, APICAL][::order]
    assert "slice 1 of 3" in slice_level(place(0, 0, 3))[1]


@pytest.mark.parametrize("count", [None, 0, 1])
def test_a_single_slice_is_not_assumed_to_be_mid(count):
    level, source = slice_level(place(count=count))
    assert level is UNKNOWN
    assert "only slice position" in source


def test_slices_that_are_series_of_their_own_are_told_apart_by_position():
    assert levels([0, 20, 40]) == [BASAL, MID, APICAL]
    assert levels([40, 0, 20]) == [APICAL, BASAL, MID]
    assert levels([0, 12, 24, 36, 48, 60]) == [BASAL, BASAL, MID, MID, APICAL, APICAL]
    assert slice_level(place(20), [place(0), place(40)])[1].startswith("position 2 of 3 from the base")


def test_the_level_is_that_known_so_far():
    shown, so_far = [], []
    for offset in (0, 20, 40, 60, 80):
        shown.append(place(offset))
        so_far.append(slice_level(shown[-1], shown)[0])
    assert so_far == [UNKNOWN, UNKNOWN, APICAL, APICAL, APICAL]
    assert levels([0, 20, 40, 60, 80]) == [BASAL, BASAL, MID, APICAL, APICAL]


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [
        ([0, 8], [UNKNOWN] * 2),  # neighbours
        ([0, 20], [UNKNOWN] * 2),  # base and mid as well as mid and apex
        ([0, 50], [BASAL, APICAL]),
        ([0, 8, 16], [UNKNOWN] * 3),  # three slices of one third
        ([0, 2, 4], [UNKNOWN] * 3),  # one slice, planned three times
        ([0, 70, 140], [UNKNOWN] * 3),  # no ventricle is so long
    ],
)
def test_the_extent_must_show_base_and_apex(offsets, expected):
    assert levels(offsets) == expected


def test_a_level_needs_no_even_distances():
    assert levels([0, 8, 40]) == [BASAL, BASAL, APICAL]


@pytest.mark.parametrize("degrees", [60.0, 90.0])
def test_slices_of_another_orientation_are_not_in_the_stack(degrees):
    angle = np.radians(degrees)
    turned = np.cos(angle) * APEX + np.sin(angle) * DOWN
    long_axis = place(20, normal=turned, series=9)
    stack = [place(0), place(40)]
    assert slice_level(stack[0], [*stack, long_axis]) == slice_level(stack[0], stack)
    alone = slice_level(long_axis, [*stack, long_axis])
    assert alone[0] is UNKNOWN


def test_a_long_axis_slice_has_no_level_by_its_counter_either():
    level, source = slice_level(place(0, 1, 2, normal=DOWN, across=ACROSS))
    assert level is UNKNOWN
    assert "short axis" in source


def test_a_few_degrees_and_a_mirrored_image_are_the_same_stack():
    angle = np.radians(4.0)
    tilted = np.cos(angle) * APEX + np.sin(angle) * DOWN
    shown = [place(0), place(20, normal=tilted), place(40, normal=-APEX)]
    assert [slice_level(each, shown)[0] for each in shown] == [BASAL, MID, APICAL]


def test_without_directions_nothing_is_known():
    bare = replace(place(0, 0, 3), geometry=None)
    assert slice_level(bare)[0] is UNKNOWN
    assert "no directions" in slice_level(bare)[1]
    assert levels([0, 20, 40]) == [slice_level(place(o), [place(0), place(40), bare])[0] for o in (0, 20, 40)]


def test_a_counter_that_stays_at_zero_is_not_believed():
    shown = [place(offset, 0, 3, series=number) for number, offset in enumerate((0, 20, 40))]
    assert slice_level(shown[0])[0] is BASAL  # nothing contradicts it yet
    assert [slice_level(each, shown)[0] for each in shown] == [BASAL, MID, APICAL]


def test_a_counter_that_rises_against_the_slice_direction_is_not_believed():
    along = tuple(APEX)
    shown = [place(-20 * index, index, 3, slice_direction=along) for index in range(3)]
    assert [slice_level(each, shown)[0] for each in shown] == [APICAL, MID, BASAL]


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [
        ((0, 20), [UNKNOWN] * 2),  # base and mid as well as mid and apex
        ((0, 40), [BASAL, APICAL]),
        ((0, 10, 20), [UNKNOWN] * 3),
        ((0, 12, 24), [BASAL, MID, APICAL]),
    ],
)
def test_a_counter_of_slices_too_near_to_be_base_and_apex_is_not_believed(offsets, expected):
    """As of the same slices without counters, which DICOM sends."""
    shown = [place(offset, index, len(offsets)) for index, offset in enumerate(offsets)]
    assert slice_level(shown[0])[0] is BASAL  # the other positions are not known yet
    assert [slice_level(each, shown)[0] for each in shown] == expected == levels(offsets)


def test_slices_of_a_counter_that_lie_near_each_other_have_the_level_of_their_position_in_the_study():
    near = [place(offset, index, 2) for index, offset in enumerate((0, 20))]
    shown = [*near, place(40, series=2)]
    assert [slice_level(each, shown)[0] for each in shown] == [BASAL, MID, APICAL]


def test_counters_are_compared_within_one_connection_alone():
    other = [place(offset, 0, 3, session="other") for offset in (20, 40)]
    level, source = slice_level(place(0, 0, 3, session="this"), other)
    assert level is BASAL
    assert "slice 1 of 3" in source


def test_a_sender_without_positions_is_believed_its_counter():
    shown = [place(0, index, 3) for index in range(3)]
    assert [slice_level(each, shown)[0] for each in shown] == [BASAL, MID, APICAL]


def test_zeros_that_stand_for_no_position_give_no_level():
    """A sender of positions, and one of none: three series of one slice each, or one of three slices."""
    native = [place(offset, number, series=1) for number, offset in enumerate((-19, 1, 21))]
    kinds = {"session": "other"}, {"session": ""}
    for kind in kinds:
        single = [place(0, series=series, **kind) for series in (2, 3, 4)]
        posts = [replace(each, enhancement=Enhancement.POST_CONTRAST) for each in single]
        stack = [place(0, index, series=5, **kind) for index in range(3)]
        for unplaced in (posts[:1], posts, stack):
            shown = [*native, *unplaced]
            assert [slice_level(each, shown)[0] for each in native] == [BASAL, MID, APICAL]
            for each in unplaced:
                level, source = slice_level(each, shown)
                assert level is UNKNOWN
                assert source == "unknown: the position 0, 0, 0 may stand for none"


def test_zeros_that_stand_for_no_position_are_no_place_of_a_stack():
    """At -40 and -20 mm with a third slice at 0 the stack would have shown base and apex."""
    native = [place(offset, series=number, session="a") for number, offset in enumerate((-35, -20), 1)]
    shown = [*native, *(place(0, series=series, session="b") for series in (3, 4))]
    assert [slice_level(each, shown)[0] for each in native] == [UNKNOWN, UNKNOWN]


@pytest.mark.parametrize("apart", [15, 25])
def test_one_of_several_connections_has_the_slice_in_the_middle_of_the_magnet(apart):
    """A scanner opens one for each measurement; native and post-contrast, which no header states, and T2."""
    offsets = (-apart, 0, apart)
    native = [place(offset, series=number, session=f"c{number}") for number, offset in enumerate(offsets)]
    assert [slice_level(each, native)[0] for each in native] == [BASAL, MID, APICAL]
    post = [replace(each, session=f"{each.session} post") for each in native]
    t2 = [replace(each, session=f"{each.session} T2", quantity=Quantity.T2) for each in native]
    shown = [*native, *post, *t2]
    assert [slice_level(each, shown)[0] for each in shown] == [BASAL, MID, APICAL] * 3


@pytest.mark.parametrize(("positioned", "expected"), [(True, MID), (False, UNKNOWN)])
def test_zeros_that_stand_in_for_a_position_give_no_level(positioned, expected):
    ends, zero = [place(-30.0, series=1), place(30.0, series=2)], place(0.0, series=3)
    zero = replace(zero, geometry=replace(zero.geometry, positioned=positioned))
    assert slice_level(zero, [*ends, zero])[0] is expected


def test_zeros_on_connections_of_their_own_give_no_level():
    """Three series of one slice beside a stack of another connection, which has a slice near zero."""
    native = [place(offset, number, session="a") for number, offset in enumerate((-19, 1, 21))]
    zeros = [place(0, series=series, session=f"c{series}") for series in (2, 3, 4)]
    for enhancement in (None, Enhancement.POST_CONTRAST):
        shown = [*native, *(replace(each, enhancement=enhancement) for each in zeros)]
        assert [slice_level(each, shown)[0] for each in shown] == [BASAL, MID, APICAL, *[UNKNOWN] * 3]


def test_several_zeros_are_a_position_where_another_slice_certainly_lies_there():
    """The middle post-contrast slice is repeated after some minutes."""
    native = [place(offset, number, session="a") for number, offset in enumerate((-20, 0, 20))]
    post = [
        replace(place(0, series=series, session="b"), enhancement=Enhancement.POST_CONTRAST)
        for series in (2, 3)
    ]
    shown = [*native, *post]
    assert [slice_level(each, shown)[0] for each in shown] == [BASAL, MID, APICAL, MID, MID]


def test_a_counter_holds_beside_positions_of_another_series():
    placed = [place(offset, series=number) for number, offset in enumerate((-19, 1, 21), 1)]
    counted = [place(0, index, 3, series=4) for index in range(3)]
    assert [slice_level(each, [*placed, *counted])[0] for each in counted] == [BASAL, MID, APICAL]


@pytest.mark.parametrize("series", [(1, 1, 1), (1, 2, 3)])
def test_a_slice_in_the_middle_of_the_magnet_has_the_level_of_its_position(series):
    stack = [
        place(offset, number, series=one)
        for number, (one, offset) in enumerate(zip(series, (-20, 0, 20), strict=True))
    ]
    t2 = replace(place(0, series=9, session="other"), quantity=Quantity.T2)
    shown = [*stack, t2]
    assert [slice_level(each, shown)[0] for each in shown] == [BASAL, MID, APICAL, MID]


def test_the_positions_of_a_study_are_judged_once_for_all_its_levels(monkeypatch):
    judged = []
    monkeypatch.setattr(module, "positions_stated", lambda study: judged.append(study) or [True] * len(study))
    places = [place(offset, series=offset) for offset in (0, 20, 40)]
    assert [level for level, _ in slice_levels(places, places)] == [BASAL, MID, APICAL]
    assert [len(study) for study in judged] == [3]


def test_without_a_counter_no_position_is_compared_with_it(monkeypatch):
    monkeypatch.setattr(module, "_contradicted", lambda *_: pytest.fail("compared"))
    assert levels([0, 20, 40]) == [BASAL, MID, APICAL]


OFFSETS = st.lists(st.integers(-700, 700).map(lambda tenths: tenths / 10.0), min_size=1, max_size=8)


@given(OFFSETS, st.randoms())
def test_the_final_levels_do_not_depend_on_the_order_of_arrival(offsets, random):
    order = list(range(len(offsets)))
    random.shuffle(order)
    shuffled = levels([offsets[i] for i in order])
    assert [shuffled[order.index(i)] for i in range(len(offsets))] == levels(offsets)


@given(OFFSETS, st.data())
def test_a_position_that_is_measured_again_changes_nothing(offsets, data):
    again = data.draw(st.lists(st.sampled_from(offsets), max_size=8))
    assert levels(offsets + again)[: len(offsets)] == levels(offsets)


@given(OFFSETS)
def test_a_stack_turned_round_has_the_levels_in_reverse(offsets):
    mirrored = [LEVELS[level] for level in levels([-offset for offset in offsets])]
    assert mirrored == levels(offsets)


@given(OFFSETS, st.floats(-200, 200), st.booleans())
def test_levels_depend_on_neither_the_origin_nor_the_side_the_image_is_seen_from(offsets, shift, mirror):
    moved = levels([offset + shift for offset in offsets], normal=-APEX if mirror else APEX)
    assert moved == levels(offsets)


@given(OFFSETS)
def test_levels_go_from_base_to_apex(offsets):
    found = dict(sorted(zip(offsets, levels(offsets), strict=True)))
    known = [level for level in found.values() if level is not UNKNOWN]
    assert len(known) in (0, len(found))
    assert known == sorted(known, key=[BASAL, MID, APICAL].index)
    if known:
        assert (known[0], known[-1]) == (BASAL, APICAL)
