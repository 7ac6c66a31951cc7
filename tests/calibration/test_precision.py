"""Faster arithmetic is gated only where the report can be kept."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from calibration import cli, precision
from calibration.precision import build_int8, gate_bf16
from inline import engine_selection
from model.engines.engine_cache import EngineCache
from model.output import OutputError
from model.weights import DEFAULT


@pytest.fixture
def weights(tmp_path, monkeypatch):
    for name in ("run_gate", "quantise", "TorchEngine", "OpenVinoEngine"):
        monkeypatch.setattr(precision, name, lambda *_: pytest.fail("began before the check"))
    folder = tmp_path / "weights"
    shutil.copytree(DEFAULT, folder, ignore=shutil.ignore_patterns("int8", "bf16", "*.py", "*.json"))
    return folder


@pytest.mark.parametrize("gate", [build_int8, gate_bf16])
def test_a_cache_that_cannot_be_written_is_reported_before_the_gate(weights, gate):
    with pytest.raises(OSError, match="/proc/nowhere"):
        gate(weights, 100, cache=EngineCache(Path("/proc/nowhere")))


@pytest.mark.parametrize(("gate", "name"), [(build_int8, "int8"), (gate_bf16, "bf16")])
def test_a_place_beside_the_weights_that_cannot_be_written_is_reported_before_the_gate(
    weights, tmp_path, gate, name
):
    (weights / name).write_text("a file in the place of the folder")
    with pytest.raises(OutputError, match=f"weights/{name} is no folder"):
        gate(weights, 100, beside_weights=True, cache=EngineCache(tmp_path / "cache"))


def test_half_of_the_slices_are_more_uncertain_than_the_threshold(monkeypatch):
    images = [SimpleNamespace(image=np.float32(number)) for number in range(100)]
    monkeypatch.setattr(precision, "map_slices", lambda *_: images)
    monkeypatch.setattr(precision, "uncertainty", lambda output: output)
    threshold = precision.threshold_of(SimpleNamespace(infer=lambda images: images))
    assert sum(each.image > threshold for each in images) == 50


@dataclass(frozen=True)
class Passed:
    engine: str
    passed: bool = True


def test_the_command_states_what_may_be_used_and_what_is(monkeypatch):
    """The order of auto decides between engines that passed."""
    monkeypatch.setattr(cli, "require", lambda *_: None)
    monkeypatch.setattr(precision, "build_int8", lambda *_, **__: Passed("openvino-int8"))
    monkeypatch.setattr(precision, "gate_bf16", lambda *_, **__: Passed("openvino-bf16"))
    monkeypatch.setattr(engine_selection, "make_engine", lambda _: SimpleNamespace(name="openvino-bf16"))
    result = CliRunner().invoke(cli.app, ["precision", "--slices", "100"])
    assert result.exit_code == 0
    assert "openvino-int8: passed: it may be used" in result.output
    assert "With the setting engine = auto this host uses openvino-bf16." in " ".join(result.output.split())


def test_fewer_slices_than_the_limits_need_are_refused(monkeypatch):
    """A limit on 99 % of slices needs 100."""
    for name in ("build_int8", "gate_bf16"):
        monkeypatch.setattr(precision, name, lambda *_, **__: pytest.fail("began"))
    result = CliRunner().invoke(cli.app, ["precision", "--slices", "99"])
    assert result.exit_code == 2
    assert "equal to 100" in " ".join(result.output.split())
