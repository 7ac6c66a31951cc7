"""Numbers of the series and slices of an examination."""

import math
from types import SimpleNamespace

import pytest

from inline.dicom.order import number_series, number_slices


def test_a_series_keeps_a_number_that_mrd_can_hold():
    """An MRD header has 16 bits for it; the others take the first that is free."""
    frames = [
        SimpleNamespace(series=f"2.25.{number}", series_number=number, moment=0.0)
        for number in (1, 65_535, 65_536)
    ]
    numbered = number_series(frames)
    stated = {key: members[0].series_number for key, members in numbered.items()}
    assert stated == {1: 1, 65_535: 65_535, 2: 65_536}


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([9, 5] * 3, [3, 3]),
        ([9, 5] * 3 + [None, 7], [1, 1, 3, 3]),
        ([*range(8)], [8]),  # a number of each image
        ([9, None] * 4, [8]),
    ],
)
def test_numbers_of_whole_series_separate_those_without_a_uid_alone(numbers, expected):
    def sizes(uid):
        frames = [SimpleNamespace(series=uid, series_number=number, moment=0.0) for number in numbers]
        return sorted(len(members) for members in number_series(frames).values())

    assert sizes("") == expected
    assert sizes("2.25.1") == [len(numbers)]


@pytest.mark.parametrize(("degrees", "middle"), [(10.0, 1), (13.0, 2)])
def test_a_plane_that_is_not_parallel_to_the_stack_follows_it(degrees, middle):
    """Planes at 0, 10 and 20 mm; the one between is tilted. The limit is about 11 degrees."""

    def frame(moment, z, tilt):
        down, along = math.cos(math.radians(tilt)), math.sin(math.radians(tilt))
        place = SimpleNamespace(
            position=(0.0, 0.0, z),
            read_dir=(1.0, 0.0, 0.0),
            phase_dir=(0.0, down, along),
            slice_dir=(0.0, -along, down),
        )
        return SimpleNamespace(
            place=place, moment=moment, quantity=None, location=z, number=1, index=0, file="", in_stack=0
        )

    frames = [frame(0.0, 0.0, 0.0), frame(1.0, 10.0, degrees), frame(2.0, 20.0, 0.0)]
    slices = number_slices([frames])
    assert [slices[id(each)].number for each in frames] == [0, middle, 3 - middle]
