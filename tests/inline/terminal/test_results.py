import io

import pytest
from rich.console import Console

from inline.terminal.results import ecv_table, message_line, notes, results_table, slice_names, unknown_levels

from ..emit.records import made


def shown(records):
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(results_table(records))
    return console.export_text()


def test_the_table_shows_level_and_correction():
    text = shown([made(level="unknown"), made(slice_index=1, level=None, motion_corrected=True)])
    assert "0 unknown T1 " in text
    assert "1 T1 MOCO" in text


def test_slices_that_are_series_of_their_own_are_named_by_series():
    records = [made(series_index=index) for index in (3, 5)]
    assert slice_names(records) == ["3/0 mid T1", "5/0 mid T1"]
    assert slice_names(records[:1]) == ["0 mid T1"]


def test_post_contrast_is_named_and_has_its_own_truth():
    records = [made(), made(series_index=3, enhancement="post-contrast")]
    assert slice_names(records) == ["0 mid T1", "0 mid T1 post"]
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(results_table(records, {("T1", 0): 1033.0, ("T1 post-contrast", 0): 478.2}))
    native, post = (row for row in console.export_text().splitlines() if "mid T1" in row)
    assert "1033.0" in native
    assert "478.2" in post


@pytest.mark.parametrize(("median", "text"), [(None, "no values"), (950.0, "950.0 [940.0-960.0]")])
def test_a_ring_without_values_is_no_missing_contour(median, text):
    record = made()
    record["regions"][0]["median"] = median
    assert text in shown([record])
    assert "no contour" in shown([made(regions=[])])


def test_both_tables_have_the_same_region_of_the_septum():
    regions = [
        {**made()["regions"][0], "name": name, "median": median, "standard_error": 1.0}
        for name, median in (("global", 30.0), ("septum", 41.0), ("mid-septum", 52.0))
    ]
    regions = [{**each, "partition_coefficient": 0.5} for each in regions]
    acquired = {"series_index": 1, "slice_index": 0}
    ecv = made(
        regions=regions, native=acquired, post_contrast=acquired, haematocrit=0.42, haematocrit_source="given"
    )
    for table in (results_table([made(regions=regions)]), ecv_table([ecv])):
        septum = next(each for each in table.columns if "septum" in str(each.header))
        assert [str(each) for each in septum.cells] == ["41.0"]


def test_a_slice_without_a_result_has_a_row_with_the_reason():
    reason = "no result: no inversion times\n" + 100 * "reason "
    text = shown([made(), made(quantity="T2", level=None, regions=[], times_ms={}, error=reason)])
    (row,) = (each for each in text.splitlines() if "no result: no" in each)
    assert row.split()[:3] == ["0", "T2", "-"]
    assert "no contour" not in text
    assert "no contour" not in shown([made(regions=[], flags=["late"], error="not ready within 3000 ms")])
    assert text.count("reason") < 20
    assert " ..." in text


def test_a_note_stands_once_with_the_slices_that_bear_it():
    records = [made(notes=["Both.", "First."]), made(slice_index=1, notes=["Both."])]
    assert notes(records) == ["Both.", "0 mid T1: First."]
    assert notes([made(notes=["Alone."])]) == ["0 mid T1: Alone."]
    assert notes([made()]) == []


def test_the_reason_of_an_unknown_level_stands_once_with_its_slices():
    alone = made(level="unknown", level_source="unknown: the only position")
    known = made(slice_index=1, level_source="position")
    assert unknown_levels([alone, known]) == ["0 unknown T1: the only position"]
    assert unknown_levels([alone, {**alone, "slice_index": 1}]) == ["the only position"]
    assert unknown_levels([known, made()]) == []


def test_a_line_of_a_slice():
    assert message_line(made()) == "series 1 slice 0 mid T1 950.0 ms [940.0-960.0]"
    assert message_line(made(level="unknown", motion_corrected=True, t1_scale=1.0365, flags=["review"])) == (
        "series 1 slice 0 unknown T1 MOCO 950.0 ms [940.0-960.0] x 1.0365 review"
    )
    assert (
        message_line(made(level=None, regions=[], error="too few"))
        == "series 1 slice 0 T1 no contour too few"
    )


def test_a_line_of_a_connection():
    assert (
        message_line({"session": "10.0.0.1:5", "text": "No image came."})
        == "10.0.0.1:5 closed: No image came."
    )


def test_text_of_a_peer_is_no_markup_and_moves_no_cursor():
    text = shown([made(flags=["[/red]", "[link=http://x]", "\x1b[2Jfree\u202e"], level="[bold]")])
    assert "[bold]" in text
    assert "[/red]," in text
    assert "[link=http://x]," in text
    assert "\\x1b[2Jfree\\u202e" in text
    assert "\x1b" not in text


def test_times_that_are_not_known_are_no_error():
    assert " 20 " in shown([made(times_ms={"fit": 20.0, "network": None})])


def test_a_line_of_a_peer_moves_no_cursor():
    text = message_line({"session": "\x1b[31m", "text": "one\ntwo"})
    assert text == "\\x1b[31m closed: one\\ntwo"
