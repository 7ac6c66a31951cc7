import csv
import dataclasses
import json
import os
import re
import statistics
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from inline.cohort.discover import discover
from inline.cohort.provenance import CohortProvenance
from inline.cohort.store import Store, document
from inline.cohort.task import CohortTask
from inline.data.errors import CohortError
from inline.data.flags import UNUSABLE
from inline.mrd.files import write_images
from inline.mrd.meta import format_meta, parse_meta
from inline.pipeline import Pipeline
from inline.replay.simulate import header_xml, simulate_examination
from inline.settings import load_settings
from model.output import OutputError
from tests.inline import contrast_phantom as phantom
from tests.shapes import Nothing, RingEngine

parquet = pytest.importorskip("pyarrow.parquet")
PAGE = Path(__file__).parents[3] / "docs" / "cohort.md"
RANGES = PAGE.with_name("ranges.md")


@pytest.fixture
def store(task):
    made = Store(task.out)
    made.begin(task.out, task.provenance, task.settings)
    return made


@pytest.fixture
def found(root):
    return discover(root).examinations[:2]


def test_what_is_done_is_skipped_until_file_settings_weights_or_program_change(
    store, task, found, root, ring
):
    first, second = found
    assert not store.done(first, task.provenance)
    task.run(first, ring())
    assert store.done(first, task.provenance)
    assert not store.done(second, task.provenance)
    for name in ("version", "settings", "weights"):
        other = dataclasses.replace(task.provenance, **{name: "other"})
        assert not store.done(first, other)
    first.file.write_bytes(b"changed")
    assert not store.done(discover(root).examinations[0], task.provenance)


def test_settings_count_that_a_result_depends_on():
    same, usual = (
        CohortProvenance.of(load_settings(workers=1, server={"port": 1}, monitor={"port": 2})),
        CohortProvenance.of(load_settings()),
    )
    assert same == usual
    for changed in (
        {"engine": "torch"},
        {"mapping": {"t1_scale": 1.1}},
        {"regions": {"inset": 0.2}},
        {"review_below": 0.5},
        {"contours": {"endo_offset_mm": 0.0}},
        {"assembly": {"motion": "both"}},
        {"ecv": {"haematocrit": 0.42}},
        {"ecv": {"synthetic": True}},
    ):
        assert CohortProvenance.of(load_settings(**changed)) != usual


def test_reference_ranges_count_by_content(tmp_path):
    def of(folder, text):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "ranges.toml").write_text(text)
        return CohortProvenance.of(load_settings(reference={"file": tmp_path / folder / "ranges.toml"}))

    assert of("a", "one") == of("b", "one") != of("c", "other")


def test_weights_and_their_confidence_count_by_content(tmp_path):
    def of(network, confidence):
        folder = tmp_path / f"{network}-{confidence}"
        folder.mkdir()
        (folder / "unet-01-of-01.safetensors").write_text(network)
        if confidence:
            (folder / "confidence.json").write_text(confidence)
        made = CohortProvenance.of(load_settings(weights=folder))
        return made.weights, made.settings

    assert len({of("a", ""), of("b", ""), of("a", "x"), of("a", "y")}) == 4


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"schema": "myostream.examination/1.0"}', '{"schema": 3}', "[" * 100_000]
)
def test_a_file_that_is_none_of_ours_is_not_done(store, task, found, text):
    store.file(found[0]).write_text(text)
    assert store.read(found[0]) is None
    assert not store.done(found[0], task.provenance)


def test_an_unfinished_file_of_a_killed_worker_is_no_result(store, task, found, ring):
    task.run(found[0], ring())
    (store.folder / "examinations" / ".myostream-0123456789abcdef.json").write_text("{")
    summary = store.finish(found[:1], task.provenance)
    assert (summary.examinations, summary.failures) == (1, ())


def test_what_failed_is_tried_again(store, task, found):
    store.write(found[0], document(found[0], task.provenance, error="no memory"))
    assert not store.done(found[0], task.provenance)


