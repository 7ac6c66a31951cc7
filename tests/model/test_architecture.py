"""The network without a framework beside the same network in torch: tensors, and output by each backend."""

import numpy as np
import pytest
import torch

from model.architecture import tensor_shapes
from model.engines.numpy_engine import NumpyEngine
from model.engines.openvino_engine import OpenVinoEngine, Precision
from model.engines.openvino_graph import build_model
from model.engines.self_test import difference, self_test_images
from model.engines.torch_engine import TorchEngine
from model.unet import UNet
from model.weights import load_weights, network_of, tensors_of


@pytest.mark.parametrize("insertions", [False, True])
def test_names_and_shapes_are_those_of_torch(insertions: bool) -> None:
    with torch.device("meta"):
        state = UNet(insertions=insertions).state_dict()
    expected = {name: tuple(value.shape) for name, value in state.items() if value.ndim}
    assert tensor_shapes(insertions=insertions) == expected


def random_network(insertions: bool) -> UNet:
    """Network of random weights in which every tensor has an effect, as after a training."""
    torch.manual_seed(3)
    network = UNet(insertions=insertions)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 2.0, generator=generator)
            elif name.endswith(("running_mean", "bias")):
                value.normal_(0.0, 0.1, generator=generator)
        network.head.weight.mul_(0.05)  # scores of random weights are far apart
    return network.eval()


@pytest.mark.parametrize("insertions", [False, True])
def test_every_backend_gives_the_output_of_torch(insertions: bool) -> None:
    network = random_network(insertions)
    tensors = tensors_of(network)
    images = np.random.default_rng(5).normal(size=(2, 224, 224)).astype(np.float32)
    expected = TorchEngine(network).infer(images)
    assert expected.std(axis=(0, 2, 3)).min() > 0.01  # all channels vary
    for engine in (NumpyEngine(tensors), OpenVinoEngine(build_model(tensors), Precision.F32)):
        output = engine.infer(images)
        assert output.dtype == np.float32
        np.testing.assert_allclose(output, expected, atol=1e-4, err_msg=engine.name)


def test_every_backend_gives_the_output_of_torch_with_the_shipped_weights() -> None:
    """By the measure of the self-test, of which the limit is 2 %."""
    tensors, images = load_weights(), self_test_images()
    expected = TorchEngine(network_of(tensors)).infer(images)
    for engine in (NumpyEngine(tensors), OpenVinoEngine(build_model(tensors), Precision.F32)):
        output = engine.infer(images)
        assert difference(output, expected) < 1e-5, engine.name
        np.testing.assert_allclose(output, expected, atol=1e-4, err_msg=engine.name)
