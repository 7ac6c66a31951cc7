import math

from inline.cli.tables import cell, columns, print_columns, print_values


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
    assert {cell(row, path, "{:.1f}") for path in ("none", "none/a", "nan", "a/c", "d")} == {"-"}


def test_a_wide_table_has_its_keys_as_rows(capsys):
    print_columns("title", {"one": {"dice": 0.5}, "two": {}}, "dice .3f")
    (row,) = (line for line in capsys.readouterr().out.splitlines() if "dice" in line)
    assert row.split() == ["dice", "0.500", "-"]


def test_what_looks_like_markup_is_printed_as_it_is(capsys):
    print_values("[red]title", "name", {"a[bold]b": {"text": "[/]"}}, "text s")
    printed = capsys.readouterr().out
    for text in ("[red]title", "a[bold]b", "[/]"):
        assert text in printed
