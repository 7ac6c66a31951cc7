"""Numbers of one result in its outputs, each printed with its own digits."""

import math
from dataclasses import replace
from fractions import Fraction

import pytest

from inline.data.examination import Examination
from inline.data.results import RegionValues
from inline.emit.ecv import ecv_images
from inline.emit.mrd import images
from inline.emit.record import ecv_record, printed, slice_record
from inline.report.content import page
from inline.report.maps import report_maps
from inline.serving.page.messages import ecv_changes, slice_changes
from inline.serving.slices import median_words
from inline.terminal.results import ecv_table, results_table
from tests.inline.report.examinations import make_ecv, make_slice

from .test_ecv import TEMPLATE

SLIGHTLY_BELOW = [0.0499996, 0.1499996, 0.2499996, 0.4499996, 0.8499996]
"""Rounded to three digits first, most of these would round up to the next tenth."""


def to_fixed(value, digits):
    """The text of JavaScript's ``toFixed``, by which the page prints (ECMA-262, Number.prototype.toFixed)."""
    steps = math.floor(abs(Fraction(value)) * 10**digits + Fraction(1, 2))
    return f"{'-' if value < 0 else ''}{steps / 10**digits:.{digits}f}"


@pytest.mark.parametrize("share", SLIGHTLY_BELOW)
def test_a_value_of_a_slice_is_rounded_alike_in_every_output(share):
    ring = RegionValues("global", 46 + share, 45 + share, 47 + share, 46 + share, 2 + share, 300, -share)
    result = replace(make_slice(quantity="T2", enhancement=None), regions=(ring,))
    (row,) = page(report_maps(Examination((result,)))).slices
    table = {
        str(each.header): str(next(each.cells)) for each in results_table([slice_record(result)]).columns
    }
    (comment,) = images(result, TEMPLATE)[0].meta()["ImageComments"]
    (live,) = slice_changes(result, texts=True)["regions"]
    value, _spread, score = row.cells[0].text.replace("± ", "").split()
    assert score == f"({table['z']})"
    assert table["median [IQR] ms"] in comment.replace(" ms", "")
    assert table["median [IQR] ms"].split()[0] == value == to_fixed(live["median"], 1)
    assert to_fixed(live["z_score"], 1) == table["z"]


@pytest.mark.parametrize("share", SLIGHTLY_BELOW)
@pytest.mark.parametrize("haematocrit", [0.4, None])
def test_a_value_of_ecv_is_rounded_alike_in_every_output(share, haematocrit):
    native = make_slice()
    found = make_ecv(native, haematocrit)
    values = dict.fromkeys(("median", "q1", "q3"), 26 + share) if haematocrit else {}
    partition = 0.45 + share / 100.0
    ring = replace(found.regions[0], **values, partition_coefficient=partition)
    found = replace(found, regions=(ring,))
    (row,) = page(report_maps(Examination((native,), (found,)))).slices[:1]
    record = ecv_record(found)
    table = {str(each.header): str(next(each.cells)) for each in ecv_table([record]).columns}
    (comment,) = ecv_images(found, TEMPLATE)[0].meta()["ImageComments"]
    (live,) = ecv_changes(found, texts=True)["regions"]
    if haematocrit:
        assert table["ECV [IQR] %"] in comment.replace(" %", "")
        assert table["ECV [IQR] %"].split()[0] == row.cells[-1].text.split()[0] == to_fixed(live["median"], 1)
    else:
        assert table["lambda"] in comment
        assert to_fixed(record["regions"][0]["partition_coefficient"], 2) == row.cells[-1].text.split()[0]
        assert to_fixed(live["median"], 3) == table["lambda"]


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (1000.5, 0, "1001"),
        (999.5, 0, "1000"),
        (46.25, 1, "46.3"),
        (46.15, 1, "46.1"),  # of a number that lies below the tie
        (26.35, 1, "26.4"),
        (0.125, 2, "0.13"),
        (0.0625, 3, "0.063"),
        (-0.25, 1, "-0.3"),
        (0.04, 1, "0.0"),
    ],
)
def test_a_tie_is_rounded_as_by_the_live_page(value, digits, text):
    """The texts are those of Node.js 20."""
    assert printed(value, digits) == to_fixed(value, digits) == text


@pytest.mark.parametrize(
    ("quantity", "enhancement", "median", "text"),
    [("T1", "native", 1000.4996, "1001"), ("T2", None, 46.2504, "46.3")],
)
def test_a_value_of_a_slice_whose_record_is_a_tie_is_that_of_the_page(quantity, enhancement, median, text):
    ring = RegionValues("global", median, median, median, median, 1.0, 300, 0.25)
    result = replace(make_slice(quantity=quantity, enhancement=enhancement), regions=(ring,))
    (row,) = page(report_maps(Examination((result,)))).slices
    (comment,) = images(result, TEMPLATE)[0].meta()["ImageComments"]
    assert f"myostream {text} ms [{text}-{text}]" in comment
    value, _spread, score = row.cells[0].text.replace("± ", "").split()
    assert (value, score) == (text, "(+0.3)")


@pytest.mark.parametrize(("haematocrit", "words"), [(0.4, "median 26.3 %"), (None, "coefficient 0.450")])
def test_a_late_ecv_is_logged_as_its_comment_prints_it(haematocrit, words):
    found = make_ecv(make_slice(), haematocrit)
    values = dict.fromkeys(("median", "q1", "q3"), 26.2496) if haematocrit else {}
    partition = 0.449496  # likewise in three digits
    ring = replace(found.regions[0], **values, partition_coefficient=partition)
    found = replace(found, regions=(ring,))
    (comment,) = ecv_images(found, TEMPLATE)[0].meta()["ImageComments"]
    assert words in median_words(found)
    assert words.split()[1] in comment
