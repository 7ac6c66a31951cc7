"""Signs that images of a series are missing."""

from types import SimpleNamespace

import pytest

from inline.dicom.missing import lacking


def frames(numbers, stated=None):
    common = {"stated": stated, "concatenation": ("", 0)}
    return [SimpleNamespace(number=each, instance=f"2.25.{each}", **common) for each in numbers]


def test_a_gap_in_the_instance_numbers_is_stated():
    assert lacking(frames([1, 2, 5]), broken=False) == ["the instance numbers 1 to 5 of the series lack 2"]


@pytest.mark.parametrize("numbers", [[1, 2, 7], [1, 1, 3], [1, 2, 3]])
def test_numbers_that_lack_more_than_are_there_count_no_images(numbers):
    """Nor do equal ones, and there is no gap in numbers that follow each other."""
    assert lacking(frames(numbers), broken=False) == []


@pytest.mark.parametrize(("stated", "believed"), [(2, False), (3, True), (100_000, True), (100_001, False)])
def test_a_number_of_objects_that_no_series_has_is_not_believed(stated, believed):
    expected = [f"the series states {stated} objects, and 2 are there"] if believed else []
    assert lacking(frames([1, 2], stated), broken=False) == expected
