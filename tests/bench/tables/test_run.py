import csv
import json
from dataclasses import replace
from itertools import chain, repeat

import numpy as np
import pytest

from bench.tables import figures, trainings
from bench.tables.output import Table
from bench.tables.run import read_both, run, synthetic_slices
from model.evaluation.cases import CaseError, LabelledSlice
from model.evaluation.readers import Spread
from tests.bench.conftest import Oracle

SIZE = 224


def first_readers(slices):
    """Labels of the first reader in turn; tables 6 times the engine once these are done."""
    return Oracle(chain([each.labels for each in slices], repeat(np.zeros((SIZE, SIZE), np.uint8))))


def rings(readers, count=5, kinds=("t1", "t2")):
    """Rings of which each reader draws another radius."""
    rows, columns = np.indices((SIZE, SIZE))
    rho = np.hypot(columns - 110.0, rows - 105.0)
    slices = []
    for kind in kinds:
        for number in range(count):
            inner = 14.0 + number
            drawn = {
                name: np.where(rho < inner + own, 1, np.where(rho < inner + 8 + own, 2, 0)).astype(np.uint8)
                for name, own in readers.items()
            }
            image = np.where(rho < inner, 300.0, np.where(rho < inner + 8, 50.0 + number, 20.0))
            level = ("basal", "mid", "apical")[number % 3]
            slices.append(
                LabelledSlice(
                    f"s{number}",
                    f"c{number}",
                    kind,
                    image.astype(np.float32),
                    np.empty((0, SIZE, SIZE), np.float32),
                    (1.5, 1.5),
                    drawn,
                    level,
                )
            )
    return slices


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    slices = rings({"anna": 0.0, "ben": 1.0, "cleo": -2.0})
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(trainings, "ARCHITECTURES", {})
        about = "Rings; the readers are made up."
        content = run(slices, first_readers(slices * 2), folder, about=about, repeats=1)
    return folder, content


def test_everything_is_written(made):
    folder, content = made
    for name in ("tables.md", "tables.json", "pairs.csv", "figure-5.png", "figure-8.png", "figure-9.png"):
        assert (folder / name).stat().st_size > 0, name
    assert (folder / "figure-6-t1.png").exists()
    assert json.loads((folder / "tables.json").read_text())["tables"].keys() == content["tables"].keys()
    text = (folder / "tables.md").read_text()
    assert "the readers are made up" in text
    for number in ("2", "3", "4", "5", "6", "7", "8", "A1"):
        assert f"## Table {number}: " in text
    assert "ImageNet weights are missing" in text
    with (folder / "pairs.csv").open() as opened:
        assert len(list(csv.reader(opened))) == 1 + 10 * 6


def test_the_steps_of_the_contour_search_have_values(made):
    with (made[0] / "table-8.csv").open() as opened:
        heading, *rows = csv.reader(opened)
    values = made[1]["tables"]["8"]["values"]
    assert heading[1:] == [f"{name}, {key}" for name in values for key in ("hausdorff", "without contour")]
    found = values["the network's masks"]["outlines of the masks"]
    assert rows[0][-2:] == [f"{found['hausdorff']:.2f}", "0"]
    assert all("-" not in row for row in rows)


def test_who_agrees_best_has_the_best_figures(made):
    """The engine returns anna's labels; ben draws a pixel more than she, cleo two less."""
    values = made[1]["tables"]["2"]["values"]
    dice = {name: figures["dice"][0] for name, figures in values.items()}
    assert dice["myostream - anna"] > 0.97
    assert dice["myostream - anna"] > dice["myostream - ben"] > dice["myostream - cleo"]
    assert values["anna - ben"]["hausdorff"][0] == pytest.approx(1.8, abs=0.4)
    assert values["anna - cleo"]["hausdorff"][0] == pytest.approx(3.3, abs=0.5)
    assert values["among readers"]["slices"] == 10


def test_levels_and_medians(made):
    tables = made[1]["tables"]
    assert tables["4"]["values"]["among readers"].keys() == {"basal", "mid", "apical"}
    assert tables["4"]["values"]["among readers"]["mid"]["slices"] == 4
    medians = tables["5"]["values"]["T1"]
    assert medians["median_ms"]["anna"][0] == pytest.approx(52.0)
    assert medians["icc"]["myostream and anna"][0] > 0.99


def test_one_reader_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(trainings, "ARCHITECTURES", {})
    slices = rings({"anna": 0.0}, count=2, kinds=("t2",))
    content = run(slices, first_readers(slices * 2), tmp_path, about="", repeats=1)
    assert any("One reader only" in note for note in content["tables"]["2"]["notes"])
    assert content["tables"]["5"]["values"]["T2"]["icc"] == {}


def test_readers_who_did_not_draw_every_slice(tmp_path, monkeypatch):
    """Anna, of another convention than the engine, drew the last five slices of seven; ben drew all."""
    monkeypatch.setattr(trainings, "ARCHITECTURES", {})
    shown = []
    monkeypatch.setattr(figures, "best_median_worst", lambda *arguments: shown.append(arguments))
    slices = rings({"anna": -2.0, "ben": 0.0}, count=7, kinds=("t2",))
    for each in slices[:2]:
        del each.readers["anna"]
    engine = first_readers([replace(each, readers={"ben": each.readers["ben"]}) for each in slices * 2])
    content = run(slices, engine, tmp_path, about="", repeats=1)
    with (tmp_path / "table-5.csv").open() as opened:
        counts = {row[0].removeprefix("T2, "): row[1] for row in csv.reader(opened)}
    assert (counts["anna"], counts["ben"]) == ("5", "7")
    assert counts["ICC: myostream and ben"] == "7"
    assert {counts[f"ICC: {name}"] for name in ("myostream and anna", "readers")} == {"5"}
    assert min(icc for icc, _, _ in content["tables"]["5"]["values"]["T2"]["icc"].values()) > 0.99
    ((_, drawn, found, scores),) = shown
    assert len(drawn) == len(found) == len(scores) == 7
    assert min(scores[:2]) > 0.97 > max(scores[2:])


def test_simulated_readers_draw_on_maps_of_both_kinds():
    slices = synthetic_slices(1, 2, Spread(2.0, 2.0))
    assert {each.kind for each in slices} == {"t1", "t2"}
    assert all(each.in_ms for each in slices)
    assert all((np.subtract(*each.readers.values()) != 0).sum() > 50 for each in slices)


def test_a_folder_without_cases_is_refused(tmp_path):
    with pytest.raises(CaseError):
        read_both(tmp_path)


def test_cells_survive_markdown_and_csv():
    table = Table("9", "odd", ("a|b", "c"), (("x, y", "1 ± 2"),), ("note",))
    assert "| a\\|b | c |" in table.as_markdown()
    assert list(csv.reader(table.as_csv().splitlines())) == [["a|b", "c"], ["x, y", "1 ± 2"]]


def test_a_reader_with_the_name_of_the_product_is_refused(tmp_path):
    slices = rings({"anna": 0.0, "myostream": 1.0}, count=2)
    with pytest.raises(CaseError, match=r"reader is named myostream.*slices s0, s1"):
        run(slices, first_readers(slices), tmp_path, about="", repeats=1)
    assert not list(tmp_path.iterdir())
