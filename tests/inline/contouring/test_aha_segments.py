"""Names, numbers and angles of the AHA segments."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inline.contouring.aha_segments import segment_at_level, segment_names, segment_number, segments
from inline.contouring.regions import measure
from inline.contouring.septum import angular_reference
from inline.data.results import SliceLevel
from tests.inline.contouring.rings import COLUMNS, RING, ring_map, usual_short_axis


@given(st.floats(0, 359.99), st.sampled_from([4, 6]))
def test_every_angle_has_one_segment(angle, number):
    (index,) = segments(np.array([angle]), number)
    assert 0 <= index < number


@pytest.mark.parametrize(
    ("name", "level", "expected"),
    [
        ("AHA 8 mid anteroseptal", "basal", "AHA 2 basal anteroseptal"),
        ("AHA 6 basal anterolateral", "mid", "AHA 12 mid anterolateral"),
        ("AHA 6 basal anterolateral", "basal", "AHA 6 basal anterolateral"),
        ("AHA 6 basal anterolateral", "apical", None),
        ("AHA 14 apical septal", "mid", None),
        ("AHA 14 apical septal", "unknown", None),
        ("mid-septum", "apical", "mid-septum"),
        ("global", "unknown", "global"),
    ],
)
def test_segments_of_basal_and_mid_slices_are_the_same_parts_of_the_wall(name, level, expected):
    assert segment_at_level(name, SliceLevel(level)) == expected


def test_segments_are_numbered_from_base_to_apex():
    names = [name for level in ("basal", "mid", "apical") for name in segment_names(SliceLevel(level))]
    assert [segment_number(name) for name in names] == list(range(1, 17))


@pytest.mark.parametrize(
    "name", ["global", "mid-septum", "AHA 0 mid anterior", "AHA 17 apical apex", "AHA 7"]
)
def test_other_regions_have_no_number_of_a_segment(name):
    assert segment_number(name) is None


def test_the_names_at_another_level_are_those_that_are_measured_there():
    reference = angular_reference(usual_short_axis())
    measured = {level: measure(ring_map(COLUMNS), RING, level, reference) for level in SliceLevel}
    for one, other in ((SliceLevel.BASAL, SliceLevel.MID), (SliceLevel.MID, SliceLevel.BASAL)):
        names = [segment_at_level(each.name, other) for each in measured[one]]
        assert names == [each.name for each in measured[other]]