def test_table_and_failures_hold_every_examination(store, task, root, ring):
    (root / "exam-3.h5").write_bytes(b"damaged")
    found = discover(root).examinations
    for examination in found[:-1]:  # the last one was never processed
        task.run(examination, ring())
    summary = store.finish(found, task.provenance, ["closed cannot be read"])
    rows = parquet.read_table(store.table).to_pylist()
    assert list(dict.fromkeys(row["examination"] for row in rows)) == [each.name for each in found]
    for examination in found:
        stored = store.read(examination)
        slices = stored["slices"] if stored else []
        regions = [(one["quantity"], region) for one in slices for region in one["regions"]]
        own = [row for row in rows if row["examination"] == examination.name]
        assert [(row["quantity"], row["region"], row["median"], row["pixels"]) for row in own] == [
            (quantity, region["name"], region["median"], region["pixels"]) for quantity, region in regions
        ] or [(None, None, None, None)]
    (damaged,) = (row for row in rows if row["examination"] == "exam-3.h5")
    assert "exam-3.h5" in damaged["error"]
    failures = json.loads(store.failures.read_text())
    assert [each["examination"] for each in failures] == ["", "exam-3.h5", "site/exam-1.h5"]
    assert failures == [dataclasses.asdict(each) for each in summary.failures]
    assert failures[2]["reason"] == "no result was stored"
    assert (summary.examinations, summary.slices, summary.engines) == (6, 8, {"ring": 8})
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in (store.table, store.failures))


