"""Signs that images of a series are missing."""

from types import SimpleNamespace

import pytest

from inline.dicom.missing import lacking


def frames(numbers, stated=None):
    common = {"stated": stated, "concatenation": ("", 0)}
    return [SimpleNamespace(number=each, instance=f"2.25.{each}", **common) for each in numbers]


def of_one(numbers, stated=None):
    return lacking({0: frames(numbers, stated)}, broken=False)[0]


def test_a_gap_in_the_instance_numbers_is_stated():
    assert of_one([1, 2, 5]) == ["the instance numbers of the series go from 1 to 5 without 3, 4"]
    many = of_one([*range(1, 12), 22])
    assert many == [
        "the instance numbers of the series go from 1 to 22 without 12, 13, 14, 15, 16, 17, 18, 19 and 2 more"
    ]


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        (((1, 2, 3), (4, 6), (7, 8, 9)), [False, True, False]),
        (((1, 2, 3), (4, 6), (7, 9)), [False, True, True]),
        (((1, 3), (4, 6), (7, 9)), [True, True, True]),  # a protocol of two or three images
        (((1, 2, 3, 4), (5, 7), (8, 9, 10)), [True, True, True]),
        (((1, 2, 3), (7, 8, 9)), [True, True]),
        (((1, 2, 4, 5), (6, 7, 8)), [True, True]),  # of the longer one, beside a shorter protocol
    ],
)
@pytest.mark.parametrize("stated", [None, 9])
def test_slices_that_have_all_images_lack_none_where_the_others_lack_them_all(numbers, expected, stated):
    found = lacking({i: frames(each, stated) for i, each in enumerate(numbers)}, broken=False)
    assert list(map(bool, found.values())) == expected


def test_of_a_series_that_was_broken_off_each_slice_may_lack_images():
    found = lacking({0: frames([1, 2]), 1: frames([3])}, broken=True)
    assert [len(each) for each in found.values()] == [1, 1]


@pytest.mark.parametrize("numbers", [[1, 2, 7], [1, 1, 3], [1, 2, 3]])
def test_numbers_that_lack_more_than_are_there_count_no_images(numbers):
    """Nor do equal ones, and there is no gap in numbers that follow each other."""
    assert of_one(numbers) == []


@pytest.mark.parametrize(("stated", "believed"), [(2, False), (3, True), (100_000, True), (100_001, False)])
def test_a_number_of_objects_that_no_series_has_is_not_believed(stated, believed):
    expected = [f"the series states {stated} objects, and 2 are there"] if believed else []
    assert of_one([1, 2], stated) == expected
