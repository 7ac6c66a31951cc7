import json

import pytest

from bench.values import draw_curves, markdown, percentiles, write_results
from model.output import OutputError


def test_percentiles_of_values_and_of_none():
    assert percentiles([1.0, 2.0, 3.0]) == {"p50": 2.0, "p95": 2.9, "p99": 2.98, "max": 3.0}
    assert percentiles([]) == {}


def test_results_and_curves_are_written_where_a_file_is_given(tmp_path):
    for file in (None, tmp_path / "r.json"):
        write_results(file, {"a": 1})
    assert json.loads((tmp_path / "r.json").read_text())["a"] == 1
    for file in (None, tmp_path / "r.png"):
        draw_curves(file, [("x", "y", {"name": ([1, 2], [3.0, 4.0])})])
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")


def test_results_that_cannot_be_written_are_printed(tmp_path, capsys):
    with pytest.raises(OutputError, match=r"r\.json could not be written"):
        write_results(tmp_path / "gone" / "r.json", {"a": 1})
    assert json.loads(capsys.readouterr().out)["a"] == 1


def test_a_bar_in_a_cell_is_escaped():
    assert markdown(("a", "b"), [("x|y", "1")]).splitlines() == [
        "| a | b |",
        "| --- | ---: |",
        "| x\\|y | 1 |",
    ]
