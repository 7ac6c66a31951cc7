"""Quantisation to int8 and training with simulated rounding."""

import shutil

import numpy as np
import pytest
import torch

from calibration import quantisation
from calibration.precision import build_int8
from calibration.quantisation import distil, divergence, heat_divergence
from calibration.slices import calibration_batches
from model.engines.engine_cache import EngineCache
from model.engines.int8_model import find_int8
from model.engines.openvino_engine import OpenVinoEngine, Precision, int8_engine
from model.engines.reevaluation import ReevaluatingEngine
from model.engines.torch_engine import TorchEngine
from model.insertion import heat_maps
from model.weights import DEFAULT, load_network, load_weights


def test_the_divergence_is_in_units_of_the_boundary():
    target = torch.tensor([0.2, 0.3, 0.5]).view(1, 3, 1, 1).expand(1, 3, 4, 5)
    output = torch.tensor([0.1, 0.6, 0.3]).view(1, 3, 1, 1).expand(1, 3, 4, 5)
    per_pixel = 0.2 * np.log(0.2 / 0.1) + 0.3 * np.log(0.3 / 0.6) + 0.5 * np.log(0.5 / 0.3)
    expected = 20 * per_pixel / (np.sqrt(20 * 0.8) + 5.0)
    assert float(divergence(output, target)) == pytest.approx(expected, rel=1e-5)
    assert float(divergence(target, target)) == pytest.approx(0.0, abs=1e-6)


def test_certain_output_that_is_wrong_gives_a_finite_loss():
    certain = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    assert torch.isfinite(divergence(certain, certain.roll(1, dims=1)))


def test_the_divergence_of_heat_is_in_units_of_a_points_heat():
    target, output = torch.full((2, 2, 4, 5), 0.3), torch.full((2, 2, 4, 5), 0.6)
    per_pixel = 0.3 * np.log(0.3 / 0.6) + 0.7 * np.log(0.7 / 0.4)
    area = float(heat_maps(torch.tensor([[[20.0, 20.0]]]), 41, 41).sum())
    assert float(heat_divergence(output, target)) == pytest.approx(40 * per_pixel / area, rel=1e-3)
    assert float(heat_divergence(target, target)) == pytest.approx(0.0, abs=1e-6)
    certain = torch.zeros(1, 2, 4, 5)
    assert torch.isfinite(heat_divergence(certain, 1.0 - certain))
    assert float(heat_divergence(certain, certain)) == 0.0


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="NNCF's quantisers need a C++ compiler")
def test_an_int8_student_returns_about_what_its_teacher_does(monkeypatch, tmp_path):
    monkeypatch.setenv("NNCF_EXTENSION_LOAD_TIMEOUT", "0")
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))  # no lock of a compiler that was killed
    monkeypatch.setattr(quantisation, "_BATCHES", ((2, 96),))
    network = load_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    steps = []
    model = distil(network, 2, 8, lambda step, loss: steps.append(step))
    assert steps == [0, 1]
    assert "FakeQuantize" in {node.get_type_name() for node in model.get_ops()}
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name  # the teacher is not trained
    image = next(calibration_batches(1, seed=5))[:, 0]
    difference = OpenVinoEngine(model, Precision.INT8).infer(image) - TorchEngine(network).infer(image)
    assert np.abs(difference).mean() < 0.02


@pytest.mark.slow
def test_a_model_is_quantised_gated_and_found_again(monkeypatch, tmp_path):
    monkeypatch.setattr("calibration.precision._THRESHOLD_SLICES", 2)
    weights = tmp_path / "weights"
    shutil.copytree(DEFAULT, weights, ignore=shutil.ignore_patterns("int8", "*.py", "*.json"))
    cache = EngineCache(tmp_path / "cache")
    report = build_int8(weights, 2, calibration_slices=8, beside_weights=True, cache=cache)
    assert report.slices == 2
    if report.passed:
        found = find_int8(weights, cache)
        assert found.report["dice"] == report.dice
        assert isinstance(int8_engine(found.graph, found.constants, load_weights()), ReevaluatingEngine)
    assert (weights / "int8" / "gate.json").exists() == report.passed
