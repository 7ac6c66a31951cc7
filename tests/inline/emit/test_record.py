"""No output holds a number that is none."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inline.data.flags import Flag
from inline.data.geometry import SliceGeometry
from inline.data.results import (
    Contours,
    InsertionPoint,
    Insertions,
    RegionValues,
    SliceLevel,
    SliceResult,
)
from inline.data.series import Quantity, SeriesIdentity
from inline.emit import mrd
from inline.emit.overlay import INSERTION_COLOUR, draw
from inline.emit.record import SCHEMA, file_names, slice_record
from inline.emit.schema import read_record
from inline.mrd.image_header import ImageHeader
from inline.serving.result_line import _fields, _line
from inline.terminal.results import message_line, results_table
from model.relaxometry.parametric_map import ParametricMap
from tests.shapes import circle

SHAPE = (16, 16)
GEOMETRY = SliceGeometry((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.5, 1.5), SHAPE)
NAMES = st.sampled_from(["global", "septum"])
FINITE = st.floats(0, 1e30)
EMPTY = st.builds(lambda name: RegionValues(name, None, None, None, None, None, 0), NAMES)
REGION = EMPTY | st.builds(RegionValues, NAMES, *[FINITE] * 5, st.integers(1, 9))
"""As ``measure`` gives them: all values or none."""


def result(regions=(), **more):
    zeros = np.zeros(SHAPE, np.float32)
    parametric = ParametricMap(zeros + 950, zeros, zeros, zeros > 0)
    return SliceResult(
        identity=SeriesIdentity(1, 0),
        quantity=Quantity.T1,
        geometry=GEOMETRY,
        map=parametric,
        scanner_made=False,
        labels=np.zeros(SHAPE, np.uint8),
        contours=Contours(circle(3, 8, 12), circle(5, 8, 12)),
        regions=tuple(regions),
        **more,
    )


def written(made):
    """Everything that leaves the program in words about a result."""
    content = slice_record(made)
    attributes = mrd.images(made, ImageHeader(matrix_size=(16, 16, 1)))[0].meta()
    table = results_table([content])
    cells = [cell for column in table.columns for cell in column.cells]
    return [
        json.dumps(content, allow_nan=False),
        *(value for values in attributes.values() for value in values),
        *map(str, cells),
        message_line(content),
        _line(_fields(made)),
        json.dumps(_fields(made), allow_nan=False),
    ]


@given(
    st.lists(REGION, max_size=3),
    st.none() | st.floats(0, 1),
    st.dictionaries(st.sampled_from(["fit", "network"]), st.floats(0, 1e6)),
)
def test_no_output_holds_nan(regions, confidence, times_ms):
    for text in written(result(regions, confidence=confidence, times_ms=times_ms)):
        assert not re.search(r"\b(nan|inf|infinity)\b", text, re.IGNORECASE)


def test_a_ring_without_values_says_so():
    nothing = RegionValues("global", None, None, None, None, None, 0)
    made = result([nothing], flags=(Flag.NO_VALUES,))
    assert slice_record(made)["regions"] == [
        {
            **{
                "name": "global",
                "median": None,
                "q1": None,
                "q3": None,
                "mean": None,
                "sd": None,
                "pixels": 0,
            },
            "z_score": None,
        }
    ]
    meta = mrd.images(made, ImageHeader(matrix_size=(16, 16, 1)))[0].meta()
    assert meta["ImageComments"] == ("T1 myostream: no values (no-values) research only",)
    assert not meta.get("MYOSTREAM_MEDIAN_MS")
    assert "no values" in message_line(slice_record(made))
    assert "median_ms=- " in _line(_fields(made))


def test_the_log_states_the_same_fields_as_json_and_as_text():
    made = result(
        [RegionValues("global", 950.0, 940.0, 960.0, 950.0, 10.0, 90)],
        level=SliceLevel.MID,
        motion_corrected=True,
        t1_scale=1.0365,
        confidence=0.91,
        flags=(Flag.REVIEW, Flag.LATE),
        times_ms={"fit": 12.0, "network": 30.04},
    )
    assert json.loads(json.dumps(_fields(made))) == {
        **{"series": 1, "slice": 0, "level": "mid", "quantity": "T1", "median_ms": 950.0},
        **{"motion_corrected": True, "t1_scale": 1.0365, "confidence": 0.91, "flags": ["review", "late"]},
        "stages_ms": {"fit": 12.0, "network": 30.0},
    }
    assert _line(_fields(made)) == (
        "series=1 slice=0 level=mid quantity=T1 median_ms=950.0 motion_corrected=yes t1_scale=1.0365 "
        "confidence=0.91 flags=review,late stages_ms=42"
    )


def test_a_segment_without_values_is_in_the_record_alone():
    regions = [
        RegionValues("global", 950.0, 940.0, 960.0, 950.0, 10.0, 90),
        RegionValues("AHA 7 mid anterior", None, None, None, None, None, 0),
        RegionValues("AHA 8 mid anteroseptal", 951.0, 940.0, 960.0, 950.0, 10.0, 9),
    ]
    made = result(regions)
    meta = mrd.images(made, ImageHeader(matrix_size=(16, 16, 1)))[0].meta()
    assert meta["MYOSTREAM_REGIONS"] == ("global", "AHA 8 mid anteroseptal")
    assert meta["MYOSTREAM_MEDIAN_MS"] == ("950.000", "951.000")
    assert [region["median"] for region in slice_record(made)["regions"]] == [950.0, None, 951.0]


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("level", SliceLevel.UNKNOWN, "unknown"),
        ("notes", ("One.", "Two."), ["One.", "Two."]),
        ("motion_corrected", True, True),
        ("t1_scale", 1.0365, 1.0365),
    ],
)
def test_the_record_states(field, value, expected):
    content = slice_record(result(**{field: value}))
    assert content["schema"] == SCHEMA
    assert content[field] == expected


def test_insertion_points_are_in_pixels_and_in_the_patient():
    nothing = slice_record(result())
    assert nothing["insertions"] == {"anterior": None, "inferior": None}
    found = slice_record(
        result(insertions=Insertions(InsertionPoint(4.25, 2.0, 0.87654321), None, "not found"))
    )
    # Pixel 8 lies at the position, pixels are 1.5 mm.
    expected = {"pixels": [4.25, 2.0], "patient_mm": [-5.62, -9.0, 0.0], "confidence": 0.8765}
    assert found["insertions"] == {"anterior": expected, "inferior": None}
    assert {name: value for name, value in found.items() if name != "insertions"} == {
        name: value for name, value in nothing.items() if name != "insertions"
    }


@pytest.mark.parametrize("unknown", [{"oriented": False}, {"positioned": False}])
def test_an_unknown_place_gives_no_patient_coordinates(unknown):
    found = Insertions(InsertionPoint(4.25, 2.0, 0.9), None)
    known = result(insertions=found)
    content = slice_record(replace(known, geometry=replace(GEOMETRY, **unknown)))
    for part in (content["contours"]["endo"], content["contours"]["epi"], content["insertions"]["anterior"]):
        assert part["patient_mm"] is None
        assert part["pixels"]
    assert read_record(content)["contours"]["endo"]["patient_mm"] is None
    # Zeros may be a position.
    assert slice_record(known)["contours"]["endo"]["patient_mm"] is not None


def test_records_with_and_without_insertion_points_are_read():
    content = slice_record(result(insertions=Insertions(InsertionPoint(4.25, 2.0, 0.9), None)))
    assert read_record(content)["insertions"]["anterior"]["pixels"] == [4.25, 2.0]
    earlier = {name: value for name, value in content.items() if name != "insertions"}
    assert read_record(earlier)["insertions"] is None
    content["insertions"]["anterior"]["pixels"] = [1.0]
    with pytest.raises(ValueError, match=r"insertions\.anterior\.pixels"):
        read_record(content)


def test_crosses_mark_insertion_points():
    shown = result()
    plain, marked = (
        draw(shown.map.values_ms, shown.quantity, shown.contours, 3, crosses=crosses)
        for crosses in ((), ((8.0, 3.0), (4.0, 12.0)))
    )
    changed = np.argwhere((plain != marked).any(axis=2))
    for x, y in ((8.0, 3.0), (4.0, 12.0)):
        middle = (round(3 * y + 1), round(3 * x + 1))
        assert np.abs(marked[middle] - np.array(INSERTION_COLOUR)).max() <= 1
    near = [np.abs(changed - (3 * y + 1, 3 * x + 1)).max(axis=1) for x, y in ((8.0, 3.0), (4.0, 12.0))]
    assert np.minimum(*near).max() <= 3 * 2 + 1


def test_every_result_has_a_file_name_of_its_own():
    """Before and after contrast agent, as series of the same slice; and one that came twice."""
    first = slice_record(result())
    changes = ({}, {"series_index": 7}, {"quantity": "T2"}, {}, {"slice_index": 1})
    assert file_names([first | change for change in changes], ".png") == [
        "slice-00-T1-series-1.png",
        "slice-00-T1-series-7.png",
        "slice-00-T2-series-1.png",
        "slice-00-T1-series-1-2.png",
        "slice-01-T1-series-1.png",
    ]
