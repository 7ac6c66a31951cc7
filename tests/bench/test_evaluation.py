"""``myostream evaluate`` on labelled and on synthetic slices."""

import json
import re

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from inline.__main__ import app
from model.evaluation import synthetic
from model.evaluation.synthetic import make_slices
from model.synthesis.apex import SHARE


def save(folder, slices, labels, names=None):
    """Slices in ms, with a reader's labels."""
    names = names or [f"case-slice-{number}" for number in range(len(slices))]
    for name, each, label in zip(names, slices, labels, strict=False):
        np.savez(folder / f"{name}.npz", t2_ms=each.image, label=label, pixel_spacing_mm=1.5)


@pytest.fixture(scope="module", autouse=True)
def small_batches():
    """Slices are made two at a time: no more than are asked for."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(synthetic, "_BATCH", 2)
        yield


@pytest.fixture(scope="module")
def slices(small_batches):
    return [slice_ for slice_, _ in make_slices(6, "t2", maps=True)]


@pytest.fixture(scope="module")
def labels(slices):
    return [each.labels for each in slices]


@pytest.fixture(scope="module")
def folder(slices, labels, tmp_path_factory):
    made = tmp_path_factory.mktemp("labelled")
    save(made, slices, labels)
    return made


def evaluate(*arguments):
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.output


def test_labelled_slices_as_a_command(folder, labels, oracle, tmp_path):
    oracle(labels)
    text = evaluate("--data", folder, "--map", "t2", "--json", tmp_path / "t2.json", "--plots", tmp_path)
    content = json.loads((tmp_path / "t2.json").read_text())
    assert [each["name"] for each in content["slices"]] == [f"case-slice-{number}" for number in range(6)]
    summary = content["summaries"]["all slices"]
    assert summary["slices"] == 6
    assert summary["dice"] > 0.7
    assert f"{summary['dice']:.3f}" in text
    for name in ("bland-altman-t2.png", "overlays-t2.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_the_number_of_slices_of_each_first_reader_is_stated(slices, labels, oracle, tmp_path):
    oracle(labels)
    for number, (each, readers) in enumerate(zip(slices, (["ben"], ["anna", "ben"], ["ben"]), strict=False)):
        place = tmp_path / "data" / "case-1" / f"{number}-mid"
        place.mkdir(parents=True)
        np.savez(place / "t2.npz", image=each.image, pixel_spacing_mm=1.5)
        for reader in readers:
            cv2.imwrite(str(place / f"t2.{reader}.png"), each.labels)
    text = evaluate("--data", tmp_path / "data", "--map", "t2", "--json", tmp_path / "t2.json")
    assert "is not the same on all slices: anna on 1, ben on 2." in " ".join(text.split())
    assert json.loads((tmp_path / "t2.json").read_text())["first_readers"] == {"anna": 1, "ben": 2}


def test_the_test_part_of_the_cases_is_evaluated_alone(slices, labels, oracle, tmp_path, monkeypatch):
    """Of these names two are for test, two for training, one for validation."""
    names = ("case-001", "case-002", "case-003", "case-014", "case-015")
    data, weights, file = tmp_path / "data", tmp_path / "run" / "weights", tmp_path / "t2.json"
    for folder in (data, weights):
        folder.mkdir(parents=True)
    save(data, slices, labels, [f"{name}-slice-1" for name in names])
    parts = {"train": ["case-002", "case-003"], "validation": ["case-014"], "test": ["case-001", "case-015"]}
    (tmp_path / "run" / "split.json").write_text(json.dumps(parts))
    oracle(labels)
    monkeypatch.setenv("MYOSTREAM_WEIGHTS", str(weights))
    text = evaluate("--data", data, "--map", "t2", "--json", file)
    assert "2 of 5 cases were trained on, and 1 chose the epoch" in " ".join(text.split())
    text = evaluate("--data", data, "--map", "t2", "--part", "test", "--json", file)
    assert "0 of 2 cases were trained on" in " ".join(text.split())
    content = json.loads(file.read_text())
    assert [each["name"] for each in content["slices"]] == ["case-001-slice-1", "case-015-slice-1"]
    assert content["part"] == "test"
    for name in ("case-001", "case-015"):
        (data / f"{name}-slice-1.npz").unlink()
    result = CliRunner().invoke(app, ["evaluate", "--data", str(data), "--part", "test"])
    assert result.exit_code == 1
    assert "of 3 cases none falls to test" in " ".join(result.output.split())


def test_contours_that_lie_beside_the_readers_on_all_slices(folder, labels, oracle, tmp_path):
    oracle(labels, right=3)
    text = evaluate("--data", folder, "--map", "t2", "--json", tmp_path / "t2.json")
    summaries = json.loads((tmp_path / "t2.json").read_text())["summaries"]
    # Three pixels of 1.5 mm.
    assert summaries["all slices"]["offset_x"] == pytest.approx(4.5, abs=0.2)
    assert "4.5 mm to the right of" in " ".join(text.split())
    assert summaries["all slices, offset-corrected"]["dice"] > summaries["all slices"]["dice"] + 0.1
    assert "all slices, shifted reader" in summaries


def test_slices_without_readers_contours_are_counted_and_the_rest_is_evaluated(
    slices, labels, oracle, tmp_path
):
    oracle(labels, right=3)
    save(tmp_path, slices, [each * (number != 2) for number, each in enumerate(labels)])
    file = tmp_path / "t2.json"
    text = " ".join(evaluate("--data", tmp_path, "--map", "t2", "--json", file, "--plots", tmp_path).split())
    content = json.loads(file.read_text(), parse_constant=pytest.fail)
    summary = content["summaries"]["all slices"]
    assert (summary["slices"], summary["without_distances"], summary["without_medians"]) == (6, 1, 1)
    assert summary["offset_x"] == pytest.approx(4.5, abs=0.2)
    assert "4.5 mm to the right of" in text
    assert "all slices: 1 without distances" in text


def test_json_of_slices_without_any_contour_has_no_nan(slices, labels, oracle, tmp_path):
    oracle(labels)
    save(tmp_path, slices[:1], [labels[0] * 0])
    evaluate("--data", tmp_path, "--map", "t2", "--json", tmp_path / "t2.json")
    content = json.loads((tmp_path / "t2.json").read_text(), parse_constant=pytest.fail)
    assert content["summaries"]["all slices"]["label_shift_x"] is None


def test_an_offset_from_labels_without_a_myocardium_has_no_label_shift(slices, labels, oracle, tmp_path):
    oracle(labels, right=3)
    save(tmp_path, slices, [(each > 0).astype(np.uint8) for each in labels])
    text = " ".join(evaluate("--data", tmp_path, "--map", "t2", "--json", tmp_path / "t2.json").split())
    assert "contours lie 4.5 mm to the right of" in text
    assert "nan" not in text
    summaries = json.loads((tmp_path / "t2.json").read_text(), parse_constant=pytest.fail)["summaries"]
    assert set(summaries) == {"all slices", "all slices, offset-corrected"}


def test_maps_in_ms_and_in_grey_levels_are_not_averaged(slices, labels, oracle, tmp_path, monkeypatch):
    """The last window saturates in the wall of the reader."""
    oracle(labels, right=1)
    for number, each in enumerate(slices):
        window = np.where(each.labels == 2, 255, 90) if number == 5 else np.clip(each.image / 4, 0, 254)
        stored = {"t1_ms": each.image} if number < 3 else {"t1_window": window}
        np.savez(tmp_path / f"case-slice-{number}.npz", **stored, label=each.labels, pixel_spacing_mm=1.5)
    monkeypatch.setenv("COLUMNS", "200")
    text = evaluate("--data", tmp_path, "--map", "t1", "--json", tmp_path / "t1.json", "--plots", tmp_path)
    assert "t1 (ms and grey levels)" in text
    content = json.loads((tmp_path / "t1.json").read_text())
    apart = [each["median"] - each["reader_median"] for each in content["slices"]]
    summaries = content["summaries"]
    assert {name: each["slices"] for name, each in summaries.items()} == {
        "maps in ms": 3,
        "window not saturated": 2,
        "window saturated": 1,
    }
    for name, members in (("maps in ms", apart[:3]), ("window not saturated", apart[3:5])):
        assert summaries[name]["bias"] == pytest.approx(np.mean(members))
    for name in ("ms", "grey-levels"):
        assert (tmp_path / f"bland-altman-t1-{name}.png").is_file()


def test_labels_drawn_left_of_the_heart_are_said_to_lie_left(slices, labels, oracle, tmp_path):
    oracle(labels)
    save(tmp_path, slices, [np.roll(each, -3, axis=1) for each in labels])
    text = " ".join(evaluate("--data", tmp_path, "--map", "t2", "--json", tmp_path / "t2.json").split())
    assert "contours lie 4.5 mm to the right of" in text
    stated = re.search(r"reader's labels lie ([\d.]+) mm to the (\w+) of", text)
    assert stated[2] == "left"
    assert float(stated[1]) == pytest.approx(4.5, abs=0.5)
    # The label shift is the one that the labels need.
    summaries = json.loads((tmp_path / "t2.json").read_text())["summaries"]
    assert summaries["all slices"]["label_shift_x"] == pytest.approx(float(stated[1]), abs=0.06)


def test_the_truth_of_synthetic_slices_scores_nearly_one_in_every_group(oracle, tmp_path):
    truth = [slice_.labels for slice_, _ in make_slices(4, "t2", apices=SHARE)]
    oracle(truth)
    evaluate("--synthetic", 4, "--map", "t2", "--json", tmp_path / "t2.json")
    summaries = json.loads((tmp_path / "t2.json").read_text())["summaries"]
    assert summaries["all"]["slices"] == 4
    # Even a perfect network has no contours on hearts below 15 mm: the search refuses them.
    assert summaries["from_25_mm"]["dice_cavity"] > 0.9
    assert sum(summaries[level]["slices"] for level in ("basal", "mid", "apical")) == 4


def test_other_weights_are_tried_on_the_same_slices(oracle, tmp_path):
    truth = [slice_.labels for slice_, _ in make_slices(2, "t2")]
    moved = [np.roll(labels, 20, axis=1) for labels in truth]
    oracle(truth, beside=moved)
    other = tmp_path / "other"
    arguments = ("--synthetic", 2, "--map", "t2", "--beside", other, "--json", tmp_path / "t2.json")
    assert "other" in evaluate(*arguments)
    content = json.loads((tmp_path / "t2.json").read_text())
    assert content["summaries"]["all"]["dice"] > content["beside"]["other"]["all"]["dice"]


@pytest.mark.parametrize("folders", [("my run, new", "two words"), ("a/weights", "b/weights")])
def test_each_of_the_other_weights_has_its_column(folders, oracle, tmp_path, monkeypatch):
    truth = [slice_.labels for slice_, _ in make_slices(2, "t2")]
    oracle(truth)
    monkeypatch.setenv("COLUMNS", "300")
    beside = [option for folder in folders for option in ("--beside", folder)]
    text = evaluate("--synthetic", 2, "--map", "t2", *beside, "--json", tmp_path / "t2.json")
    content = json.loads((tmp_path / "t2.json").read_text())
    assert list(content["beside"]) == list(folders)
    scores = [f"{content['beside'][name]['all']['dice']:.3f}" for name in folders]
    heading = next(line for line in text.splitlines() if "insertions found" in line)
    assert all(f"beside, {name}, dice" in heading for name in folders)
    row = [line.split() for line in text.splitlines() if line.split()[:1] == ["all"]][1]
    assert row[-2:] == scores


def test_other_weights_go_with_synthetic_slices(folder, tmp_path):
    result = CliRunner().invoke(app, ["evaluate", "--data", str(folder), "--beside", str(tmp_path)])
    assert result.exit_code == 1
    assert "--beside goes with" in result.output


def test_a_part_goes_with_labelled_slices():
    result = CliRunner().invoke(app, ["evaluate", "--synthetic", "2", "--part", "test"])
    assert result.exit_code == 1
    assert "--part goes with" in result.output
