import math

import pytest

from inline.terminal.tables import cell, columns, print_columns, print_values
from inline.terminal.text import make_console


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


@pytest.mark.parametrize("width", ["40", "80"])
def test_headings_break_between_words_and_numbers_stay_whole(width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", width)
    keys = "agreement/dice_cavity .3f, agreement/dice_myocardium .3f, hausdorff .2f, surface .2f, spread .2f"
    values = {"agreement": {"dice_cavity": 0.964, "dice_myocardium": 0.832}, "hausdorff": 2.56}
    rows = {"case-001/1-mid": {**values, "surface": 1.15, "spread": [-12.34, 56.78]}}
    print_values("title", "slice", rows, keys)
    printed = capsys.readouterr().out
    words = printed.split()
    for word in ("agreement,", "dice", "myocardium", "hausdorff", "surface", "spread", "case-001/1-mid"):
        assert word in words
    (row,) = (line for line in printed.splitlines() if "case-001" in line)
    assert row.split() == ["case-001/1-mid", "0.964", "0.832", "2.56", "1.15", "-12.34", "±", "56.78"]


def test_lines_of_an_output_that_is_no_terminal_do_not_wrap(monkeypatch, capsys):
    monkeypatch.delenv("COLUMNS", raising=False)
    sentence = "A sentence of some length. " * 20
    make_console().print(sentence)
    print_values("title", "name", {"one": {"text": sentence}}, "text s")
    printed = capsys.readouterr().out
    assert printed.count(sentence.strip()) == 2
