"""``myostream evaluate --apices`` with a network that knows the truth, and with one that errs."""

import json

import pytest
from typer.testing import CliRunner

from bench import apices
from inline.__main__ import app
from inline.data.results import ContourOffsets
from model.evaluation import synthetic
from model.evaluation.synthetic import diameter_mm, make_slices

COUNT = 4


@pytest.fixture(scope="module")
def truth():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(synthetic, "_BATCH", 2)
        yield [slice_.labels for slice_, _ in make_slices(COUNT, "t2", maps=True, apices=1.0)]


@pytest.fixture
def evaluate(truth, oracle, tmp_path, monkeypatch):
    monkeypatch.setattr(apices, "partial_volume", lambda *_: {})

    def run(right=0):
        oracle(truth, right)
        file = tmp_path / "apices.json"
        arguments = ("--synthetic", COUNT, "--map", "t2", "--apices", "--json", file)
        result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
        assert result.exit_code == 0, result.output
        return json.loads(file.read_text())

    return run


def test_the_truth_is_found_and_what_is_too_small_is_flagged(truth, evaluate):
    content = evaluate()
    assert [each["diameter_mm"] for each in content["slices"]] == [diameter_mm(each) for each in truth]
    assert sum(each["slices"] for name, each in content["summaries"].items() if name != "all") == COUNT
    for each in content["slices"]:
        if each["diameter_mm"] < 14.5:
            assert "too-small" in each["flags"]
        if each["found"]:
            assert each["dice_myocardium"] > 0.8
            # Traced truth and the product's contours of the same labels give nearly the same value, but for
            # a ring of a few pixels, all of which blood and fat share.
            assert abs(each["error_ms"]) < (5.0 if each["diameter_mm"] > 12.0 else 15.0)
        else:
            assert each["dice_cavity"] == 0.0


def test_contours_beside_the_apex_are_poor(evaluate):
    everything = evaluate(right=10)["summaries"]["all"]
    assert everything["poor"] == COUNT
    assert everything["dice"] < 0.3


def test_pixels_shared_with_blood_and_fat_change_the_value_of_the_smallest_alone():
    made = apices.partial_volume(40, "t2", ContourOffsets(1.5, 1.5))
    assert sum(each["slices"] for each in made.values()) > 20
    assert made["below 15 mm, thin wall"]["absolute"] > 3.0
    assert made["from 20 mm on, others"]["absolute"] < 1.0


def test_apices_are_synthetic(tmp_path):
    result = CliRunner().invoke(app, ["evaluate", "--data", str(tmp_path), "--apices"])
    assert result.exit_code == 1
    assert "--apices goes with" in result.output
