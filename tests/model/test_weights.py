"""Weights survive the way to disk and back, and damage is named."""

from pathlib import Path

import numpy as np
import pytest
import torch

from model.engines.torch_engine import TorchEngine
from model.unet import UNet
from model.weights import DEFAULT, WeightsError, load_network, save_weights


@pytest.fixture(scope="module")
def network() -> UNet:
    torch.manual_seed(0)
    return UNet().eval()


@pytest.fixture(scope="module")
def folder(network: UNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    save_weights(network, folder)
    return folder


def test_parts_are_small_enough_for_any_host(folder: Path) -> None:
    sizes = [file.stat().st_size for file in folder.glob("*.safetensors")]
    assert len(sizes) > 1
    assert max(sizes) <= 16 * 2**20


def test_round_trip_is_the_same_to_half_precision(network: UNet, folder: Path) -> None:
    loaded = load_network(folder).state_dict()
    for name, value in network.state_dict().items():
        if value.ndim > 1:
            assert torch.equal(loaded[name], value.half().float()), name
        elif value.is_floating_point():
            assert torch.equal(loaded[name], value), name


def test_a_running_variance_beyond_half_precision_survives(tmp_path: Path) -> None:
    wild = UNet()
    wild.state_dict()["encoder.bn1.running_var"].fill_(1e6)
    save_weights(wild, tmp_path)
    assert load_network(tmp_path).state_dict()["encoder.bn1.running_var"].max() == 1e6


def test_kernels_beyond_half_precision_are_refused(tmp_path: Path) -> None:
    wild = UNet()
    wild.state_dict()["encoder.conv1.weight"].fill_(1e6)
    with pytest.raises(ValueError, match="fp16"):
        save_weights(wild, tmp_path)


def test_missing_part_is_named(folder: Path, tmp_path: Path) -> None:
    for file in sorted(folder.iterdir())[1:]:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(WeightsError, match=r"\d of \d parts"):
        load_network(tmp_path)


def test_damaged_part_is_named(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="damaged"):
        load_network(tmp_path)


def test_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no weights"):
        load_network(tmp_path)


def test_shipped_parts_are_small_enough() -> None:
    assert all(file.stat().st_size <= 16 * 2**20 for file in DEFAULT.glob("*.safetensors"))


def test_engine_gives_probabilities(network: UNet) -> None:
    images = np.random.default_rng(0).normal(size=(2, 224, 224)).astype(np.float32)
    probabilities = TorchEngine(network).infer(images)
    assert probabilities.shape == (2, 3, 224, 224)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)
