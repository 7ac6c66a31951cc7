"""Positions that headers state, and zeros that stand for none."""

import pytest

from inline.data.geometry import SliceGeometry
from inline.data.stated_position import Shown, positions_stated

ROW, COLUMN = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)


def shown(height, *, series=1, slice_=0, kind="MOLLI", session=""):
    """Transverse slice at a height, mm; None for one without directions."""
    geometry = (
        None if height is None else SliceGeometry((0.0, 0.0, height), ROW, COLUMN, (1.5, 1.5), (128, 128))
    )
    return Shown(kind, series, slice_, geometry, session)


def test_nothing_is_stated_of_no_slice():
    assert positions_stated([]) == []


def test_a_position_elsewhere_than_zero_is_stated():
    assert positions_stated([shown(30.0), shown(-12.5, series=2)]) == [True, True]


def test_without_directions_no_position_is_stated():
    assert positions_stated([shown(None), shown(30.0)]) == [False, True]


@pytest.mark.parametrize(
    "series", [(1,), (1, 1, 1), (1, 2, 3)], ids=["one slice", "one series", "a series each"]
)
def test_zeros_are_none_where_no_slice_states_a_position(series):
    study = [shown(0.0, series=number, slice_=k) for k, number in enumerate(series)]
    assert positions_stated(study) == [False] * len(series)


def test_the_middle_slice_of_a_stack_may_lie_at_zero():
    """A stack of 10 mm through the middle of the magnet."""
    study = [shown(height, slice_=k) for k, height in enumerate((-10.0, 0.0, 10.0))]
    assert positions_stated(study) == [True, True, True]


def test_a_series_with_several_slices_at_zero_states_no_position():
    """Two slices of one series lie at two places; slices of its kind elsewhere change nothing."""
    study = [shown(0.0, slice_=0), shown(0.0, slice_=1), shown(30.0, series=2)]
    assert positions_stated(study) == [False, False, True]


def test_a_repetition_of_a_slice_at_zero_has_its_position_too():
    study = [shown(0.0, series=1), shown(0.0, series=2), shown(10.0, series=3)]
    assert positions_stated(study) == [True, True, True]


def test_zeros_of_one_slice_beside_another_kind_that_states_positions_are_undecided():
    """Scanner-made maps with positions, and images of a chain that may not know theirs."""
    assert positions_stated([shown(30.0, kind="map"), shown(0.0)]) == [True, None]


def test_several_series_at_zero_of_a_kind_that_states_no_position_are_none():
    study = [shown(0.0, series=1), shown(0.0, series=2), shown(30.0, series=3, kind="map")]
    assert positions_stated(study) == [False, False, True]


def test_several_series_at_zero_are_undecided_where_another_slice_certainly_lies_there():
    certain = [shown(height, kind="map", slice_=k) for k, height in enumerate((0.0, 10.0))]
    assert positions_stated([*certain, shown(0.0, series=2), shown(0.0, series=3)]) == [
        True,
        True,
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("other", "expected"),
    [(30.0, True), (-30.0, True), (2.0, None)],
    ids=["30 mm above", "30 mm below", "at 2 mm, where it would be acquired again"],
)
def test_the_only_series_at_zero_of_a_connection_lies_there_where_those_of_others_lie_elsewhere(
    other, expected
):
    study = [shown(0.0, session="one"), shown(other, session="two")]
    assert positions_stated(study) == [expected, True]


def test_a_slice_at_zero_of_another_direction_is_another_position():
    """A coronal slice through 2 mm crosses the transverse plane at zero and is not parallel to it."""
    coronal = SliceGeometry((0.0, 2.0, 0.0), ROW, (0.0, 0.0, 1.0), (1.5, 1.5), (128, 128))
    study = [shown(0.0, session="one"), Shown("MOLLI", 1, 0, coronal, "two")]
    assert positions_stated(study) == [True, True]


def test_two_series_at_zero_of_one_connection_are_none_though_others_lie_elsewhere():
    study = [
        shown(0.0, session="one"),
        shown(0.0, session="one", series=2),
        shown(30.0, session="two"),
    ]
    assert positions_stated(study) == [False, False, True]
