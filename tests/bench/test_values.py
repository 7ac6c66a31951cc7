import json
import math

from bench.values import cell, columns, draw_curves, markdown, percentiles, print_columns, write_results


def test_columns_are_named_by_their_keys():
    assert columns("latency_ms/p50 .1f, late, name s") == [
        ("latency ms, p50", "latency_ms/p50", "{:.1f}"),
        ("late", "late", "{:}"),
        ("name", "name", "{:s}"),
    ]


def test_cells_of_values_lists_and_of_what_is_missing():
    row = {"a": {"b": 1.25}, "mean": [0.9, 0.01], "none": None, "nan": math.nan}
    assert cell(row, "a/b", "{:.1f}") == "1.2"
    assert cell(row, "mean", "{:.2f}") == "0.90 ± 0.01"
    assert {cell(row, path, "{:.1f}") for path in ("none", "nan", "a/c", "d")} == {"-"}


def test_percentiles_of_values_and_of_none():
    assert percentiles([1.0, 2.0, 3.0]) == {"p50": 2.0, "p95": 2.9, "p99": 2.98, "max": 3.0}
    assert percentiles([]) == {}


def test_a_wide_table_has_its_keys_as_rows(capsys):
    print_columns("title", {"one": {"dice": 0.5}, "two": {}}, "dice .3f")
    (row,) = (line for line in capsys.readouterr().out.splitlines() if "dice" in line)
    assert row.split()[1::2] == ["dice", "0.500", "-"]


def test_results_and_curves_are_written_where_a_file_is_given(tmp_path):
    for file in (None, tmp_path / "r.json"):
        write_results(file, {"a": 1})
    assert json.loads((tmp_path / "r.json").read_text())["a"] == 1
    for file in (None, tmp_path / "r.png"):
        draw_curves(file, [("x", "y", {"name": ([1, 2], [3.0, 4.0])})])
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")


def test_a_bar_in_a_cell_is_escaped():
    assert markdown(("a", "b"), [("x|y", "1")]).splitlines() == [
        "| a | b |",
        "| --- | ---: |",
        "| x\\|y | 1 |",
    ]
