"""Maps of a report from results."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inline.data.geometry import SliceGeometry
from inline.data.results import Contours
from inline.report.maps import CHEST_MM, HEART_MM, Kind, ReportMap, cut, report_maps
from tests.shapes import circle

from .examinations import make_ecv, make_slice


def test_kinds_of_an_examination(examination):
    kinds = [each.kind for each in report_maps(examination)]
    assert kinds == [Kind.T1_NATIVE, Kind.T1_POST, Kind.T2] * 3 + [Kind.ECV] * 3
    assert ReportMap.of_slice(make_slice(enhancement=None)).kind is Kind.T1


def test_pixels_without_a_fit_have_no_value():
    slice_ = make_slice(contours=None, regions=())  # without contours the corners are shown too
    values = ReportMap.of_slice(slice_).section.values
    assert np.count_nonzero(np.isnan(values)) == np.count_nonzero(slice_.map.failed) > 0
    assert not (values == 0.0).any()


def test_ecv_is_a_percentage_and_without_haematocrit_the_partition_coefficient():
    native = make_slice()
    known, unknown = ReportMap.of_ecv(make_ecv(native, 0.4)), ReportMap.of_ecv(make_ecv(native, None))
    assert known.kind is Kind.ECV
    assert np.nanmax(known.section.values) == pytest.approx(27.0)
    assert known.regions[0].value == pytest.approx(27.0)
    assert unknown.kind is Kind.PARTITION
    assert np.nanmax(unknown.section.values) == pytest.approx(0.45)
    assert (unknown.regions[0].value, unknown.regions[0].spread) == (0.45, None)


def test_a_slice_without_directions_has_no_plane():
    assert ReportMap.of_slice(make_slice()).geometry is not None
    # A slice without a usable field of view has an error and no flag.
    nowhere = SliceGeometry.unoriented((1.0, 1.0), (128, 128))
    failed = make_slice(geometry=nowhere, map=None, contours=None, regions=(), error="no pixel size")
    assert ReportMap.of_slice(failed).geometry is None


def test_a_result_without_a_map_keeps_its_error():
    shown = ReportMap.of_slice(make_slice(map=None, contours=None, regions=(), error="too few images"))
    assert shown.section is None
    assert shown.error == "too few images"
    assert shown.nbytes == 0


@given(
    st.tuples(st.integers(40, 160), st.integers(40, 160)),
    st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)),
    st.floats(1.0, 40.0),
    st.floats(0.5, 3.0),
)
def test_contours_stay_on_their_pixels(shape, centre, radius, spacing):
    """A map whose values are its own coordinates shows where each point of the part came from."""
    rows, columns = shape
    y, x = np.mgrid[:rows, :columns]
    middle = np.array([centre[0] * (columns - 1), centre[1] * (rows - 1)])
    contours = Contours(circle(radius / 2, middle), circle(radius, middle))
    part_x, part_y = (
        cut(each.astype(np.float32), (spacing, spacing), contours, ((3.0, 4.0),)) for each in (x, y)
    )
    first = np.array([part_x.values[0, 0], part_y.values[0, 0]])
    assert np.allclose(part_x.contours.epi + first, contours.epi)
    assert np.allclose(np.array(part_x.points[0]) + first, (3.0, 4.0))


def test_the_part_is_the_heart_or_the_chest():
    values = np.ones((400, 400), np.float32)
    contours = Contours(circle(15.0, (100.0, 250.0)), circle(20.0, (100.0, 250.0)))
    assert np.array(cut(values, (1.0, 1.0), contours).values.shape) == pytest.approx(HEART_MM, abs=2)
    assert np.array(cut(values, (1.0, 2.0), None).values.shape) == pytest.approx(
        (CHEST_MM / 2, CHEST_MM), abs=2
    )
    large = replace(contours, epi=circle(60.0, (200.0, 200.0)))
    assert min(cut(values, (1.0, 1.0), large).values.shape) >= 180


def test_a_part_does_not_hold_on_to_the_whole_map():
    values = np.ones((400, 400), np.float32)
    assert cut(values, (1.0, 1.0), None).values.base is None
