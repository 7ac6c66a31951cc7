"""Faster arithmetic is gated only where the report can be kept."""

import shutil
from pathlib import Path

import pytest

from calibration import precision
from calibration.precision import build_int8, gate_bf16
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
        gate(weights, cache=EngineCache(Path("/proc/nowhere")))


@pytest.mark.parametrize(("gate", "name"), [(build_int8, "int8"), (gate_bf16, "bf16")])
def test_a_place_beside_the_weights_that_cannot_be_written_is_reported_before_the_gate(
    weights, tmp_path, gate, name
):
    (weights / name).write_text("a file in the place of the folder")
    with pytest.raises(OutputError, match=f"weights/{name} is no folder"):
        gate(weights, beside_weights=True, cache=EngineCache(tmp_path / "cache"))
