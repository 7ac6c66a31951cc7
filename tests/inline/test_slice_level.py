import numpy as np
import pytest

from inline.geometry import SliceGeometry
from inline.results import SliceLevel
from inline.slice_level import slice_level

TO_APEX = SliceGeometry((0, 0, 0), (0.7, 0.7, 0.0), (-0.4, 0.4, -0.8), (1.5, 1.5), (224, 224))
TO_BASE = SliceGeometry((0, 0, 0), (-0.4, 0.4, -0.8), (0.7, 0.7, 0.0), (1.5, 1.5), (224, 224))


def test_directions_are_what_the_names_say():
    assert (
        TO_APEX.normal @ np.array([0.62, -0.6, -0.5]) < 0 or TO_BASE.normal @ np.array([0.62, -0.6, -0.5]) < 0
    )


@pytest.mark.parametrize(
    ("description", "level"),
    [
        ("T1map_basal_MOCO", SliceLevel.BASAL),
        ("MOLLI sax base", SliceLevel.BASAL),
        ("t2map_mid", SliceLevel.MID),
        ("T1 APEX", SliceLevel.APICAL),
        ("apical slice", SliceLevel.APICAL),
    ],
)
def test_words_in_the_description(description, level):
    assert slice_level(0, 3, description, TO_APEX) == (level, "series description")


def test_words_inside_other_words_do_not_count():
    assert slice_level(0, None, "database midas", TO_APEX) == (SliceLevel.MID, "assumed")
    assert slice_level(0, None, "basal to apical", TO_APEX) == (SliceLevel.MID, "assumed")


def test_the_user_comes_first():
    assert slice_level(2, 3, "basal", TO_APEX, stated={2: SliceLevel.APICAL}) == (SliceLevel.APICAL, "user")


def test_the_place_among_the_slices_follows_the_direction():
    def levels(geometry, count):
        return [slice_level(i, count, "", geometry)[0] for i in range(count)]

    three = [SliceLevel.BASAL, SliceLevel.MID, SliceLevel.APICAL]
    forward, backward = (TO_APEX, TO_BASE) if TO_APEX.normal @ [0.62, -0.6, -0.5] > 0 else (TO_BASE, TO_APEX)
    assert levels(forward, 3) == three
    assert levels(backward, 3) == three[::-1]
    assert levels(forward, 6) == [level for level in three for _ in range(2)]
    assert "slice 1 of 3" in slice_level(0, 3, "", forward)[1]


def test_one_slice_is_assumed_to_be_mid():
    assert slice_level(0, 1, "", TO_APEX) == (SliceLevel.MID, "assumed")
