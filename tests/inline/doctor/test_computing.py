"""Checks of engines, with stubs in their place."""

import json

import pytest
from typer.testing import CliRunner

from inline.cli.commands import app
from inline.data.errors import ConfigurationError
from inline.doctor import checks, computing
from inline.doctor.finding import Verdict, good, guarded, problem
from inline.settings import load_settings
from model.engines.self_test import Reference, self_test_images
from model.weights import DEFAULT
from tests.shapes import Constant


@pytest.fixture
def loading(monkeypatch):
    """States the engines that load; others are unknown."""
    images = self_test_images()
    monkeypatch.setattr(computing, "weights_of", lambda settings: (None, DEFAULT))
    monkeypatch.setattr(computing, "reference_of", lambda *_: Reference(images, Constant("x").infer(images)))
    monkeypatch.setattr(computing, "preferred", lambda: ("openvino-int8", "openvino-f32", "torch"))

    def state(**engines):
        def load(name, network, weights):
            made = engines[name.replace("-", "_")]
            if isinstance(made, Exception):
                raise made
            return made

        monkeypatch.setattr(computing, "load_engine", load)

    return state


def found(settings=None):
    return {each.part: each for each in computing.engines(settings or load_settings())}


def test_the_engine_in_use_and_the_reasons_against_others(loading):
    loading(
        openvino_int8=RuntimeError("no VNNI"),
        openvino_f32=Constant("openvino-f32"),
        torch=Constant("torch", 0.25),
    )
    engines = found()
    assert engines["weights"].verdict is engines["confidence"].verdict is Verdict.GOOD
    assert engines["engine openvino-int8"].text == "cannot be used: no VNNI"
    assert engines["engine openvino-f32"].text.endswith("ms a slice; is used")
    assert "differs from float32" in engines["engine torch"].text
    assert {each.verdict for each in engines.values()} == {Verdict.GOOD, Verdict.WARNING}


def test_an_engine_that_is_set_and_cannot_be_used_is_a_problem(loading):
    loading(openvino_int8=Constant("a"), openvino_f32=RuntimeError("no such device"), torch=Constant("b"))
    engines = found(load_settings(engine="openvino-f32"))
    assert engines["engine openvino-f32"].verdict is Verdict.PROBLEM
    assert "replaces openvino-int8" in engines["engine torch"].text


def test_an_installation_without_torch_is_no_warning(loading):
    missing = RuntimeError("torch is not installed")
    missing.__cause__ = ModuleNotFoundError("No module named 'torch'", name="torch")
    loading(openvino_int8=Constant("a"), openvino_f32=Constant("b"), torch=missing)
    assert found()["engine torch"] == good("engine torch", "torch is not installed: no training, no GPU")


def test_no_engine_at_all_is_a_problem(loading):
    loading(openvino_int8=OSError(), openvino_f32=OSError(), torch=OSError())
    assert found()["engines"].verdict is Verdict.PROBLEM


def test_weights_that_cannot_be_read_are_a_problem(tmp_path):
    engines = found(load_settings(weights=tmp_path))
    assert engines["weights"].verdict is Verdict.PROBLEM
    assert "no weights" in engines["weights"].text
    assert set(engines) == {"weights"}


def test_reference_ranges_are_read_and_named_where_that_fails(tmp_path):
    (tmp_path / "s.toml").write_text('[reference]\nfile = "ranges.toml"\n')
    settings = load_settings(tmp_path / "s.toml")
    (finding,) = computing.reference_ranges(settings)
    assert finding.verdict is Verdict.PROBLEM
    assert str(tmp_path / "ranges.toml") in finding.text
    row = "quantity='T1'\nregion='ring'\nfield_strength=1.5\nmean=950.0\nsd=25.0\nn=20\nsource='a'\n"
    (tmp_path / "ranges.toml").write_text(f"[[range]]\n{row}")
    (finding,) = computing.reference_ranges(settings)
    assert (finding.verdict, finding.text) == (Verdict.GOOD, f"1 range in {tmp_path / 'ranges.toml'}")
    assert list(computing.reference_ranges(load_settings())) == []


def test_a_check_that_fails_is_a_problem_of_its_part():
    def check():
        yield good("a", "works")
        raise ConfigurationError("no file")

    first, second = guarded("a", check)
    assert first.verdict is Verdict.GOOD
    assert (second.verdict, second.part) == (Verdict.PROBLEM, "a")
    assert "ConfigurationError: no file" in second.text


@pytest.mark.parametrize("bad", [False, True])
def test_the_command_ends_with_the_verdict(bad, monkeypatch):
    findings = [good("cache", "fine"), *([problem("weights", "[none] here", "copy them")] if bad else [])]
    monkeypatch.setattr(checks, "check_host", lambda settings: iter(findings))
    shown = CliRunner().invoke(app, ["doctor"])
    assert shown.exit_code == bad
    assert "good     cache: fine" in shown.output
    assert ("PROBLEM  weights: [none] here. To do: copy them" in shown.output) == bad
    shown = CliRunner().invoke(app, ["doctor", "--json"])
    assert shown.exit_code == bad
    content = json.loads(shown.output)
    assert content["passed"] is not bad
    assert content["findings"][0] == {"part": "cache", "verdict": "good", "text": "fine", "advice": ""}


def test_all_parts_are_examined(monkeypatch):
    settings = load_settings(reference={"file": "/none.toml"})
    monkeypatch.setattr(computing, "engines", lambda _: [good("weights", "stub")])
    parts = {each.part for each in checks.check_host(settings)}
    assert {"processor", "GPU", "memory", "clock", "cache", "port of MRD", "Gadgetron"} <= parts
    assert {"reference ranges", "weights"} <= parts
