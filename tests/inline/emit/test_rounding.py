"""Numbers of one result in its outputs, each printed with its own digits."""

from dataclasses import replace

import pytest

from inline.data.examination import Examination
from inline.data.results import RegionValues
from inline.emit.ecv import ecv_images
from inline.emit.mrd import images
from inline.emit.record import ecv_record, slice_record
from inline.report.content import page
from inline.report.maps import report_maps
from inline.serving.page.messages import ecv_changes, slice_changes
from inline.terminal.results import ecv_table, results_table
from tests.inline.report.examinations import make_ecv, make_slice

from .test_ecv import TEMPLATE

SLIGHTLY_BELOW = [0.0499996, 0.1499996, 0.2499996, 0.4499996, 0.8499996]
"""Rounded to three digits first, most of these would round up to the next tenth."""


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
    assert table["median [IQR] ms"].split()[0] == value == f"{live['median']:.1f}"
    assert f"{live['z_score']:+.1f}" == table["z"]


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
        assert table["ECV [IQR] %"].split()[0] == row.cells[-1].text.split()[0] == f"{live['median']:.1f}"
    else:
        assert table["lambda"] in comment
        assert f"{record['regions'][0]['partition_coefficient']:.2f}" == row.cells[-1].text.split()[0]
        assert f"{live['median']:.3f}" == table["lambda"]
