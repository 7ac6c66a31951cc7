import json
from pathlib import Path

import pytest

from bench import reproduce
from inline.data.errors import MyostreamError

ROOT = Path(__file__).parents[2]


def test_the_readme_holds_the_measured_rows():
    assert reproduce.summary() in (ROOT / "README.md").read_text(encoding="utf-8")


def test_an_installed_package_has_no_recorded_results(tmp_path):
    with pytest.raises(MyostreamError, match=r"no file .*\.json: recorded results are in the repository"):
        reproduce.summary(tmp_path)


def test_the_page_on_benchmarks_holds_the_measured_tables():
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert reproduce.details() in page, "replace the tables: python -m bench.reproduce --details"


def test_the_page_on_the_live_page_holds_what_was_measured():
    page = (ROOT / "docs" / "page.md").read_text(encoding="utf-8")
    assert reproduce.live_page() in page, "replace the tables: python -m bench.reproduce --page"


def test_the_tables_of_the_live_page_follow_its_result_file(tmp_path):
    row = {"p50": 50.04, "p95": 61.0, "p99": 70.55, "max": 80.0}
    results = {
        "machine": {"commit": "0123456789ab"},
        "shown_ms": {"result to map": {"results": 8, **row}},
        "latency_ms": {"without pages": row, "with pages": {**row, "p99": 77.6}},
        "ratio": {"with / without": {"p50": 1.0, "p95": 1.0, "p99": 1.0999}},
    }
    (tmp_path / "page.json").write_text(json.dumps(results))
    tables = reproduce.live_page(tmp_path)
    assert "| result to map | 8 | 50 | 61 | 80 |" in tables
    assert "| with pages | 50.0 | 61.0 | 77.6 | 80.0 |" in tables
    assert "| with / without | 1.000 | 1.000 | 1.100 |" in tables


def test_rows_follow_the_result_files(tmp_path):
    for file in reproduce.RESULTS.glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    changed = json.loads((tmp_path / "throughput.json").read_text())
    changed["warm"] |= {"seconds": 1.239, "images_lost": 7}
    (tmp_path / "throughput.json").write_text(json.dumps(changed))
    assert "last byte out | 1.24 s | 12.3 s" in reproduce.summary(tmp_path)
    assert "| warm | 1.24 | 550 | 7 | 0 | 0 |" in reproduce.details(tmp_path)
    assert len(reproduce.summary(tmp_path).splitlines()) == 2 + 8


def test_a_tree_that_was_not_as_committed_is_stated(tmp_path, monkeypatch):
    (tmp_path / "f.json").write_text(
        json.dumps({"machine": {"commit": "0123456789ab-dirty"}, "rows": {"a": {"n": 1}}})
    )
    monkeypatch.setattr(reproduce, "DETAILS", (("f", "rows", "n"),))
    assert reproduce.details(tmp_path).startswith("| f (0123456, modified) rows | n |")


def test_a_missing_value_is_a_dash_in_a_table_and_an_error_in_the_summary(tmp_path, monkeypatch):
    content = {"a": {"slices": 3, "dice": [0.9, 0.01]}, "b": {"slices": 2, "dice": None}, "c": {"slices": 1}}
    (tmp_path / "f.json").write_text(json.dumps({"machine": {"commit": "0123456789ab"}, "rows": content}))
    monkeypatch.setattr(reproduce, "DETAILS", (("f", "rows", "slices, dice .2f"),))
    assert reproduce.details(tmp_path).splitlines()[2:] == [
        "| a | 3 | 0.90 ± 0.01 |",
        "| b | 2 | - |",
        "| c | 1 | - |",
    ]
    monkeypatch.setattr(reproduce, "ROWS", (("q", "f", "{rows/c/dice|.2f}", "-", "command"),))
    with pytest.raises(KeyError):
        reproduce.summary(tmp_path)
