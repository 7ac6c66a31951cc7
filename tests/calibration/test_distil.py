"""Training with eight bits simulated."""

import shutil

import numpy as np
import pytest
import torch
from calibration.distil import disagreement, distil

from calibration import distil as module
from model.engines.openvino_engine import OpenVinoEngine, Precision
from model.engines.torch_engine import TorchEngine
from model.weights import load_network


def test_disagreement_is_the_divergence_in_units_of_the_border():
    wanted = torch.tensor([0.2, 0.3, 0.5]).view(1, 3, 1, 1).expand(1, 3, 4, 5)
    answered = torch.tensor([0.1, 0.6, 0.3]).view(1, 3, 1, 1).expand(1, 3, 4, 5)
    per_pixel = 0.2 * np.log(0.2 / 0.1) + 0.3 * np.log(0.3 / 0.6) + 0.5 * np.log(0.5 / 0.3)
    expected = 20 * per_pixel / (np.sqrt(20 * 0.8) + 5.0)
    assert float(disagreement(answered, wanted)) == pytest.approx(expected, rel=1e-5)
    assert float(disagreement(wanted, wanted)) == pytest.approx(0.0, abs=1e-6)


def test_certain_answers_that_are_wrong_give_a_finite_loss():
    certain = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    assert torch.isfinite(disagreement(certain, certain.roll(1, dims=1)))


@pytest.mark.skipif(shutil.which("c++") is None, reason="NNCF's quantisers need a C++ compiler")
def test_a_pupil_in_eight_bits_answers_about_as_its_teacher(monkeypatch):
    monkeypatch.setattr(module, "_BATCHES", ((2, 96),))
    network = load_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    told = []
    model = distil(network, 2, 8, lambda step, loss: told.append((step, loss)))
    assert [step for step, _ in told] == [0, 1]
    assert "FakeQuantize" in {node.get_type_name() for node in model.get_ops()}
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name  # the teacher learns nothing
    image = next(module.calibration_batches(1, seed=5))[:, 0]
    apart = OpenVinoEngine(model, Precision.INT8).infer(image) - TorchEngine(network).infer(image)
    assert np.abs(apart).mean() < 0.02
