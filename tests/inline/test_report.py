import io

import pytest
from rich.console import Console

from inline.report import line, notes, results_table, slice_names


def made(**more):
    ring = {"name": "global", "median": 950.0, "q1": 940.0, "q3": 960.0, "mean": 1.0, "sd": 1.0, "pixels": 9}
    return {
        "series_index": 1,
        "slice_index": 0,
        "level": "mid",
        "quantity": "T1",
        "motion_corrected": False,
        "t1_scale": 1.0,
        "regions": [ring],
        "confidence": 0.9,
        "times_ms": {"fit": 20.0},
        "flags": [],
        "notes": [],
        "error": "",
        **more,
    }


def shown(records):
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(results_table(records))
    return console.export_text()


def test_the_table_shows_level_and_correction():
    text = shown([made(level="unknown"), made(slice_index=1, level=None, motion_corrected=True)])
    assert "1 unknown T1 " in text
    assert "2 T1 MOCO" in text


def test_slices_that_are_series_of_their_own_are_told_apart():
    records = [made(series_index=index) for index in (3, 5)]
    assert slice_names(records) == ["3/1 mid T1", "5/1 mid T1"]
    assert slice_names(records[:1]) == ["1 mid T1"]


@pytest.mark.parametrize(("median", "said"), [(None, "no values"), (950.0, "950.0 [940.0-960.0]")])
def test_a_ring_without_values_is_no_missing_contour(median, said):
    record = made()
    record["regions"][0]["median"] = median
    assert said in shown([record])
    assert "no contour" in shown([made(regions=[])])


def test_a_note_stands_once_with_the_slices_that_bear_it():
    records = [made(notes=["Both.", "First."]), made(slice_index=1, notes=["Both."])]
    assert notes(records) == ["Both.", "1 mid T1: First."]
    assert notes([made(notes=["Alone."])]) == ["1 mid T1: Alone."]
    assert notes([made()]) == []


def test_a_line_of_a_slice():
    assert line(made()) == "series 1 slice 1 mid T1 950.0 ms [940.0-960.0]"
    assert line(made(level="unknown", motion_corrected=True, t1_scale=1.0365, flags=["review"])) == (
        "series 1 slice 1 unknown T1 MOCO 950.0 ms [940.0-960.0] x 1.0365 review"
    )
    assert line(made(level=None, regions=[], error="too few")) == "series 1 slice 1 T1 no contour too few"


def test_a_line_of_a_connection():
    assert line({"session": "10.0.0.1:5", "text": "No image came."}) == "10.0.0.1:5 closed: No image came."
