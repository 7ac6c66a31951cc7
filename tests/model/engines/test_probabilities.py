import copy

import pytest
import torch
from torch import nn

from model.engines.probabilities import HalfProbabilities, Probabilities, folded

IMAGES = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def trained(network):
    """As after a training: no batch normalisation does nothing, and one variance is beyond float16."""
    made = copy.deepcopy(network).requires_grad_(False)
    generator = torch.Generator().manual_seed(2)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
            module.bias.normal_(generator=generator)
    first = made.encoder.bn1
    first.running_var.mul_(1e5)
    made.encoder.conv1.weight.mul_(1e5**0.5)
    first.running_mean.mul_(1e5**0.5)
    return made


def test_folding_changes_nothing_but_the_layers(trained):
    trained = copy.deepcopy(trained).double()  # float32 rounds by as much as the bound on some CPUs
    made = folded(trained)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in made.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in trained.modules())
    with torch.inference_mode():
        images = IMAGES.double()
        difference = Probabilities(made)(images) - Probabilities(trained)(images)
    assert difference.abs().max() < 1e-4


def test_heat_maps_follow_the_class_probabilities(network, network_with_insertions):
    with torch.inference_mode():
        scores = network_with_insertions(IMAGES)
        output = Probabilities(network_with_insertions)(IMAGES)
        half = HalfProbabilities(network_with_insertions)(IMAGES)
        without = Probabilities(network)(IMAGES)
    assert scores.shape == output.shape == half.shape == (1, 5, 64, 64)
    assert torch.allclose(output[:, 3:], 1.0 / (1.0 + torch.exp(-scores[:, 3:])), atol=1e-6)
    assert torch.allclose(output[:, :3].sum(dim=1), torch.ones(1, 64, 64), atol=1e-5)
    assert half.dtype == torch.float32
    assert (half - output).abs().mean() < 0.01
    assert without.shape == (1, 3, 64, 64)
    assert torch.allclose(without, output[:, :3], atol=1e-6)
    assert (network.channels, network_with_insertions.channels) == (3, 5)


def test_half_precision_survives_what_float16_does_not_hold(trained):
    assert trained.encoder.bn1.running_var.half().isinf().any()
    module = HalfProbabilities(trained)
    with torch.inference_mode():
        ours, reference = module(IMAGES), Probabilities(trained)(IMAGES)
    assert ours.dtype == torch.float32
    assert torch.allclose(ours.sum(dim=1), torch.ones(1, 64, 64), atol=1e-4)
    assert (ours - reference).abs().mean() < 0.01
    assert next(trained.parameters()).dtype == torch.float32  # the caller's network is left alone