def test_the_query_of_the_page_needs_pyarrow_alone(store, task, found, ring, tmp_path, monkeypatch, capsys):
    for examination in found:
        task.run(examination, ring())
    store.finish(found, task.provenance)
    monkeypatch.setitem(sys.modules, "pandas", None)
    (tmp_path / "query").mkdir()
    (tmp_path / "query" / "OUT").symlink_to(store.folder)
    monkeypatch.chdir(tmp_path / "query")
    (query,) = re.findall(r"```python\n(from collections.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(query, {})
    lines = capsys.readouterr().out.splitlines()
    slices = [each for one in found for each in store.read(one)["slices"]]
    listed = re.findall(r"^\| (`.*?) \|", RANGES.read_text(encoding="utf-8"), re.MULTILINE)
    wrong = set(re.findall(r"`([a-z-]+)`", " ".join(listed)))
    assert wrong == UNUSABLE
    stated = []
    for quantity, enhancement in (("T1", "native"), ("T2", None)):
        used = [
            each["regions"][0]["median"]
            for each in slices
            if each["quantity"] == quantity and not wrong.intersection(each["flags"])
        ]
        if used:
            stated.append(
                f"{quantity} {enhancement} False 1.5 median {statistics.median(used):.3f} of {len(used)}"
            )
    assert sorted(lines) == stated != []


def edited(store, examination, **more):
    """Change all slices of a file of results."""
    content = store.read(examination)
    content["slices"] = [{**each, **more} for each in content["slices"]]
    store.write(examination, content)


@pytest.mark.parametrize(
    ("more", "usable"),
    [
        ({"flags": ["moved", "corrected", "late"]}, True),
        ({"flags": ["corrected", "motion-left"]}, False),
        ({"flags": ["review"]}, False),
        ({"flags": [], "error": "it failed"}, False),
        ({"flags": [], "regions": []}, False),
    ],
)
def test_the_table_states_which_values_are_usable(store, task, found, ring, more, usable):
    """As ``docs/ranges.md`` lists the flags."""
    task.run(found[0], ring())
    edited(store, found[0], **more)
    store.finish(found[:1], task.provenance)
    rows = parquet.read_table(store.table).to_pylist()
    assert {row["usable"] for row in rows} == {usable}


def test_a_spreadsheet_holds_the_rows_of_the_table_and_no_formula(store, task, found, ring):
    for examination in found:
        task.run(examination, ring())
    edited(
        store,
        found[0],
        description='=HYPERLINK("x")',
        flags=["late", "review"],
        notes=["M\xfcller, A.", "B."],
    )
    store.finish(found, task.provenance)
    with store.spreadsheet.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    rows = parquet.read_table(store.table).to_pylist()
    assert list(lines[0]) == list(rows[0])
    assert lines[0]["description"] == "'" + rows[0]["description"] == '\'=HYPERLINK("x")'
    assert (lines[0]["flags"], lines[0]["notes"]) == ("late review", "M\xfcller, A. B.")
    for name in ("examination", "slice_index", "quantity", "region", "median", "z_score", "usable", "error"):
        assert [line[name] for line in lines] == ["" if row[name] is None else str(row[name]) for row in rows]
    assert store.spreadsheet.stat().st_mode & 0o777 == 0o600


def test_rows_of_ecv_have_the_field_strength_of_their_native_map(store, task, root):
    native = phantom.molli(phantom.NATIVE, 1, name="T1map_MOLLI_native")
    post = phantom.molli(phantom.POST, 3, name="T1map_MOLLI_post-contrast", series_clock=1)
    write_images(root / "both.h5", header_xml(simulate_examination(1, seed=5, size=96)), native + post)
    found = [each for each in discover(root).examinations if each.name == "both.h5"]
    task.run(found[0], Pipeline(RingEngine()))
    store.finish(found, task.provenance)
    rows = [row for row in parquet.read_table(store.table).to_pylist() if row["region"] == "global"]
    assert [(row["quantity"], row["field_strength_T"]) for row in rows] == [
        ("T1", 1.5),
        ("T1", 1.5),
        ("ECV", 1.5),
    ]
    (ecv,) = (row for row in rows if row["quantity"] == "ECV")
    assert ecv["median"] is None
    (record,) = store.read(found[0])["ecv"]
    assert ecv["partition_coefficient"] == record["regions"][0]["partition_coefficient"]
    assert ecv["partition_standard_error"] == record["regions"][0]["partition_standard_error"] is not None
    assert (ecv["flags"], ecv["usable"]) == (["no-haematocrit"], True)


def test_results_of_other_settings_are_in_no_table(store, task, found, ring):
    task.run(found[0], ring())
    other = dataclasses.replace(task.provenance, settings="other")
    summary = store.finish(found[:1], other)
    assert summary.slices == 0
    assert [each.reason for each in summary.failures] == ["no result was stored"]
    assert [row["region"] for row in parquet.read_table(store.table).to_pylist()] == [None]


def test_slices_without_contours_and_files_without_series_are_complete_and_counted(
    store, task, root, found, ring
):
    import h5py

    with h5py.File(found[1].file, "r+") as file:  # its images become phase images, which make no map
        for series in file["dataset"].values():
            if isinstance(series, h5py.Group):
                headers = series["header"][...]
                headers["image_type"] = 2
                series["header"][...] = headers
    for examination in discover(root).examinations[:2]:
        task.run(examination, Pipeline(Nothing()))
    summary = store.finish(discover(root).examinations[:2], task.provenance)
    assert (summary.failures, summary.without_series) == ((), 1)
    assert (summary.slices, summary.without_values) == (2, 2)
    rows = parquet.read_table(store.table).to_pylist()
    assert [(row["quantity"], row["region"]) for row in rows] == [("T1", None), ("T2", None), (None, None)]
    assert all("no-cavity" in row["flags"] for row in rows[:2])


def test_slices_and_ecv_without_a_value_in_their_contours_are_without_values(store, task, root):
    """One wall has no signal; the T1 of the other is longer with contrast agent than without."""
    native = phantom.molli(phantom.NATIVE, 1, name="T1map_MOLLI_native")
    dark = phantom.molli({**phantom.NATIVE, "wall": 0.01}, 1, slice_=1, name="T1map_MOLLI_native")
    longer = {**phantom.POST, "wall": 1200.0}
    post = phantom.molli(longer, 3, name="T1map_MOLLI_post-contrast", series_clock=1)
    header = header_xml(simulate_examination(1, seed=5, size=96))
    write_images(root / "empty.h5", header, native + dark + post)
    found = [each for each in discover(root).examinations if each.name == "empty.h5"]
    task.run(found[0], Pipeline(RingEngine()))
    summary = store.finish(found, task.provenance)
    rows = parquet.read_table(store.table).to_pylist()
    rings = {(row["quantity"], row["slice_index"]): row for row in rows if row["region"] == "global"}
    assert rings["T1", 1]["median"] is rings["ECV", 0]["partition_coefficient"] is None
    assert (summary.slices, summary.without_values, summary.ecv) == (3, 1, 0)


def test_names_and_descriptions_that_are_no_utf8_are_in_table_and_list(store, task, root):
    (root / os.fsdecode(b"M\xfcller.h5")).write_bytes(b"damaged")
    half = json.dumps({"0008103E": {"Value": ["T1map_MOLLI \ud800"]}})
    images = [
        replace(each, attributes=format_meta({**parse_meta(each.attributes), "DicomJson": half}))
        for each in phantom.molli(phantom.NATIVE, 1, name="")
    ]
    header = header_xml(simulate_examination(1, seed=5, size=96))
    write_images(root / "half.h5", header, images)
    found = [each for each in discover(root).examinations if each.name in ("M\\xfcller.h5", "half.h5")]
    for each in found:
        task.run(each, Pipeline(RingEngine()))
    summary = store.finish(found, task.provenance)
    damaged, *described = parquet.read_table(store.table).to_pylist()
    assert damaged["examination"] == "M\\xfcller.h5"
    assert "M\\udcfcller.h5 " in damaged["error"]
    assert {row["description"] for row in described} == {"T1map_MOLLI \\ud800"}
    assert json.loads(store.failures.read_text()) == [dataclasses.asdict(each) for each in summary.failures]


def test_the_table_is_the_same_whatever_the_size_of_its_groups(store, task, found, ring, monkeypatch):
    for examination in found:
        task.run(examination, ring())
    store.finish(found, task.provenance)
    whole = store.table.read_bytes()
    store.finish(found, task.provenance)
    assert store.table.read_bytes() == whole
    rows = parquet.read_table(store.table)
    monkeypatch.setattr("inline.cohort.table._ROWS", 1)
    store.finish(found, task.provenance)
    assert parquet.ParquetFile(store.table).num_row_groups > 1
    assert parquet.read_table(store.table) == rows


def test_a_folder_whose_name_is_no_utf8_holds_the_same_table(store, task, found, ring, tmp_path):
    task.run(found[0], ring())
    store.finish(found, task.provenance)
    moved = Store(store.folder.rename(tmp_path / os.fsdecode(b"M\xfcller")))
    table = moved.table.read_bytes()
    moved.table.unlink()
    moved.finish(found, task.provenance)
    assert moved.table.read_bytes() == table


def test_a_folder_of_another_root_is_refused(store, task, tmp_path):
    with pytest.raises(CohortError, match="holds the results of"):
        store.begin(tmp_path / "elsewhere", task.provenance, task.settings)
    assert json.loads((store.folder / "run.json").read_text())["root"] == str(task.out)


def test_a_folder_that_is_a_file(tmp_path, task):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is no folder"):
        Store(tmp_path / "file").begin(tmp_path, task.provenance, task.settings)


def test_a_table_that_cannot_be_written_leaves_the_earlier_one(store, task, found, ring, monkeypatch):
    task.run(found[0], ring())
    store.finish(found[:1], task.provenance)
    before = store.table.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyarrow.parquet.ParquetWriter.write_table", full)
    with pytest.raises(OutputError, match="No space left"):
        store.finish(found, task.provenance)
    assert store.table.read_bytes() == before


def test_a_task_is_small(task):
    """It travels to every worker, with paths and settings alone."""
    import pickle

    assert len(pickle.dumps(CohortTask(task.settings, task.provenance, task.out))) < 10_000
